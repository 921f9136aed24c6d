//! The Envoys that are compared. They differ in their filters and in nothing else.

use std::{net::SocketAddr, path::PathBuf};

use leastload_fleet::config::{
    ADMIN_CLUSTER, Cluster, EnvoyConfig, Listener, Mechanism, Route, Wasm,
};
use serde::Serialize;
use serde_json::{Value, json};

/// Name of the listener.
pub const LISTENER: &str = "main";
/// Name of the cluster.
pub const CLUSTER: &str = "greeter";
/// Name of the cluster of the same servers of which leastload wants no reports.
const SILENT: &str = "silent";
/// Name of a twin's cluster, as envoy/twin.yaml has it.
const SERVER: &str = "server";

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
    /// leastload as quickstart.yaml has it, but that it neither asks for stamps nor reads them.
    NoReports,
    /// leastload asks for stamps as often as it needs them, reads them and takes them out. In the Envoy of
    /// `NoReports`.
    Reports,
    /// leastload as twin.yaml has it, before one server, and nobody asks for stamps.
    Unasked,
    /// The same Envoy, and each request asks.
    Asked,
    /// At a client's proxy, the filter that does the least for stamps that any could, where it asks for none.
    LeastNoReports,
    /// The same Envoy, and it asks with one request in nine and takes the stamp out of the response.
    LeastReports,
    /// Before one server, the filter that does the least for stamps, and nobody asks.
    LeastUnasked,
    /// The same Envoy, and each request asks, and gets the same stamp.
    LeastAsked,
}

/// What an arm's client calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Authority and path.
    pub method: &'static str,
    /// Whether each call asks for a stamp, as leastload at a client's proxy does.
    pub ask: bool,
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
    /// What stamps cost at a client's proxy.
    pub const CLIENT_STAMPS: [Self; 5] =
        [Self::Empty, Self::NoReports, Self::Reports, Self::LeastNoReports, Self::LeastReports];
    /// What they cost at the proxy beside a server.
    pub const SERVER_STAMPS: [Self; 5] =
        [Self::Empty, Self::Unasked, Self::Asked, Self::LeastUnasked, Self::LeastAsked];
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
            Self::NoReports => "leastload, estimate.reports: false",
            Self::Reports => "leastload, stamps",
            Self::Unasked => "leastload, twin, nobody asks",
            Self::Asked => "leastload, twin, each request asks",
            Self::LeastNoReports => "least filter, no stamps",
            Self::LeastReports => "least filter, stamps",
            Self::LeastUnasked => "least filter, nobody asks",
            Self::LeastAsked => "least filter, each request asks",
        }
    }

    /// The arm that does the same without stamps.
    pub const fn without_stamps(self) -> Option<Self> {
        match self {
            Self::Reports => Some(Self::NoReports),
            Self::Asked => Some(Self::Unasked),
            Self::LeastReports => Some(Self::LeastNoReports),
            Self::LeastAsked => Some(Self::LeastUnasked),
            _ => None,
        }
    }

    /// The arm whose Envoy it uses: that without stamps, for two starts of the same module differ by more
    /// than a stamp costs; else its own.
    #[must_use]
    pub const fn envoy(self) -> Self {
        match self.without_stamps() {
            Some(without) => without,
            None => self,
        }
    }

    /// Whether its filter asks servers for stamps.
    pub const fn asks(self) -> bool {
        matches!(self, Self::Reports | Self::LeastReports)
    }

    /// Whether its client does.
    pub const fn is_asked(self) -> bool {
        matches!(self, Self::Asked | Self::LeastAsked)
    }

    /// Most CPU time that stamps should add to a request, in microseconds.
    pub const fn stamps_target_us(self) -> Option<f64> {
        match self {
            Self::Reports => Some(2.0),
            Self::Asked => Some(3.0),
            _ => None,
        }
    }

    /// Whether it is there for the price of stamps, so that how many there were must be known.
    pub const fn counts_stamps(self) -> bool {
        matches!(
            self.envoy(),
            Self::NoReports | Self::Unasked | Self::LeastNoReports | Self::LeastUnasked
        )
    }

    /// What its client calls.
    pub const fn calls(self) -> Calls {
        // As long as each other, and one connection manager for both: nothing but the cluster differs.
        let method = match self {
            Self::NoReports | Self::LeastNoReports => "http://greeter/helloworld.Silence/SayHello",
            _ => "http://greeter/helloworld.Greeter/SayHello",
        };
        Calls { method, ask: self.is_asked() }
    }

    /// Whether leastload names an endpoint for each request.
    pub const fn steers(self) -> bool {
        matches!(self, Self::StatefulSession | Self::OverrideHost | Self::NoReports | Self::Reports)
    }

    /// Its Envoy's configuration.
    pub fn config(self, modules: &Modules, endpoints: &[SocketAddr]) -> EnvoyConfig {
        let policy = if self == Self::RoundRobin { "ROUND_ROBIN" } else { "LEAST_REQUEST" };
        let routes = match self.envoy() {
            Self::NoReports | Self::LeastNoReports => {
                vec![Route::new("/helloworld.Silence/", SILENT), Route::new("/", CLUSTER)]
            }
            Self::Unasked | Self::LeastUnasked => vec![Route::new("/", SERVER)],
            _ => vec![Route::new("/", CLUSTER)],
        };
        let cluster =
            |to: &Route| Cluster::new(&to.cluster, endpoints.iter().copied()).lb_policy(policy);
        let clusters: Vec<_> = routes.iter().map(cluster).collect();
        let mut listener = Listener::routes(LISTENER, routes)
            .with_http(|http| http.extra = json!({"codec_type": "HTTP2"}));
        if let Some(wasm) = self.wasm(modules) {
            listener = listener.wasm(wasm);
        }
        EnvoyConfig::new([listener], clusters).mechanism(self.mechanism())
    }

    const fn mechanism(self) -> Mechanism {
        match self.envoy() {
            Self::EmptySession | Self::Inbound | Self::StatefulSession | Self::NoReports => {
                Mechanism::StatefulSession
            }
            Self::OverrideHost => Mechanism::OverrideHost,
            _ => Mechanism::None,
        }
    }

    fn wasm(self, modules: &Modules) -> Option<Wasm> {
        let discovery = json!({"admin_cluster": ADMIN_CLUSTER, "interval": "1s"});
        let leastload = |more: Value| {
            let mut configuration = json!({"discovery": discovery});
            leastload_fleet::config::merge(&mut configuration, &more);
            Some(Wasm::new(&modules.leastload).configuration(configuration))
        };
        let least = |proxy: &str| Some(Wasm::new(&modules.stamps).configuration(json!(proxy)));
        match self.envoy() {
            Self::Empty | Self::EmptySession => Some(Wasm::new(&modules.empty)),
            Self::Inbound => leastload(json!({"role": "inbound"})),
            Self::StatefulSession => leastload(Value::Null),
            Self::OverrideHost => leastload(json!({"override": {"mechanism": "override_host"}})),
            // Probes have a price of their own, and it is bounded by a rate, not by the request.
            Self::NoReports => leastload(json!({
                "probe": {"mode": "off"},
                "clusters": {SILENT: {"estimate": {"reports": false}}},
            })),
            Self::Unasked => Some(Wasm::new(&modules.leastload).configuration(twin())),
            Self::LeastNoReports => least("client"),
            Self::LeastUnasked => least("server"),
            _ => None,
        }
    }
}

/// That of envoy/twin.yaml, but that peers without a certificate are told the load too: there is no TLS
/// here.
fn twin() -> Value {
    json!({
        "role": "inbound",
        "report": {"stamp": "askers"},
        "probe": {"allow": "any", "server_budget": 200},
        "discovery": {"admin_cluster": ADMIN_CLUSTER},
    })
}

/// Paths of the Wasm modules.
#[derive(Clone, Debug)]
pub struct Modules {
    /// Ours.
    pub leastload: PathBuf,
    /// The empty one.
    pub empty: PathBuf,
    /// The one that does the least for stamps.
    pub stamps: PathBuf,
}

impl Modules {
    /// Those of this repository, up to date.
    pub fn built() -> Self {
        Self {
            leastload: leastload_modules::release(),
            empty: leastload_modules::empty(),
            stamps: leastload_modules::stamps(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_twin_is_the_shipped_one() {
        let shipped = include_str!("../../../envoy/twin.yaml");
        let (_, configuration) = shipped.split_once("value: |").unwrap();
        let (configuration, _) = configuration.split_once("- name:").unwrap();
        let mut configuration: Value = serde_json::from_str(configuration).unwrap();
        assert_eq!(configuration["probe"]["allow"].take(), "mtls");
        configuration["probe"]["allow"] = json!("any");
        assert_eq!(configuration, twin());
    }

    #[test]
    fn arms_with_and_without_stamps_share_an_envoy() {
        let modules = Modules {
            leastload: "leastload".into(),
            empty: "empty".into(),
            stamps: "stamps".into(),
        };
        let config = |arm: Arm| format!("{:?}", arm.config(&modules, &[]));
        for arm in [Arm::Reports, Arm::Asked, Arm::LeastReports, Arm::LeastAsked] {
            assert_eq!(config(arm), config(arm.without_stamps().unwrap()));
        }
    }
}
