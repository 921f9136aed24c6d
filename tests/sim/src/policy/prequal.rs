//! Prequal (Wydrowski, Kleinberg, Rumble, Archer: "Load is not what you should balance: Introducing
//! Prequal", NSDI 2024): clients probe servers for their requests in flight and their latency, and
//! choose by both. What the paper leaves open is said where it is decided, as far as possible as in
//! the crate prequal-core.

mod asynchronous;
mod aversion;
mod pool;
mod recent;
mod synchronous;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use asynchronous::Asynchronous;
use synchronous::Synchronous;

use super::c3::C3Config;
use super::{Member, Needs, ServerId, Stamp};
use crate::span::Span;

/// Parameters of asynchronous Prequal (section 4); the defaults are those of section 5.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrequalConfig {
    /// Probes sent with each request; may be less than one.
    pub probes: f64,
    /// Answers kept.
    pub pool: usize,
    /// Answers are discarded at this age.
    pub age: Span,
    /// Answers discarded with each request, by turns the oldest and the worst.
    pub removals: f64,
    /// How fast the pool grows (delta of equation 1).
    pub delta: f64,
    /// Servers beyond this quantile of the requests in flight are hot. 0: all, 1: none.
    pub quantile: f64,
    /// Answers that take longer are not used.
    pub timeout: Span,
    /// Stamps on responses are used like answers (prequal-core; not in the paper).
    pub piggyback: bool,
    /// Which latency it goes by.
    pub latency: Latency,
    /// How it chooses among the answers.
    pub score: Score,
    /// What it does about failures.
    pub aversion: Aversion,
}

impl Default for PrequalConfig {
    fn default() -> Self {
        Self {
            probes: 3.0,
            pool: 16,
            age: Span::ms(1_000),
            removals: 1.0,
            delta: 1.0,
            quantile: 0.84,
            timeout: Span::ms(3),
            piggyback: false,
            latency: Latency::AtRif,
            score: Score::HotCold,
            aversion: Aversion::None,
        }
    }
}

/// Which latency of a server Prequal goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Latency {
    /// The median of late at about the present number of requests in flight: the paper's.
    #[default]
    AtRif,
    /// None: only requests in flight decide (prequal-core's `rif`).
    None,
    /// Time of service, times the requests for each slot where there are more than slots
    /// (prequal-core's `model`).
    Model {
        /// Slots of each server.
        slots: u32,
    },
}

impl Latency {
    fn needs(self) -> Needs {
        Needs {
            // Without stamps servers do not keep their times of service.
            stamps: matches!(self, Self::Model { .. }),
            latency_at_rif: self == Self::AtRif,
            twin: None,
        }
    }

    /// In ns; 0 where the server does not know.
    #[allow(clippy::cast_precision_loss)]
    fn of(self, stamp: &Stamp) -> f32 {
        match self {
            Self::AtRif => stamp.latency_ns,
            Self::None => 0.0,
            Self::Model { slots } => {
                stamp.service_ns * ((stamp.in_flight + 1.0) / slots as f32).max(1.0)
            }
        }
    }
}

/// How the choice among answers is made; the rules of section 5.2 share everything else.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Score {
    /// Hot-cold lexicographic: Prequal itself.
    #[default]
    HotCold,
    /// A linear combination of latency and requests in flight.
    Linear {
        /// Share of the requests in flight, 0 to 1.
        rif_share: f64,
        /// Latency that one request in flight stands for: the median where there is one.
        alpha: Span,
    },
    /// C3's, with the latency in place of the time of service.
    C3(C3Config),
}

/// What asynchronous Prequal does about failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aversion {
    /// Nothing: the paper has something, but omits it.
    #[default]
    None,
    /// What the server answered is forgotten.
    Forget,
    /// That, and five failures in a row eject it for a second, then 2, 4 and so on to 30
    /// (prequal-core).
    Eject,
}

impl PrequalConfig {
    /// The policy of one of so many clients.
    pub(super) fn build(&self, clients: u32) -> Asynchronous {
        Asynchronous::new(self, clients)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let faults = [
            (!(0.0..=100.0).contains(&self.probes), "probes: expected 0 to 100"),
            (!(2..=1_000).contains(&self.pool), "pool: expected 2 to 1000"),
            (!(0.0..=100.0).contains(&self.removals), "removals: expected 0 to 100"),
            (!(0.0..=100.0).contains(&self.delta), "delta: expected 0 to 100"),
            (!(0.0..=1.0).contains(&self.quantile), "quantile: expected 0 to 1"),
            (
                self.latency == Latency::Model { slots: 0 },
                "latency.model.slots: expected 1 or more",
            ),
            (
                self.piggyback && self.latency == Latency::AtRif,
                "piggyback: stamps have no latency at_rif; expected latency none or model",
            ),
        ];
        first(&faults)?;
        match &self.score {
            Score::Linear { rif_share, .. } if !(0.0..=1.0).contains(rif_share) => {
                Err("score.linear.rif_share: expected 0 to 1".into())
            }
            Score::C3(c3) => c3.check().map_err(|fault| format!("score.c3.{fault}")),
            Score::Linear { .. } | Score::HotCold => Ok(()),
        }
    }
}

/// Parameters of synchronous Prequal (section 4, "synchronous mode"): each request waits for
/// answers to its own probes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrequalSyncConfig {
    /// Probes of each request; the paper: 2 at least, typically 3 to 5.
    pub probes: u32,
    /// Answers that are enough. By default one less.
    pub answers: Option<u32>,
    /// Longest wait for them (section 3: 3 ms; 1 ms was used too).
    pub timeout: Span,
    /// Servers beyond this quantile of the requests in flight are hot. 0: all, 1: none.
    pub quantile: f64,
    /// Which latency it goes by.
    pub latency: Latency,
}

impl Default for PrequalSyncConfig {
    fn default() -> Self {
        Self {
            probes: 3,
            answers: None,
            timeout: Span::ms(3),
            quantile: 0.84,
            latency: Latency::AtRif,
        }
    }
}

impl PrequalSyncConfig {
    /// The policy of one client.
    pub(super) fn build(&self) -> Synchronous {
        Synchronous::new(self)
    }

    /// Answers that are enough.
    fn enough(&self) -> u32 {
        self.answers.unwrap_or(self.probes - 1)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let few = self.answers.is_some_and(|answers| !(1..=self.probes).contains(&answers));
        first(&[
            (!(2..=100).contains(&self.probes), "probes: expected 2 to 100"),
            (few, "answers: expected 1 to as many as probes"),
            (self.timeout == Span::ZERO, "timeout: expected more than nothing"),
            (!(0.0..=1.0).contains(&self.quantile), "quantile: expected 0 to 1"),
            (
                self.latency == Latency::Model { slots: 0 },
                "latency.model.slots: expected 1 or more",
            ),
        ])
    }
}

fn first(faults: &[(bool, &str)]) -> Result<(), String> {
    match faults.iter().find(|(faulty, _)| *faulty) {
        Some((_, fault)) => Err((*fault).into()),
        None => Ok(()),
    }
}

/// Whole numbers whose sum keeps up with a fractional rate.
struct Rate {
    rate: f64,
    owed: f64,
}

impl Rate {
    fn new(rate: f64) -> Self {
        Self { rate, owed: 0.0 }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn next(&mut self) -> usize {
        self.owed += self.rate;
        let whole = self.owed.floor();
        self.owed -= whole;
        whole as usize
    }
}

/// The servers that are there.
#[derive(Default)]
struct Targets {
    /// In an order that draws change.
    servers: Vec<ServerId>,
    /// By server.
    there: Vec<bool>,
}

impl Targets {
    fn set(&mut self, members: &[Member]) {
        self.servers.clear();
        self.there.fill(false);
        for &Member { server, .. } in members {
            let index = server as usize;
            if index >= self.there.len() {
                self.there.resize(index + 1, false);
            }
            self.there[index] = true;
            self.servers.push(server);
        }
    }

    fn has(&self, server: ServerId) -> bool {
        self.there.get(server as usize).is_some_and(|&there| there)
    }

    /// Draws `count` of them, or all, without replacement.
    fn draw(&mut self, rng: &mut fastrand::Rng, count: usize) -> &[ServerId] {
        let count = count.min(self.servers.len());
        for place in 0..count {
            let other = rng.usize(place..self.servers.len());
            self.servers.swap(place, other);
        }
        &self.servers[..count]
    }
}
