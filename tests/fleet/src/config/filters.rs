//! The filter under test and what carries out its picks.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{OVERRIDE_HEADER, discovery, merge};

/// How the host named in the override header is obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Not at all: the header goes to the server.
    None,
    /// `envoy.filters.http.stateful_session` after the filter; the route removes the header.
    StatefulSession,
    /// The cluster's `override_host` policy, from metadata: the route's header removal would come
    /// before the choice, so `header_to_metadata` takes the header away instead.
    OverrideHost,
}

/// Metadata that carries the override to the `override_host` policy.
const NAMESPACE: &str = "leastload";
const KEY: &str = "host";

impl Mechanism {
    /// The HTTP filter that must follow the filter under test.
    pub(crate) fn filter(self) -> Option<Value> {
        match self {
            Self::None => None,
            Self::StatefulSession => Some(json!({
                "name": "envoy.filters.http.stateful_session",
                "typed_config": {
                    "@type": extension("filters.http.stateful_session.v3.StatefulSession"),
                    "session_state": {
                        "name": "envoy.http.stateful_session.header",
                        "typed_config": {
                            "@type": extension(
                                "http.stateful_session.header.v3.HeaderBasedSessionState"),
                            "name": OVERRIDE_HEADER,
                        },
                    },
                },
            })),
            Self::OverrideHost => Some(json!({
                "name": "envoy.filters.http.header_to_metadata",
                "typed_config": {
                    "@type": extension("filters.http.header_to_metadata.v3.Config"),
                    "request_rules": [{
                        "header": OVERRIDE_HEADER,
                        "on_header_present": {"metadata_namespace": NAMESPACE, "key": KEY},
                        "remove": true,
                    }],
                },
            })),
        }
    }

    /// Headers that the route takes away before a request goes upstream.
    pub(crate) fn headers_to_remove(self) -> Vec<&'static str> {
        match self {
            Self::StatefulSession => vec![OVERRIDE_HEADER],
            Self::None | Self::OverrideHost => Vec::new(),
        }
    }
}

/// A cluster's `load_balancing_policy`: the host in the metadata (a request that came through the
/// listener), in the header (a call that the filter makes itself), else Envoy's own `fallback`.
pub(crate) fn override_host_policy(fallback: &str) -> Value {
    let (name, message) = match fallback {
        "LEAST_REQUEST" => ("least_request", "least_request.v3.LeastRequest"),
        "RANDOM" => ("random", "random.v3.Random"),
        _ => ("round_robin", "round_robin.v3.RoundRobin"),
    };
    let fallback = json!({"typed_extension_config": {
        "name": format!("envoy.load_balancing_policies.{name}"),
        "typed_config": {"@type": extension(&format!("load_balancing_policies.{message}"))},
    }});
    json!({"policies": [{"typed_extension_config": {
        "name": "envoy.load_balancing_policies.override_host",
        "typed_config": {
            "@type": extension("load_balancing_policies.override_host.v3.OverrideHost"),
            "override_host_sources": [
                {"metadata": {"key": NAMESPACE, "path": [{"key": KEY}]}},
                {"header": OVERRIDE_HEADER},
            ],
            "fallback_policy": {"policies": [fallback]},
        },
    }}]})
}

/// The Wasm filter.
#[derive(Clone, Debug)]
pub struct Wasm {
    /// Path of the module.
    pub module: PathBuf,
    /// Plugin configuration. A JSON string is passed as it is (so that it can be broken JSON),
    /// everything else is written as JSON; null passes none.
    pub configuration: Value,
    /// Name of the plugin and of the HTTP filter.
    pub name: String,
    /// Root id.
    pub root_id: String,
    /// VM id; empty as in Istio.
    pub vm_id: String,
    /// `FAIL_RELOAD`, `FAIL_OPEN`, `FAIL_CLOSED`; None is Envoy's default.
    pub failure_policy: Option<String>,
    /// Whether it comes from a file and can change ([`crate::envoy::Envoy::set_wasm`]).
    pub from_file: bool,
    /// Merged over the rendered `PluginConfig`.
    pub extra: Value,
}

impl Wasm {
    /// The module with an empty configuration and `FAIL_RELOAD`.
    pub fn new(module: impl AsRef<Path>) -> Self {
        Self {
            module: module.as_ref().to_owned(),
            configuration: json!({}),
            name: "leastload".into(),
            root_id: "leastload".into(),
            vm_id: String::new(),
            failure_policy: Some("FAIL_RELOAD".into()),
            from_file: false,
            extra: Value::Null,
        }
    }

    /// Sets the plugin configuration.
    #[must_use]
    pub fn configuration(self, configuration: Value) -> Self {
        Self { configuration, ..self }
    }

    /// Lets the filter's configuration come from a file.
    #[must_use]
    pub fn from_file(self) -> Self {
        Self { from_file: true, ..self }
    }

    pub(crate) fn typed_config(&self) -> Value {
        let mut plugin = json!({
            "name": self.name,
            "root_id": self.root_id,
            "vm_config": {
                "vm_id": self.vm_id,
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": self.module}},
            },
        });
        if let Some(policy) = &self.failure_policy {
            plugin["failure_policy"] = json!(policy);
        }
        let configuration = match &self.configuration {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            structured => Some(structured.to_string()),
        };
        if let Some(text) = configuration {
            plugin["configuration"] =
                json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text});
        }
        merge(&mut plugin, &self.extra);
        json!({"@type": extension("filters.http.wasm.v3.Wasm"), "config": plugin})
    }

    /// Content of the file of this filter.
    pub(crate) fn discovery(&self) -> Value {
        discovery(std::iter::once(json!({
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": self.name,
            "typed_config": self.typed_config(),
        })))
    }
}

/// Type URL of one of Envoy's extensions.
pub(super) fn extension(message: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.{message}")
}
