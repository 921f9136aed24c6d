//! One thread of the proxy.

use std::rc::Rc;

use crate::context::Context;
use crate::envoy::request::Request;
use crate::inner::Inner;
use crate::lifecycle;
use crate::stream::Stream;
use crate::types::Thread;
use crate::vm::Vm;

/// A thread of the proxy and its VM.
#[derive(Clone)]
pub struct Worker {
    proxy: Rc<Inner>,
    /// 0 is the main thread.
    index: usize,
    plugin: usize,
}

impl Worker {
    pub(crate) fn new(proxy: Rc<Inner>, index: usize) -> Self {
        Self { proxy, index, plugin: 0 }
    }

    fn vm_here(&self) -> Option<Rc<Vm>> {
        self.proxy.threads.borrow()[self.index].clone()
    }

    /// Every VM of this thread: the present one and those that still end.
    fn vms_here(&self) -> Vec<Rc<Vm>> {
        let thread = self.thread();
        self.proxy.vms().into_iter().filter(|vm| vm.thread == thread && !vm.failed.get()).collect()
    }

    fn count(&self, is: impl Fn(&Context) -> bool) -> usize {
        let of = |vm: &Rc<Vm>| vm.state.borrow().contexts.values().filter(|c| is(c)).count();
        self.vms_here().iter().map(of).sum()
    }

    /// The same thread, for streams that pass the plugin at this place (0 for the first).
    #[must_use]
    pub fn plugin(&self, place: usize) -> Self {
        Self { plugin: place, ..self.clone() }
    }

    /// Which one it is.
    pub fn thread(&self) -> Thread {
        lifecycle::thread(self.index)
    }

    /// A gRPC request with this path.
    pub fn grpc(&self, path: &str) -> Request {
        Request::grpc(self.stream(), path)
    }

    /// A request of plain HTTP.
    pub fn http(&self, method: &str, path: &str) -> Request {
        Request::http(self.stream(), method, path)
    }

    /// A stream on which a test makes every step itself.
    ///
    /// # Panics
    ///
    /// On the main thread, which serves no requests.
    pub fn stream(&self) -> Stream {
        let worker = self.index.checked_sub(1).expect("the main thread serves no requests");
        Stream::new(Rc::clone(&self.proxy), worker, self.plugin)
    }

    /// Ticks every root context that asked for ticks, now.
    pub fn tick(&self) {
        if let Some(vm) = self.vm_here() {
            self.proxy.tick_all(&vm);
        }
    }

    /// Kills the VM as a trap does.
    pub fn crash(&self) {
        if let Some(vm) = self.vm_here() {
            vm.die(&self.proxy, "the test killed it");
        }
    }

    /// Replaces the VM by a new one, whatever the failure policy; the old one never runs again.
    pub fn restart(&self) {
        let _ = self.proxy.replace(self.index);
    }

    /// Whether the VM runs.
    pub fn is_alive(&self) -> bool {
        self.vm_here().is_some_and(|vm| !vm.failed.get())
    }

    /// Bytes of the VM's linear memory.
    pub fn memory(&self) -> usize {
        self.vm_here().map_or(0, |vm| vm.memory())
    }

    /// Stream contexts alive in all VMs of this thread.
    pub fn contexts(&self) -> usize {
        self.count(|context| matches!(context, Context::Stream(_)))
    }

    /// Root contexts alive in all VMs of this thread.
    pub fn roots(&self) -> usize {
        self.count(|context| matches!(context, Context::Root(_)))
    }

    /// Counts the VMs of the proxy, from 0: the number of this worker's present one.
    pub fn vm(&self) -> u32 {
        self.vm_here().map_or(0, |vm| vm.serial)
    }
}
