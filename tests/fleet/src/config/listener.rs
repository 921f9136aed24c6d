//! Listeners: HTTP with routes and filters, or plain TCP.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::{Mechanism, Place, Wasm, filters::extension, from_file, merge, socket_address};

/// Where requests come in.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name; [`crate::envoy::Envoy::listener`] finds its address by it.
    pub name: String,
    /// Where it binds; port 0 is a free one.
    pub address: SocketAddr,
    /// What it does with connections.
    pub kind: Kind,
    /// Whether connections go to the workers in turn, instead of where the kernel hashes them:
    /// with few connections some workers would get none.
    pub exact_balance: bool,
    /// Merged over the rendered listener.
    pub extra: Value,
}

/// What a listener does with a connection.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Routes each request.
    Http(Box<Http>),
    /// Passes each connection to one host of this cluster, as a Kubernetes `ClusterIP` does.
    Tcp(String),
}

/// Routes and filters of an HTTP listener (HTTP/1 and HTTP/2 as the client speaks).
#[derive(Clone, Debug, Default)]
pub struct Http {
    /// Tried in order.
    pub routes: Vec<Route>,
    /// Filters before the filter under test.
    pub filters_before: Vec<Value>,
    /// The filter under test.
    pub wasm: Option<Wasm>,
    /// Filters between the override mechanism and the router.
    pub filters_after: Vec<Value>,
    /// Format of a line of the access log, e.g. `%RESPONSE_FLAGS% %UPSTREAM_HOST%`; None logs
    /// nothing. Read with [`crate::envoy::Envoy::access_log`].
    pub access_log: Option<String>,
    /// Merged over the rendered HTTP connection manager.
    pub extra: Value,
}

/// A route to a cluster.
#[derive(Clone, Debug)]
pub struct Route {
    /// Prefix of the path.
    pub prefix: String,
    /// Cluster it leads to.
    pub cluster: String,
    /// `timeout` of the whole call; `0s` is none.
    pub timeout: String,
    /// `retry_policy`, e.g. `{"retry_on": "unavailable", "num_retries": 2}`.
    pub retry_policy: Option<Value>,
    /// Cluster that gets a copy of each request.
    pub mirror: Option<String>,
    /// Merged over the rendered route (not its action).
    pub extra: Value,
}

impl Route {
    /// A route for paths that start with `prefix`, without timeout and retries.
    pub fn new(prefix: &str, cluster: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            cluster: cluster.to_owned(),
            timeout: "0s".into(),
            retry_policy: None,
            mirror: None,
            extra: Value::Null,
        }
    }

    fn render(&self) -> Value {
        let mut action = json!({"cluster": self.cluster, "timeout": self.timeout});
        if let Some(policy) = &self.retry_policy {
            action["retry_policy"] = policy.clone();
        }
        if let Some(mirror) = &self.mirror {
            action["request_mirror_policies"] = json!([{"cluster": mirror}]);
        }
        let mut route = json!({"match": {"prefix": self.prefix}, "route": action});
        merge(&mut route, &self.extra);
        route
    }
}

impl Listener {
    /// An HTTP listener that sends everything to `cluster`.
    pub fn http(name: &str, cluster: &str) -> Self {
        Self::routes(name, [Route::new("/", cluster)])
    }

    /// An HTTP listener with these routes.
    pub fn routes(name: &str, routes: impl IntoIterator<Item = Route>) -> Self {
        let http = Http { routes: routes.into_iter().collect(), ..Http::default() };
        Self::new(name, Kind::Http(Box::new(http)))
    }

    /// A TCP listener: each connection goes to one host of `cluster`.
    pub fn tcp(name: &str, cluster: &str) -> Self {
        Self::new(name, Kind::Tcp(cluster.to_owned()))
    }

    fn new(name: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            kind,
            exact_balance: true,
            extra: Value::Null,
        }
    }

    /// Puts the filter under test in; no effect on a TCP listener.
    #[must_use]
    pub fn wasm(self, wasm: Wasm) -> Self {
        self.with_http(|http| http.wasm = Some(wasm))
    }

    /// Changes the HTTP part; no effect on a TCP listener.
    #[must_use]
    pub fn with_http(mut self, change: impl FnOnce(&mut Http)) -> Self {
        if let Kind::Http(http) = &mut self.kind {
            change(http);
        }
        self
    }

    pub(crate) fn wasm_from_file(&self) -> Option<&Wasm> {
        match &self.kind {
            Kind::Http(http) => http.wasm.as_ref().filter(|wasm| wasm.from_file),
            Kind::Tcp(_) => None,
        }
    }

    pub(crate) fn render(&self, place: &Place, mechanism: Mechanism) -> Value {
        let filter = match &self.kind {
            Kind::Http(http) => http.render(&self.name, place, mechanism),
            Kind::Tcp(cluster) => json!({
                "name": "envoy.filters.network.tcp_proxy",
                "typed_config": {
                    "@type": extension("filters.network.tcp_proxy.v3.TcpProxy"),
                    "stat_prefix": self.name,
                    "cluster": cluster,
                },
            }),
        };
        let mut listener = json!({
            "name": self.name,
            "address": socket_address(self.address),
            "filter_chains": [{"filters": [filter]}],
        });
        if self.exact_balance {
            listener["connection_balance_config"] = json!({"exact_balance": {}});
        }
        merge(&mut listener, &self.extra);
        if listener.get("internal_listener").is_some() {
            // Connections come from inside the proxy, by the listener's name.
            listener["address"].take();
        }
        listener
    }
}

impl Http {
    fn render(&self, stat_prefix: &str, place: &Place, mechanism: Mechanism) -> Value {
        let mut filters = self.filters_before.clone();
        if let Some(wasm) = &self.wasm {
            filters.push(if wasm.from_file {
                json!({
                    "name": wasm.name,
                    "config_discovery": {
                        "config_source": from_file(&place.filter(&wasm.name)),
                        "type_urls": [extension("filters.http.wasm.v3.Wasm")],
                    },
                })
            } else {
                json!({"name": wasm.name, "typed_config": wasm.typed_config()})
            });
        }
        filters.extend(mechanism.filter());
        filters.extend(self.filters_after.iter().cloned());
        filters.push(json!({
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": extension("filters.http.router.v3.Router")},
        }));
        let routes: Vec<Value> = self.routes.iter().map(Route::render).collect();
        let mut manager = json!({
            "@type": extension(
                "filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": stat_prefix,
            "codec_type": "AUTO",
            "http_filters": filters,
            "route_config": {
                "name": stat_prefix,
                "request_headers_to_remove": mechanism.headers_to_remove(),
                "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
            },
        });
        if let Some(format) = &self.access_log {
            manager["access_log"] = json!([{
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": extension("access_loggers.file.v3.FileAccessLog"),
                    "path": place.access_log(),
                    "log_format": {"text_format_source": {"inline_string": format!("{format}\n")}},
                },
            }]);
            manager["access_log_options"] = json!({"flush_access_log_on_new_request": false});
        }
        merge(&mut manager, &self.extra);
        json!({
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": manager,
        })
    }
}
