//! A small `make fleet`: every policy, all calls answered, every row complete. No figure that
//! depends on time is looked at.

use std::{collections::BTreeMap, path::Path, time::Duration};

use leastload_fleet::rows::{
    self, Pattern, Policy, Spec, Twins,
    result::{Outcome, VERSION},
    servers, table,
};
use serde_json::json;

fn spec(patterns: &str) -> Spec {
    Spec {
        patterns: patterns.split(',').map(|text| text.parse::<Pattern>().unwrap()).collect(),
        proxies: 2,
        servers: 2,
        loads: vec![0.3, 0.5],
        measured: Duration::from_millis(500),
        warm_up: Duration::from_millis(200),
        rounds: 2,
        module: leastload_modules::release(),
        ..Spec::default()
    }
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_fleet"))
}

#[tokio::test]
async fn every_row_is_measured_and_written() {
    let spec = spec("round_robin:0.3,least_request,full_scan,full_scan@1,leastload");
    let outcome = rows::run(&spec, program(), |line| println!("{line}")).await.unwrap();
    let seen: Vec<_> = outcome.rows.iter().map(|row| (row.load, row.policy, row.proxies)).collect();
    let each = |load| {
        [
            (load, Policy::RoundRobin, 2),
            (load, Policy::LeastRequest, 2),
            (load, Policy::FullScan, 2),
            (load, Policy::FullScan, 1),
            (load, Policy::Leastload, 2),
        ]
    };
    assert_eq!(seen, [&each(0.3)[..], &each(0.5)[1..]].concat());
    for row in &outcome.rows {
        let seeds: Vec<_> = row.rounds.iter().map(|round| round.seed).collect();
        assert_eq!(seeds, [1, 2], "{row:?}");
        assert_eq!(row.errors, 0, "{row:?}");
        assert_eq!(row.calls, row.rounds.iter().map(|round| round.calls).sum::<u64>());
        for round in &row.rounds {
            let ordered = [round.p50_ms, round.p90_ms, round.p99_ms, round.p999_ms, round.max_ms];
            assert!(round.p50_ms > 0.0 && ordered.is_sorted(), "{row:?}");
            assert_eq!(round.steered.is_some(), row.policy == Policy::Leastload, "{row:?}");
            assert_ne!(round.steered, Some(0.0), "nothing was steered: {row:?}");
            assert!(round.proxies_us > 0.0 && round.twins_us > 0.0, "{row:?}");
            assert!(round.servers.iter().map(|server| server.calls).sum::<u64>() > 0, "{row:?}");
            let told = round.servers.iter().map(|server| server.told.is_some());
            assert_eq!(told.collect::<Vec<_>>(), [row.policy == Policy::Leastload; 2], "{row:?}");
        }
        let steers = row.policy == Policy::Leastload;
        assert_eq!(row.twins, if steers { Twins::Module } else { Twins::Plain });
        assert_eq!(row.configuration.is_object(), steers);
        // The same calls in every row of a load.
        let same = outcome.rows.iter().find(|other| other.load.to_bits() == row.load.to_bits());
        let calls = |row: &rows::result::RowResult| -> Vec<u64> {
            row.rounds.iter().map(|round| round.calls).collect()
        };
        assert_eq!(calls(row), calls(same.unwrap()));
    }
    let text = serde_json::to_string(&outcome).unwrap();
    assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), outcome);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["version"], VERSION);
    assert_eq!(json["rows"][3]["policy"], "full_scan");
    assert_eq!(json["rows"][3]["proxies"], 1);
    assert_eq!(json["rows"][3]["twins"], "plain");
    assert!(json["rows"][3]["p99_ms"]["median"].is_number(), "{json}");
    let table = table::render(&outcome);
    for policy in Policy::ALL {
        assert!(table.contains(policy.name()), "{table}");
    }
}

#[tokio::test]
async fn leastload_is_measured_with_twins_without_them_and_by_another_mechanism() {
    let mut spec = spec("leastload,leastload_without_twins,leastload-other");
    spec.loads = vec![0.3];
    spec.twin_processes = Some(1);
    // The path of the module is given twice, so that it could be another one.
    let module = spec.module.display().to_string();
    let other = json!({"override": {"mechanism": "override_host"}, "module": module});
    spec.variants = BTreeMap::from([("other".into(), other)]);
    let outcome = rows::run(&spec, program(), |line| println!("{line}")).await.unwrap();
    let seen: Vec<_> =
        outcome.rows.iter().map(|row| (row.arm.as_str(), row.policy, row.twins)).collect();
    let leastload = Policy::Leastload;
    assert_eq!(
        seen,
        [
            ("leastload", leastload, Twins::Module),
            ("leastload_without_twins", leastload, Twins::Plain),
            ("leastload-other", leastload, Twins::Module),
        ]
    );
    assert_eq!(outcome.rows[2].configuration["override"]["mechanism"], "override_host");
    for row in &outcome.rows {
        assert_eq!(row.errors, 0, "{row:?}");
        assert!(row.rounds.iter().all(|round| round.steered > Some(0.0)), "{row:?}");
    }
    assert!(table::render(&outcome).contains("leastload without twins"));
}

#[tokio::test]
async fn there_can_be_no_twins() {
    let spec =
        Spec { twins: false, loads: vec![0.3], rounds: 1, ..spec("least_request,leastload") };
    let outcome = rows::run(&spec, program(), |line| println!("{line}")).await.unwrap();
    for row in &outcome.rows {
        assert_eq!((row.errors, row.twins), (0, Twins::None), "{row:?}");
        assert!(row.rounds.iter().all(|round| round.twins_us.abs() < 1e-9), "{row:?}");
    }
}

#[tokio::test]
async fn a_configuration_that_the_module_refuses_is_an_error() {
    for side in ["proxies", "twins"] {
        let mut spec = spec("leastload");
        let config = if side == "twins" { &mut spec.twin_config } else { &mut spec.config };
        *config = json!({"no_such_field": 1});
        let error = rows::run(&spec, program(), |_| {}).await.unwrap_err().to_string();
        assert!(error.contains("no_such_field"), "{side}: {error}");
    }
}

#[test]
fn a_program_that_cannot_serve_is_an_error() {
    let error = servers::start(Path::new("/bin/false"), 1, &[1.0]).unwrap_err().to_string();
    assert!(error.contains("the servers said ''"), "{error}");
}
