//! Walks a configuration and collects every fault, so that an operator repairs it in one round.

use rustc_hash::FxBuildHasher;
use std::io::{BufReader, Read};

use serde::Deserialize;
use serde_json::Value;

use super::fault::{Faults, echo, quoted};
use super::reader::{Reader, Timing};
use super::schema::{self, Field, duration};
use super::{
    ASK_HEADER, Allow, Audience, Config, Format, Given, LONGEST_ENDPOINT, MOST_BYTES,
    MOST_CLUSTERS, MOST_ENDPOINTS, MOST_METHODS, Mechanism, Methods, Overrides, ProbeMode,
    Reporting, Role, Traffic, add, is_endpoint, some_name,
};
use crate::Map;
use crate::grpc;
use crate::work::Work;

/// Longest name of a cluster, method or header, in bytes.
const LONGEST_NAME: usize = 512;

/// Headers that are part of HTTP or of gRPC itself, so that using one to steer breaks requests.
const RESERVED: &[&str] = &[
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Beginnings of header names that mean something to gRPC, to Envoy or to load reports.
const RESERVED_PREFIXES: &[&str] = &["grpc-", "x-envoy-", "endpoint-load-metrics"];

/// See [`Config::parse`].
pub(super) fn read(bytes: &[u8]) -> Result<Config, Faults> {
    let mut reader = Reader::default();
    let mut config = Config::default();
    if bytes.len() > MOST_BYTES {
        let expected = format!("at most {MOST_BYTES} bytes");
        reader.fault(&expected, format!("{} bytes", bytes.len()));
    } else if !bytes.trim_ascii().is_empty() {
        match json(bytes) {
            Ok(value) => reader.top(&value, &mut config),
            Err(error) => reader.fault("JSON", error.to_string()),
        }
    }
    if reader.faults.count() == 0 { Ok(config) } else { Err(reader.faults) }
}

/// Reads through the same kind of source as the admin interface's answer, so that the module holds
/// one JSON parser, not two.
fn json(mut bytes: &[u8]) -> Result<Value, serde_json::Error> {
    let source: &mut dyn Read = &mut bytes;
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(source));
    let value = Value::deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

/// The objects, from the outside in.
impl Reader {
    fn top(&mut self, value: &Value, config: &mut Config) {
        let mut everywhere = Overrides::default();
        self.fields(value, schema::TOP, &mut |reader, field, value| match field.name {
            "role" => match reader.choice(field, value) {
                Some("outbound") => config.role = Role::Outbound,
                Some("inbound") => config.role = Role::Inbound,
                _ => {}
            },
            "traffic" => {
                if reader.choice(field, value) == Some("all") {
                    config.traffic = Traffic::All;
                }
            }
            "methods" => reader.methods(field, value, &mut config.methods),
            "clusters" => reader.clusters(field, value, config),
            "override" => reader.steering(value, config),
            "discovery" => reader.discovery(value, config),
            "rollout" => reader.rollout(value, config),
            "report" => reader.reporting(value, &mut config.report),
            "probe" => reader.probing(value, config, &mut everywhere),
            "edge" => set(&mut config.edge, reader.boolean(field, value)),
            _ => reader.setting(field, value, &mut everywhere),
        });
        everywhere.apply(&mut config.everywhere);
        let header = &config.probe.header;
        if *header == config.steering.header {
            // Where one is the other's default, the one that was given is at fault.
            let (at, expected) = match header.as_str() {
                ASK_HEADER => ("override.header", "another header than probe.header"),
                _ => ("probe.header", "another header than override.header"),
            };
            self.within(at, |reader| reader.fault(expected, quoted(header)));
        }
    }

    fn steering(&mut self, value: &Value, config: &mut Config) {
        let steering = &mut config.steering;
        self.fields(value, schema::OVERRIDE, &mut |reader, field, value| match field.name {
            "mechanism" => {
                if reader.choice(field, value) == Some("override_host") {
                    steering.mechanism = Mechanism::OverrideHost;
                }
            }
            "header" => set(&mut steering.header, reader.text(field, value, &is_free_header)),
            _ => set(&mut steering.spares, reader.whole(field, value)),
        });
    }

    fn discovery(&mut self, value: &Value, config: &mut Config) {
        let discovery = &mut config.discovery;
        let given = &mut config.given;
        let (mut interval, mut max_age) = (Timing::Absent, Timing::Absent);
        self.fields(value, schema::DISCOVERY, &mut |reader, field, value| match field.name {
            "static" => *given = reader.lists(field, value, "*"),
            "admin_cluster" => {
                let name = reader.cluster_name(field, value);
                set(&mut discovery.admin_cluster, name.map(some_name));
            }
            "interval" => interval = reader.duration(field, value),
            "max_age" => max_age = reader.duration(field, value),
            _ => set(&mut discovery.learn_percent, reader.number(field, value)),
        });
        if let Timing::Valid(interval_ms) = interval {
            discovery.interval_ms = interval_ms;
        }
        match max_age {
            // A long interval alone is no fault, so the default grows with it.
            Timing::Absent => {
                discovery.max_age_ms = discovery.max_age_ms.max(discovery.interval_ms * 3);
            }
            Timing::Valid(ms) if interval != Timing::Faulty && ms < discovery.interval_ms => {
                let expected =
                    format!("at least discovery.interval, {}", duration(discovery.interval_ms));
                self.within(".max_age", |reader| reader.fault(&expected, duration(ms)));
            }
            Timing::Valid(ms) => discovery.max_age_ms = ms,
            Timing::Faulty => {}
        }
    }

    fn rollout(&mut self, value: &Value, config: &mut Config) {
        let rollout = &mut config.rollout;
        self.fields(value, schema::ROLLOUT, &mut |reader, field, value| match field.name {
            "mode" => rollout.shadow = reader.choice(field, value) == Some("shadow"),
            _ => set(&mut rollout.percent, reader.number(field, value)),
        });
    }

    fn reporting(&mut self, value: &Value, report: &mut Reporting) {
        self.fields(value, schema::REPORT, &mut |reader, field, value| match reader
            .choice(field, value)
        {
            Some("all") => report.stamp = Audience::All,
            Some("off") => report.stamp = Audience::Off,
            Some("text") => report.format = Format::Text,
            Some("json") => report.format = Format::Json,
            _ => {}
        });
    }

    fn probing(&mut self, value: &Value, config: &mut Config, everywhere: &mut Overrides) {
        let probe = &mut config.probe;
        self.fields(value, schema::PROBE, &mut |reader, field, value| match field.name {
            "mode" | "cluster" => reader.cluster_probe(field, value, everywhere),
            "deadline" => {
                if let Timing::Valid(ms) = reader.duration(field, value) {
                    probe.deadline_ms = Some(ms);
                }
            }
            "fanout" => set(&mut probe.fanout, reader.whole(field, value)),
            "budget" => set(&mut probe.budget, reader.rate(field, value)),
            "server_budget" => set(&mut probe.server_budget, reader.rate(field, value)),
            "allow" => {
                if reader.choice(field, value) == Some("any") {
                    probe.allow = Allow::Any;
                }
            }
            _ => set(&mut probe.header, reader.text(field, value, &is_free_header)),
        });
    }

    /// What the top level and an entry of `clusters` may both say of probes.
    fn cluster_probe(&mut self, field: &Field, value: &Value, to: &mut Overrides) {
        if field.name == "cluster" {
            to.probe_cluster = self.cluster_name(field, value);
            return;
        }
        to.probe_mode = self.choice(field, value).map(|word| match word {
            "off" => ProbeMode::Off,
            "always" => ProbeMode::Always,
            _ => ProbeMode::Auto,
        });
    }

    /// A whole number of probes a second.
    fn rate(&mut self, field: &Field, value: &Value) -> Option<u32> {
        self.whole(field, value).and_then(|rate| u32::try_from(rate).ok())
    }

    /// A cluster's name, or empty for none.
    fn cluster_name(&mut self, field: &Field, value: &Value) -> Option<String> {
        self.text(field, value, &|name| name.is_empty() || is_name(name))
    }

    fn methods(&mut self, field: &Field, value: &Value, methods: &mut Methods) {
        self.entries(field, value, MOST_METHODS, &mut |reader, name, value| {
            let mut cost = Work::ONE;
            reader.fields(value, schema::METHOD, &mut |reader, field, value| {
                set(&mut cost, reader.number(field, value).map(work));
            });
            let service = name.strip_suffix('*').filter(|service| service.ends_with('/'));
            let is_method = name.len() <= LONGEST_NAME
                && name.bytes().all(|byte| byte.is_ascii_graphic())
                && grpc::method_of(name.as_bytes()) == Some(name)
                && !service.unwrap_or(name).contains('*');
            match service {
                _ if !is_method => {
                    let expected = "a key such as \"/pkg.Service/Method\" or \"/pkg.Service/*\"";
                    reader.fault(expected, quoted(name));
                }
                Some(service) => add(&mut methods.services, service, cost),
                None => add(&mut methods.exact, name, cost),
            }
        });
    }

    fn clusters(&mut self, field: &Field, value: &Value, config: &mut Config) {
        let Config { exact, prefixes, .. } = config;
        self.entries(field, value, MOST_CLUSTERS, &mut |reader, name, value| {
            let mut entry = Overrides::default();
            reader.fields(value, schema::CLUSTER, &mut |reader, field, value| match field.name {
                "discovery" => reader.cluster_discovery(value, name, &mut entry),
                "probe" => {
                    reader.fields(value, schema::CLUSTER_PROBE, &mut |reader, field, value| {
                        reader.cluster_probe(field, value, &mut entry);
                    });
                }
                _ => reader.setting(field, value, &mut entry),
            });
            match name.strip_suffix('*') {
                _ if !is_name(name) => reader.fault(NAME, quoted(name)),
                Some(prefix) => prefixes.push((prefix.to_owned(), entry)),
                None => add(exact, name, entry),
            }
        });
    }

    fn cluster_discovery(&mut self, value: &Value, pattern: &str, entry: &mut Overrides) {
        self.fields(value, schema::CLUSTER_DISCOVERY, &mut |reader, field, value| {
            if value.is_object() {
                entry.lists = reader.lists(field, value, pattern);
            } else if value.is_array() {
                entry.list = Some(reader.endpoints(value));
            } else {
                reader.fault(&field.kind.expected(), echo(value));
            }
        });
    }

    /// What the top level and an entry of `clusters` have in common.
    fn setting(&mut self, field: &Field, value: &Value, to: &mut Overrides) {
        let fields = match field.name {
            "enabled" => return to.enabled = self.boolean(field, value),
            "panic_threshold" => return to.panic_threshold = self.number(field, value),
            "estimate" => schema::ESTIMATE,
            _ => schema::PICKER,
        };
        self.fields(value, fields, &mut |reader, field, value| match field.name {
            "reports" => to.reports = reader.boolean(field, value),
            "speed" => to.speed = reader.boolean(field, value),
            "failures" => to.failures = reader.boolean(field, value),
            "scan_limit" => to.scan_limit = reader.whole(field, value),
            "samples" => to.samples = reader.whole(field, value),
            _ => to.idle = reader.whole(field, value),
        });
    }

    /// A map from clusters to endpoints; `pattern` is what the clusters must match.
    fn lists(&mut self, field: &Field, value: &Value, pattern: &str) -> Vec<Given> {
        let mut lists = Vec::new();
        self.entries(field, value, MOST_CLUSTERS, &mut |reader, name, value| {
            if !is_name(name) {
                reader.fault(NAME, quoted(name));
            } else if !matches(pattern, name) {
                let expected = format!("a cluster that {} matches", quoted(pattern));
                reader.fault(&expected, quoted(name));
            }
            add(&mut lists, name, reader.endpoints(value));
        });
        lists
    }

    fn endpoints(&mut self, value: &Value) -> Vec<String> {
        let Value::Array(values) = value else {
            self.fault("a list of endpoints", echo(value));
            return Vec::new();
        };
        if values.len() > MOST_ENDPOINTS {
            let expected = format!("at most {MOST_ENDPOINTS} endpoints");
            self.fault(&expected, values.len().to_string());
            return Vec::new();
        }
        let mut endpoints = Vec::with_capacity(values.len());
        let mut seen: Map<String, u32> = Map::with_capacity_and_hasher(values.len(), FxBuildHasher);
        for (index, value) in values.iter().enumerate() {
            self.within(&format!("[{index}]"), |reader| match value {
                Value::String(endpoint) if is_endpoint(endpoint) => {
                    if seen.insert(endpoint.clone(), 0).is_some() {
                        reader.fault("each endpoint once", quoted(endpoint));
                    }
                    endpoints.push(endpoint.clone());
                }
                _ => {
                    let expected = format!(
                        "an endpoint such as \"10.0.0.1:50051\": printable ASCII without spaces \
                         and commas, at most {LONGEST_ENDPOINT} bytes"
                    );
                    reader.fault(&expected, echo(value));
                }
            });
        }
        endpoints
    }
}

fn set<T>(to: &mut T, from: Option<T>) {
    if let Some(from) = from {
        *to = from;
    }
}

/// From a cost of 0 to 1000. Only 0 itself excludes a method: less than a thousandth is rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked before"
)]
fn work(cost: f64) -> Work {
    let milli = (cost * 1000.0).round() as u64;
    Work::from_milli(if cost > 0.0 { milli.max(1) } else { 0 })
}

/// What [`is_name`] checks, in words.
const NAME: &str = "a cluster name of at most 512 bytes without control characters";

fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |prefix| name.starts_with(prefix))
}

/// Whether a header can carry the override: a token in lower case, as HTTP/2 has it, that nobody
/// else uses.
fn is_free_header(name: &str) -> bool {
    let is_token = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
    };
    (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(is_token)
        && !RESERVED.contains(&name)
        && !RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
