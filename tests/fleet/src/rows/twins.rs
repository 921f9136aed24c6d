//! The Envoy before each server, as a sidecar: its listener without the module for most rows, one
//! with it for each arm whose twins have it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde_json::json;

use super::{Arm, Spec, Twins as Kind, envoys};
use crate::{
    Result,
    config::{Cluster, EnvoyConfig, Listener, Wasm},
    envoy::Envoy,
};

/// Name of the listener without the module.
const PLAIN: &str = "plain";

/// The running twins, in the order of the servers; end on drop. None where there are to be none.
#[derive(Debug)]
pub struct Twins {
    envoys: Vec<Envoy>,
    servers: Vec<SocketAddr>,
}

impl Twins {
    /// Starts one for each server, several at a time.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start(spec: &Spec, servers: &[SocketAddr]) -> Result<Self> {
        let servers = servers.to_vec();
        let configs = if spec.twins { servers.as_slice() } else { &[] };
        let configs = configs.iter().map(|server| Arc::new(config(spec, *server))).collect();
        Ok(Self { envoys: envoys::start(configs, &spec.envoy).await?, servers })
    }

    /// Where the calls of an arm reach the servers.
    ///
    /// # Errors
    /// When the arm was not asked for at the start.
    pub fn addresses(&self, spec: &Spec, arm: &Arm) -> Result<Vec<SocketAddr>> {
        let name = match spec.twins_of(arm) {
            Kind::None => return Ok(self.servers.clone()),
            Kind::Plain => PLAIN.to_owned(),
            Kind::Module => arm.key(),
        };
        self.envoys.iter().map(|envoy| envoy.listener(&name)).collect()
    }

    /// CPU time that all used so far.
    ///
    /// # Errors
    /// When one has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        envoys::cpu_time(&self.envoys)
    }
}

fn config(spec: &Spec, server: SocketAddr) -> EnvoyConfig {
    let mut listeners = Vec::new();
    for arm in spec.arms() {
        match spec.twins_of(&arm) {
            Kind::None => {}
            Kind::Plain if listeners.iter().any(|known: &Listener| known.name == PLAIN) => {}
            Kind::Plain => listeners.push(inbound(PLAIN)),
            Kind::Module => {
                let wasm = Wasm {
                    name: format!("leastload-twin-{}", arm.key()),
                    ..Wasm::new(&spec.module).configuration(spec.twin_configuration(&arm))
                };
                listeners.push(inbound(&arm.key()).wasm(wasm));
            }
        }
    }
    // A cluster for each listener: what the module learns in one arm stays there.
    let cluster =
        |name: &str| envoys::without_limits(Cluster::new(name, [server]), &serde_json::Value::Null);
    let clusters: Vec<Cluster> = listeners.iter().map(|known| cluster(&known.name)).collect();
    EnvoyConfig::new(listeners, clusters)
}

fn inbound(name: &str) -> Listener {
    let mut listener = envoys::listener(name);
    listener.extra = json!({"traffic_direction": "INBOUND"});
    listener
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Place, rows::Policy};

    #[test]
    fn only_arms_with_twins_meet_the_module() {
        let without = Arm { twins: false, ..Policy::Leastload.into() };
        let arms = [
            Policy::LeastRequest.into(),
            Policy::FullScan.into(),
            Policy::Leastload.into(),
            without,
        ];
        let patterns =
            arms.map(|arm| super::super::Pattern { arm, proxies: None, most_load: None });
        let spec = Spec { patterns: patterns.to_vec(), ..Spec::default() };
        let server = SocketAddr::from(([127, 0, 0, 1], 50_051));
        let place = Place { folder: "/".into(), admin: server };
        let bootstrap = config(&spec, server).render(&place);
        let listeners = bootstrap["static_resources"]["listeners"].as_array().unwrap();
        let seen: Vec<_> = listeners
            .iter()
            .map(|listener| {
                assert_eq!(listener["traffic_direction"], "INBOUND");
                (listener["name"].as_str().unwrap(), listener.to_string().contains("role"))
            })
            .collect();
        assert_eq!(seen, [("plain", false), ("leastload", true)]);
    }
}
