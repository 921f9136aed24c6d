//! The simulator says what real Envoys did: the rows that `make fleet` measured last.

use leastload_sim::against::{Measured, table};

/// How far a simulated p99 may be from the measured one.
const TOLERANCE: f64 = 0.15;

#[test]
fn simulated_and_measured_agree() {
    let measured = Measured::parse(include_str!("../testdata/fleet.json")).unwrap();
    let rows = measured.compare().unwrap();
    println!("{}", table(&rows));
    assert!(rows.len() >= 7, "{} rows", rows.len());
    let apart: Vec<_> =
        rows.iter().filter(|row| (row.p99_ratio() - 1.0).abs() > TOLERANCE).collect();
    assert!(apart.is_empty(), "{apart:#?}");
}
