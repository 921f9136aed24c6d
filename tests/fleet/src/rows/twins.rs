//! The Envoy before each server, as a sidecar: its listener without the module for most rows, one
//! with it for each arm whose twins have it.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{Arm, Spec, Twins as Kind, envoys, result::Told};
use crate::{
    Result,
    config::{Cluster, EnvoyConfig, Wasm},
    envoy::Envoy,
};

/// Kind of the listeners without the module.
const PLAIN: &str = "plain";

/// The running twins; end on drop. None where there are to be none. Server `n` has the twin `n`
/// modulo their number.
#[derive(Debug)]
pub struct Twins {
    envoys: Vec<Envoy>,
    servers: Vec<SocketAddr>,
}

impl Twins {
    /// Starts them, several at a time.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start(spec: &Spec, servers: &[SocketAddr]) -> Result<Self> {
        let servers = servers.to_vec();
        let processes = if spec.twins { spec.twin_processes() } else { 0 };
        let configs = (0..processes).map(|process| {
            let own = servers.iter().enumerate().skip(process).step_by(processes);
            Arc::new(config(spec, own.map(|(index, server)| (index, *server))))
        });
        Ok(Self { envoys: envoys::start(configs.collect(), &spec.envoy).await?, servers })
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
        let envoys = self.envoys.iter().cycle();
        let address = |(index, envoy): (usize, &Envoy)| envoy.listener(&of_server(&name, index));
        envoys.take(self.servers.len()).enumerate().map(address).collect()
    }

    /// What the twins of an arm say of each server by now; nothing where they have no module.
    ///
    /// # Errors
    /// When an admin interface does not answer.
    pub async fn told(&self, spec: &Spec, arm: &Arm) -> Result<Vec<Told>> {
        if spec.twins_of(arm) != Kind::Module {
            return Ok(Vec::new());
        }
        let mut gauges = BTreeMap::new();
        for envoy in &self.envoys {
            gauges.extend(envoy.admin().stats("leastload_twin_(service_us|slots_milli)").await?);
        }
        let told = |index| Told::of(&gauges, &of_server(&arm.key(), index));
        Ok((0..self.servers.len()).map(told).collect())
    }

    /// CPU time that all used so far.
    ///
    /// # Errors
    /// When one has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        envoys::cpu_time(&self.envoys)
    }
}

impl Told {
    /// Of the server behind `cluster`, by what the module publishes.
    fn of(gauges: &BTreeMap<String, i64>, cluster: &str) -> Self {
        let label = format!("leastload_cluster=.={cluster};");
        let figure = |metric: &str| {
            let own = |name: &str| name.contains(&label) && name.contains(metric);
            gauges.iter().find(|(name, _)| own(name)).map_or(0.0, |(_, value)| *value as f64)
        };
        Self { service_ms: figure("service_us") / 1e3, slots: figure("slots_milli") / 1e3 }
    }
}

/// Name of a listener and its cluster.
fn of_server(kind: &str, server: usize) -> String {
    format!("{kind}-{server}")
}

/// The twin of these servers.
fn config(spec: &Spec, servers: impl Iterator<Item = (usize, SocketAddr)>) -> EnvoyConfig {
    let arms = spec.arms();
    let plain = arms.iter().any(|arm| spec.twins_of(arm) == Kind::Plain);
    let (mut listeners, mut clusters) = (Vec::new(), Vec::new());
    for (index, server) in servers {
        let mut listen = |kind: &str, wasm: Option<Wasm>| {
            let name = of_server(kind, index);
            let mut listener = envoys::listener(&name);
            listener.extra = json!({"traffic_direction": "INBOUND"});
            if let Some(wasm) = wasm {
                // Nor do two modules tell each other anything.
                let vm_id = format!("twin-{kind}");
                listener =
                    listener.wasm(Wasm { name: format!("leastload-twin-{name}"), vm_id, ..wasm });
            }
            listeners.push(listener);
            // A cluster for each listener: what the module learns in one arm stays there.
            clusters.push(envoys::without_limits(Cluster::new(&name, [server]), &Value::Null));
        };
        if plain {
            listen(PLAIN, None);
        }
        for arm in arms.iter().filter(|arm| spec.twins_of(arm) == Kind::Module) {
            let wasm = Wasm::new(spec.module(arm)).configuration(spec.twin_configuration(arm));
            listen(&arm.key(), Some(wasm));
        }
    }
    EnvoyConfig::new(listeners, clusters)
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
        let bootstrap = config(&spec, [(3, server), (5, server)].into_iter()).render(&place);
        let listeners = bootstrap["static_resources"]["listeners"].as_array().unwrap();
        let seen: Vec<_> = listeners
            .iter()
            .map(|listener| {
                assert_eq!(listener["traffic_direction"], "INBOUND");
                (listener["name"].as_str().unwrap(), listener.to_string().contains("role"))
            })
            .collect();
        assert_eq!(
            seen,
            [("plain-3", false), ("leastload-3", true), ("plain-5", false), ("leastload-5", true)]
        );
    }
}
