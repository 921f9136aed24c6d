//! What a server answers.

use crate::headers::Headers;

/// A server's response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<Headers>,
}

impl Response {
    fn grpc() -> Self {
        let headers = Headers::from([(":status", "200"), ("content-type", "application/grpc")]);
        Self { headers, body: Vec::new(), trailers: None }
    }

    /// gRPC: headers, one empty message, trailers with status 0.
    pub fn ok() -> Self {
        Self { body: vec![0; 5], ..Self::status(0) }
    }

    /// gRPC: headers and trailers with this status.
    pub fn status(grpc_status: u32) -> Self {
        let trailers = Headers::from([("grpc-status", grpc_status.to_string())]);
        Self { trailers: Some(trailers), ..Self::grpc() }
    }

    /// gRPC: headers alone, with this status, which end the stream.
    pub fn trailers_only(grpc_status: u32) -> Self {
        Self::grpc().header("grpc-status", &grpc_status.to_string())
    }

    /// Plain HTTP with this status, without a body.
    pub fn http(status: u32) -> Self {
        let headers = Headers::from([(":status", status.to_string())]);
        Self { headers, body: Vec::new(), trailers: None }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.add(name, value);
        self
    }

    /// Adds a trailer.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.get_or_insert_default().add(name, value);
        self
    }

    /// With this body.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
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
    /// UT: the route's timeout. It is not retried.
    Timeout,
    /// SI: the stream's idle timeout. It is not retried.
    IdleTimeout,
}

/// Response flags of calls that no upstream failure ends.
pub(crate) mod flags {
    pub(crate) const NO_HEALTHY_HOST: i64 = 0x2;
    pub(crate) const CLIENT_GONE: i64 = 1 << 14;
    pub(crate) const RETRIES_SPENT: i64 = 1 << 15;
    pub(crate) const NO_ROUTE: i64 = 0x100;
    pub(crate) const NO_CLUSTER: i64 = 1 << 24;
    pub(crate) const CLIENT_RESET: i64 = 1 << 28;
}

impl Failure {
    /// Its bit in `response.flags`.
    pub(crate) fn flag(self) -> i64 {
        match self {
            Self::Connect => 0x20,
            Self::ConnectionLost => 0x40,
            Self::Reset => 0x10,
            Self::Overflow => 0x80,
            Self::Timeout => 0x4,
            Self::IdleTimeout => 1 << 16,
        }
    }

    pub(crate) fn is_retried(self) -> bool {
        !matches!(self, Self::Timeout | Self::IdleTimeout)
    }

    /// The HTTP status and the text of the reply that Envoy makes of it.
    pub(crate) fn reply(self) -> (u32, &'static str) {
        match self {
            Self::Connect => (
                503,
                "upstream connect error or disconnect/reset before headers. \
                 reset reason: remote connection failure",
            ),
            Self::ConnectionLost => (
                503,
                "upstream connect error or disconnect/reset before headers. \
                 reset reason: connection termination",
            ),
            Self::Reset => (
                503,
                "upstream connect error or disconnect/reset before headers. \
                 reset reason: remote reset",
            ),
            Self::Overflow => (
                503,
                "upstream connect error or disconnect/reset before headers. reset reason: overflow",
            ),
            Self::Timeout => (504, "upstream request timeout"),
            Self::IdleTimeout => (504, "stream timeout"),
        }
    }
}
