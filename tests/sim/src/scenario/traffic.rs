//! What is asked of the servers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ServiceTime;
use crate::span::Span;

/// What is asked of the servers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Offered work as a share of what the servers present at the start can do. Either this or
    /// `rate`, unless the arrivals are `closed`.
    #[serde(default)]
    pub load: Option<f64>,
    /// Requests a second, over all proxies.
    #[serde(default)]
    pub rate: Option<f64>,
    /// How they are spaced.
    #[serde(default)]
    pub arrivals: Arrivals,
    /// Work of a request of cost 1: its service time on a server of speed 1.
    pub service: ServiceTime,
    /// Kinds of requests. By default one, of cost 1.
    #[serde(default)]
    pub methods: Vec<Method>,
    /// Clients give up after so long, from the request's arrival, retries included.
    #[serde(default)]
    pub deadline: Option<Span>,
    /// What the proxy does about failures.
    #[serde(default)]
    pub retries: Retries,
    /// Clients cancel some requests by themselves.
    #[serde(default)]
    pub cancel: Cancel,
}

/// How arrivals are spaced.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Arrivals {
    /// Independent: exponential gaps.
    #[default]
    Poisson,
    /// Poisson, by turns faster and slower; on average as fast as `rate` or `load` says.
    Bursts {
        /// Length of the fast part.
        on: Span,
        /// Length of the slow part.
        off: Span,
        /// Rate of the slow part as a share of the average, 0 to 1.
        low: f64,
    },
    /// Poisson, whose rate changes evenly from `from` to `to` times what `rate` or `load` says.
    Ramp {
        /// At the start.
        from: f64,
        /// At the end.
        to: f64,
    },
    /// So many clients that wait for each answer, and think before they ask again.
    Closed {
        /// How many.
        clients: u32,
        /// Mean time of thinking, exponential. After a failure a client asks again no sooner than a
        /// millisecond after it last asked.
        think: Span,
    },
}

/// A kind of request.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// Full gRPC method, `/package.Service/Method`: leastload's configuration knows it by this.
    pub name: String,
    /// Its share of the requests, relative to the others.
    #[serde(default = "one")]
    pub weight: f64,
    /// Its work as a multiple of the service time.
    #[serde(default = "one")]
    pub cost: f64,
    /// It is a stream of messages; each costs the work, the stream itself none.
    #[serde(default)]
    pub stream: Option<Stream>,
}

impl Default for Method {
    fn default() -> Self {
        Self { name: "/leastload.Sim/Call".into(), weight: 1.0, cost: 1.0, stream: None }
    }
}

/// A stream of messages.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// Who sends them.
    pub direction: Direction,
    /// How many.
    pub messages: u32,
    /// Time between two, whatever their answers do.
    pub interval: Span,
}

/// Who sends messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The server: a message is late by its work and waiting and the way to the client.
    Server,
    /// The client, and the server answers each: late by the way there and back too.
    Bidi,
}

/// What the proxy does about failures.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retries {
    /// Attempts after the first, for requests that were refused, failed or lost.
    pub most: u32,
    /// Wait before each.
    pub backoff: Span,
}

/// Clients that cancel.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cancel {
    /// Percent of the requests that a client cancels if they are not answered in time.
    pub percent: f64,
    /// How long it waits.
    pub after: Span,
}

const fn one() -> f64 {
    1.0
}
