//! What the operator may say, and what holds for a request.
//!
//! The configuration is JSON. [`Config::parse`] reads it and reports every fault at once, by path;
//! the lookups below answer for one method or one cluster. docs/configuration.md is the reference.

mod fault;
mod read;
mod reader;
mod schema;

pub use self::fault::{Fault, Faults};
pub use self::schema::{FIELDS, Field, Kind, Section};

use rustc_hash::FxBuildHasher;

use crate::Map;
use crate::work::Work;

/// Longest configuration, in bytes.
pub const MOST_BYTES: usize = 1024 * 1024;
/// Most entries of `methods`.
pub const MOST_METHODS: usize = 10_000;
/// Most entries of `clusters`, and of a map of clusters to endpoints.
pub const MOST_CLUSTERS: usize = 10_000;
/// Most endpoints in one list.
pub const MOST_ENDPOINTS: usize = 20_000;
/// Longest endpoint, in bytes.
pub const LONGEST_ENDPOINT: usize = 255;

/// Which way the requests go that this filter sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Told by the cluster's name and the listener's direction.
    #[default]
    Auto,
    /// Requests leave through this proxy: balance them.
    Outbound,
    /// Requests arrive at the server beside this proxy.
    Inbound,
}

/// Which requests are balanced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Traffic {
    /// gRPC and gRPC-Web, by content type.
    #[default]
    Grpc,
    /// Every request.
    All,
}

/// How Envoy is told which host to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mechanism {
    /// By the filter `envoy.filters.http.stateful_session` with header state.
    #[default]
    StatefulSession,
    /// By the load balancing policy `override_host`.
    OverrideHost,
}

/// How a pick reaches Envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steering {
    /// Who reads the header.
    pub mechanism: Mechanism,
    /// The override header's name, lower case.
    pub header: String,
    /// Endpoints listed after the pick, for retries: 0 to 8. Only `override_host` takes a list.
    pub spares: usize,
}

/// Where membership comes from, besides lists in the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Discovery {
    /// The cluster that leads to Envoy's admin interface; `None` switches it off.
    pub admin_cluster: Option<String>,
    /// Time between two readings, in ms: 100 to 3,600,000.
    pub interval_ms: u64,
    /// Age from which membership is no longer trusted, in ms: at least `interval_ms`.
    pub max_age_ms: u64,
    /// Percent of the requests left to Envoy where membership is learned from responses: 0 to 50.
    pub learn_percent: f64,
}

/// How much of it is in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// Percent of the requests that are steered: 0 to 100.
    pub percent: f64,
    /// Pick, count and compare, but do not steer.
    pub shadow: bool,
}

/// How far the picker looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picker {
    /// Up to so many eligible endpoints all are compared: 1 to 100,000.
    pub scan_limit: usize,
    /// Beyond that, so many are sampled: 2 to 64.
    pub samples: usize,
    /// And so many of those last seen idle are added: 0 to 64.
    pub idle: usize,
}

/// What holds for one cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterSettings {
    /// Whether its requests are balanced.
    pub enabled: bool,
    /// How far the picker looks.
    pub picker: Picker,
    /// Its endpoints, where the configuration lists them.
    pub given: Option<Vec<String>>,
    /// Least share, in percent, of healthy hosts in the eligible priority: 0 to 100.
    pub panic_threshold: f64,
}

/// A valid configuration. The default is what `{}` and an empty configuration mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Which way the requests go.
    pub role: Role,
    /// Which requests are balanced.
    pub traffic: Traffic,
    /// What each method costs.
    pub methods: Methods,
    /// How a pick reaches Envoy.
    pub steering: Steering,
    /// Where membership comes from.
    pub discovery: Discovery,
    /// How much of it is in force.
    pub rollout: Rollout,
    /// The top level's word on every cluster.
    everywhere: ClusterSettings,
    /// `discovery.static`, sorted by cluster.
    given: Vec<Given>,
    /// `clusters` by exact name, sorted.
    exact: Vec<(String, Overrides)>,
    /// `clusters` by prefix, without the `*`.
    prefixes: Vec<(String, Overrides)>,
}

/// A cluster and its endpoints.
type Given = (String, Vec<String>);

/// One entry of `clusters`: what it says; what it leaves out stays as on the top level.
#[derive(Clone, Debug, Default, PartialEq)]
struct Overrides {
    enabled: Option<bool>,
    scan_limit: Option<usize>,
    samples: Option<usize>,
    idle: Option<usize>,
    panic_threshold: Option<f64>,
    /// One list for every cluster that matches.
    list: Option<Vec<String>>,
    /// Lists by cluster, sorted.
    lists: Vec<Given>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            role: Role::default(),
            traffic: Traffic::default(),
            methods: Methods::default(),
            steering: Steering {
                mechanism: Mechanism::default(),
                header: "x-leastload-host".to_owned(),
                spares: 2,
            },
            discovery: Discovery {
                admin_cluster: Some("prometheus_stats".to_owned()),
                interval_ms: 1_000,
                max_age_ms: 10_000,
                learn_percent: 2.0,
            },
            rollout: Rollout { percent: 100.0, shadow: false },
            everywhere: ClusterSettings {
                enabled: true,
                picker: Picker { scan_limit: 128, samples: 8, idle: 4 },
                given: None,
                panic_threshold: 0.0,
            },
            given: Vec::new(),
            exact: Vec::new(),
            prefixes: Vec::new(),
        }
    }
}

impl Config {
    /// Reads a configuration. Nothing but white space means the defaults.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, not just the first.
    pub fn parse(bytes: &[u8]) -> Result<Config, Faults> {
        read::read(bytes)
    }

    /// What holds for `name`: the top level, overridden by the entry of `clusters` with that very
    /// name, else by the one with the longest prefix of it.
    pub fn cluster(&self, name: &str) -> ClusterSettings {
        let mut settings = self.everywhere.clone();
        if let Some(entry) = self.entry(name) {
            entry.apply(&mut settings);
        }
        settings.given = self.given(name).map(<[String]>::to_vec);
        settings
    }

    /// The clusters whose endpoints the configuration lists, by exact name, each once. A list that
    /// belongs to a prefix names no cluster, so it is not among them, but [`Config::cluster`] has it.
    pub fn static_clusters(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<&str> = Vec::new();
        names.extend(self.given.iter().map(|(name, _)| name.as_str()));
        for (name, entry) in &self.exact {
            names.extend(entry.list.as_ref().map(|_| name.as_str()));
        }
        for (_, entry) in self.exact.iter().chain(&self.prefixes) {
            names.extend(entry.lists.iter().map(|(name, _)| name.as_str()));
        }
        let mut seen: Map<String, u32> = Map::with_capacity_and_hasher(names.len(), FxBuildHasher);
        // An entry of a prefix may list a cluster for which a better entry speaks.
        names.into_iter().filter(move |name| {
            seen.insert((*name).to_owned(), 0).is_none() && self.given(name).is_some()
        })
    }

    /// The largest `picker.idle` of any cluster.
    pub fn most_idle(&self) -> usize {
        let entries = self.exact.iter().chain(&self.prefixes);
        entries.filter_map(|(_, entry)| entry.idle).fold(self.everywhere.picker.idle, usize::max)
    }

    fn entry(&self, name: &str) -> Option<&Overrides> {
        find(&self.exact, name).or_else(|| {
            let matching = self.prefixes.iter().filter(|(prefix, _)| name.starts_with(prefix));
            matching.max_by_key(|(prefix, _)| prefix.len()).map(|(_, entry)| entry)
        })
    }

    fn given(&self, name: &str) -> Option<&[String]> {
        let entry = self.entry(name);
        entry
            .and_then(|entry| entry.list.as_ref().or_else(|| find(&entry.lists, name)))
            .or_else(|| find(&self.given, name))
            .map(Vec::as_slice)
    }
}

impl Overrides {
    fn apply(&self, settings: &mut ClusterSettings) {
        fn set<T: Copy>(to: &mut T, from: Option<T>) {
            *to = from.unwrap_or(*to);
        }
        set(&mut settings.enabled, self.enabled);
        set(&mut settings.picker.scan_limit, self.scan_limit);
        set(&mut settings.picker.samples, self.samples);
        set(&mut settings.picker.idle, self.idle);
        set(&mut settings.panic_threshold, self.panic_threshold);
    }
}

/// What each method costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Methods {
    /// By full method, sorted.
    exact: Vec<(String, Work)>,
    /// By service, as `/pkg.Service/`, sorted.
    services: Vec<(String, Work)>,
}

impl Methods {
    /// Whether every method costs [`Work::ONE`], so that no path need be read.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.services.is_empty()
    }

    /// The cost of a request to `path`, a query string in it ignored: that of the method, else that
    /// of its service, else [`Work::ONE`]. [`Work::ZERO`] excludes it.
    pub fn cost(&self, path: &str) -> Work {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let service = || path.rfind('/').and_then(|slash| path.get(..=slash));
        find(&self.exact, path)
            .or_else(|| service().and_then(|service| find(&self.services, service)))
            .copied()
            .unwrap_or(Work::ONE)
    }
}

/// Looks `name` up in what is sorted by name.
fn find<'a, T>(sorted: &'a [(String, T)], name: &str) -> Option<&'a T> {
    let index = sorted.binary_search_by(|(key, _)| key.as_str().cmp(name)).ok()?;
    sorted.get(index).map(|(_, value)| value)
}

/// Adds to what is sorted by name. The JSON parser hands names out in order, so this is mostly an
/// append; sorting afterwards would cost the module some kilobytes for each type that is sorted.
fn add<T>(sorted: &mut Vec<(String, T)>, name: &str, value: T) {
    let index = sorted.partition_point(|(key, _)| key.as_str() < name);
    sorted.insert(index, (name.to_owned(), value));
}

/// Whether `text` can name an endpoint: printable ASCII without spaces, and without commas, which
/// separate endpoints in the override header; at most [`LONGEST_ENDPOINT`] bytes.
pub fn is_endpoint(text: &str) -> bool {
    (1..=LONGEST_ENDPOINT).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

#[cfg(test)]
mod tests;
