//! What several rounds say together: medians, and how far the rounds were apart.

use serde::Serialize;

use crate::{arm::Arm, run::Outcome};

/// If the reference's highest round is more than so many times its lowest, the machine was too busy
/// for the figures to mean much.
pub const STEADY: f64 = 1.15;

/// Median and range of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one, or the mean of the middle two.
    pub median: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
    /// An interval that holds the true median with at least 95 % confidence, whatever the
    /// distribution (order statistics); none for fewer than six values.
    pub confident: Option<(f64, f64)>,
}

impl Spread {
    /// Of these values; `None` if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let count = values.len();
        let median = f64::midpoint(values[(count - 1) / 2], values[count / 2]);
        let confident = rank(count).map(|rank| (values[rank], values[count - 1 - rank]));
        Some(Self { median, low, high, confident })
    }
}

/// How many values may be left out at either end, so that the true median lies between the others
/// with 95 % confidence: the largest `k` with `P(Binomial(count, 1/2) <= k) <= 0.025`.
fn rank(count: usize) -> Option<usize> {
    let mut term = 0.5_f64.powi(i32::try_from(count).ok()?);
    let (mut sum, mut rank) = (term, None);
    for k in 0..count / 2 {
        if sum > 0.025 {
            break;
        }
        rank = Some(k);
        term *= (count - k) as f64 / (k + 1) as f64;
        sum += term;
    }
    rank
}

/// What stamps cost, beside what they may.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StampCost {
    /// CPU time of a request, less that of the arm without stamps in the same round, in microseconds.
    pub us: Spread,
    /// What its median should not exceed; none for a filter that does the least, whose price is Envoy's.
    pub target_us: Option<f64>,
}

/// One arm over all rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Row {
    /// Which.
    pub arm: Arm,
    /// CPU time of the whole Envoy for a request, in microseconds.
    pub cpu_us: Spread,
    /// That, in each round divided by the reference's in the same round.
    pub ratio: Spread,
    /// The same ratio of the workers' CPU time alone.
    pub worker_ratio: Spread,
    /// Medians of the rest; see [`crate::run::Sample`].
    pub rate: f64,
    /// As above.
    pub workers_busy: f64,
    /// As above.
    pub load_busy: f64,
    /// As above.
    pub reads: f64,
    /// As above.
    pub sleeps: f64,
    /// Lowest of all rounds.
    pub steered: Option<f64>,
    /// Share of the responses with a stamp that was read, lowest of all rounds.
    pub stamped: Option<f64>,
    /// What stamps cost, where the arm without them was measured too.
    pub stamps: Option<StampCost>,
    /// CPU time of the idle Envoy, in milliseconds a second.
    pub idle: f64,
}

/// A row for each arm, in the order of the plan.
pub fn rows(outcome: &Outcome) -> Vec<Row> {
    let reference = outcome.samples.get(&Arm::REFERENCE).map_or(&[][..], Vec::as_slice);
    let row = |arm: &Arm| {
        let samples = outcome.samples.get(arm)?;
        let median = |of: fn(&crate::run::Sample) -> f64| {
            Spread::of(samples.iter().map(of)).map_or(f64::NAN, |spread| spread.median)
        };
        let ratio = |of: fn(&crate::run::Sample) -> f64| {
            Spread::of(samples.iter().zip(reference).map(|(sample, to)| of(sample) / of(to)))
        };
        Some(Row {
            arm: *arm,
            cpu_us: Spread::of(samples.iter().map(|sample| sample.cpu_us))?,
            ratio: ratio(|sample| sample.cpu_us)?,
            worker_ratio: ratio(|sample| sample.worker_us)?,
            rate: median(|sample| sample.rate),
            workers_busy: median(|sample| sample.workers_busy),
            load_busy: median(|sample| sample.load_busy),
            reads: median(|sample| sample.reads),
            sleeps: median(|sample| sample.sleeps),
            steered: samples.iter().filter_map(|sample| sample.steered).reduce(f64::min),
            stamped: samples.iter().filter_map(|sample| sample.stamped).reduce(f64::min),
            stamps: stamp_cost(outcome, *arm),
            idle: outcome.idle.get(arm).copied().unwrap_or(f64::NAN),
        })
    };
    outcome.plan.arms.iter().filter_map(row).collect()
}

fn stamp_cost(outcome: &Outcome, arm: Arm) -> Option<StampCost> {
    let (with, without) =
        (outcome.samples.get(&arm)?, outcome.samples.get(&arm.without_stamps()?)?);
    let pairs = with.iter().zip(without);
    let us = Spread::of(pairs.map(|(with, without)| with.cpu_us - without.cpu_us))?;
    Some(StampCost { us, target_us: arm.stamps_target_us() })
}

/// Whether the reference cost about the same in all rounds.
pub fn steady(rows: &[Row]) -> bool {
    let reference = rows.iter().find(|row| row.arm == Arm::REFERENCE);
    reference.is_some_and(|row| row.cpu_us.high <= row.cpu_us.low * STEADY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ranges() {
        let spread = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.low, spread.high), (2.0, 1.0, 3.0));
        assert_eq!(spread.confident, None);
        let median = |of: &[f64]| Spread::of(of.iter().copied()).map(|spread| spread.median);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn the_interval_of_the_median_is_that_of_the_tables() {
        // Conover, Practical Nonparametric Statistics: ranks (1, 6), (2, 9), (6, 15), (15, 26).
        for (count, left_out) in [(5, None), (6, Some(0)), (10, Some(1)), (20, Some(5))] {
            assert_eq!(rank(count), left_out, "{count} values");
        }
        let spread = Spread::of((1..=20).map(f64::from)).unwrap();
        assert_eq!(spread.confident, Some((6.0, 15.0)));
    }
}
