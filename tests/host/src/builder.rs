//! What a proxy is made of.

use core::fmt::Display;

use crate::envoy::cluster::Cluster;
use crate::fault::Fault;
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

/// A proxy to be started.
pub struct Builder {
    pub(crate) module: Module,
}

impl Builder {
    pub(crate) fn new(module: Module) -> Self {
        Self { module }
    }

    /// So many workers; 1 unless told otherwise.
    #[must_use]
    pub fn workers(self, count: usize) -> Self {
        todo!()
    }

    /// The configuration of the first plugin, for example `json!({...})`; empty unless told.
    #[must_use]
    pub fn config(self, config: impl Display) -> Self {
        todo!()
    }

    /// The first plugin's name, root id and configuration.
    #[must_use]
    pub fn first_plugin(self, plugin: Plugin) -> Self {
        todo!()
    }

    /// One more plugin in the same VMs.
    #[must_use]
    pub fn plugin(self, plugin: Plugin) -> Self {
        todo!()
    }

    /// The VM id, which names the part of the shared store that is used; empty unless told.
    #[must_use]
    pub fn vm_id(self, vm_id: impl Into<String>) -> Self {
        todo!()
    }

    /// The configuration of the VM; empty unless told.
    #[must_use]
    pub fn vm_config(self, config: impl Display) -> Self {
        todo!()
    }

    /// An environment variable of the VM.
    #[must_use]
    pub fn env(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        todo!()
    }

    /// Whether Envoy's throwaway VM tries each configuration first; it does unless told otherwise.
    #[must_use]
    pub fn canary(self, canary: bool) -> Self {
        todo!()
    }

    /// The seed of all random numbers: 0 unless told.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        todo!()
    }

    /// What becomes of requests on a worker whose VM died.
    #[must_use]
    pub fn failure_policy(self, policy: FailurePolicy) -> Self {
        todo!()
    }

    /// Most bytes of linear memory of each VM: growing beyond fails in the VM.
    #[must_use]
    pub fn memory_limit(self, bytes: usize) -> Self {
        todo!()
    }

    /// Counts instructions: see [`Trace::fuel`](crate::Trace::fuel).
    #[must_use]
    pub fn fuel(self, count: bool) -> Self {
        todo!()
    }

    /// Keeps a trace; it does unless told otherwise. Without one, long runs need less memory.
    #[must_use]
    pub fn tracing(self, keep: bool) -> Self {
        todo!()
    }

    /// Metrics for which this says so are dropped, as Envoy's stats matcher does: they can be
    /// defined and changed, and read as 0.
    #[must_use]
    pub fn drop_stats(self, drops: impl Fn(&str) -> bool + 'static) -> Self {
        todo!()
    }

    /// The level that `get_log_level` tells; [`LogLevel::Info`] unless told. Every line is kept.
    #[must_use]
    pub fn log_level(self, level: LogLevel) -> Self {
        todo!()
    }

    /// A cluster.
    #[must_use]
    pub fn cluster(self, cluster: Cluster) -> Self {
        todo!()
    }

    /// Envoy's `stateful_session` filter with its header mechanism, not strict, after the filter
    /// under test, with this header.
    #[must_use]
    pub fn stateful_session(self, header: impl Into<String>) -> Self {
        todo!()
    }

    /// A cluster of this name is the admin interface.
    #[must_use]
    pub fn admin(self, cluster: impl Into<String>, mode: AdminMode) -> Self {
        todo!()
    }

    /// A property of every stream and, at the top level, of root contexts.
    #[must_use]
    pub fn property(self, path: &[&str], value: impl Into<Value>) -> Self {
        todo!()
    }

    /// Plans a fault that may strike during the start already.
    #[must_use]
    pub fn fault(self, fault: Fault) -> Self {
        todo!()
    }

    /// Starts the canary, the main thread's VM and those of the workers, in this order.
    ///
    /// # Panics
    ///
    /// Where the module cannot be loaded as Envoy would: not Proxy-Wasm 0.2, unknown imports.
    pub fn start(self) -> Proxy {
        todo!()
    }
}
