//! Envoy's admin interface: `/clusters?format=json`, from the model's clusters.

use std::rc::Rc;

use regex_lite::Regex;
use serde::Serialize;

use crate::calls::Outcome;
use crate::context::Answer;
use crate::envoy::cluster::{Cluster, EdsHealth, Host};
use crate::headers::Headers;
use crate::inner::Inner;
use crate::proxy::AdminMode;

/// How long an automatic answer takes, in nanoseconds: a millisecond.
pub(crate) const LATENCY: u64 = 1_000_000;

#[derive(Serialize)]
struct Clusters<'a> {
    cluster_statuses: Vec<ClusterStatus<'a>>,
}

#[derive(Serialize)]
struct ClusterStatus<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    host_statuses: Vec<HostStatus<'a>>,
    circuit_breakers: CircuitBreakers,
    observability_name: &'a str,
}

#[derive(Serialize)]
struct CircuitBreakers {
    thresholds: [Threshold; 2],
}

#[derive(Serialize)]
struct Threshold {
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<&'static str>,
    max_connections: u32,
    max_pending_requests: u32,
    max_requests: u32,
    max_retries: u32,
}

impl Threshold {
    fn of(priority: Option<&'static str>) -> Self {
        Self {
            priority,
            max_connections: 1024,
            max_pending_requests: 1024,
            max_requests: 1024,
            max_retries: 3,
        }
    }
}

#[derive(Serialize)]
struct HostStatus<'a> {
    address: Address<'a>,
    stats: Vec<Stat>,
    health_status: HealthStatus,
    weight: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    hostname: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    priority: u32,
    locality: Locality<'a>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the names of Envoy's fields")]
enum Address<'a> {
    SocketAddress { address: &'a str, port_value: u16 },
    Pipe { path: &'a str },
    EnvoyInternalAddress(Internal<'a>),
}

#[derive(Serialize)]
struct Internal<'a> {
    server_listener_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    endpoint_id: &'a str,
}

impl<'a> Address<'a> {
    /// From the string that Envoy prints.
    fn of(text: &'a str) -> Self {
        if let Some(internal) = text.strip_prefix("envoy://") {
            let (server_listener_name, endpoint_id) =
                internal.split_once('/').unwrap_or((internal, ""));
            return Self::EnvoyInternalAddress(Internal { server_listener_name, endpoint_id });
        }
        if let Some((address, port)) = text.rsplit_once(':')
            && let Ok(port_value) = port.parse()
        {
            let address = address.trim_start_matches('[').trim_end_matches(']');
            return Self::SocketAddress { address, port_value };
        }
        Self::Pipe { path: text }
    }
}

/// A zero value is absent.
#[derive(Serialize)]
struct Stat {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    name: &'static str,
}

fn stats() -> Vec<Stat> {
    let stat = |kind| move |name| Stat { kind, name };
    let counters =
        ["cx_connect_fail", "cx_total", "rq_error", "rq_success", "rq_timeout", "rq_total"];
    let gauges = ["cx_active", "rq_active"];
    counters.map(stat(None)).into_iter().chain(gauges.map(stat(Some("GAUGE")))).collect()
}

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "so many flags has a host")]
#[expect(clippy::struct_field_names, reason = "the names of Envoy's fields")]
struct HealthStatus {
    #[serde(skip_serializing_if = "is_false")]
    failed_active_health_check: bool,
    #[serde(skip_serializing_if = "is_false")]
    failed_outlier_check: bool,
    eds_health_status: &'static str,
    #[serde(skip_serializing_if = "is_false")]
    failed_active_degraded_check: bool,
    #[serde(skip_serializing_if = "is_false")]
    pending_dynamic_removal: bool,
    #[serde(skip_serializing_if = "is_false")]
    pending_active_hc: bool,
    #[serde(skip_serializing_if = "is_false")]
    excluded_via_immediate_hc_fail: bool,
}

#[derive(Serialize)]
struct Locality<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    region: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    zone: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    sub_zone: &'a str,
}

impl<'a> HostStatus<'a> {
    fn of(host: &'a Host) -> Self {
        let health = host.health;
        let [region, zone, sub_zone] = host.locality.each_ref().map(String::as_str);
        Self {
            address: Address::of(&host.address),
            stats: stats(),
            health_status: HealthStatus {
                failed_active_health_check: health.failed_active,
                failed_outlier_check: health.ejected,
                eds_health_status: match health.eds {
                    EdsHealth::Healthy => "HEALTHY",
                    EdsHealth::Unhealthy => "UNHEALTHY",
                    EdsHealth::Draining => "DRAINING",
                    EdsHealth::Timeout => "TIMEOUT",
                    EdsHealth::Degraded => "DEGRADED",
                },
                failed_active_degraded_check: health.degraded,
                pending_dynamic_removal: health.removed,
                pending_active_hc: health.pending,
                excluded_via_immediate_hc_fail: health.excluded,
            },
            weight: host.weight.max(1),
            hostname: &host.hostname,
            priority: host.priority,
            locality: Locality { region, zone, sub_zone },
        }
    }
}

fn json<'a>(clusters: impl Iterator<Item = &'a Cluster>) -> String {
    let statuses = clusters.map(|cluster| {
        let mut hosts: Vec<&Host> = cluster.hosts.iter().collect();
        hosts.sort_by_key(|host| host.priority);
        ClusterStatus {
            name: &cluster.name,
            host_statuses: hosts.into_iter().map(HostStatus::of).collect(),
            circuit_breakers: CircuitBreakers {
                thresholds: [Threshold::of(None), Threshold::of(Some("HIGH"))],
            },
            observability_name: &cluster.name,
        }
    });
    let mut bytes = Vec::new();
    let indented = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, indented);
    let whole = Clusters { cluster_statuses: statuses.collect() };
    whole.serialize(&mut serializer).expect("text and numbers are always JSON");
    bytes.push(b'\n');
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A parameter of a query, with its percent signs decoded.
fn parameter(path: &str, name: &str) -> Option<String> {
    let query = path.split_once('?')?.1;
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let hex = more.get(..2).filter(|_| *first == b'%');
        let hex = hex.and_then(|two| core::str::from_utf8(two).ok());
        let decoded = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &more[2..] } else { more };
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

impl Inner {
    /// The JSON of all clusters, or of those whose name a regular expression matches somewhere.
    pub(crate) fn admin_json(&self, filter: Option<&str>) -> Result<String, String> {
        let filter = filter.map(Regex::new).transpose().map_err(|error| error.to_string())?;
        let clusters = self.clusters.borrow();
        let wanted = |cluster: &&Cluster| {
            filter.as_ref().is_none_or(|filter| filter.is_match(&cluster.name))
        };
        Ok(json(clusters.values().map(Rc::as_ref).filter(wanted)))
    }

    /// What the admin interface does with a request; `None` where the test answers.
    pub(crate) fn admin_answer(&self, path: &str) -> Option<Outcome> {
        let filters = match self.admin_mode.get() {
            AdminMode::Filtering => true,
            AdminMode::Whole => false,
            AdminMode::Held => return None,
            AdminMode::Refused => return Some(Outcome::Refused),
            AdminMode::Reset => return Some(Outcome::Reset),
        };
        let route = path.split('?').next().unwrap_or_default();
        if route != "/clusters" || parameter(path, "format").as_deref() != Some("json") {
            return Some(answer("404", "text/plain", "not in this model".to_owned()));
        }
        let filter = parameter(path, "filter").filter(|filter| filters && !filter.is_empty());
        Some(match self.admin_json(filter.as_deref()) {
            Ok(json) => answer("200", "application/json", json),
            Err(error) => answer("400", "text/plain", format!("Invalid re2 regex: {error}\n")),
        })
    }
}

fn answer(status: &str, content_type: &str, body: String) -> Outcome {
    let headers = Headers::from([(":status", status), ("content-type", content_type)]);
    Outcome::Answered(Answer { headers, body: body.into_bytes(), trailers: None })
}

#[cfg(test)]
mod tests {
    use super::{json, parameter};
    use crate::envoy::cluster::{Cluster, Health, Host};

    #[test]
    fn a_parameter_is_decoded() {
        let path = "/clusters?format=json&filter=%5Ea%7Cb$";
        assert_eq!(parameter(path, "filter").as_deref(), Some("^a|b$"));
        assert_eq!(parameter(path, "format").as_deref(), Some("json"));
        assert_eq!(parameter(path, "ilter"), None);
    }

    #[test]
    fn addresses_and_absent_values_are_as_envoy_prints_them() {
        let cluster = Cluster::new("c")
            .host(Host::new("[2001:db8::1]:80").priority(1).weight(7))
            .host(Host::new("10.0.0.1:80").hostname("a").locality("r", "", ""))
            .host(Host::new("/run/a.sock").health(Health::EJECTED))
            .host("envoy://connect_originate/10.0.0.2:80");
        let value: serde_json::Value = serde_json::from_str(&json([&cluster].into_iter())).unwrap();
        let hosts = &value["cluster_statuses"][0]["host_statuses"];
        assert_eq!(hosts[0]["address"]["socket_address"]["port_value"], 80);
        assert_eq!(hosts[0]["locality"], serde_json::json!({"region": "r"}));
        assert_eq!(hosts[0].get("priority"), None);
        assert_eq!(hosts[1]["address"]["pipe"]["path"], "/run/a.sock");
        assert_eq!(hosts[1]["health_status"]["failed_outlier_check"], true);
        assert_eq!(hosts[1].get("hostname"), None);
        let internal = &hosts[2]["address"]["envoy_internal_address"];
        assert_eq!(internal["endpoint_id"], "10.0.0.2:80");
        assert_eq!(hosts[3]["address"]["socket_address"]["address"], "2001:db8::1");
        assert_eq!((&hosts[3]["priority"], &hosts[3]["weight"]), (&1.into(), &7.into()));
    }
}
