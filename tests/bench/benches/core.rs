//! What core costs without a proxy around it: picks, whole requests, membership, configuration.
//! In CPU time of the thread, so that what else runs on the machine does not count.
//! `src/micro.rs` knows these names.

use std::{hint::black_box, time::Duration};

use criterion::{
    BenchmarkId, Criterion, criterion_group, criterion_main,
    measurement::{Measurement, ValueFormatter, WallTime},
};
use leastload_bench::rig::{CONFIG, Rig, admin_answer};
use leastload_core::config::Config;
use nix::time::{ClockId, clock_gettime};

/// Numbers of endpoints.
const PICKED: [usize; 5] = [3, 10, 100, 1_000, 10_000];
const UPDATED: [usize; 3] = [10, 1_000, 10_000];
/// Picks timed at a time: the clock costs a few nanoseconds of each.
const BATCH: usize = 64;

/// CPU time of this thread, in nanoseconds; shown as criterion shows times.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let now = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
        now.expect("the thread has a CPU clock").into()
    }

    fn end(&self, start: Duration) -> Duration {
        self.start().saturating_sub(start)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// Workers with twice as many requests under way as there are endpoints, at least 32.
fn busy(workers: usize, endpoints: usize, config: &str) -> Rig {
    let mut rig = Rig::new(workers, endpoints, config);
    rig.fill((2 * endpoints).max(32));
    for _ in 0..1_000 + 2 * endpoints {
        for worker in 0..workers {
            rig.request(worker);
        }
    }
    rig
}

/// The pick alone, by the first of `workers`; all of them serve as many requests meanwhile. `before`: what
/// happens before each batch.
fn picks(rig: &mut Rig, workers: usize, iterations: u64, before: impl Fn(&mut Rig)) -> Duration {
    let mut took = Duration::ZERO;
    let mut calls = Vec::with_capacity(BATCH);
    let mut left = iterations;
    while left > 0 {
        let batch = left.min(BATCH as u64);
        before(rig);
        let start = CpuTime.start();
        for _ in 0..batch {
            calls.push(rig.start(0));
        }
        took += CpuTime.end(start);
        for call in calls.drain(..) {
            rig.keep(0, call);
            rig.end_any(0);
            for worker in 1..workers {
                rig.request(worker);
            }
        }
        left -= batch;
    }
    took
}

fn pick(criterion: &mut Criterion<CpuTime>) {
    for (name, workers) in [("pick", 1), ("pick_of_4_workers", 4)] {
        let mut group = criterion.benchmark_group(name);
        for endpoints in PICKED {
            let mut rig = busy(workers, endpoints, CONFIG);
            group.bench_function(BenchmarkId::from_parameter(endpoints), |bencher| {
                bencher.iter_custom(|iterations| picks(&mut rig, workers, iterations, |_| {}));
            });
        }
    }
}

/// The pick among endpoints that have all reported a moment ago, or beyond `picker.scan_limit` those 32
/// that did last; one worker.
fn pick_by_reports(criterion: &mut Criterion<CpuTime>) {
    let config =
        r#"{"probe": {"mode": "off"}, "discovery": {"admin_cluster": "prometheus_stats"}}"#;
    let mut group = criterion.benchmark_group("pick_by_reports");
    for endpoints in PICKED {
        let mut rig = busy(1, endpoints, config);
        group.bench_function(BenchmarkId::from_parameter(endpoints), |bencher| {
            let hear = |rig: &mut Rig| rig.hear(0, 0..endpoints.min(32));
            bencher.iter_custom(|iterations| picks(&mut rig, 1, iterations, hear));
        });
    }
}

fn request(criterion: &mut Criterion<CpuTime>) {
    let spares = r#"{"override": {"mechanism": "override_host", "spares": 2},
        "discovery": {"admin_cluster": "prometheus_stats"}}"#;
    for (name, config) in [("request", CONFIG), ("request_with_spares", spares)] {
        let mut group = criterion.benchmark_group(name);
        for endpoints in PICKED {
            let mut rig = busy(1, endpoints, config);
            group.bench_function(BenchmarkId::from_parameter(endpoints), |bencher| {
                bencher.iter(|| rig.request(0));
            });
        }
    }
}

/// An answer of the admin interface until it is published, and a worker's taking over of it.
fn membership(criterion: &mut Criterion<CpuTime>) {
    for (name, editions) in [("membership_unchanged", 1), ("membership_changed", 2)] {
        let mut group = criterion.benchmark_group(name);
        for endpoints in UPDATED {
            let mut rig = Rig::new(2, endpoints, CONFIG);
            let answers: Vec<_> =
                (0..editions).map(|edition| admin_answer(endpoints, edition)).collect();
            let mut answers = answers.iter().cycle();
            group.bench_function(BenchmarkId::from_parameter(endpoints), |bencher| {
                bencher.iter_custom(|iterations| {
                    let mut took = Duration::ZERO;
                    for _ in 0..iterations {
                        let worker = rig.ask().expect("it is time to ask");
                        let answer = answers.next().expect("a cycle never ends");
                        let start = CpuTime.start();
                        rig.answer(worker, answer);
                        took += CpuTime.end(start);
                        rig.follow();
                    }
                    took
                });
            });
        }
    }
    let mut group = criterion.benchmark_group("membership_followed");
    for endpoints in UPDATED {
        // One worker tells, the other follows.
        let mut rig = Rig::new(2, endpoints, CONFIG);
        let answers = [admin_answer(endpoints, 0), admin_answer(endpoints, 1)];
        let mut answers = answers.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(endpoints), |bencher| {
            bencher.iter_custom(|iterations| {
                let mut took = Duration::ZERO;
                for _ in 0..iterations {
                    let worker = rig.ask().expect("it is time to ask");
                    rig.answer(worker, answers.next().expect("a cycle never ends"));
                    let start = CpuTime.start();
                    rig.follow_one(1 - worker);
                    took += CpuTime.end(start);
                    rig.follow();
                }
                took
            });
        });
    }
}

/// A thousand methods with a cost, a thousand clusters with settings of their own.
fn large_configuration() -> String {
    let number = 0..1_000;
    let method = |n| format!(r#""/shop.Service{}/Method{n}": {{"cost": {}}}"#, n % 50, n % 9);
    let cluster = |n| {
        let name = format!("outbound|50051||service-{n}.shop.svc.cluster.local");
        format!(r#""{name}": {{"panic_threshold": {}}}"#, n % 100)
    };
    let methods: Vec<String> = number.clone().map(method).collect();
    let clusters: Vec<String> = number.map(cluster).collect();
    format!(r#"{{"methods": {{{}}}, "clusters": {{{}}}}}"#, methods.join(","), clusters.join(","))
}

fn configuration(criterion: &mut Criterion<CpuTime>) {
    let large = large_configuration();
    let mut group = criterion.benchmark_group("configuration");
    for (name, text) in [("quickstart", CONFIG), ("1000_methods_1000_clusters", &large)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| Config::parse(black_box(text.as_bytes())).expect("it is sound"));
        });
    }
}

/// Short: all of it within a minute and a half.
fn settings() -> Criterion<CpuTime> {
    Criterion::default()
        .with_measurement(CpuTime)
        .sample_size(50)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = core;
    config = settings();
    targets = pick, pick_by_reports, request, membership, configuration
}
criterion_main!(core);
