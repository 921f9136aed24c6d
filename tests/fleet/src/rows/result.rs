//! What a run found: the content of `fleet.json`, see [`Outcome`].

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Policy, Row, Spec, Twins, usage};
use crate::{load::LoadReport, spread::Spread};

/// Version of the JSON; another one means that a field changed its meaning or went away.
pub const VERSION: u32 = 1;

/// `fleet.json`. Times are in milliseconds from when a call was due to its end, of calls that ended
/// well; shares are from 0 to 1; `..` stands for what is left out here:
///
/// ```json
/// {
///   "version": 1,
///   "spec": {
///     "proxies": 20, "servers": 20, "slots": 4, "speeds": [1.0, 0.5, ..], "work": "exp:40ms",
///     "capacity": 1500.0, "measured_s": 12.0, "warm_up_s": 3.0, "rounds": 3, "seed": 1,
///     "envoy": "1.40.0", "cores": 2, "proxy_processes": 20, "twin_processes": 20,
///     "idle": {"proxies_busy": 0.01, "twins_busy": 0.005}
///   },
///   "rows": [
///     {
///       "policy": "least_request", "arm": "least_request", "twins": "plain",
///       "configuration": null, "proxies": 20, "load": 0.9, "rate": 1350.0,
///       "calls": 48600, "errors": 0,
///       "rounds": [
///         {
///           "seed": 1, "calls": 16200, "errors": 0,
///           "p50_ms": 60.1, "p90_ms": .., "p99_ms": .., "p999_ms": .., "max_ms": .., "mean_ms": ..,
///           "client_late_p99_ms": 2.1, "machine_busy": 0.5, "others_busy": 0.03,
///           "client_busy": .., "servers_busy": .., "proxies_busy": .., "twins_busy": ..,
///           "proxies_us": 61.2, "twins_us": 48.0, "probes": 0.0, "steered": null,
///           "servers": [
///             {"calls": 1080, "mean_in_flight": 4.1, "most_in_flight": 13,
///              "told": {"service_ms": 39.8, "slots": 4.2}}, ..
///           ]
///         }, ..
///       ],
///       "p50_ms": {"median": 60.1, "min": 59.0, "max": 61.3},
///       "p90_ms": .., "p99_ms": .., "p999_ms": .., "mean_ms": ..,
///       "proxies_us": .., "twins_us": .., "probes": ..
///     }, ..
///   ]
/// }
/// ```
///
/// `policy` is `round_robin`, `least_request`, `full_scan` or `leastload`; `arm` tells rows of one
/// policy apart (`leastload_without_twins`, `leastload-VARIANT`); `twins` is what stands before each
/// server: `none`, `plain` Envoys or those with the `module`. `load` is the offered work
/// as a share of `capacity`, `rate` the calls a second that make it up; `proxies` of a row is
/// through how many its calls went, `proxies_us` and `twins_us` the CPU time of these proxies and of
/// all twins by call, ticking filters of other rows included (`idle` has what all of them use
/// without calls), `probes` how often a proxy asked a server, by call; `servers` of a round is what each
/// was given in it, and what its twin `told` of it at the end, null where it has none. Rows are in the order of the table.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Outcome {
    /// [`VERSION`].
    pub version: u32,
    /// How it was measured.
    pub spec: Settings,
    /// What was measured.
    pub rows: Vec<RowResult>,
}

/// How it was measured.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Settings {
    /// Proxies.
    pub proxies: usize,
    /// Servers.
    pub servers: usize,
    /// Calls a server works on at once.
    pub slots: usize,
    /// Work per time, by server.
    pub speeds: Vec<f64>,
    /// Distribution of the work of a call at speed 1.
    pub work: String,
    /// Calls a second that all servers together can answer.
    pub capacity: f64,
    /// Seconds measured in each round of each row.
    pub measured_s: f64,
    /// Seconds of the same load before that.
    pub warm_up_s: f64,
    /// Rounds.
    pub rounds: u64,
    /// Seed of the first round.
    pub seed: u64,
    /// Release of Envoy, or the path in `$ENVOY`.
    pub envoy: String,
    /// Cores of the machine.
    pub cores: usize,
    /// Envoys, each with one worker, that the proxies are; 0 where that was not written down.
    #[serde(default)]
    pub proxy_processes: usize,
    /// Envoys before the servers; 0 where there are none.
    pub twin_processes: usize,
    /// What the Envoys use without calls.
    pub idle: Idle,
}

/// Shares of all cores that the Envoys use without calls, with all their filters.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Idle {
    /// By all proxies.
    pub proxies_busy: f64,
    /// By the servers' own Envoys.
    pub twins_busy: f64,
}

/// One row.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct RowResult {
    /// How its proxies choose.
    pub policy: Policy,
    /// The row's name in options, proxies and load left out; see [`super::Arm::key`].
    pub arm: String,
    /// What stands before each server.
    pub twins: Twins,
    /// Plugin configuration of the proxies; null where they have no module.
    pub configuration: Value,
    /// Through how many proxies its calls went.
    pub proxies: usize,
    /// Offered work as a share of the servers' capacity.
    pub load: f64,
    /// Offered calls a second.
    pub rate: f64,
    /// Calls measured in all rounds.
    pub calls: u64,
    /// Of these, how many did not end well.
    pub errors: u64,
    /// Each round.
    pub rounds: Vec<Round>,
    /// Median.
    pub p50_ms: Spread,
    /// 90th percentile.
    pub p90_ms: Spread,
    /// 99th percentile.
    pub p99_ms: Spread,
    /// 99.9th percentile.
    pub p999_ms: Spread,
    /// Mean.
    pub mean_ms: Spread,
    /// CPU time by call, in microseconds, of the proxies that the calls went through.
    pub proxies_us: Spread,
    /// CPU time by call, in microseconds, of all the servers' own Envoys.
    pub twins_us: Spread,
    /// Questions to servers by call.
    pub probes: Spread,
}

/// One round of one row.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Round {
    /// Its seed.
    pub seed: u64,
    /// Calls measured.
    pub calls: u64,
    /// Of these, how many did not end well.
    pub errors: u64,
    /// Median.
    pub p50_ms: f64,
    /// 90th percentile.
    pub p90_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// 99.9th percentile.
    pub p999_ms: f64,
    /// Longest.
    pub max_ms: f64,
    /// Mean.
    pub mean_ms: f64,
    /// How late the client sent, 99th percentile: about 2 is the timer, more means that the
    /// machine was too busy to be believed.
    pub client_late_p99_ms: f64,
    /// Share of all cores that was used while it was measured.
    pub machine_busy: f64,
    /// Of this, neither by client nor servers nor Envoys.
    pub others_busy: f64,
    /// Of this, by the client.
    pub client_busy: f64,
    /// Of this, by the servers.
    pub servers_busy: f64,
    /// Of this, by all proxies, idle ones included.
    pub proxies_busy: f64,
    /// Of this, by the servers' own Envoys.
    pub twins_busy: f64,
    /// CPU time by call, in microseconds, of the proxies that the calls went through.
    pub proxies_us: f64,
    /// CPU time by call, in microseconds, of all the servers' own Envoys.
    pub twins_us: f64,
    /// Questions to servers by call, those of the warm-up included.
    pub probes: f64,
    /// Share of the calls, those of the warm-up included, that went where leastload said; null for
    /// other policies.
    pub steered: Option<f64>,
    /// By server; empty where that was not written down.
    #[serde(default)]
    pub servers: Vec<ServerRound>,
}

/// A server in one round.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ServerRound {
    /// Calls that came.
    pub calls: u64,
    /// Calls there at a time, waiting ones included: mean over time.
    pub mean_in_flight: f64,
    /// The most.
    pub most_in_flight: u32,
    /// What its twin says of it at the end; None where it has none.
    pub told: Option<Told>,
}

/// What a twin says of its server; zeros where it does not know yet.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Told {
    /// Time of service, in milliseconds.
    pub service_ms: f64,
    /// Calls served at a time.
    pub slots: f64,
}

impl Settings {
    pub(super) fn new(spec: &Spec, idle: Idle) -> Self {
        Self {
            proxies: spec.proxies,
            servers: spec.servers,
            slots: spec.slots,
            speeds: spec.speeds(),
            work: spec.work.to_string(),
            capacity: round(spec.capacity()),
            measured_s: spec.measured.as_secs_f64(),
            warm_up_s: spec.warm_up.as_secs_f64(),
            rounds: spec.rounds,
            seed: spec.seed,
            envoy: std::env::var("ENVOY").unwrap_or_else(|_| spec.envoy.clone()),
            cores: usage::cores(),
            proxy_processes: spec.proxy_processes(),
            twin_processes: if spec.twins { spec.twin_processes() } else { 0 },
            idle,
        }
    }
}

/// What the module counted in a round, by call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    pub steered: f64,
    pub probes: f64,
}

impl Idle {
    pub(super) fn new(busy: usage::Busy) -> Self {
        Self { proxies_busy: round(busy.proxies), twins_busy: round(busy.twins) }
    }
}

impl Round {
    pub(super) fn new(
        seed: u64,
        load: &LoadReport,
        busy: usage::Busy,
        counted: Option<Counted>,
        servers: Vec<ServerRound>,
    ) -> Self {
        let by_call = |time: Duration| round(time.as_secs_f64() * 1e6 / load.sent.max(1) as f64);
        Self {
            seed,
            calls: load.sent,
            errors: load.failed(),
            p50_ms: load.percentile_ms(50.0),
            p90_ms: load.percentile_ms(90.0),
            p99_ms: load.percentile_ms(99.0),
            p999_ms: load.percentile_ms(99.9),
            max_ms: load.percentile_ms(100.0),
            mean_ms: round(load.ok.mean() / 1e3),
            client_late_p99_ms: load.lateness.value_at_percentile(99.0) as f64 / 1e3,
            machine_busy: round(busy.machine),
            others_busy: round(busy.others()),
            client_busy: round(busy.client),
            servers_busy: round(busy.servers),
            proxies_busy: round(busy.proxies),
            twins_busy: round(busy.twins),
            proxies_us: by_call(busy.envoys.serving),
            twins_us: by_call(busy.envoys.twins),
            probes: counted.map_or(0.0, |counted| round(counted.probes)),
            steered: counted.map(|counted| round(counted.steered)),
            servers,
        }
    }
}

impl RowResult {
    /// The row of these rounds.
    pub(super) fn new(spec: &Spec, row: &Row, rounds: Vec<Round>) -> Self {
        let spread = |of: fn(&Round) -> f64| {
            let Spread { median, min, max } = Spread::over(rounds.iter().map(of).collect());
            // An even number of rounds has a median between two of them.
            Spread { median: round(median), min, max }
        };
        Self {
            policy: row.arm.policy,
            arm: row.arm.key(),
            twins: spec.twins_of(&row.arm),
            configuration: row.arm.steers().then(|| spec.configuration(&row.arm)).into(),
            proxies: row.proxies,
            load: row.load,
            rate: round(spec.rate(row)),
            calls: rounds.iter().map(|round| round.calls).sum(),
            errors: rounds.iter().map(|round| round.errors).sum(),
            p50_ms: spread(|round| round.p50_ms),
            p90_ms: spread(|round| round.p90_ms),
            p99_ms: spread(|round| round.p99_ms),
            p999_ms: spread(|round| round.p999_ms),
            mean_ms: spread(|round| round.mean_ms),
            proxies_us: spread(|round| round.proxies_us),
            twins_us: spread(|round| round.twins_us),
            probes: spread(|round| round.probes),
            rounds,
        }
    }

    /// The highest of a figure over the rounds.
    pub fn most(&self, of: fn(&Round) -> f64) -> f64 {
        self.rounds.iter().map(of).fold(0.0, f64::max)
    }
}

/// To three decimals: what is beyond is noise, and would not read back to the last digit.
pub(super) fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
