//! What requests allocate in core: once for each endpoint at each worker, then nothing. Exact, whatever
//! the machine.

use allocation_counter::measure;
use leastload_bench::rig::{CONFIG, Rig};

const SPARES: &str = r#"{"override": {"mechanism": "override_host", "spares": 2},
    "discovery": {"admin_cluster": "prometheus_stats"}}"#;

/// What each 5,000 requests allocate, from when buffers have grown until some allocate nothing.
fn allocated(workers: usize, endpoints: usize, config: &str) -> Vec<u64> {
    /// More would be no end.
    const MOST_RUNS: usize = 100;
    let mut rig = Rig::new(workers, endpoints, config);
    rig.fill(2 * endpoints);
    let mut requests = |count: usize| {
        for n in 0..count {
            rig.request(n % workers);
        }
    };
    requests(500 + 10 * endpoints);
    let mut runs = vec![];
    while runs.len() < MOST_RUNS && runs.last() != Some(&0) {
        runs.push(measure(|| requests(5_000)).count_total);
    }
    runs
}

#[test]
fn requests_allocate_once_for_each_endpoint_and_then_nothing() {
    for config in [CONFIG, SPARES] {
        for (workers, endpoints) in [(1, 3), (1, 10), (4, 10), (4, 100), (4, 1_000), (1, 10_000)] {
            let runs = allocated(workers, endpoints, config);
            let case = format!("{workers} workers, {endpoints} endpoints, {config}: {runs:?}");
            assert_eq!(runs.last(), Some(&0), "{case}");
            assert!(runs.iter().sum::<u64>() < (workers * endpoints) as u64, "{case}");
        }
    }
}

#[test]
fn the_counter_counts() {
    assert!(measure(|| drop(std::hint::black_box(vec![1_u8]))).count_total > 0);
}
