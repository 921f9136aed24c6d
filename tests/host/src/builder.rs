//! What a proxy is made of.

use core::fmt::Display;

use crate::engine;
use crate::envoy::cluster::Cluster;
use crate::fault::Fault;
use crate::inner::Inner;
use crate::module::Module;
use crate::proxy::{AdminMode, Proxy};
use crate::types::{FailurePolicy, LogLevel};
use crate::value::Value;

/// One plugin configuration: a root context of its own in each VM.
#[derive(Clone, Debug, Default)]
pub struct Plugin {
    pub(crate) name: String,
    pub(crate) root_id: String,
    pub(crate) config: String,
}

impl Plugin {
    /// A plugin of this name, without root id and configuration.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// With this root id.
    #[must_use]
    pub fn root_id(mut self, root_id: impl Into<String>) -> Self {
        self.root_id = root_id.into();
        self
    }

    /// With this configuration, for example `json!({...})`.
    #[must_use]
    pub fn config(mut self, config: impl Display) -> Self {
        self.config = config.to_string();
        self
    }
}

/// All that does not change while a proxy runs.
pub(crate) struct Settings {
    pub(crate) workers: usize,
    pub(crate) plugins: Vec<Plugin>,
    pub(crate) vm_id: String,
    pub(crate) vm_config: String,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) canary: bool,
    pub(crate) seed: u64,
    pub(crate) policy: FailurePolicy,
    pub(crate) memory_limit: Option<usize>,
    pub(crate) fuel: bool,
    pub(crate) tracing: bool,
    pub(crate) log_level: LogLevel,
    pub(crate) session: Option<String>,
    pub(crate) admin_cluster: Option<String>,
    pub(crate) admin_mode: AdminMode,
    pub(crate) properties: Vec<(Vec<String>, Value)>,
    pub(crate) clusters: Vec<Cluster>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) drops: Option<crate::store::metrics::Drops>,
}

/// A proxy to be started.
#[must_use = "it does nothing until `start`"]
pub struct Builder {
    module: Module,
    settings: Settings,
}

impl Builder {
    pub(crate) fn new(module: Module) -> Self {
        let settings = Settings {
            workers: 1,
            plugins: vec![Plugin::default()],
            vm_id: String::new(),
            vm_config: String::new(),
            env: Vec::new(),
            canary: true,
            seed: 0,
            policy: FailurePolicy::default(),
            memory_limit: None,
            fuel: false,
            tracing: true,
            log_level: LogLevel::Info,
            session: None,
            admin_cluster: None,
            admin_mode: AdminMode::default(),
            properties: Vec::new(),
            clusters: Vec::new(),
            faults: Vec::new(),
            drops: None,
        };
        Self { module, settings }
    }

    /// So many workers; 1 unless told otherwise.
    pub fn workers(mut self, count: usize) -> Self {
        self.settings.workers = count;
        self
    }

    /// The configuration of the first plugin, for example `json!({...})`; empty unless told.
    pub fn config(mut self, config: impl Display) -> Self {
        self.settings.plugins[0].config = config.to_string();
        self
    }

    /// The first plugin's name, root id and configuration.
    pub fn first_plugin(mut self, plugin: Plugin) -> Self {
        self.settings.plugins[0] = plugin;
        self
    }

    /// One more plugin in the same VMs.
    pub fn plugin(mut self, plugin: Plugin) -> Self {
        self.settings.plugins.push(plugin);
        self
    }

    /// The VM id, which names the part of the shared store that is used; empty unless told.
    pub fn vm_id(mut self, vm_id: impl Into<String>) -> Self {
        self.settings.vm_id = vm_id.into();
        self
    }

    /// The configuration of the VM; empty unless told.
    pub fn vm_config(mut self, config: impl Display) -> Self {
        self.settings.vm_config = config.to_string();
        self
    }

    /// An environment variable of the VM.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.env.push((name.into(), value.into()));
        self
    }

    /// Whether Envoy's throwaway VM tries each configuration first; it does unless told otherwise.
    pub fn canary(mut self, canary: bool) -> Self {
        self.settings.canary = canary;
        self
    }

    /// The seed of all random numbers: 0 unless told.
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// What becomes of requests on a worker whose VM died.
    pub fn failure_policy(mut self, policy: FailurePolicy) -> Self {
        self.settings.policy = policy;
        self
    }

    /// Most bytes of linear memory of each VM: growing beyond fails in the VM.
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.settings.memory_limit = Some(bytes);
        self
    }

    /// Counts instructions: see [`Trace::fuel`](crate::Trace::fuel).
    pub fn fuel(mut self, count: bool) -> Self {
        self.settings.fuel = count;
        self
    }

    /// Keeps a trace; it does unless told otherwise. Without one, long runs need less memory.
    pub fn tracing(mut self, keep: bool) -> Self {
        self.settings.tracing = keep;
        self
    }

    /// Metrics for which this says so are dropped, as Envoy's stats matcher does: they can be
    /// defined and changed, and read as 0.
    pub fn drop_stats(mut self, drops: impl Fn(&str) -> bool + 'static) -> Self {
        self.settings.drops = Some(Box::new(drops));
        self
    }

    /// The level that `get_log_level` tells; [`LogLevel::Info`] unless told. Every line is kept.
    pub fn log_level(mut self, level: LogLevel) -> Self {
        self.settings.log_level = level;
        self
    }

    /// A cluster.
    pub fn cluster(mut self, cluster: Cluster) -> Self {
        self.settings.clusters.push(cluster);
        self
    }

    /// Envoy's `stateful_session` filter with its header mechanism, not strict, after the filter
    /// under test, with this header.
    pub fn stateful_session(mut self, header: impl Into<String>) -> Self {
        self.settings.session = Some(header.into().to_ascii_lowercase());
        self
    }

    /// A cluster of this name is the admin interface.
    pub fn admin(mut self, cluster: impl Into<String>, mode: AdminMode) -> Self {
        (self.settings.admin_cluster, self.settings.admin_mode) = (Some(cluster.into()), mode);
        self
    }

    /// A property of every stream and, at the top level, of root contexts.
    pub fn property(mut self, path: &[&str], value: impl Into<Value>) -> Self {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        self.settings.properties.push((path, value.into()));
        self
    }

    /// Plans a fault that may strike during the start already.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.settings.faults.push(fault);
        self
    }

    /// Starts the canary, the main thread's VM and those of the workers, in this order.
    ///
    /// # Panics
    ///
    /// Where the module cannot be loaded as Envoy would: not Proxy-Wasm 0.2, unknown imports.
    pub fn start(self) -> Proxy {
        let refused = |error: String| -> ! { panic!("Envoy refuses the module: {error}") };
        let compiled = engine::compiled(&self.module, self.settings.fuel);
        let inner = Inner::new(self.settings, compiled.unwrap_or_else(|error| refused(error)));
        inner.start().unwrap_or_else(|error| refused(error));
        Proxy::of(&inner)
    }
}
