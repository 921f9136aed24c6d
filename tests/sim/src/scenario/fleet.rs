//! Proxies, servers and what lies between them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::span::Span;

/// The proxies in front. Each balances by what it knows itself.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Proxies {
    /// How many.
    pub count: u32,
    /// Worker threads of each.
    pub workers: u16,
    /// Percent of them that run the policy under test; the others run Envoy's `LEAST_REQUEST`.
    pub filter_percent: f64,
    /// Exponent of Zipf's law by which traffic spreads over them; 0: evenly.
    pub skew: f64,
}

impl Default for Proxies {
    fn default() -> Self {
        Self { count: 20, workers: 1, filter_percent: 100.0, skew: 0.0 }
    }
}

/// Servers that are equal.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Short name, for events.
    #[serde(default)]
    pub name: String,
    /// How many.
    pub count: u32,
    /// Requests that one works on at once, each at its full speed: its cores or threads.
    #[serde(default = "one")]
    pub slots: u32,
    /// Work done in a second of a slot, relative to the service times of the traffic.
    #[serde(default = "full")]
    pub speed: f64,
    /// What happens to requests beyond `slots`.
    #[serde(default)]
    pub discipline: Discipline,
    /// Most requests that wait; beyond that they are refused. By default unbounded.
    #[serde(default)]
    pub queue: Option<u32>,
    /// Load-balancing weight, as the control plane gives it.
    #[serde(default = "one")]
    pub weight: u32,
    /// False: not there until an event lets it join.
    #[serde(default = "yes")]
    pub present: bool,
    /// How it starts, when it joins or comes back.
    #[serde(default)]
    pub warm_up: Option<WarmUp>,
    /// A neighbour that takes a share of its machine now and then.
    #[serde(default)]
    pub antagonist: Option<Antagonist>,
}

/// What a server does with more requests than it has slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Discipline {
    /// They wait, first come first served.
    #[default]
    Fifo,
    /// All are worked on, each more slowly (processor sharing).
    Sharing,
}

/// A new server is slow at first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// Speed at its start, as a share of its own: above 0.
    pub from: f64,
    /// Time until it has its full speed; in between it grows evenly.
    #[serde(rename = "for")]
    pub lasts: Span,
}

/// A neighbour on the same machine. Present and absent for exponential times.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Antagonist {
    /// Mean time for which it is there.
    pub on: Span,
    /// Mean time for which it is not.
    pub off: Span,
    /// Least and largest share of the machine that it takes; drawn evenly each time.
    pub takes: (f64, f64),
}

/// Between proxies and servers, one way.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Least delay.
    pub delay: Span,
    /// Mean of what comes on top, exponential.
    pub jitter: Span,
}

impl Default for Network {
    fn default() -> Self {
        Self { delay: Span::us(200), jitter: Span::ZERO }
    }
}

/// How proxies learn who is there.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Membership {
    /// From the change to the control plane's news of it at a proxy.
    pub delay: Span,
    /// Largest further delay, even, of each proxy's own.
    pub jitter: Span,
    /// How leastload learns what its proxy knows.
    pub source: Source,
}

/// How leastload learns what its proxy knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// It asks the proxy's admin interface.
    #[default]
    Admin,
    /// From the addresses of responses: the admin interface does not answer.
    Learned,
    /// `discovery.static` lists whoever is there at the start.
    Static,
}

/// What servers say of their load, on responses and when they are probed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reports {
    /// Percent of each group's servers, rounded down, that have a twin: they stamp responses and
    /// answer probes.
    pub twin_percent: f64,
    /// Percent of the stamps that get lost.
    pub lost_percent: f64,
    /// Period of out-of-band reports, of rates and of policies that update weights; the oscillation
    /// is measured at it.
    pub period: Span,
}

impl Default for Reports {
    fn default() -> Self {
        Self { twin_percent: 100.0, lost_percent: 0.0, period: Span::ms(1_000) }
    }
}

/// What happens to probes.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Probes {
    /// Percent of them that are never answered.
    pub lost_percent: f64,
}

const fn one() -> u32 {
    1
}

const fn full() -> f64 {
    1.0
}

const fn yes() -> bool {
    true
}
