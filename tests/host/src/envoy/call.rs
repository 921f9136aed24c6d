//! A call through the proxy: a stream with a router, clusters and a client around it.

use crate::headers::Headers;
use crate::stream::{LocalReply, Passed, Stream};

/// A call under way. Dropping it is a client that goes away.
pub struct Call;

/// A server's response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response;

impl Response {
    /// gRPC: headers, one message, trailers with status 0.
    pub fn ok() -> Self {
        todo!()
    }

    /// gRPC: headers and trailers with this status.
    pub fn status(grpc_status: u32) -> Self {
        todo!()
    }

    /// gRPC: headers alone, with this status, which end the stream.
    pub fn trailers_only(grpc_status: u32) -> Self {
        todo!()
    }

    /// Plain HTTP with this status, without a body.
    pub fn http(status: u32) -> Self {
        todo!()
    }

    /// Adds a header.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        todo!()
    }

    /// Adds a trailer.
    #[must_use]
    pub fn trailer(self, name: &str, value: &str) -> Self {
        todo!()
    }

    /// With this body.
    #[must_use]
    pub fn body(self, body: impl AsRef<[u8]>) -> Self {
        todo!()
    }
}

/// Why an attempt failed before response headers, or a call broke off after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// UF: no connection.
    Connect,
    /// UC: the connection was lost.
    ConnectionLost,
    /// UR: the server reset the stream.
    Reset,
    /// UO: the circuit breaker is open.
    Overflow,
    /// UT: the route's timeout.
    Timeout,
    /// SI: the stream's idle timeout.
    IdleTimeout,
}

impl Call {
    /// The headers that went upstream, after the filter.
    ///
    /// # Panics
    ///
    /// Where they did not: the call is paused, or answered by the proxy.
    pub fn headers(&self) -> Headers {
        todo!()
    }

    /// The host that serves the present attempt; `None` before one is chosen, or where there is
    /// none.
    pub fn chosen(&self) -> Option<String> {
        todo!()
    }

    /// The host that the filter asked for by the mechanism configured, whether it was honoured or
    /// not.
    pub fn asked(&self) -> Option<String> {
        todo!()
    }

    /// Number of attempts so far.
    pub fn attempts(&self) -> u32 {
        todo!()
    }

    /// A piece of the request's body.
    pub fn send_body(&self, body: impl AsRef<[u8]>, end_of_stream: bool) {
        todo!()
    }

    /// The request's trailers.
    pub fn send_trailers(&self, trailers: impl Into<Headers>) {
        todo!()
    }

    /// The server answers, and the call ends.
    pub fn respond(&self, response: Response) {
        todo!()
    }

    /// The server's response headers.
    pub fn response_headers(&self, headers: impl Into<Headers>, end_of_stream: bool) {
        todo!()
    }

    /// A piece of the response's body; the call ends with the stream.
    pub fn response_body(&self, body: impl AsRef<[u8]>, end_of_stream: bool) {
        todo!()
    }

    /// The response's trailers; the call ends.
    pub fn response_trailers(&self, trailers: impl Into<Headers>) {
        todo!()
    }

    /// The present attempt fails. Where retries are left and no response headers came, the next one
    /// begins; else the call ends.
    pub fn fail(&self, failure: Failure) {
        todo!()
    }

    /// The client resets the stream (cancel or deadline).
    pub fn reset(&self) {
        todo!()
    }

    /// The client's connection is gone.
    pub fn disconnect(&self) {
        todo!()
    }

    /// What the client got, after the filter.
    pub fn response(&self) -> Passed {
        todo!()
    }

    /// The gRPC status that the client got.
    pub fn grpc_status(&self) -> Option<u32> {
        todo!()
    }

    /// The proxy's own reply.
    pub fn local_reply(&self) -> Option<LocalReply> {
        todo!()
    }

    /// The request waits for the filter.
    pub fn is_paused(&self) -> bool {
        todo!()
    }

    /// The call is over.
    pub fn is_over(&self) -> bool {
        todo!()
    }

    /// The stream below, for single steps.
    pub fn stream(&self) -> &Stream {
        todo!()
    }
}
