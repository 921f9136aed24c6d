//! The simulator says what real Envoys did.

use leastload_sim::against::{Compared, Measured, table};

/// How far a simulated p99 may be from a measured one.
const TOLERANCE: f64 = 0.15;

/// p99 in ms of the same rows on another machine, before this project measured them.
const EARLIER: [(&str, u32, f64, f64); 7] = [
    ("round_robin", 20, 0.8, 3402.0),
    ("least_request", 20, 0.8, 633.0),
    ("full_scan", 20, 0.8, 421.0),
    ("full_scan", 1, 0.8, 292.0),
    ("least_request", 20, 0.9, 782.0),
    ("full_scan", 20, 0.9, 504.0),
    ("full_scan", 1, 0.9, 301.0),
];

#[test]
fn simulated_and_measured_agree() {
    // What `make fleet` wrote last.
    let measured = Measured::parse(include_str!("../testdata/fleet.json")).unwrap();
    let rows = measured.compare().unwrap();
    println!("{}", table(&rows));
    let apart: Vec<_> =
        rows.iter().filter(|row| (row.p99_ratio() - 1.0).abs() > TOLERANCE).collect();
    assert!(apart.is_empty(), "{apart:#?}");
    for (policy, proxies, load, p99) in EARLIER {
        let same = |row: &&Compared| {
            (row.policy.as_str(), row.proxies) == (policy, proxies)
                && (row.load - load).abs() < 1e-9
        };
        let ratio = rows.iter().find(same).unwrap().simulated_p99() / p99;
        assert!((ratio - 1.0).abs() <= TOLERANCE, "{policy}, {proxies}, {load}: {ratio:.2}");
    }
}
