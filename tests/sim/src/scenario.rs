//! What is simulated. The types here are the file format: docs/scenario.schema.json is generated
//! from them, and docs/simulator.md explains it.

mod entry;
mod fleet;
mod read;
mod service;
mod size;
mod timeline;
mod traffic;
mod variant;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use entry::Entry;
pub use fleet::{
    Antagonist, Discipline, Group, Membership, Network, Probes, Proxies, Reports, Source, WarmUp,
};
pub use read::{Document, Fault, Faults, read, read_file};
pub use service::{Samples, ServiceTime};
pub use timeline::{Effect, Event, Targets};
pub use traffic::{Arrivals, Cancel, Direction, Method, Retries, Stream, Traffic};
pub use variant::Variant;

use crate::span::Span;

/// A scenario file: one situation, the policies that are compared in it, and what is varied.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short name; the output repeats it.
    pub name: String,
    /// What it is for, in a sentence.
    pub about: String,
    /// How long requests arrive.
    #[serde(default = "defaults::duration")]
    pub duration: Span,
    /// Requests that arrive before this are not measured.
    #[serde(default = "defaults::warm_up")]
    pub warm_up: Span,
    /// After `duration`, requests still under way get so long to end; then they count as unfinished.
    #[serde(default = "defaults::drain")]
    pub drain: Span,
    /// The proxies in front.
    #[serde(default)]
    pub proxies: Proxies,
    /// The servers, in groups of equals.
    pub servers: Vec<Group>,
    /// What is asked of them.
    pub traffic: Traffic,
    /// Between proxies and servers.
    #[serde(default)]
    pub network: Network,
    /// How proxies learn who is there.
    #[serde(default)]
    pub membership: Membership,
    /// What servers say of their load.
    #[serde(default)]
    pub reports: Reports,
    /// What happens to probes.
    #[serde(default)]
    pub probes: Probes,
    /// What happens to servers in the course of the run.
    #[serde(default)]
    pub events: Vec<Event>,
    /// Who balances; every policy sees the same arrivals with the same work.
    pub policies: Vec<Entry>,
    /// Named changes to this file; each is simulated. None: the file as it is.
    #[serde(default)]
    pub cases: Vec<Case>,
    /// Fields and the values they take; every combination is simulated, within every case.
    #[serde(default)]
    pub axes: Vec<Axis>,
}

/// A named change to the scenario.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Short name; the output repeats it.
    pub name: String,
    /// JSON pointers into the scenario and the values they get: `{"/proxies/count": 400}`.
    #[serde(default)]
    pub set: Map<String, Value>,
}

/// A field that is varied.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// Short name; the output repeats it.
    pub name: String,
    /// JSON pointer into the scenario: `/traffic/load`.
    pub path: String,
    /// The values it takes.
    pub values: Vec<Value>,
}

mod defaults {
    use super::Span;

    pub(super) fn duration() -> Span {
        Span::ms(20_000)
    }
    pub(super) fn warm_up() -> Span {
        Span::ms(4_000)
    }
    pub(super) fn drain() -> Span {
        Span::ms(60_000)
    }
}

#[cfg(test)]
mod tests;
