//! The table of scenarios: `scenarios/*.json`.

use std::{collections::BTreeSet, fs, path::Path};

use serde::Deserialize;
use serde_json::{Value, json};

/// The plugin of scenarios that bring none of their own.
pub const MAIN: &str = "main";

/// One scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Unique; also the path of its requests.
    pub name: String,
    /// What the probe does for its streams: see `tests/modules/probe`.
    #[serde(default)]
    pub script: Value,
    /// A plugin of its own, on a listener of its own.
    pub plugin: Option<Plugin>,
    /// What client, upstream and operator do, in this order: see [`crate::step::Step`].
    pub steps: Vec<String>,
    /// Whether what the main thread's VM does belongs to the trace.
    #[serde(default)]
    pub main_thread: bool,
    /// Whether the VM ends in it, so that contexts are never deleted.
    #[serde(default)]
    pub crashes: bool,
    /// File that it is from, without its ending.
    #[serde(skip)]
    pub topic: String,
}

/// How a plugin is configured.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// Its configuration: scripts of the root context, and under `stream` those of streams.
    #[serde(default)]
    pub configuration: Value,
    /// Its VM; that of the scenario's name where none is given.
    pub vm_id: Option<String>,
    /// `FAIL_CLOSED`, `FAIL_OPEN` or `FAIL_RELOAD`; the proxy's own where none is given.
    pub failure_policy: Option<String>,
    /// Retries of the listener's only route, e.g. `{"retry_on": "5xx", "num_retries": 1}`.
    pub retry: Option<Value>,
    /// Configurations that it is changed to, one for each step `configure`.
    #[serde(default)]
    pub changes: Vec<Value>,
}

impl Scenario {
    /// One in which nothing happens.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            script: Value::Null,
            plugin: None,
            steps: Vec::new(),
            main_thread: false,
            crashes: false,
            topic: String::new(),
        }
    }

    /// Name of its plugin: that of the listener, and the root id.
    pub fn plugin_name(&self) -> &str {
        if self.plugin.is_some() { &self.name } else { MAIN }
    }

    /// Its plugin.
    pub fn plugin(&self) -> Plugin {
        self.plugin.clone().unwrap_or_default()
    }
}

impl Plugin {
    /// The configuration as the proxy gets it.
    pub fn configuration(&self) -> Value {
        if self.configuration.is_null() { json!({}) } else { self.configuration.clone() }
    }
}

/// All scenarios, in the order of files and lines.
///
/// # Panics
/// When a file is broken.
pub fn all() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = fs::read_dir(&folder).expect("scenarios can be listed");
    let files: BTreeSet<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    let mut all = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("scenarios can be read");
        let scenarios: Vec<Scenario> = serde_json::from_str(&text)
            .unwrap_or_else(|fault| panic!("{}: {fault}", file.display()));
        let topic = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        all.extend(scenarios.into_iter().map(|s| Scenario { topic: topic.clone(), ..s }));
    }
    let names: BTreeSet<_> = all.iter().map(|scenario| &scenario.name).collect();
    assert_eq!(names.len(), all.len(), "two scenarios have one name");
    all
}
