//! One thread of the proxy.

use crate::envoy::request::Request;
use crate::stream::Stream;
use crate::types::Thread;

/// A thread of the proxy and its VM.
#[derive(Clone)]
pub struct Worker;

impl Worker {
    /// Which one it is.
    pub fn thread(&self) -> Thread {
        todo!()
    }

    /// A gRPC request with this path.
    pub fn grpc(&self, path: &str) -> Request {
        todo!()
    }

    /// A request of plain HTTP.
    pub fn http(&self, method: &str, path: &str) -> Request {
        todo!()
    }

    /// A stream on which a test makes every step itself.
    pub fn stream(&self) -> Stream {
        todo!()
    }

    /// Ticks every root context that asked for ticks, now.
    pub fn tick(&self) {
        todo!()
    }

    /// Kills the VM as a trap does.
    pub fn crash(&self) {
        todo!()
    }

    /// Replaces the VM by a new one, whatever the failure policy; the old one never runs again.
    pub fn restart(&self) {
        todo!()
    }

    /// Whether the VM runs.
    pub fn is_alive(&self) -> bool {
        todo!()
    }

    /// Bytes of the VM's linear memory.
    pub fn memory(&self) -> usize {
        todo!()
    }

    /// Stream contexts alive in all VMs of this thread.
    pub fn contexts(&self) -> usize {
        todo!()
    }

    /// Root contexts alive in all VMs of this thread.
    pub fn roots(&self) -> usize {
        todo!()
    }

    /// Counts the VMs of the proxy, from 0: the number of this worker's present one.
    pub fn vm(&self) -> u32 {
        todo!()
    }
}
