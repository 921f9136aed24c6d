//! An HTTP stream as Envoy's filter manager handles it, with one filter.

pub(crate) mod core;
pub(crate) mod ending;
mod flow;

use std::rc::Rc;

use crate::envoy::call::Router;
use crate::headers::Headers;
use crate::inner::Inner;
use crate::stream::core::{Core, Iteration};
use crate::types::Side;
use crate::value::Value;

/// One HTTP stream. Dropping it before its end ends it as [`finish`](Stream::finish) does.
pub struct Stream {
    proxy: Rc<Inner>,
    core: Rc<Core>,
}

/// What passed the filter on one side, or what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// The headers, once they passed.
    pub headers: Option<Headers>,
    /// The body so far.
    pub body: Vec<u8>,
    /// The trailers, once they passed.
    pub trailers: Option<Headers>,
    /// The end of the stream passed.
    pub ended: bool,
}

/// A reply that the filter, or Envoy in its stead, gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// HTTP status.
    pub status: u32,
    /// The body, or the message of a gRPC reply.
    pub body: Vec<u8>,
    /// Additional headers.
    pub headers: Headers,
    /// gRPC status, where one is given.
    pub grpc_status: Option<i32>,
    /// Response code details.
    pub details: String,
}

impl Stream {
    pub(crate) fn new(proxy: Rc<Inner>, worker: usize, plugin: usize) -> Self {
        Self { proxy, core: Core::new(worker, plugin) }
    }

    pub(crate) fn proxy(&self) -> &Rc<Inner> {
        &self.proxy
    }

    pub(crate) fn worker(&self) -> usize {
        self.core.worker
    }

    /// A call follows what becomes of the stream.
    pub(crate) fn watch(&self, router: &Rc<Router>) {
        *self.core.router.borrow_mut() = Rc::downgrade(router);
    }

    /// Headers of a side reached the filter.
    pub(crate) fn arrived(&self, side: Side) -> bool {
        self.core.state.borrow().side(side).headers.is_some()
    }

    /// Envoy itself answers.
    pub(crate) fn reply(&self, reply: LocalReply) {
        self.core.local_reply(&self.proxy, reply);
    }

    /// Request headers that only the access log sees.
    pub(crate) fn arrive_unseen(&self, headers: Headers) {
        self.core.state.borrow_mut().side_mut(Side::Request).headers = Some(headers);
    }

    fn step(&self, side: Side, headers: Headers, end_of_stream: bool) {
        if self.core.is_cut() {
            return;
        }
        if side == Side::Request {
            self.core.attach(&self.proxy);
        }
        self.core.headers(&self.proxy, side, headers, end_of_stream);
    }

    /// The number of its context in the VM; `None` where no VM has one.
    pub fn context(&self) -> Option<u32> {
        self.core.context()
    }

    /// Request headers arrive.
    pub fn request_headers(&self, headers: impl Into<Headers>, end_of_stream: bool) {
        self.step(Side::Request, headers.into(), end_of_stream);
    }

    /// A piece of the request's body arrives.
    pub fn request_body(&self, body: impl AsRef<[u8]>, end_of_stream: bool) {
        self.core.data(&self.proxy, Side::Request, body.as_ref(), end_of_stream);
    }

    /// Request trailers arrive.
    pub fn request_trailers(&self, trailers: impl Into<Headers>) {
        self.core.trailers(&self.proxy, Side::Request, trailers.into());
    }

    /// Response headers arrive.
    pub fn response_headers(&self, headers: impl Into<Headers>, end_of_stream: bool) {
        self.step(Side::Response, headers.into(), end_of_stream);
    }

    /// A piece of the response's body arrives.
    pub fn response_body(&self, body: impl AsRef<[u8]>, end_of_stream: bool) {
        self.core.data(&self.proxy, Side::Response, body.as_ref(), end_of_stream);
    }

    /// Response trailers arrive.
    pub fn response_trailers(&self, trailers: impl Into<Headers>) {
        self.core.trailers(&self.proxy, Side::Response, trailers.into());
    }

    /// The access log runs: `on_log`, with a context made for it where there is none yet, as for a
    /// client that is gone while an earlier filter paused.
    pub fn log(&self) {
        self.core.log(&self.proxy);
    }

    /// The stream is destroyed: `on_done`, `on_delete`.
    pub fn destroy(&self) {
        self.core.destroy(&self.proxy);
    }

    /// Whatever of `on_log`, `on_done`, `on_delete` did not happen yet.
    pub fn finish(&self) {
        self.log();
        self.destroy();
    }

    /// Whether a side waits for the filter.
    pub fn is_paused(&self, side: Side) -> bool {
        self.core.state.borrow().side(side).iteration != Iteration::Continue
    }

    /// What went upstream after the filter.
    pub fn upstream(&self) -> Passed {
        self.core.state.borrow().side(Side::Request).passed.clone()
    }

    /// What went to the client after the filter.
    pub fn downstream(&self) -> Passed {
        self.core.state.borrow().side(Side::Response).passed.clone()
    }

    /// The local reply, where there is one.
    pub fn local_reply(&self) -> Option<LocalReply> {
        self.core.state.borrow().local_reply.clone()
    }

    /// The filter reset the stream (`close_stream`).
    pub fn is_closed(&self) -> bool {
        self.core.state.borrow().closed
    }

    /// `on_log`, `on_done` and `on_delete` happened, or the VM died.
    pub fn is_finished(&self) -> bool {
        let state = self.core.state.borrow();
        state.logged && state.destroyed
    }

    /// Sets a property of this stream.
    pub fn set_property(&self, path: &[&str], value: impl Into<Value>) {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        self.core.state.borrow_mut().properties.insert(path, Some(value.into()));
    }

    /// Makes a property of this stream absent.
    pub fn remove_property(&self, path: &[&str]) {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        self.core.state.borrow_mut().properties.insert(path, None);
    }

    /// A property as the filter would read it now.
    pub fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        crate::properties::of_stream(&self.proxy, &self.core, path).ok()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // A panic elsewhere must not become an abort.
        if !std::thread::panicking() {
            self.finish();
        }
    }
}
