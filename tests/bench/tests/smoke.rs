//! Every arm with a few requests: the report has them all, and the counts are right. No figure
//! that depends on time is looked at.

use std::path::Path;

use leastload_bench::{
    arm::{Arm, Modules},
    machine::Machine,
    report::{Comparison, Report},
    run::{Plan, run},
    waits,
};
use tokio::task::LocalSet;

const ROUNDS: usize = 2;

fn plan(arms: impl IntoIterator<Item = Arm>) -> Plan {
    Plan {
        arms: arms.into_iter().collect(),
        endpoints: 3,
        workers: 1,
        rounds: ROUNDS as u64,
        requests: 300,
        warm_up: 20,
        connections: 2,
        streams: 8,
        idle_ms: 50,
        seed: 7,
        pin: true,
        envoy: leastload_fleet::envoy::DEFAULT_VERSION.into(),
    }
}

#[tokio::test(flavor = "current_thread")]
async fn all_arms_are_measured_and_steer_where_they_should() {
    let modules = Modules::built();
    let program = Path::new(env!("CARGO_BIN_EXE_bench"));
    let plan = plan(Arm::USUAL.into_iter().chain(Arm::EXTRA));
    let comparing = run(&plan, &modules, program, |_| {});
    let comparison = Comparison::new(LocalSet::new().run_until(comparing).await.unwrap());

    assert_eq!(comparison.rows.len(), plan.arms.len());
    for (row, arm) in comparison.rows.iter().zip(&plan.arms) {
        assert_eq!(row.arm, *arm);
        let samples = &comparison.outcome.samples[arm];
        assert_eq!(samples.len(), ROUNDS, "{arm:?}");
        assert!(samples.iter().all(|sample| sample.cpu_us > 0.0 && sample.rate > 0.0), "{arm:?}");
        // The learning is over after the warm-up: every single request is steered.
        assert_eq!(row.steered, arm.steers().then_some(1.0), "{arm:?}");
    }
    let reference = comparison.rows.iter().find(|row| row.arm == Arm::REFERENCE).unwrap();
    assert_eq!((reference.ratio.low, reference.ratio.high), (1.0, 1.0));

    let machine = Machine::look(&plan.envoy, &modules).unwrap();
    let report =
        Report { machine, comparisons: vec![comparison], waits: Vec::new(), micro: Vec::new() };
    let text = report.text();
    for arm in &plan.arms {
        assert!(text.contains(arm.title()), "no {arm:?} in\n{text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    let samples = &json["comparisons"][0]["outcome"]["samples"];
    assert_eq!(samples["stateful_session"].as_array().map(Vec::len), Some(ROUNDS), "{json}");
}

#[tokio::test(flavor = "current_thread")]
async fn stamps_are_read_where_they_are_asked_for_and_only_there() {
    let modules = Modules::built();
    let program = Path::new(env!("CARGO_BIN_EXE_bench"));
    let mut comparisons = Vec::new();
    for (arms, endpoints) in [(Arm::CLIENT_STAMPS, 3), (Arm::SERVER_STAMPS, 1)] {
        let plan = Plan { endpoints, ..plan(arms) };
        let comparing = run(&plan, &modules, program, |_| {});
        let comparison = Comparison::new(LocalSet::new().run_until(comparing).await.unwrap());
        for row in &comparison.rows {
            let arm = row.arm;
            let with = arm.without_stamps().is_some();
            assert_eq!(row.stamps.is_some(), with, "{arm:?}");
            match (arm, row.stamped) {
                (arm, Some(share)) if arm.asks() => {
                    assert!((0.01..0.9).contains(&share), "{share}");
                }
                (_, stamped) => {
                    let all = if with { 1.0 } else { 0.0 };
                    assert_eq!(stamped, arm.counts_stamps().then_some(all), "{arm:?}");
                }
            }
        }
        comparisons.push(comparison);
    }
    let machine = Machine::look("1", &modules).unwrap();
    let report = Report { machine, comparisons, waits: Vec::new(), micro: Vec::new() };
    let text = report.text();
    for proxy in ["client's proxy", "server's proxy"] {
        assert_eq!(text.matches(proxy).count(), 2, "two of the {proxy} in\n{text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["comparisons"][0]["rows"][2]["stamps"]["target_us"], 2.0, "{json}");
    assert_eq!(json["comparisons"][1]["rows"][2]["stamps"]["target_us"], 3.0, "{json}");
}

#[tokio::test(flavor = "current_thread")]
async fn an_envoy_that_fails_calls_ends_the_run() {
    let modules = Modules::built();
    // Nothing listens behind this one: every call is answered 503.
    let plan = Plan { endpoints: 0, ..plan([Arm::Empty]) };
    let program = Path::new(env!("CARGO_BIN_EXE_bench"));
    let comparing = run(&plan, &modules, program, |_| {});
    let error = LocalSet::new().run_until(comparing).await.unwrap_err().to_string();
    assert!(error.contains("500 of 500 calls failed"), "{error}");
}

#[tokio::test(flavor = "current_thread")]
async fn requests_wait_until_their_deadline_with_either_timer() {
    let modules = Modules::built();
    let program = Path::new(env!("CARGO_BIN_EXE_bench"));
    let plan = waits::Plan {
        deadlines_ms: vec![20],
        streams: vec![8],
        requests: 500,
        envoy: leastload_fleet::envoy::DEFAULT_VERSION.into(),
        pin: true,
    };
    let measuring = waits::run(&plan, &modules, program, |_| {});
    let rows = LocalSet::new().run_until(measuring).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.precise).collect::<Vec<_>>(), [true, false]);
    for row in &rows {
        let waited = row.late_us.count;
        assert!(waited > 0 && waited + row.others_us.count == 500, "{row:?}");
    }
    let machine = Machine::look(&plan.envoy, &modules).unwrap();
    let report = Report { machine, comparisons: Vec::new(), waits: rows, micro: Vec::new() };
    let text = report.text();
    for cell in ["precise", "usual", "20 ms"] {
        assert!(text.contains(cell), "no {cell} in\n{text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["waits"][1]["deadline_ms"], 20, "{json}");
}
