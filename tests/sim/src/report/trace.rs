//! What servers have in flight over time, from one more run.

use rayon::prelude::*;
use serde::Deserialize;

use super::summary::{Role, Situation, Summary};
use crate::batch::Task;
use crate::scenario::Entry;

/// Points of a curve at most: as many as can be told apart.
const POINTS: usize = 240;

/// In flight for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Its begin, in s.
    pub(super) at: f64,
    /// Mean over servers and time.
    pub(super) mean: f64,
    /// The most that any server had.
    pub(super) most: f64,
}

/// A policy's run.
#[derive(Debug)]
pub(super) struct Trace<'a> {
    /// The policy.
    pub(super) label: &'a str,
    /// Its samples.
    pub(super) samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Look {
    t_s: f64,
    in_flight: Vec<u32>,
}

/// For each scenario, seed `seed` of its most demanding situation: leastload (or, without it, the
/// first rival), Envoy's `LEAST_REQUEST` and the limit, as far as they ran.
pub(super) fn traces<'a>(summaries: &[Summary<'a>], seed: u64) -> Vec<Vec<Trace<'a>>> {
    let each = |summary: &Summary<'a>| {
        let hardest = summary.hardest();
        let trace = |entry: &&'a Entry| {
            let document = summary.document;
            let task = Task { document, variant: hardest.variant, entry, seed };
            let mut written = Vec::new();
            task.run_traced(&mut written);
            Trace { label: entry.label(), samples: samples(&written) }
        };
        shown(hardest).par_iter().map(trace).collect()
    };
    summaries.par_iter().with_max_len(1).map(each).collect()
}

fn shown<'a>(situation: &Situation<'a>) -> Vec<&'a Entry> {
    let rows = &situation.rows;
    let by_name = |name: &str| rows.iter().find(|row| row.entry.rule.name() == name);
    let playing = |role: Role| rows.iter().find(|row| row.role == role);
    let ours = playing(Role::Leastload).or_else(|| playing(Role::Rival));
    let mut shown: Vec<&Entry> = Vec::new();
    for row in [ours, by_name("least_request"), by_name("central")].into_iter().flatten() {
        if !shown.iter().any(|entry| entry.label() == row.entry.label()) {
            shown.push(row.entry);
        }
    }
    shown
}

/// At most [`POINTS`] samples: means are averaged, of the most the most is kept.
#[allow(clippy::cast_precision_loss)]
fn samples(written: &[u8]) -> Vec<Sample> {
    let looks: Vec<Sample> = serde_json::Deserializer::from_slice(written)
        .into_iter::<Look>()
        .map_while(Result::ok)
        .map(|look| {
            let sum: u64 = look.in_flight.iter().copied().map(u64::from).sum();
            let most = look.in_flight.iter().copied().max().unwrap_or(0);
            let mean = sum as f64 / (look.in_flight.len() as f64).max(1.0);
            Sample { at: look.t_s, mean, most: f64::from(most) }
        })
        .collect();
    let size = looks.len().div_ceil(POINTS).max(1);
    let merged = |looks: &[Sample]| Sample {
        at: looks[0].at,
        mean: looks.iter().map(|look| look.mean).sum::<f64>() / looks.len() as f64,
        most: looks.iter().map(|look| look.most).fold(0.0, f64::max),
    };
    looks.chunks(size).map(merged).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_keep_means_and_maxima() {
        let line = |at| format!("{{\"t_s\":{at},\"in_flight\":[{},2,0]}}", at % 2 * 4);
        let text = (0..2 * POINTS).map(line).collect::<Vec<_>>().join(
            "
",
        );
        let samples = samples(text.as_bytes());
        assert_eq!(samples.len(), POINTS);
        assert!(samples.iter().all(|sample| (sample.mean - 4.0 / 3.0).abs() < 1e-9));
        assert!(samples.iter().all(|sample| (sample.most - 4.0).abs() < 1e-9));
    }
}
