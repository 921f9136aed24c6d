//! Every scenario in real Envoys, against the golden traces.

use leastload_conformance::{
    differences, envoy,
    golden::{self, Traces},
    scenario,
};
use leastload_fleet::envoy::VERSIONS;

async fn traces(version: &str) -> Traces {
    let scenarios = scenario::all();
    let mut bench = envoy::Bench::start(&scenarios, version).await;
    let mut traces = Traces::new();
    for scenario in &scenarios {
        traces.insert(scenario.name.clone(), bench.run(scenario).await);
    }
    traces
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_release_does_what_the_golden_traces_say() {
    let (scenarios, newest) = (scenario::all(), VERSIONS[0]);
    assert!(scenarios.len() >= 150, "only {} scenarios", scenarios.len());
    let traces = traces(newest).await;
    if std::env::var_os("LEASTLOAD_BLESS").is_some() {
        let vain =
            |(_, trace): &(&String, &Vec<String>)| trace.iter().any(|l| l.starts_with("never"));
        assert_eq!(traces.iter().find(vain), None, "it waited in vain");
        golden::write(&scenarios, &traces);
    }
    let faults = differences::faults(newest, &golden::read(&scenarios), &traces);
    assert!(faults.is_empty(), "{faults}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_release_differs_as_listed() {
    let oldest = VERSIONS[VERSIONS.len() - 1];
    let traces = traces(oldest).await;
    let faults = differences::faults(oldest, &golden::read(&scenario::all()), &traces);
    assert!(faults.is_empty(), "{faults}");
}
