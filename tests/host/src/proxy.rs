//! The proxy: what a test holds.

use core::fmt::Display;
use core::time::Duration;
use std::collections::BTreeMap;

use crate::builder::Builder;
use crate::calls::{GrpcCall, HttpCall};
use crate::envoy::cluster::Cluster;
use crate::fault::Fault;
use crate::module::Module;
use crate::trace::Trace;
use crate::types::{LogLine, Status};
use crate::worker::Worker;

/// A proxy with its filter loaded. Clones are the same proxy.
#[derive(Clone)]
pub struct Proxy;

impl Proxy {
    /// A proxy that will load this module: a path, or the bytes of a module.
    #[expect(clippy::new_ret_no_self, reason = "the builder reads better this way")]
    pub fn new(module: impl Into<Module>) -> Builder {
        Builder::new(module.into())
    }

    /// A worker, counted from 0.
    ///
    /// # Panics
    ///
    /// Where there are not so many.
    pub fn worker(&self, index: usize) -> Worker {
        todo!()
    }

    /// Every worker.
    pub fn workers(&self) -> Vec<Worker> {
        todo!()
    }

    /// The main thread: it has a VM too, which ticks and makes calls, but serves no requests.
    pub fn main(&self) -> Worker {
        todo!()
    }

    /// Time since the start.
    pub fn now(&self) -> Duration {
        todo!()
    }

    /// Lets time pass. Everything due in it happens in order of time: ticks (at one time: main
    /// thread first, then workers by number), timeouts of calls, automatic answers.
    pub fn advance(&self, time: Duration) {
        todo!()
    }

    /// A new configuration of the (first) plugin in the same VMs, as ECDS delivers it: a new root
    /// context each; the old one ends with its last stream. False where the module refused it: then
    /// the old one stays.
    pub fn configure(&self, config: impl Display) -> bool {
        todo!()
    }

    /// As [`configure`](Self::configure), but as a listener update delivers it: the old root
    /// contexts go on ticking until [`end_drain`](Self::end_drain).
    pub fn configure_draining(&self, config: impl Display) -> bool {
        todo!()
    }

    /// Ends the old root contexts that are kept for draining and have no streams left; others end
    /// with their last stream.
    pub fn end_drain(&self) {
        todo!()
    }

    /// A new module, with the same configuration: new VMs; the old ones end with their last stream.
    /// False where it refused the configuration: then the old ones stay.
    pub fn load(&self, module: impl Into<Module>) -> bool {
        todo!()
    }

    /// Plans a fault.
    pub fn fault(&self, fault: Fault) {
        todo!()
    }

    /// Forgets every fault planned.
    pub fn clear_faults(&self) {
        todo!()
    }

    /// Adds a cluster, or replaces the one of that name.
    pub fn set_cluster(&self, cluster: Cluster) {
        todo!()
    }

    /// Changes a cluster.
    ///
    /// # Panics
    ///
    /// Where there is none of that name.
    pub fn edit_cluster(&self, name: &str, edit: impl FnOnce(&mut Cluster)) {
        todo!()
    }

    /// Removes a cluster.
    pub fn remove_cluster(&self, name: &str) {
        todo!()
    }

    /// How the admin interface answers from now on.
    pub fn admin(&self, mode: AdminMode) {
        todo!()
    }

    /// What `/clusters?format=json` answers now; with the part of Envoy 1.38's `filter` regex.
    pub fn admin_clusters(&self, filter: Option<&str>) -> String {
        todo!()
    }

    /// HTTP calls of the filter that wait for an answer, the oldest first.
    pub fn http_calls(&self) -> Vec<HttpCall> {
        todo!()
    }

    /// gRPC calls and streams of the filter that are open, the oldest first.
    pub fn grpc_calls(&self) -> Vec<GrpcCall> {
        todo!()
    }

    /// A counter's value; 0 where there is none of that name.
    pub fn counter(&self, name: &str) -> u64 {
        todo!()
    }

    /// A gauge's value, below zero where more was taken than added; 0 where there is none.
    pub fn gauge(&self, name: &str) -> i64 {
        todo!()
    }

    /// What a histogram recorded, in order.
    pub fn histogram(&self, name: &str) -> Vec<u64> {
        todo!()
    }

    /// Every counter by name.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        todo!()
    }

    /// Every gauge by name.
    pub fn gauges(&self) -> BTreeMap<String, i64> {
        todo!()
    }

    /// A listener is removed: Envoy forgets its metrics. Handles that VMs hold work on, on metrics
    /// that nobody reads.
    pub fn forget_metrics(&self) {
        todo!()
    }

    /// A value of the shared store of the (first) plugin's VM id, with its version.
    pub fn shared(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        todo!()
    }

    /// Writes to the shared store as a filter would: a version of 0 always succeeds.
    pub fn set_shared(&self, key: &str, value: impl AsRef<[u8]>, cas: u32) -> Status {
        todo!()
    }

    /// Every key of the shared store of the (first) plugin's VM id, sorted.
    pub fn shared_keys(&self) -> Vec<String> {
        todo!()
    }

    /// What waits in a shared queue; `None` where nobody registered it.
    pub fn queue(&self, name: &str) -> Option<Vec<Vec<u8>>> {
        todo!()
    }

    /// Lines written by filters and about VMs that died.
    pub fn logs(&self) -> Vec<LogLine> {
        todo!()
    }

    /// What happened since the start or since the trace was last taken.
    pub fn trace(&self) -> Trace {
        todo!()
    }

    /// What happened, and forgets it.
    pub fn take_trace(&self) -> Trace {
        todo!()
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
