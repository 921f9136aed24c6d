//! The Envoys: each has a listener and a cluster for every policy, so that all rows go through the
//! same processes and differ in the policy alone.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{Policy, Spec};
use crate::{
    Error, Result,
    config::{Cluster, EnvoyConfig, Listener, Mechanism, OVERRIDE_HEADER, Wasm},
    envoy::{Envoy, Options},
};

/// Envoys started at a time: more would only wait for each other.
const STARTED_AT_ONCE: usize = 8;
/// Above any number of requests, connections and streams here: limits would turn overload into
/// refusals and hide it.
const NO_LIMIT: u32 = 1_000_000;

/// The running Envoys; end on drop.
#[derive(Debug)]
pub struct Proxies(Vec<Envoy>);

impl Proxies {
    /// Starts all of them, several at a time.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start(spec: &Spec, servers: &[SocketAddr]) -> Result<Self> {
        let config = Arc::new(config(&spec.policies(), &spec.module, servers));
        let options = Options::version(&spec.envoy).workers(1);
        // The first alone: it may have to be fetched.
        let mut envoys = vec![Envoy::start(&config, &options).await?];
        let few = Arc::new(Semaphore::new(STARTED_AT_ONCE));
        let mut starting = JoinSet::new();
        for _ in 1..spec.proxies {
            let (config, options, few) = (Arc::clone(&config), options.clone(), Arc::clone(&few));
            starting.spawn(async move {
                let _one_of_few = few.acquire_owned().await;
                Envoy::start(&config, &options).await
            });
        }
        while let Some(started) = starting.join_next().await {
            envoys.push(started.map_err(|error| Error::Child(error.to_string()))??);
        }
        Ok(Self(envoys))
    }

    /// Where the first `count` of them take calls for this policy.
    ///
    /// # Errors
    /// When the policy was not asked for at the start.
    pub fn uris(&self, policy: Policy, count: usize) -> Result<Vec<String>> {
        self.0.iter().take(count).map(|envoy| envoy.uri(policy.key())).collect()
    }

    /// CPU time that all used so far.
    ///
    /// # Errors
    /// When one has ended.
    pub fn cpu_time(&self) -> Result<Duration> {
        self.0.iter().map(Envoy::cpu_time).sum()
    }

    /// Calls for which leastload named a server and that server was used, in the first `count`.
    ///
    /// # Errors
    /// When an admin interface does not answer.
    pub async fn steered(&self, count: usize) -> Result<i64> {
        let mut sum = 0;
        for envoy in self.0.iter().take(count) {
            for (name, value) in envoy.admin().stats("leastload_(picks|overrides_refused)").await? {
                if name.contains("picks") && name.contains("=override;") {
                    sum += value;
                } else if name.contains("overrides_refused") {
                    sum -= value;
                }
            }
        }
        Ok(sum)
    }
}

fn config(policies: &[Policy], module: &Path, servers: &[SocketAddr]) -> EnvoyConfig {
    EnvoyConfig::new(
        policies.iter().map(|policy| listener(*policy, module)),
        policies.iter().map(|policy| cluster(*policy, servers)),
    )
}

fn listener(policy: Policy, module: &Path) -> Listener {
    Listener::http(policy.key(), policy.key()).with_http(|http| {
        http.extra = json!({"http2_protocol_options": {"max_concurrent_streams": NO_LIMIT}});
        if policy == Policy::Leastload {
            http.wasm = Some(Wasm::new(module));
            // In this listener alone, where EnvoyConfig::mechanism would put it into all.
            http.filters_after.extend(Mechanism::StatefulSession.filter());
            http.extra["route_config"] = json!({"request_headers_to_remove": [OVERRIDE_HEADER]});
        }
    })
}

fn cluster(policy: Policy, servers: &[SocketAddr]) -> Cluster {
    let lb_policy = if policy == Policy::RoundRobin { "ROUND_ROBIN" } else { "LEAST_REQUEST" };
    let mut cluster = Cluster::new(policy.key(), servers.iter().copied()).lb_policy(lb_policy);
    cluster.circuit_breakers = Some(json!({"thresholds": [{
        "max_connections": NO_LIMIT, "max_requests": NO_LIMIT, "max_pending_requests": NO_LIMIT,
    }]}));
    let protocol = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    cluster.extra = json!({"typed_extension_protocol_options": {(protocol): {
        "explicit_http_config": {"http2_protocol_options": {"max_concurrent_streams": NO_LIMIT}},
    }}});
    if policy == Policy::FullScan {
        cluster.extra["load_balancing_policy"] = full_scan();
    }
    cluster
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
