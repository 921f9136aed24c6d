//! What the demo found: the content of `result.json`, and what it has to prove.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Arm, DemoSpec, Round};
use crate::load::LoadReport;
pub use crate::spread::Spread;

/// How far a server's share of the work may be from its fair share, as a share of that.
pub const FAIR_WITHIN: f64 = 0.10;

/// What "fair share" means here; printed with the table.
pub const FAIR_SHARE: &str = "Fair share of a server: its slots x speed as a share of the whole \
fleet's, so that a half-speed server's is half. Below the calls of each server: the share of all \
completed work (milliseconds of service time at full speed) that it did, divided by its fair share; \
1.00 is fair.";

/// Everything.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Outcome {
    /// How it was measured.
    pub settings: Settings,
    /// What was measured, in the order shown.
    pub arms: Vec<ArmResult>,
    /// What had to hold, and whether it did.
    pub checks: Vec<Check>,
}

/// How it was measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Settings {
    /// The servers.
    pub servers: Vec<ServerInfo>,
    /// Distribution of the work of a call.
    pub work: String,
    /// Calls offered a second.
    pub rate: f64,
    /// Offered work as a share of the servers' capacity.
    pub load: f64,
    /// Seconds measured in each round.
    pub measured_s: f64,
    /// Seconds of the same load before that.
    pub warm_up_s: f64,
    /// Rounds of each arm but L4, which has one.
    pub rounds: u64,
    /// Time a call may take, seconds.
    pub deadline_s: f64,
    /// Client connections; one by L4.
    pub connections: usize,
    /// Envoy's release, or the path in `$ENVOY`, and its workers.
    pub envoy: String,
    /// See [`Settings::envoy`].
    pub workers: u32,
    /// Seed of the first round.
    pub seed: u64,
    /// Seconds the demo took.
    pub took_s: f64,
}

/// A server of the demo.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ServerInfo {
    /// `s1`, `s2`, ...
    pub name: String,
    /// Calls it works on at once.
    pub slots: usize,
    /// Work per time.
    pub speed: f64,
    /// Its share of the fleet's capacity, 0 to 1.
    pub fair_share: f64,
}

/// What one arm did, over all its rounds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ArmResult {
    /// [`Arm::key`].
    pub key: String,
    /// [`Arm::name`].
    pub name: String,
    /// Calls sent.
    pub calls: u64,
    /// Calls that did not end well.
    pub failed: u64,
    /// Calls by gRPC status code name.
    pub codes: BTreeMap<String, u64>,
    /// Milliseconds from the due time, of calls that ended well.
    pub p50_ms: Spread,
    /// See [`ArmResult::p50_ms`].
    pub p99_ms: Spread,
    /// See [`ArmResult::p50_ms`].
    pub p999_ms: Spread,
    /// Percentile and milliseconds, of all calls of all rounds; a failed call counts with the time
    /// until it failed.
    pub curve: Vec<(f64, f64)>,
    /// Milliseconds by which the client sent late, 99th percentile; about 2 is the timer, more
    /// means that the machine was too busy to be believed.
    pub sent_late_p99_ms: f64,
    /// By server, in the order of [`Settings::servers`].
    pub servers: Vec<ServerResult>,
}

/// What one server had to do in one arm.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ServerResult {
    /// Calls it answered well.
    pub calls: u64,
    /// Their work, milliseconds at full speed.
    pub work_ms: f64,
    /// Share of the arm's work divided by the fair share; 1 is fair.
    pub of_fair_share: f64,
    /// Most calls in flight at once in any round.
    pub max_in_flight: u32,
    /// Time average of the calls in flight while load was offered, mean of the rounds.
    pub mean_in_flight: f64,
    /// Seconds and calls in flight (means over a quarter of a second), first round.
    pub timeline: Vec<(f64, f64)>,
}

/// Something that has to hold.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Check {
    /// What.
    pub what: String,
    /// What was found.
    pub found: String,
    /// Whether it holds.
    pub holds: bool,
}

impl Settings {
    pub(super) fn new(spec: &DemoSpec, rate: f64, took: Duration) -> Self {
        let capacity: f64 = (0..spec.servers).map(|server| spec.speed(server)).sum();
        let servers = (0..spec.servers).map(|server| ServerInfo {
            name: format!("s{}", server + 1),
            slots: spec.slots,
            speed: spec.speed(server),
            fair_share: spec.speed(server) / capacity,
        });
        Self {
            servers: servers.collect(),
            work: spec.work.to_string(),
            rate,
            load: spec.load,
            measured_s: spec.measured.as_secs_f64(),
            warm_up_s: spec.warm_up.as_secs_f64(),
            rounds: spec.rounds,
            deadline_s: spec.deadline.as_secs_f64(),
            connections: spec.connections,
            // The user's own binary wins, whatever release was asked for.
            envoy: std::env::var("ENVOY").unwrap_or_else(|_| spec.envoy.version.clone()),
            workers: spec.envoy.concurrency,
            seed: spec.seed,
            took_s: took.as_secs_f64().round(),
        }
    }
}

impl ArmResult {
    pub(super) fn new(arm: Arm, rounds: &[Round], servers: &[ServerInfo]) -> Self {
        let mut all = rounds.first().map(|round| round.load.clone());
        for round in rounds.iter().skip(1) {
            if let Some(all) = &mut all {
                all.merge(&round.load);
            }
        }
        let all = all.unwrap_or_default();
        let total: f64 = all.servers.values().map(|share| share.work_ms).sum();
        let spread = |percentile: f64| {
            Spread::over(rounds.iter().map(|round| round.load.percentile_ms(percentile)).collect())
        };
        Self {
            key: arm.key().into(),
            name: arm.name().into(),
            calls: all.sent,
            failed: all.failed(),
            p50_ms: spread(50.0),
            p99_ms: spread(99.0),
            p999_ms: spread(99.9),
            curve: curve(&all),
            sent_late_p99_ms: all.lateness.value_at_percentile(99.0) as f64 / 1e3,
            servers: servers
                .iter()
                .enumerate()
                .map(|(index, info)| ServerResult::new(index, info, rounds, &all, total))
                .collect(),
            codes: all.codes,
        }
    }
}

impl ServerResult {
    fn new(
        index: usize,
        info: &ServerInfo,
        rounds: &[Round],
        all: &LoadReport,
        total: f64,
    ) -> Self {
        let stats = || rounds.iter().filter_map(|round| round.servers.get(index));
        let address = stats().next().map_or("", |stats| stats.served_by.as_str());
        let share = all.servers.get(address).copied().unwrap_or_default();
        let samples = stats().next();
        Self {
            calls: share.calls,
            work_ms: share.work_ms.round(),
            of_fair_share: if total > 0.0 { share.work_ms / total / info.fair_share } else { 0.0 },
            max_in_flight: stats().map(|stats| stats.max_in_flight).max().unwrap_or(0),
            mean_in_flight: stats().map(|stats| stats.mean_in_flight).sum::<f64>()
                / stats().count().max(1) as f64,
            timeline: samples
                .map(|stats| timeline(&stats.samples, f64::from(stats.sample_ms) / 1e3))
                .unwrap_or_default(),
        }
    }
}

/// Means over five samples each, with the middle of their time.
fn timeline(samples: &[u32], step: f64) -> Vec<(f64, f64)> {
    let group = 5;
    samples
        .chunks_exact(group)
        .enumerate()
        .map(|(index, chunk)| {
            let mean = f64::from(chunk.iter().sum::<u32>()) / group as f64;
            let middle = (index as f64 + 0.5) * group as f64 * step;
            ((middle * 1e3).round() / 1e3, mean)
        })
        .collect()
}

/// The latency curve in even steps of the number of nines.
fn curve(report: &LoadReport) -> Vec<(f64, f64)> {
    let all = report.all();
    if all.is_empty() {
        return Vec::new();
    }
    let most = (all.len() as f64).log10();
    let steps = 60_u32;
    (0..=steps)
        .map(|step| most * f64::from(step) / f64::from(steps))
        .map(|nines| 100.0 * (1.0 - 10_f64.powf(-nines)))
        .map(|percentile| (percentile, all.value_at_percentile(percentile) as f64 / 1e3))
        .collect()
}

impl Outcome {
    pub(super) fn new(settings: Settings, arms: Vec<ArmResult>) -> Self {
        let checks = checks(&settings, &arms);
        Self { settings, arms, checks }
    }

    /// Whether all that was checked holds.
    pub fn holds(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }

    /// The arm with this key, where it ran.
    pub fn arm(&self, arm: Arm) -> Option<&ArmResult> {
        find(&self.arms, arm)
    }
}

fn find(arms: &[ArmResult], arm: Arm) -> Option<&ArmResult> {
    arms.iter().find(|result| result.key == arm.key())
}

fn checks(settings: &Settings, arms: &[ArmResult]) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(l4) = find(arms, Arm::L4) {
        // As the servers saw it: of the calls on one overloaded server few or none end in time.
        let busy = l4.servers.iter().filter(|server| server.max_in_flight > 0).count();
        checks.push(Check {
            what: "L4 puts all calls on one server".into(),
            found: format!("{busy} of {} servers had calls", settings.servers.len()),
            holds: busy == 1,
        });
    }
    let Some(ours) = find(arms, Arm::Leastload) else { return checks };
    let shares = || ours.servers.iter().map(|server| server.of_fair_share);
    let (low, high) = (shares().fold(f64::MAX, f64::min), shares().fold(0.0, f64::max));
    checks.push(Check {
        what: format!(
            "leastload gives every server its fair share of work, within {:.0} %",
            FAIR_WITHIN * 100.0
        ),
        found: format!("{low:.2} to {high:.2} of it"),
        holds: low >= 1.0 - FAIR_WITHIN && high <= 1.0 + FAIR_WITHIN,
    });
    if let Some(theirs) = find(arms, Arm::LeastRequest) {
        checks.push(Check {
            what: "p99 of leastload is below that of LEAST_REQUEST".into(),
            found: format!(
                "{:.1} ms and {:.1} ms, medians of the rounds",
                ours.p99_ms.median, theirs.p99_ms.median
            ),
            holds: ours.p99_ms.median < theirs.p99_ms.median,
        });
    }
    checks.push(Check {
        what: "no call fails with leastload".into(),
        found: format!("{} of {}", ours.failed, ours.calls),
        holds: ours.failed == 0,
    });
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_averages_five_samples() {
        let line = timeline(&[0, 1, 2, 3, 4, 10, 10, 10, 10, 10, 7], 0.05);
        assert_eq!(line, [(0.125, 2.0), (0.375, 10.0)]);
    }
}
