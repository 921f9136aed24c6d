//! The ways of balancing that the demo compares.

use std::{net::SocketAddr, path::Path};

use serde_json::json;

use crate::config::{Cluster, EnvoyConfig, Listener, Mechanism, Wasm};

/// One way of balancing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// By connection: all calls on one connection go to one server, as through a Kubernetes
    /// `ClusterIP`.
    L4,
    /// Envoy's `ROUND_ROBIN`.
    RoundRobin,
    /// Envoy's `LEAST_REQUEST`, best of two at random.
    LeastRequest,
    /// Our filter; what it does not pick goes to `LEAST_REQUEST`.
    Leastload,
}

impl Arm {
    /// All of them, in the order they are shown.
    pub const ALL: [Self; 4] = [Self::L4, Self::RoundRobin, Self::LeastRequest, Self::Leastload];

    /// Short name for files and options.
    pub fn key(self) -> &'static str {
        match self {
            Self::L4 => "l4",
            Self::RoundRobin => "round_robin",
            Self::LeastRequest => "least_request",
            Self::Leastload => "leastload",
        }
    }

    /// Name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::L4 => "L4, one connection",
            Self::RoundRobin => "ROUND_ROBIN",
            Self::LeastRequest => "LEAST_REQUEST",
            Self::Leastload => "leastload",
        }
    }

    /// The arm with this key.
    pub fn from_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arm| arm.key() == key)
    }

    /// The Envoy of this arm.
    pub(super) fn config(self, module: &Path, servers: Vec<SocketAddr>) -> EnvoyConfig {
        let policy = if self == Self::RoundRobin { "ROUND_ROBIN" } else { "LEAST_REQUEST" };
        let mut cluster = Cluster::new("greeter", servers).lb_policy(policy);
        // The default limits (1,024 requests) would turn overload into refusals and hide it.
        let limit = 1_000_000;
        let limits = json!({"max_requests": limit, "max_pending_requests": limit});
        cluster.circuit_breakers = Some(json!({"thresholds": [limits]}));
        let listener = match self {
            Self::L4 => Listener::tcp("main", "greeter"),
            Self::RoundRobin | Self::LeastRequest => Listener::http("main", "greeter"),
            Self::Leastload => Listener::http("main", "greeter").wasm(Wasm::new(module)),
        };
        let mechanism = match self {
            Self::Leastload => Mechanism::StatefulSession,
            _ => Mechanism::None,
        };
        EnvoyConfig::new([listener], [cluster]).mechanism(mechanism)
    }
}
