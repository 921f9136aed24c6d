//! The proxies: each has a listener and a cluster for every arm, so that all rows go through the
//! same processes and differ in the arm alone. Proxies that share a process share nothing that a
//! balancer knows: clusters, connections and the module's VM are each proxy's own.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{Arm, Policy, Spec, envoys, spec::PROBE_CLUSTER, twins};
use crate::{
    Result,
    config::{
        Cluster, EnvoyConfig, Listener, Mechanism, OVERRIDE_HEADER, Wasm, override_host_policy,
    },
    envoy::Envoy,
};

/// How long an idle connection for probes is kept, so that the next one need not wait for another.
const PROBE_CONNECTIONS: &str = "60s";

/// What the module counted, over several proxies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Calls for which it named a server and that server was used.
    pub steered: i64,
    /// Questions it asked servers.
    pub probes: i64,
}

impl Tally {
    /// Adds a counter by its name in the admin interface.
    fn add(&mut self, name: &str, value: i64) {
        // Labels stand before the name, or after it where Envoy took them out as tags.
        let is = |metric: &str| name.split(['.', ';']).any(|part| part == metric);
        if is("leastload_picks") && name.contains("=override;") {
            self.steered += value;
        } else if is("leastload_overrides_refused") {
            self.steered -= value;
        } else if is("leastload_probes") {
            self.probes += value;
        }
    }
}

/// The running proxies; end on drop. Proxy `n` is in the Envoy `n` modulo their number.
#[derive(Debug)]
pub struct Proxies(Vec<Envoy>);

impl Proxies {
    /// Starts all of them, several at a time.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start(spec: &Spec, twins: &twins::Twins) -> Result<Self> {
        let processes = spec.proxy_processes();
        let mut configs = Vec::with_capacity(processes);
        for process in 0..processes {
            let own = (process..spec.proxies).step_by(processes);
            configs.push(Arc::new(config(spec, own, |arm| twins.addresses(spec, arm))?));
        }
        envoys::start(configs, &spec.envoy).await.map(Self)
    }

    /// Where the first `count` of them take calls for this arm.
    ///
    /// # Errors
    /// When the arm was not asked for at the start.
    pub fn uris(&self, arm: &Arm, count: usize) -> Result<Vec<String>> {
        let envoys = self.0.iter().cycle().take(count).enumerate();
        envoys.map(|(proxy, envoy)| envoy.uri(&of_proxy(arm, proxy))).collect()
    }

    /// CPU time that the Envoys of the first `count` of them used so far.
    ///
    /// # Errors
    /// When one has ended.
    pub fn cpu_time(&self, count: usize) -> Result<Duration> {
        envoys::cpu_time(self.0.get(..count).unwrap_or(&self.0))
    }

    /// What the module counted in the Envoys of the first `count`.
    ///
    /// # Errors
    /// When an admin interface does not answer.
    pub async fn tally(&self, count: usize) -> Result<Tally> {
        let mut tally = Tally::default();
        for envoy in self.0.iter().take(count) {
            let stats = envoy.admin().stats("leastload_(picks|overrides_refused|probes)").await?;
            for (name, value) in stats {
                tally.add(&name, value);
            }
        }
        Ok(tally)
    }
}

/// Name of a listener and its cluster.
fn of_proxy(arm: &Arm, proxy: usize) -> String {
    format!("{}-{proxy}", arm.key())
}

/// The Envoy of these proxies.
fn config(
    spec: &Spec,
    proxies: impl Iterator<Item = usize> + Clone,
    servers: impl Fn(&Arm) -> Result<Vec<SocketAddr>>,
) -> Result<EnvoyConfig> {
    let arms = spec.arms();
    let (mut listeners, mut clusters) = (Vec::new(), Vec::new());
    for arm in &arms {
        let servers = servers(arm)?;
        for proxy in proxies.clone() {
            let name = of_proxy(arm, proxy);
            listeners.push(listener(spec, arm, &name, proxy));
            clusters.push(cluster(spec, arm, &name, servers.clone()));
        }
    }
    if arms.iter().any(Arm::steers) {
        for proxy in proxies {
            let probes = Cluster::original_dst(&probe_cluster(proxy));
            let extra = json!({"cleanup_interval": PROBE_CONNECTIONS});
            clusters.push(envoys::without_limits(probes, &extra));
        }
    }
    Ok(EnvoyConfig::new(listeners, clusters))
}

fn probe_cluster(proxy: usize) -> String {
    format!("{PROBE_CLUSTER}-{proxy}")
}

fn listener(spec: &Spec, arm: &Arm, name: &str, proxy: usize) -> Listener {
    envoys::listener(name).with_http(|http| {
        if arm.steers() {
            let mut configuration = spec.configuration(arm);
            if configuration["probe"]["cluster"] == PROBE_CLUSTER {
                configuration["probe"]["cluster"] = json!(probe_cluster(proxy));
            }
            let wasm = Wasm::new(spec.module(arm)).configuration(configuration);
            http.wasm = Some(Wasm { name: name.into(), vm_id: name.into(), ..wasm });
            // In this listener alone, where EnvoyConfig::mechanism would put it into all.
            let mechanism = spec.mechanism(arm);
            http.filters_after.extend(mechanism.filter());
            if mechanism == Mechanism::StatefulSession {
                http.extra["route_config"] =
                    json!({"request_headers_to_remove": [OVERRIDE_HEADER]});
            }
        }
    })
}

fn cluster(spec: &Spec, arm: &Arm, name: &str, servers: Vec<SocketAddr>) -> Cluster {
    let lb_policy = if arm.policy == Policy::RoundRobin { "ROUND_ROBIN" } else { "LEAST_REQUEST" };
    let cluster = Cluster::new(name, servers).lb_policy(lb_policy);
    let extra = if arm.policy == Policy::FullScan {
        json!({"load_balancing_policy": full_scan()})
    } else if arm.steers() && spec.mechanism(arm) == Mechanism::OverrideHost {
        json!({"load_balancing_policy": override_host_policy(lb_policy)})
    } else {
        Value::Null
    };
    envoys::without_limits(cluster, &extra)
}

/// `load_balancing_policy` of a cluster; `lb_policy` cannot say it.
fn full_scan() -> Value {
    json!({"policies": [{"typed_extension_config": {
        "name": "envoy.load_balancing_policies.least_request",
        "typed_config": {
            "@type": "type.googleapis.com/\
                envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
            "selection_method": "FULL_SCAN",
        },
    }}]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_told_apart_by_their_names() {
        let mut tally = Tally::default();
        for (name, value) in [
            ("wasmcustom.leastload_cluster=.=a;.;leastload_result=.=override;.;leastload_picks", 7),
            ("wasmcustom.leastload_cluster=.=a;.;leastload_result=.=off;.;leastload_picks", 50),
            ("wasmcustom.leastload_reason=.=gone;.;leastload_overrides_refused", 2),
            ("wasmcustom.leastload_cluster=.=a;.;leastload_probes", 3),
            ("wasmcustom.leastload_result=.=late;.;leastload_probes", 1),
            ("wasmcustom.leastload_cluster=.=a;.;leastload_probes_shed", 90),
        ] {
            tally.add(name, value);
        }
        assert_eq!(tally, Tally { steered: 5, probes: 4 });
    }

    #[test]
    fn proxies_with_the_module_can_reach_any_server_to_ask() {
        let server = SocketAddr::from(([127, 0, 0, 1], 50_051));
        let config = config(&Spec::default(), 0..1, |_| Ok(vec![server])).unwrap();
        let place = crate::config::Place { folder: "/".into(), admin: server };
        let bootstrap = config.render(&place);
        let clusters = bootstrap["static_resources"]["clusters"].as_array().unwrap();
        let probes =
            clusters.iter().find(|cluster| cluster["name"] == "leastload_probe-0").unwrap();
        assert_eq!(probes["type"], "ORIGINAL_DST");
        assert_eq!(probes["original_dst_lb_config"]["use_http_header"], true);
        assert!(probes.get("load_assignment").is_none(), "{probes}");
    }
}
