//! Calls that filters make.

use crate::headers::Headers;
use crate::types::Thread;

/// An HTTP call of a filter (`dispatch_http_call`).
#[derive(Clone)]
pub struct HttpCall {
    /// Where it came from.
    pub thread: Thread,
    /// The cluster it goes to.
    pub cluster: String,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Headers,
    /// Timeout in milliseconds; 0 for none.
    pub timeout_ms: u32,
    /// Its token in the VM.
    pub token: u32,
}

impl HttpCall {
    /// It is answered. Nothing happens where it is over already, or its VM is.
    pub fn respond(&self, status: u32, body: impl AsRef<[u8]>) {
        todo!()
    }

    /// It is answered with these headers, which include `:status`.
    pub fn respond_with(
        &self,
        headers: impl Into<Headers>,
        body: impl AsRef<[u8]>,
        trailers: impl Into<Headers>,
    ) {
        todo!()
    }

    /// It fails as Envoy tells a reset: a callback without headers.
    pub fn fail(&self) {
        todo!()
    }

    /// It times out: a callback with 504, which Envoy makes up.
    pub fn time_out(&self) {
        todo!()
    }

    /// No connection: a callback with 503, which Envoy makes up.
    pub fn refuse(&self) {
        todo!()
    }
}

/// A gRPC call or stream of a filter.
#[derive(Clone)]
pub struct GrpcCall {
    /// Where it came from.
    pub thread: Thread,
    /// The serialised `GrpcService`, or the name of a cluster.
    pub service: Vec<u8>,
    /// The service's full name.
    pub service_name: String,
    /// The method.
    pub method: String,
    /// Initial metadata.
    pub metadata: Headers,
    /// Messages sent so far: one for a unary call.
    pub messages: Vec<Vec<u8>>,
    /// The filter half-closed it.
    pub half_closed: bool,
    /// A stream, not a unary call.
    pub is_stream: bool,
    /// Its token in the VM.
    pub token: u32,
}

impl GrpcCall {
    /// A message arrives; a unary call is over with it.
    pub fn message(&self, message: impl AsRef<[u8]>) {
        todo!()
    }

    /// Initial metadata arrives (streams only).
    pub fn initial_metadata(&self, metadata: impl Into<Headers>) {
        todo!()
    }

    /// Trailing metadata arrives (streams only).
    pub fn trailing_metadata(&self, metadata: impl Into<Headers>) {
        todo!()
    }

    /// It ends with this status.
    pub fn close(&self, grpc_status: u32, message: &str) {
        todo!()
    }
}
