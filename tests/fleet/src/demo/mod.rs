//! `make demo`: the same seeded work through four ways of balancing, and what it did to servers
//! and callers.
//!
//! Real servers, a real Envoy for each run, an open-loop client. Rounds are interleaved (every arm
//! once, then every arm again), so that whatever else the machine does meets all arms alike.

use std::{path::PathBuf, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    Error, Result,
    envoy::{Envoy, Options},
    fleet::Fleet,
    load::{self, Bound, LoadReport, LoadSpec},
    proto::stats::StatsReply,
    server::{ServerOptions, ServiceTime},
};

mod arm;
pub mod html;
pub mod result;
mod svg;
pub mod table;

pub use arm::Arm;

use result::{ArmResult, Outcome, Settings};

/// Width and height of the report's picture for the README, in CSS pixels.
pub const PICTURE: (u32, u32) = (1200, 1600);

/// What to compare, how.
#[derive(Clone, Debug)]
pub struct DemoSpec {
    /// Arms in the order they are shown.
    pub arms: Vec<Arm>,
    /// Path of the module; needed by [`Arm::Leastload`].
    pub module: PathBuf,
    /// Servers, 2 or more.
    pub servers: usize,
    /// Calls a server works on at once.
    pub slots: usize,
    /// Speed of the last server; the others have 1.
    pub slow_speed: f64,
    /// Work of a call.
    pub work: ServiceTime,
    /// Offered work as a share of what all servers together can do, above 0.
    pub load: f64,
    /// Time measured in each round.
    pub measured: Duration,
    /// Time before that in each round, under the same load.
    pub warm_up: Duration,
    /// Times each arm runs; [`Arm::L4`] runs in the first round only, because it takes long to
    /// drain and does not vary.
    pub rounds: u64,
    /// Time a call may take.
    pub deadline: Duration,
    /// Connections of the client; one by L4.
    pub connections: usize,
    /// Envoy and its workers.
    pub envoy: Options,
    /// Seed of due times and work; round `n` uses `seed + n` in every arm.
    pub seed: u64,
}

impl Default for DemoSpec {
    fn default() -> Self {
        Self {
            arms: Arm::ALL.to_vec(),
            module: "dist/leastload.wasm".into(),
            servers: 6,
            slots: 4,
            slow_speed: 0.5,
            work: ServiceTime::Uniform(Duration::from_millis(10), Duration::from_millis(50)),
            load: 0.85,
            measured: Duration::from_secs(8),
            warm_up: Duration::from_secs(2),
            rounds: 3,
            deadline: Duration::from_secs(12),
            connections: 4,
            envoy: Options::default(),
            seed: 1,
        }
    }
}

impl DemoSpec {
    fn check(&self) -> Result<()> {
        let fault = if self.arms.is_empty() {
            "no arm to run".to_owned()
        } else if self.servers < 2 || self.slots == 0 || self.rounds == 0 || self.connections == 0 {
            "the demo needs 2 servers, a slot, a round and a connection".to_owned()
        } else if !(self.slow_speed > 0.0 && self.load > 0.0 && self.rate().is_finite()) {
            "speed, load and work must be above 0".to_owned()
        } else if self.arms.contains(&Arm::Leastload) && !self.module.is_file() {
            format!("{} is missing: run `make build` first", self.module.display())
        } else {
            return Ok(());
        };
        Err(Error::Argument(fault))
    }

    fn speed(&self, server: usize) -> f64 {
        if server + 1 == self.servers { self.slow_speed } else { 1.0 }
    }

    /// Calls a second that make up the load.
    fn rate(&self) -> f64 {
        let speeds: f64 = (0..self.servers).map(|server| self.speed(server)).sum();
        self.load * speeds * self.slots as f64 / self.work.mean().as_secs_f64()
    }
}

/// One run of one arm.
pub(crate) struct Round {
    pub(crate) load: LoadReport,
    /// By server, in the fleet's order.
    pub(crate) servers: Vec<StatsReply>,
}

/// Runs all arms, telling `progress` about it line by line.
///
/// # Errors
/// When servers or Envoys do not start or the specification makes no sense; arms that do badly are
/// no error but a result.
pub async fn run(spec: &DemoSpec, progress: impl Fn(&str)) -> Result<Outcome> {
    spec.check()?;
    let begin = Instant::now();
    let say = |line: String| progress(&format!("[{:>3} s] {line}", begin.elapsed().as_secs()));
    let options = |server| ServerOptions {
        slots: spec.slots,
        speed: spec.speed(server),
        ..ServerOptions::default()
    };
    let fleet = Fleet::start((0..spec.servers).map(options)).await?;
    say(format!(
        "{} gRPC servers of {} slots, the last one at speed {}; {:.0} calls a second of {}, {:.0} % \
         of what they can do",
        spec.servers,
        spec.slots,
        spec.slow_speed,
        spec.rate(),
        spec.work,
        spec.load * 100.0
    ));
    let mut rounds: Vec<Vec<Round>> = spec.arms.iter().map(|_| Vec::new()).collect();
    for number in 0..spec.rounds {
        for (arm, done) in spec.arms.iter().zip(&mut rounds) {
            if *arm == Arm::L4 && number > 0 {
                continue;
            }
            let round = run_round(spec, *arm, &fleet, spec.seed + number).await?;
            say(format!(
                "round {} of {}, {}: {} calls, {} failed, p50 {:.1} ms, p99 {:.1} ms",
                number + 1,
                spec.rounds,
                arm.name(),
                round.load.sent,
                round.load.failed(),
                round.load.percentile_ms(50.0),
                round.load.percentile_ms(99.0)
            ));
            done.push(round);
        }
    }
    let settings = Settings::new(spec, spec.rate(), begin.elapsed());
    let arms = spec
        .arms
        .iter()
        .zip(&rounds)
        .map(|(arm, rounds)| ArmResult::new(*arm, rounds, &settings.servers))
        .collect();
    Ok(Outcome::new(settings, arms))
}

async fn run_round(spec: &DemoSpec, arm: Arm, fleet: &Fleet, seed: u64) -> Result<Round> {
    fleet.wait_idle(Duration::from_secs(30)).await?;
    let envoy = Envoy::start(&arm.config(&spec.module, fleet.addresses()), &spec.envoy).await?;
    let load = LoadSpec {
        uris: vec![envoy.uri("main")?],
        connections: if arm == Arm::L4 { 1 } else { spec.connections },
        rate: spec.rate(),
        bound: Bound::Time(spec.warm_up + spec.measured),
        warm_up: spec.warm_up,
        work: Some(spec.work),
        deadline: Some(spec.deadline),
        seed,
        ..LoadSpec::default()
    };
    let start = Instant::now();
    let load = load::in_own_thread(load);
    sleep(spec.warm_up).await;
    fleet.reset_stats().await?;
    // What the servers did while load was offered; they then drain while the client waits.
    tokio::time::sleep_until(start + spec.warm_up + spec.measured).await;
    let servers = fleet.all_stats().await?;
    let load = load.await.map_err(|_| Error::Child("the load client died".into()))??;
    Ok(Round { load, servers })
}
