//! The proxy: what a test holds.

use core::fmt::Display;
use core::time::Duration;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::builder::Builder;
use crate::calls::HttpCall;
use crate::engine;
use crate::envoy::cluster::Cluster;
use crate::fault::Fault;
use crate::grpc::GrpcCall;
use crate::inner::Inner;
use crate::module::Module;
use crate::trace::Trace;
use crate::types::{LogLine, Status};
use crate::worker::Worker;

/// A proxy with its filter loaded. Clones are the same proxy.
#[derive(Clone)]
pub struct Proxy(Rc<Inner>);

impl Proxy {
    /// A proxy that will load this module: a path, or the bytes of a module.
    #[expect(clippy::new_ret_no_self, reason = "the builder reads better this way")]
    pub fn new(module: impl Into<Module>) -> Builder {
        Builder::new(module.into())
    }

    pub(crate) fn of(inner: &Rc<Inner>) -> Self {
        Self(Rc::clone(inner))
    }

    /// A worker, counted from 0.
    ///
    /// # Panics
    ///
    /// Where there are not so many.
    pub fn worker(&self, index: usize) -> Worker {
        assert!(index + 1 < self.0.threads.borrow().len(), "there is no worker {index}");
        Worker::new(Rc::clone(&self.0), index + 1)
    }

    /// Every worker.
    pub fn workers(&self) -> Vec<Worker> {
        (1..self.0.threads.borrow().len())
            .map(|index| Worker::new(Rc::clone(&self.0), index))
            .collect()
    }

    /// The main thread: it has a VM too, which ticks and makes calls, but serves no requests.
    pub fn main(&self) -> Worker {
        Worker::new(Rc::clone(&self.0), 0)
    }

    /// Time since the start.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.0.clock.now())
    }

    /// Lets time pass. Everything due in it happens in order of time: ticks (at one time: main
    /// thread first, then workers by number), timeouts of calls, automatic answers.
    pub fn advance(&self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0.run_until(self.0.clock.now().saturating_add(time));
    }

    /// A new configuration of the (first) plugin in the same VMs, as ECDS delivers it: a new root
    /// context each; the old one ends with its last stream. False where the module refused it: then
    /// the old one stays.
    pub fn configure(&self, config: impl Display) -> bool {
        self.0.reconfigure(0, &config.to_string(), false)
    }

    /// As [`configure`](Self::configure), but as a listener update delivers it: the old root
    /// contexts go on ticking until [`end_drain`](Self::end_drain).
    pub fn configure_draining(&self, config: impl Display) -> bool {
        self.0.reconfigure(0, &config.to_string(), true)
    }

    /// Ends the old root contexts that are kept for draining and have no streams left; others end
    /// with their last stream.
    pub fn end_drain(&self) {
        self.0.end_drain();
    }

    /// As [`configure`](Self::configure), for a plugin by its place.
    ///
    /// # Panics
    ///
    /// Where there is no such plugin.
    pub fn configure_plugin(&self, plugin: usize, config: impl Display) -> bool {
        self.0.reconfigure(plugin, &config.to_string(), false)
    }

    /// A new module, with the same configuration: new VMs; the old ones end with their last stream.
    /// False where it refused the configuration: then the old ones stay.
    ///
    /// # Panics
    ///
    /// Where the module cannot be loaded as Envoy would.
    pub fn load(&self, module: impl Into<Module>) -> bool {
        let compiled = engine::compiled(&module.into(), self.0.settings.fuel);
        let refused = |error| panic!("Envoy refuses the module: {error}");
        self.0.reload(&compiled.unwrap_or_else(refused))
    }

    /// The listener goes: no plugin serves new streams, which pass; root contexts end with their
    /// last stream. [`load`](Self::load) brings it back.
    pub fn shut_down(&self) {
        self.0.shut_down();
    }

    /// Plans a fault.
    pub fn fault(&self, fault: Fault) {
        self.0.faults.add(fault);
    }

    /// Forgets every fault planned.
    pub fn clear_faults(&self) {
        self.0.faults.clear();
    }

    /// Adds a cluster, or replaces the one of that name.
    pub fn set_cluster(&self, cluster: Cluster) {
        self.0.clusters.borrow_mut().insert(cluster.name.clone(), Rc::new(cluster));
    }

    /// Changes a cluster.
    ///
    /// # Panics
    ///
    /// Where there is none of that name.
    pub fn edit_cluster(&self, name: &str, edit: impl FnOnce(&mut Cluster)) {
        let mut clusters = self.0.clusters.borrow_mut();
        let cluster = clusters.get_mut(name);
        edit(Rc::make_mut(cluster.unwrap_or_else(|| panic!("there is no cluster {name}"))));
    }

    /// Removes a cluster.
    pub fn remove_cluster(&self, name: &str) {
        self.0.clusters.borrow_mut().remove(name);
    }

    /// How the admin interface answers from now on.
    pub fn admin(&self, mode: AdminMode) {
        self.0.admin_mode.set(mode);
    }

    /// What `/clusters?format=json` answers now; with the part of Envoy 1.38's `filter` regex.
    ///
    /// # Panics
    ///
    /// Where the filter is no regular expression.
    pub fn admin_clusters(&self, filter: Option<&str>) -> String {
        self.0.admin_json(filter).unwrap_or_else(|error| panic!("no regular expression: {error}"))
    }

    /// HTTP calls of the filter that wait for an answer, the oldest first.
    pub fn http_calls(&self) -> Vec<HttpCall> {
        self.0.outgoing.http_calls()
    }

    /// gRPC calls and streams of the filter that are open, the oldest first.
    pub fn grpc_calls(&self) -> Vec<GrpcCall> {
        self.0.outgoing.grpc.borrow().clone()
    }

    /// A counter's value; 0 where there is none of that name.
    pub fn counter(&self, name: &str) -> u64 {
        self.0.metrics.borrow().counter(name)
    }

    /// A gauge's value, below zero where more was taken than added; 0 where there is none.
    pub fn gauge(&self, name: &str) -> i64 {
        self.0.metrics.borrow().gauge(name)
    }

    /// What a histogram recorded, in order.
    pub fn histogram(&self, name: &str) -> Vec<u64> {
        self.0.metrics.borrow().histogram(name)
    }

    /// Every counter by name.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.0.metrics.borrow().counters()
    }

    /// Every gauge by name.
    pub fn gauges(&self) -> BTreeMap<String, i64> {
        self.0.metrics.borrow().gauges()
    }

    /// A listener is removed: Envoy forgets its metrics. Handles that VMs hold work on, on metrics
    /// that nobody reads.
    pub fn forget_metrics(&self) {
        self.0.metrics.borrow_mut().forget();
    }

    /// A value of the shared store of the (first) plugin's VM id, with its version.
    pub fn shared(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.0.shared.borrow().get(&self.0.settings.vm_id, key.as_bytes()).cloned()
    }

    /// Writes to the shared store as a filter would: a version of 0 always succeeds.
    pub fn set_shared(&self, key: &str, value: impl AsRef<[u8]>, cas: u32) -> Status {
        let vm_id = &self.0.settings.vm_id;
        self.0.shared.borrow_mut().set(vm_id, key.as_bytes(), value.as_ref(), cas)
    }

    /// Every key of the shared store of the (first) plugin's VM id, sorted.
    pub fn shared_keys(&self) -> Vec<String> {
        self.0.shared.borrow().keys(&self.0.settings.vm_id)
    }

    /// What waits in a shared queue; `None` where nobody registered it.
    pub fn queue(&self, name: &str) -> Option<Vec<Vec<u8>>> {
        self.0.queues.borrow().items(&self.0.settings.vm_id, name.as_bytes())
    }

    /// Lines written by filters and about VMs that died.
    pub fn logs(&self) -> Vec<LogLine> {
        self.0.logs.borrow().clone()
    }

    /// What happened since the start or since the trace was last taken.
    pub fn trace(&self) -> Trace {
        self.0.recorder.trace()
    }

    /// What happened, and forgets it.
    pub fn take_trace(&self) -> Trace {
        self.0.recorder.take()
    }
}

/// How the admin interface answers calls to its cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdminMode {
    /// From the clusters, with `filter` (Envoy 1.38 and later).
    #[default]
    Filtering,
    /// From the clusters, always all (Envoy 1.36 and 1.37).
    Whole,
    /// Not by itself: the test answers through [`Proxy::http_calls`].
    Held,
    /// With 503: nothing listens there.
    Refused,
    /// The connection is reset: a callback with no headers.
    Reset,
}
