//! What a request allocates in core once it has seen a few: nothing. Exact, whatever the machine.

use allocation_counter::{AllocationInfo, measure};
use leastload_bench::rig::{CONFIG, Rig};

const SPARES: &str = r#"{"override": {"mechanism": "override_host", "spares": 2},
    "discovery": {"admin_cluster": "prometheus_stats"}}"#;

/// Of 5,000 requests, when every endpoint has had some.
fn allocated(workers: usize, endpoints: usize, config: &str) -> AllocationInfo {
    let mut rig = Rig::new(workers, endpoints, config);
    rig.fill(2 * endpoints);
    let mut requests = |count: usize| {
        for n in 0..count {
            rig.request(n % workers);
        }
    };
    requests(500 + 10 * endpoints);
    measure(|| requests(5_000))
}

#[test]
fn a_request_allocates_nothing_after_the_first_ones() {
    for config in [CONFIG, SPARES] {
        for (workers, endpoints) in [(1, 3), (1, 10), (4, 10), (4, 100), (4, 1_000), (1, 10_000)] {
            let found = allocated(workers, endpoints, config).count_total;
            assert_eq!(found, 0, "{workers} workers, {endpoints} endpoints, {config}");
        }
    }
}

#[test]
fn the_counter_counts() {
    assert!(measure(|| drop(std::hint::black_box(vec![1_u8]))).count_total > 0);
}
