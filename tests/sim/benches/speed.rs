//! How many requests are simulated in a second of one core, with 20 proxies and 20 servers.

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use leastload_sim::scenario::read;
use serde_json::json;

fn speed(criterion: &mut Criterion) {
    let text = json!({
        "name": "speed",
        "about": "20 proxies, 20 servers of 4 slots, 0.8 load.",
        "warm_up": "1s",
        "duration": "31s",
        "proxies": {"count": 20},
        "servers": [{"count": 20, "slots": 4}],
        "traffic": {"load": 0.8, "service": {"exponential": {"mean": "10ms"}}},
        "policies": ["random", "round_robin", "least_request", "full_scan", "central"],
    });
    let document = read(&text.to_string(), Path::new(".")).unwrap();
    let scenario = &document.variants[0].scenario;
    let mut group = criterion.benchmark_group("requests");
    for entry in &scenario.policies {
        let requests = leastload_sim::run(scenario, &entry.rule, 1, None).offered;
        // What arrives before it is measured costs as much.
        group.throughput(Throughput::Elements(requests * 31 / 30)).sample_size(10);
        group.bench_function(entry.label(), |bench| {
            bench.iter(|| black_box(leastload_sim::run(scenario, &entry.rule, 1, None)));
        });
    }
    group.finish();
}

criterion_group!(benches, speed);
criterion_main!(benches);
