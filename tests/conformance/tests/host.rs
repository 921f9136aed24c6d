//! Every scenario in the test host, against the golden traces, which are those of Envoy.

use std::panic::{AssertUnwindSafe, catch_unwind};

use leastload_conformance::{
    differences,
    golden::{self, Traces},
    host, scenario,
};

#[test]
fn the_test_host_differs_from_envoy_as_listed() {
    let scenarios = scenario::all();
    let bench = host::Bench::new();
    let mut traces = Traces::new();
    for scenario in &scenarios {
        let run = AssertUnwindSafe(|| bench.run(scenario));
        let trace = catch_unwind(run).unwrap_or_else(|_| vec!["panicked".into()]);
        traces.insert(scenario.name.clone(), trace);
    }
    let faults = differences::faults("testhost", &golden::read(&scenarios), &traces);
    assert!(faults.is_empty(), "{faults}");
}
