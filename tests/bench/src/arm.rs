//! The Envoys that are compared. They differ in their filters and in nothing else.

use std::{net::SocketAddr, path::Path};

use leastload_fleet::config::{ADMIN_CLUSTER, Cluster, EnvoyConfig, Listener, Mechanism, Wasm};
use serde::Serialize;
use serde_json::{Value, json};

/// Name of the listener.
pub const LISTENER: &str = "main";
/// Name of the cluster.
pub const CLUSTER: &str = "greeter";

/// One of the Envoys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// `ROUND_ROBIN`, no Wasm.
    RoundRobin,
    /// `LEAST_REQUEST`, no Wasm. So have all arms that follow.
    LeastRequest,
    /// The Wasm filter that reads `:path`: what the others are compared with.
    Empty,
    /// The empty filter, and Envoy's `stateful_session` without a header to obey.
    EmptySession,
    /// leastload passing everything through: role inbound.
    Inbound,
    /// leastload as quickstart.yaml has it.
    StatefulSession,
    /// leastload as quickstart-override-host.yaml has it.
    OverrideHost,
}

impl Arm {
    /// Those always compared.
    pub const USUAL: [Self; 5] = [
        Self::RoundRobin,
        Self::LeastRequest,
        Self::Empty,
        Self::StatefulSession,
        Self::OverrideHost,
    ];
    /// Those that show where the cost comes from.
    pub const EXTRA: [Self; 2] = [Self::EmptySession, Self::Inbound];
    /// What ratios refer to.
    pub const REFERENCE: Self = Self::Empty;

    /// As tables name it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::RoundRobin => "ROUND_ROBIN, no Wasm",
            Self::LeastRequest => "LEAST_REQUEST, no Wasm",
            Self::Empty => "empty Wasm filter",
            Self::EmptySession => "empty Wasm filter + stateful_session",
            Self::Inbound => "leastload, role inbound",
            Self::StatefulSession => "leastload, stateful_session",
            Self::OverrideHost => "leastload, override_host",
        }
    }

    /// Whether leastload names an endpoint for each request.
    pub const fn steers(self) -> bool {
        matches!(self, Self::StatefulSession | Self::OverrideHost)
    }

    /// Its Envoy's configuration.
    pub fn config(self, modules: Modules<'_>, endpoints: &[SocketAddr]) -> EnvoyConfig {
        let policy = if self == Self::RoundRobin { "ROUND_ROBIN" } else { "LEAST_REQUEST" };
        let cluster = Cluster::new(CLUSTER, endpoints.iter().copied()).lb_policy(policy);
        let mut listener = Listener::http(LISTENER, CLUSTER)
            .with_http(|http| http.extra = json!({"codec_type": "HTTP2"}));
        if let Some(wasm) = self.wasm(modules) {
            listener = listener.wasm(wasm);
        }
        EnvoyConfig::new([listener], [cluster]).mechanism(self.mechanism())
    }

    const fn mechanism(self) -> Mechanism {
        match self {
            Self::RoundRobin | Self::LeastRequest | Self::Empty => Mechanism::None,
            Self::EmptySession | Self::Inbound | Self::StatefulSession => {
                Mechanism::StatefulSession
            }
            Self::OverrideHost => Mechanism::OverrideHost,
        }
    }

    fn wasm(self, modules: Modules<'_>) -> Option<Wasm> {
        let discovery = json!({"admin_cluster": ADMIN_CLUSTER, "interval": "1s"});
        let leastload = |more: Value| {
            let mut configuration = json!({"discovery": discovery});
            leastload_fleet::config::merge(&mut configuration, &more);
            Some(Wasm::new(modules.leastload).configuration(configuration))
        };
        match self {
            Self::RoundRobin | Self::LeastRequest => None,
            Self::Empty | Self::EmptySession => Some(Wasm::new(modules.empty)),
            Self::Inbound => leastload(json!({"role": "inbound"})),
            Self::StatefulSession => leastload(Value::Null),
            Self::OverrideHost => leastload(json!({"override": {"mechanism": "override_host"}})),
        }
    }
}

/// Paths of the Wasm modules.
#[derive(Clone, Copy, Debug)]
pub struct Modules<'a> {
    /// Ours.
    pub leastload: &'a Path,
    /// The empty one.
    pub empty: &'a Path,
}
