//! `sim fleets`, and `sim run` of the file that it writes.

use std::process::Command;

use leastload_sim::measure::Line;
use leastload_sim::report::standing::figure;
use tempfile::tempdir;

/// Few servers, few proxies: it is simulated quickly.
const QUICK: &str = "46";

fn sim(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_sim")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
fn a_written_fleet_gives_the_figures_of_the_table() {
    let table = || sim(&["fleets", "--seed", QUICK, "--count", "1"]).unwrap();
    let (table, again) = (table(), table());
    assert_eq!(table, again);
    let row: Vec<&str> = table.lines().last().unwrap().split(" | ").collect();

    let folder = tempdir().unwrap();
    let path = folder.path().join("fleet.json");
    let path = path.to_str().unwrap();
    assert_eq!(sim(&["fleets", "--seed", QUICK, "--count", "1", "--write", path]).unwrap(), "");
    let lines = sim(&["run", path, "--seed", QUICK]).unwrap();
    let lines: Vec<Line> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let latency =
        |policy: &str| lines.iter().find(|line| line.policy == policy).unwrap().figures.latency_ms;

    let (ours, theirs, limit) =
        (latency("leastload"), latency("least_request"), latency("central"));
    let ratio = |ours: f64, theirs: f64| format!("{:.2}", ours / theirs);
    assert_eq!(row[0], format!("| {QUICK}"));
    assert_eq!(
        row[2..5],
        [figure(ours.p99), ratio(ours.p99, theirs.p99), ratio(ours.mean, theirs.mean)]
    );
    assert_eq!(row[6], ratio(ours.p99, limit.p99) + " |");
}

#[test]
fn only_one_fleet_can_be_written() {
    let error = sim(&["fleets", "--count", "2", "--write", "/nowhere/fleet.json"]).unwrap_err();
    assert_eq!(error, "sim: --write takes one fleet: --count 1\n");
    let error = sim(&["fleets", "--count", "1", "--write", "/nowhere/fleet.json"]).unwrap_err();
    assert!(error.starts_with("sim: /nowhere/fleet.json: "), "{error}");
}
