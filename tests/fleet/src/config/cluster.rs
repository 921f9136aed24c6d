//! Clusters and their hosts.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Mechanism, Place, discovery, filters, from_file, merge, socket_address};

/// A host of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub address: SocketAddr,
    /// 0 is the highest; priorities must have no gaps.
    pub priority: u32,
    /// Load-balancing weight, 1 or more.
    pub weight: Option<u32>,
    /// `HEALTHY`, `UNHEALTHY`, `DEGRADED`, `DRAINING`, `TIMEOUT`.
    pub health: Option<String>,
    /// Zone of its locality.
    pub zone: Option<String>,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self { address, priority: 0, weight: None, health: None, zone: None }
    }
}

impl Endpoint {
    /// Sets the priority.
    #[must_use]
    pub fn priority(self, priority: u32) -> Self {
        Self { priority, ..self }
    }

    /// Sets the health status.
    #[must_use]
    pub fn health(self, health: &str) -> Self {
        Self { health: Some(health.to_owned()), ..self }
    }

    fn render(&self) -> Value {
        let mut endpoint = json!({"endpoint": {"address": socket_address(self.address)}});
        if let Some(weight) = self.weight {
            endpoint["load_balancing_weight"] = json!(weight);
        }
        if let Some(health) = &self.health {
            endpoint["health_status"] = json!(health);
        }
        endpoint
    }
}

/// An upstream cluster that speaks HTTP/2.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Its hosts (at first, where they come from a file).
    pub endpoints: Vec<Endpoint>,
    /// Envoy's own policy: `ROUND_ROBIN`, `LEAST_REQUEST`, `RANDOM`, `RING_HASH`, `MAGLEV`. Also
    /// what stands behind an override.
    pub lb_policy: String,
    /// Whether an `override_host` mechanism applies here.
    pub steered: bool,
    /// Whether hosts come from a file and can change ([`crate::envoy::Envoy::set_endpoints`]).
    pub from_file: bool,
    /// Whether each request names its host: see [`Cluster::original_dst`].
    pub original_dst: bool,
    /// `connect_timeout`.
    pub connect_timeout: String,
    /// Active health checks, e.g. [`grpc_health_check`].
    pub health_checks: Vec<Value>,
    /// `outlier_detection`.
    pub outlier_detection: Option<Value>,
    /// `circuit_breakers`.
    pub circuit_breakers: Option<Value>,
    /// Merged over the rendered cluster.
    pub extra: Value,
}

impl Cluster {
    /// A cluster with these hosts and `ROUND_ROBIN`.
    pub fn new<E: Into<Endpoint>>(name: &str, endpoints: impl IntoIterator<Item = E>) -> Self {
        Self {
            name: name.to_owned(),
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            lb_policy: "ROUND_ROBIN".into(),
            steered: true,
            from_file: false,
            original_dst: false,
            connect_timeout: "1s".into(),
            health_checks: Vec::new(),
            outlier_detection: None,
            circuit_breakers: None,
            extra: Value::Null,
        }
    }

    /// A cluster without hosts of its own: a request goes where its header
    /// `x-envoy-original-dst-host` says.
    pub fn original_dst(name: &str) -> Self {
        let hosts: [Endpoint; 0] = [];
        Self {
            original_dst: true,
            steered: false,
            lb_policy: "CLUSTER_PROVIDED".into(),
            ..Self::new(name, hosts)
        }
    }

    /// Sets Envoy's own policy.
    #[must_use]
    pub fn lb_policy(self, policy: &str) -> Self {
        Self { lb_policy: policy.to_owned(), ..self }
    }

    /// Lets hosts come from a file.
    #[must_use]
    pub fn from_file(self) -> Self {
        Self { from_file: true, ..self }
    }

    /// Merges more over the rendered cluster.
    #[must_use]
    pub fn extra(self, extra: Value) -> Self {
        Self { extra, ..self }
    }

    pub(crate) fn render(&self, place: &Place, mechanism: Mechanism) -> Value {
        let protocol = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        let mut cluster = json!({
            "name": self.name,
            "connect_timeout": self.connect_timeout,
            "typed_extension_protocol_options": {(protocol): {
                "@type": format!("type.googleapis.com/{protocol}"),
                "explicit_http_config": {"http2_protocol_options": {}},
            }},
        });
        if self.original_dst {
            cluster["type"] = json!("ORIGINAL_DST");
            cluster["original_dst_lb_config"] = json!({"use_http_header": true});
        } else if self.from_file {
            cluster["type"] = json!("EDS");
            cluster["eds_cluster_config"] =
                json!({"eds_config": from_file(&place.endpoints(&self.name))});
        } else {
            cluster["type"] = json!("STATIC");
            cluster["load_assignment"] = self.assignment(&self.endpoints);
        }
        if mechanism == Mechanism::OverrideHost && self.steered {
            cluster["load_balancing_policy"] = filters::override_host_policy(&self.lb_policy);
        } else {
            cluster["lb_policy"] = json!(self.lb_policy);
        }
        if !self.health_checks.is_empty() {
            cluster["health_checks"] = json!(self.health_checks);
        }
        if let Some(detection) = &self.outlier_detection {
            cluster["outlier_detection"] = detection.clone();
        }
        if let Some(breakers) = &self.circuit_breakers {
            cluster["circuit_breakers"] = breakers.clone();
        }
        merge(&mut cluster, &self.extra);
        cluster
    }

    fn assignment(&self, endpoints: &[Endpoint]) -> Value {
        let mut groups: Vec<(u32, Option<&str>, Vec<Value>)> = Vec::new();
        for endpoint in endpoints {
            let zone = endpoint.zone.as_deref();
            let hosts = endpoint.render();
            match groups.iter_mut().find(|group| (group.0, group.1) == (endpoint.priority, zone)) {
                Some(group) => group.2.push(hosts),
                None => groups.push((endpoint.priority, zone, vec![hosts])),
            }
        }
        let localities: Vec<Value> = groups
            .into_iter()
            .map(|(priority, zone, hosts)| {
                let mut locality = json!({"priority": priority, "lb_endpoints": hosts});
                if let Some(zone) = zone {
                    locality["locality"] = json!({"zone": zone});
                }
                locality
            })
            .collect();
        json!({"cluster_name": self.name, "endpoints": localities})
    }

    /// Content of the file of hosts.
    pub(crate) fn discovery(&self, endpoints: &[Endpoint]) -> Value {
        let mut assignment = self.assignment(endpoints);
        assignment["@type"] =
            json!("type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment");
        discovery(std::iter::once(assignment))
    }
}

/// An active check by the grpc health service; unhealthy after one failure, healthy after one
/// success. `interval` as Envoy writes it: `0.2s`.
pub fn grpc_health_check(interval: &str) -> Value {
    json!({
        "timeout": "1s",
        "interval": interval,
        "no_traffic_interval": interval,
        "unhealthy_threshold": 1,
        "healthy_threshold": 1,
        "grpc_health_check": {},
    })
}
