//! Many Envoys: starting them, what all their configurations share, and what they say together.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    Error, Result,
    config::{Cluster, EnvoyConfig, Listener},
    envoy::{Envoy, Options},
};

/// Envoys started at a time: more would only wait for each other.
const STARTED_AT_ONCE: usize = 8;
/// Above any number of requests, connections and streams here: limits would turn overload into
/// refusals and hide it.
const NO_LIMIT: u32 = 1_000_000;
/// Ends a call that waits for a module that has crashed. Longer than any call that is waited for.
const STREAM_IDLE: &str = "120s";

/// Starts an Envoy of one worker for each of `configs`, several at a time; all end on drop.
///
/// # Errors
/// When one does not start, or its module refuses its configuration.
pub async fn start(configs: Vec<Arc<EnvoyConfig>>, version: &str) -> Result<Vec<Envoy>> {
    let options = Options { precise_timers: true, ..Options::version(version).workers(1) };
    let few = Arc::new(Semaphore::new(STARTED_AT_ONCE));
    let mut starting = JoinSet::new();
    let mut envoys: Vec<(usize, Envoy)> = Vec::new();
    for (index, config) in configs.into_iter().enumerate() {
        if index == 0 {
            // Alone: its program may have to be fetched.
            envoys.push((index, start_one(&config, &options).await?));
            continue;
        }
        let (options, few) = (options.clone(), Arc::clone(&few));
        starting.spawn(async move {
            let _one_of_few = few.acquire_owned().await;
            Ok::<_, Error>((index, start_one(&config, &options).await?))
        });
    }
    while let Some(started) = starting.join_next().await {
        envoys.push(started.map_err(|error| Error::Child(error.to_string()))??);
    }
    envoys.sort_by_key(|(index, _)| *index);
    Ok(envoys.into_iter().map(|(_, envoy)| envoy).collect())
}

/// A module that does not understand its configuration lets everything pass, and would be measured
/// as if it were at work.
async fn start_one(config: &EnvoyConfig, options: &Options) -> Result<Envoy> {
    let envoy = Envoy::start(config, options).await?;
    let faults = envoy.admin().stats("leastload_config_faults").await?;
    if faults.values().all(|faults| *faults == 0) {
        return Ok(envoy);
    }
    let log = envoy.log();
    let said = log.lines().find(|line| line.contains("faulty configuration")).unwrap_or_default();
    Err(Error::Argument(format!("the module refuses its configuration: {said}")))
}

/// CPU time that these used so far.
///
/// # Errors
/// When one has ended.
pub fn cpu_time(envoys: &[Envoy]) -> Result<Duration> {
    envoys.iter().map(Envoy::cpu_time).sum()
}

/// A listener that takes any number of calls for the cluster of its name.
pub fn listener(name: &str) -> Listener {
    Listener::http(name, name).with_http(|http| {
        http.extra = json!({
            "http2_protocol_options": {"max_concurrent_streams": NO_LIMIT},
            "stream_idle_timeout": STREAM_IDLE,
        });
    })
}

/// Lets any number of calls through a cluster, by HTTP/2.
#[must_use]
pub fn without_limits(mut cluster: Cluster, extra: &Value) -> Cluster {
    cluster.circuit_breakers = Some(json!({"thresholds": [{
        "max_connections": NO_LIMIT, "max_requests": NO_LIMIT, "max_pending_requests": NO_LIMIT,
    }]}));
    let protocol = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    cluster.extra = json!({"typed_extension_protocol_options": {(protocol): {
        "explicit_http_config": {"http2_protocol_options": {"max_concurrent_streams": NO_LIMIT}},
    }}});
    crate::config::merge(&mut cluster.extra, extra);
    cluster
}
