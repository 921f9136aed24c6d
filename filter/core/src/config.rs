//! What the operator may say, and what holds for a request.
//!
//! The configuration is JSON. [`Config::parse`] reads it and reports every fault at once, by path;
//! the lookups below answer for one method or one cluster. docs/configuration.md is the reference.

mod fault;
mod read;
mod reader;
mod schema;
mod settings;

pub use self::fault::{Fault, Faults};
pub use self::schema::{FIELDS, Field, Kind, Section};
pub use self::settings::{
    Allow, Audience, ClusterSettings, DEADLINE_MS, Discovery, Estimate, Format, Mechanism, Picker,
    ProbeMode, Probing, Reporting, Role, Rollout, Steering, Traffic,
};

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
/// The ask header where none is given.
const ASK_HEADER: &str = "x-leastload-ask";

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
    /// How the twin reports its server's load.
    pub report: Reporting,
    /// How servers are asked, and answer.
    pub probe: Probing,
    /// Whether this proxy is a gateway: names of ours are removed from what comes in and from what
    /// goes out.
    pub edge: bool,
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
    reports: Option<bool>,
    speed: Option<bool>,
    failures: Option<bool>,
    probe_mode: Option<ProbeMode>,
    /// Empty where there is to be none.
    probe_cluster: Option<String>,
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
            report: Reporting::default(),
            probe: Probing {
                deadline_ms: None,
                fanout: 3,
                budget: 200,
                server_budget: 200,
                allow: Allow::default(),
                header: ASK_HEADER.to_owned(),
            },
            edge: false,
            everywhere: ClusterSettings {
                enabled: true,
                picker: Picker { scan_limit: 32, samples: 8, idle: 4 },
                given: None,
                panic_threshold: 0.0,
                estimate: Estimate { reports: true, speed: true, failures: true },
                probe_mode: ProbeMode::default(),
                probe_cluster: None,
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
        set(&mut settings.estimate.reports, self.reports);
        set(&mut settings.estimate.speed, self.speed);
        set(&mut settings.estimate.failures, self.failures);
        set(&mut settings.probe_mode, self.probe_mode);
        if let Some(name) = &self.probe_cluster {
            settings.probe_cluster = some_name(name.clone());
        }
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

/// A cluster's name where there is one.
fn some_name(name: String) -> Option<String> {
    (!name.is_empty()).then_some(name)
}

/// Whether `text` can name an endpoint: printable ASCII without spaces, and without commas, which
/// separate endpoints in the override header; at most [`LONGEST_ENDPOINT`] bytes.
pub fn is_endpoint(text: &str) -> bool {
    (1..=LONGEST_ENDPOINT).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

#[cfg(test)]
mod tests;
