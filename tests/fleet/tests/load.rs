//! The load client: latencies count from the due time, failures are told apart.

use std::time::Duration;

use leastload_fleet::{
    fleet::Fleet,
    load::{self, Arrivals, Bound, LoadSpec, Method},
    proto::helloworld::HelloRequest,
    server::{ServerOptions, ServiceTime},
};

async fn one(slots: usize) -> (Fleet, LoadSpec) {
    let fleet = Fleet::start([ServerOptions { slots, ..ServerOptions::default() }]).await.unwrap();
    let spec = LoadSpec {
        uris: vec![format!("http://{}", fleet.address(0))],
        connections: 1,
        arrivals: Arrivals::Constant,
        ..LoadSpec::default()
    };
    (fleet, spec)
}

#[tokio::test]
async fn a_stalled_server_costs_every_call_that_was_due_meanwhile() {
    let (mut fleet, spec) = one(100).await;
    let spec = LoadSpec { rate: 200.0, bound: Bound::Time(Duration::from_secs(2)), ..spec };
    let load = tokio::spawn(load::run(spec));
    tokio::time::sleep(Duration::from_millis(700)).await;
    fleet.freeze(0).unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    fleet.thaw(0).unwrap();
    let report = load.await.unwrap().unwrap();
    assert_eq!((report.sent, report.failed()), (400, 0));
    // 100 of 400 calls were due in the half second; their waits are even between 0 and 500 ms, and
    // longer on a slow machine. A closed loop would have seen one slow call.
    let (p90, p99) = (report.percentile_ms(90.0), report.percentile_ms(99.0));
    assert!(p90 >= 240.0, "p90 {p90}");
    assert!(p99 >= 400.0, "p99 {p99}");
}

#[tokio::test]
async fn deadlines_and_failures_are_counted_by_code() {
    let (_fleet, spec) = one(1).await;
    let slow = LoadSpec {
        rate: 100.0,
        bound: Bound::Calls(20),
        work: Some(ServiceTime::Constant(Duration::from_millis(400))),
        deadline: Some(Duration::from_millis(500)),
        ..spec.clone()
    };
    let report = load::run(slow).await.unwrap();
    assert_eq!((report.codes["Ok"], report.codes["DeadlineExceeded"]), (1, 19));
    assert!(report.errors.min() >= 490_000 && report.errors.max() < 700_000);

    let failing = LoadSpec {
        rate: 500.0,
        bound: Bound::Calls(50),
        request: HelloRequest { fail: 8, ..HelloRequest::default() },
        ..spec.clone()
    };
    assert_eq!(load::run(failing).await.unwrap().codes["ResourceExhausted"], 50);

    let hanging = LoadSpec {
        bound: Bound::Calls(5),
        request: HelloRequest { ending: 6, ..HelloRequest::default() },
        patience: Duration::from_millis(200),
        ..spec
    };
    assert_eq!(load::run(hanging).await.unwrap().codes["Unfinished"], 5);
}

#[tokio::test]
async fn all_methods_do_the_work_of_the_plan() {
    let (fleet, spec) = one(1_000).await;
    let mix = [Method::Unary, Method::ServerStream, Method::ClientStream, Method::Bidi];
    let spec = LoadSpec {
        rate: 400.0,
        bound: Bound::Calls(400),
        work: Some(ServiceTime::Exponential(Duration::from_millis(8))),
        mix: mix.map(|method| (method, 1)).to_vec(),
        keep_calls: true,
        ..spec
    };
    let planned: f64 = load::plan::Plan::new(&spec).filter_map(|call| call.work_ms).sum();
    let report = load::run(spec).await.unwrap();
    assert_eq!((report.succeeded(), report.calls.len()), (400, 400));
    let stats = fleet.stats(0).await.unwrap();
    assert!((stats.work_ms - planned).abs() < 1e-6, "{} of {planned}", stats.work_ms);
    let seen = report.servers[&fleet.address(0).to_string()];
    assert!((seen.work_ms - planned).abs() < 1e-6);
    assert_eq!(stats.calls.len(), 4);
}
