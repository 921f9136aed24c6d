//! An HTTP stream as Envoy's filter manager handles it, with one filter.

use crate::headers::Headers;
use crate::types::Side;
use crate::value::Value;

/// One HTTP stream. Dropping it before its end ends it as [`finish`](Stream::finish) does.
pub struct Stream;

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
    /// The number of its context in the VM; `None` where no VM has one.
    pub fn context(&self) -> Option<u32> {
        todo!()
    }

    /// Request headers arrive.
    pub fn request_headers(&self, headers: impl Into<Headers>, end_of_stream: bool) {
        todo!()
    }

    /// A piece of the request's body arrives.
    pub fn request_body(&self, body: impl AsRef<[u8]>, end_of_stream: bool) {
        todo!()
    }

    /// Request trailers arrive.
    pub fn request_trailers(&self, trailers: impl Into<Headers>) {
        todo!()
    }

    /// Response headers arrive.
    pub fn response_headers(&self, headers: impl Into<Headers>, end_of_stream: bool) {
        todo!()
    }

    /// A piece of the response's body arrives.
    pub fn response_body(&self, body: impl AsRef<[u8]>, end_of_stream: bool) {
        todo!()
    }

    /// Response trailers arrive.
    pub fn response_trailers(&self, trailers: impl Into<Headers>) {
        todo!()
    }

    /// The access log runs: `on_log`, with a context made for it where there is none yet, as for a
    /// client that is gone while an earlier filter paused.
    pub fn log(&self) {
        todo!()
    }

    /// The stream is destroyed: `on_done`, `on_delete`.
    pub fn destroy(&self) {
        todo!()
    }

    /// Whatever of `on_log`, `on_done`, `on_delete` did not happen yet.
    pub fn finish(&self) {
        todo!()
    }

    /// Whether a side waits for the filter.
    pub fn is_paused(&self, side: Side) -> bool {
        todo!()
    }

    /// What went upstream after the filter.
    pub fn upstream(&self) -> Passed {
        todo!()
    }

    /// What went to the client after the filter.
    pub fn downstream(&self) -> Passed {
        todo!()
    }

    /// The local reply, where there is one.
    pub fn local_reply(&self) -> Option<LocalReply> {
        todo!()
    }

    /// The filter reset the stream (`close_stream`).
    pub fn is_closed(&self) -> bool {
        todo!()
    }

    /// `on_log`, `on_done` and `on_delete` happened, or the VM died.
    pub fn is_finished(&self) -> bool {
        todo!()
    }

    /// Sets a property of this stream.
    pub fn set_property(&self, path: &[&str], value: impl Into<Value>) {
        todo!()
    }

    /// Makes a property of this stream absent.
    pub fn remove_property(&self, path: &[&str]) {
        todo!()
    }

    /// A property as the filter would read it now.
    pub fn property(&self, path: &[&str]) -> Option<Vec<u8>> {
        todo!()
    }
}
