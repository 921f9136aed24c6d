//! Envoy configurations for tests, rendered as JSON (which Envoy reads as well as YAML).
//!
//! What tests vary has a field; everything else goes through `extra`, which is merged over what
//! was rendered (objects key by key, everything else replaced). Listeners, hosts and the filter's
//! configuration can come from files, so that they change while Envoy runs.
//!
//! ```
//! use leastload_fleet::config::{Cluster, EnvoyConfig, Listener, Mechanism, Wasm};
//! let config = EnvoyConfig::new(
//!     [Listener::http("main", "greeter").wasm(Wasm::new("dist/leastload.wasm"))],
//!     [Cluster::new("greeter", [std::net::SocketAddr::from(([127, 0, 0, 1], 50051))])],
//! )
//! .mechanism(Mechanism::StatefulSession);
//! # let _ = config;
//! ```

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

mod cluster;
mod filters;
mod listener;

pub use cluster::{Cluster, Endpoint, grpc_health_check};
pub(crate) use filters::override_host_policy;
pub use filters::{Mechanism, Wasm};
pub use listener::{Http, Kind, Listener, Route};

/// Name of the static cluster that points at Envoy's own admin interface, as Istio has it.
pub const ADMIN_CLUSTER: &str = "prometheus_stats";

/// The override header of the contract.
pub const OVERRIDE_HEADER: &str = "x-leastload-host";

/// Labels of the filter's metrics: each becomes a stats tag, so that Prometheus shows it as a label.
pub const METRIC_LABELS: [&str; 7] = [
    "leastload_cluster",
    "leastload_result",
    "leastload_reason",
    "leastload_slot",
    "leastload_set",
    "leastload_kind",
    "leastload_plugin",
];

/// A whole Envoy.
#[derive(Clone, Debug)]
pub struct EnvoyConfig {
    /// Where requests come in.
    pub listeners: Vec<Listener>,
    /// Where they go to.
    pub clusters: Vec<Cluster>,
    /// How a filter's pick is carried out in all HTTP listeners and all steered clusters.
    pub mechanism: Mechanism,
    /// Whether the admin interface is a cluster ([`ADMIN_CLUSTER`]), so that the filter can read it.
    pub admin_cluster: bool,
    /// Whether metrics' labels are taken out of their names ([`METRIC_LABELS`]).
    pub stats_tags: bool,
    /// Whether listeners come from a file and can change ([`crate::envoy::Envoy::set_listeners`]).
    pub listeners_from_file: bool,
    /// Merged over the rendered bootstrap.
    pub extra: Value,
}

impl EnvoyConfig {
    /// Listeners and clusters without an override mechanism, with the admin cluster.
    pub fn new(
        listeners: impl IntoIterator<Item = Listener>,
        clusters: impl IntoIterator<Item = Cluster>,
    ) -> Self {
        Self {
            listeners: listeners.into_iter().collect(),
            clusters: clusters.into_iter().collect(),
            mechanism: Mechanism::None,
            admin_cluster: true,
            stats_tags: true,
            listeners_from_file: false,
            extra: Value::Null,
        }
    }

    /// Sets the mechanism.
    #[must_use]
    pub fn mechanism(self, mechanism: Mechanism) -> Self {
        Self { mechanism, ..self }
    }

    /// The bootstrap, for an Envoy with its files in `place`.
    pub fn render(&self, place: &Place) -> Value {
        let mut clusters: Vec<Value> =
            self.clusters.iter().map(|cluster| cluster.render(place, self.mechanism)).collect();
        if self.admin_cluster {
            clusters.push(admin_cluster(place.admin));
        }
        let listeners: Vec<Value> =
            self.listeners.iter().map(|listener| listener.render(place, self.mechanism)).collect();
        let mut bootstrap = json!({
            "node": {"id": "leastload-test", "cluster": "leastload-test"},
            "admin": {"address": socket_address(place.admin)},
            // The admin layer is what makes POST /runtime_modify work.
            "layered_runtime": {"layers": [
                {"name": "static", "static_layer": {}},
                {"name": "admin", "admin_layer": {}},
            ]},
            "static_resources": {"clusters": clusters},
        });
        if self.listeners_from_file {
            bootstrap["dynamic_resources"] = json!({"lds_config": from_file(&place.listeners())});
        } else {
            bootstrap["static_resources"]["listeners"] = Value::Array(listeners);
        }
        if self.stats_tags {
            let tags: Vec<Value> = METRIC_LABELS
                .iter()
                .map(|label| {
                    json!({"tag_name": label, "regex": format!("({label}=\\.=(.*?);\\.;)")})
                })
                .collect();
            bootstrap["stats_config"] = json!({"stats_tags": tags});
        }
        merge(&mut bootstrap, &self.extra);
        bootstrap
    }

    /// The files beside the bootstrap: path and content, for what comes from files.
    pub fn files(&self, place: &Place) -> Vec<(PathBuf, Value)> {
        let mut files = Vec::new();
        for cluster in self.clusters.iter().filter(|cluster| cluster.from_file) {
            files.push((place.endpoints(&cluster.name), cluster.discovery(&cluster.endpoints)));
        }
        for wasm in self.listeners.iter().filter_map(Listener::wasm_from_file) {
            files.push((place.filter(&wasm.name), wasm.discovery()));
        }
        if self.listeners_from_file {
            let all = listeners_discovery(&self.listeners, place, self.mechanism);
            files.push((place.listeners(), all));
        }
        files
    }
}

/// Content of the listeners' file.
pub(crate) fn listeners_discovery(
    listeners: &[Listener],
    place: &Place,
    mechanism: Mechanism,
) -> Value {
    discovery(listeners.iter().map(|listener| {
        let mut resource = listener.render(place, mechanism);
        resource["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        resource
    }))
}

/// Where one Envoy has its files and its admin interface.
#[derive(Clone, Debug)]
pub struct Place {
    /// Folder of its own.
    pub folder: PathBuf,
    /// Address of the admin interface.
    pub admin: SocketAddr,
}

impl Place {
    /// File of a cluster's hosts.
    pub fn endpoints(&self, cluster: &str) -> PathBuf {
        self.folder.join(format!("endpoints-{cluster}.json"))
    }

    /// File of a filter's configuration.
    pub fn filter(&self, name: &str) -> PathBuf {
        self.folder.join(format!("filter-{name}.json"))
    }

    /// File of the listeners.
    pub fn listeners(&self) -> PathBuf {
        self.folder.join("listeners.json")
    }

    /// Where access logs go.
    pub fn access_log(&self) -> PathBuf {
        self.folder.join("access.log")
    }
}

/// A discovery response with these resources.
fn discovery(resources: impl Iterator<Item = Value>) -> Value {
    // Envoy compares contents, not versions, for resources from files.
    json!({"version_info": "1", "resources": resources.collect::<Vec<_>>()})
}

/// A configuration source that follows one file, replaced by rename.
fn from_file(path: &Path) -> Value {
    json!({"path_config_source": {"path": path}, "resource_api_version": "V3"})
}

fn socket_address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}

fn admin_cluster(admin: SocketAddr) -> Value {
    let endpoint = json!({"endpoint": {"address": socket_address(admin)}});
    json!({
        "name": ADMIN_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "0.25s",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": {
            "cluster_name": ADMIN_CLUSTER,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    })
}

/// Merges `over` into `base`: objects key by key, everything else replaced; null changes nothing.
pub fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (_, Value::Null) => {}
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_goes_into_objects_and_replaces_the_rest() {
        let mut base = json!({"a": {"b": 1, "c": [1, 2]}, "d": 1});
        merge(&mut base, &json!({"a": {"c": [3], "e": 5}, "d": null}));
        assert_eq!(base, json!({"a": {"b": 1, "c": [3], "e": 5}, "d": 1}));
    }
}
