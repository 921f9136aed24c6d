//! Runs of one situation with several seeds, and what is compared.

use std::path::Path;

use leastload_sim::measure::Figures;
use leastload_sim::scenario::read;
use rayon::prelude::*;
use serde_json::{Value, json};

/// Mean service time of every situation here, in ms.
pub(crate) const SERVICE_MS: f64 = 10.0;

/// How far a figure may be from theory.
pub(crate) const TOLERANCE: f64 = 0.02;

/// Latency of a request, of some share of them.
pub(crate) const QUANTILES: [(&str, f64); 4] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// Who serves, what is asked of them, and for how long.
pub(crate) struct Situation {
    /// The scenario's group of servers.
    pub(crate) servers: Value,
    /// Its traffic.
    pub(crate) traffic: Value,
    /// Its policy.
    pub(crate) policy: &'static str,
    /// Mean service times before it is measured, and while it is.
    pub(crate) warm_up: f64,
    pub(crate) measured: f64,
    /// Mean service times between two looks at what is in flight.
    pub(crate) sample_every: f64,
    /// Runs.
    pub(crate) seeds: u64,
}

impl Default for Situation {
    fn default() -> Self {
        Self {
            servers: json!({"count": 1}),
            traffic: Value::Null,
            policy: "random",
            warm_up: 2_000.0,
            measured: 500_000.0,
            sample_every: 10_000.0,
            seeds: 16,
        }
    }
}

/// A number of mean service times, as scenarios write it.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) fn span(services: f64) -> String {
    format!("{}us", (services * SERVICE_MS * 1e3).round() as u64)
}

/// Exponential service.
pub(crate) fn exponential() -> Value {
    json!({"exponential": {"mean": span(1.0)}})
}

impl Situation {
    /// The runs' figures.
    pub(crate) fn run(&self) -> Vec<Figures> {
        let text = json!({
            "name": "analytic",
            "about": "A situation that theory can solve.",
            "warm_up": span(self.warm_up),
            "duration": span(self.warm_up + self.measured),
            "proxies": {"count": 1},
            "servers": [self.servers],
            "traffic": self.traffic,
            "network": {"delay": "0s"},
            "reports": {"period": span(self.sample_every * 32.0)},
            "policies": [self.policy],
        });
        let document = read(&text.to_string(), Path::new(".")).unwrap();
        let scenario = &document.variants[0].scenario;
        let rule = &scenario.policies[0].rule;
        (0..self.seeds)
            .into_par_iter()
            .map(|seed| leastload_sim::run(scenario, rule, seed, None))
            .collect()
    }

    /// The measured time of a run, in s.
    pub(crate) fn seconds(&self) -> f64 {
        self.measured * SERVICE_MS / 1e3
    }
}

/// The mean over runs, and its standard error.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn pooled(runs: &[Figures], figure: impl Fn(&Figures) -> f64) -> (f64, f64) {
    let count = runs.len() as f64;
    let values: Vec<f64> = runs.iter().map(figure).collect();
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0) / count).sqrt())
}

/// The runs agree with theory, and could not by chance.
pub(crate) fn agrees(what: &str, runs: &[Figures], figure: impl Fn(&Figures) -> f64, theory: f64) {
    agrees_within(TOLERANCE, what, runs, figure, theory);
}

/// As [`agrees`], where theory is not exact to 2 %.
pub(crate) fn agrees_within(
    tolerance: f64,
    what: &str,
    runs: &[Figures],
    figure: impl Fn(&Figures) -> f64,
    theory: f64,
) {
    let (mean, error) = pooled(runs, figure);
    let (off, error) = (mean / theory - 1.0, error / theory);
    println!(
        "| {what} | {theory:.4} | {mean:.4} | {:+.2} % | {:.2} % |",
        off * 100.0,
        error * 100.0
    );
    assert!(error * 3.0 < tolerance, "{what}: the runs are too short to tell: {error:.4}");
    assert!(off.abs() < tolerance, "{what}: {mean} instead of {theory}");
}

/// Mean latency agrees; both in mean service times.
pub(crate) fn mean_agrees(what: &str, runs: &[Figures], theory: f64) {
    agrees(&format!("{what}, mean"), runs, |run| run.latency_ms.mean / SERVICE_MS, theory);
}

/// Latency's quantiles agree, as far as `upto`, with those of a tail: the probability of more than
/// so many mean service times.
pub(crate) fn tail_agrees(what: &str, runs: &[Figures], upto: f64, tail: impl Fn(f64) -> f64) {
    for (name, share) in QUANTILES.into_iter().filter(|(_, share)| *share <= upto) {
        let figure = |run: &Figures| {
            let latency = &run.latency_ms;
            let ms = match name {
                "p50" => latency.p50,
                "p90" => latency.p90,
                "p99" => latency.p99,
                _ => latency.p999,
            };
            ms / SERVICE_MS
        };
        let theory = super::theory::quantile(&tail, share);
        agrees(&format!("{what}, {name}"), runs, figure, theory);
    }
}
