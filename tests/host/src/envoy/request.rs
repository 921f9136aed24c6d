//! A request before it is sent.

use crate::envoy::call::Call;
use crate::value::Value;

/// A request to be sent.
#[must_use = "it is sent by `to_cluster`"]
pub struct Request;

impl Request {
    /// Adds a header.
    pub fn header(self, name: &str, value: &str) -> Self {
        todo!()
    }

    /// Sets a property of its stream.
    pub fn property(self, path: &[&str], value: impl Into<Value>) -> Self {
        todo!()
    }

    /// Its body; a gRPC request has one small message unless told otherwise.
    pub fn body(self, body: impl AsRef<[u8]>) -> Self {
        todo!()
    }

    /// The body does not come with the headers: see [`Call::send_body`].
    pub fn streaming(self) -> Self {
        todo!()
    }

    /// Its route leads to this cluster; it is sent. Once its headers pass the filter, a host is
    /// chosen.
    pub fn to_cluster(self, cluster: &str) -> Call {
        todo!()
    }

    /// It has no route: Envoy answers 404 where the filter does not.
    pub fn without_route(self) -> Call {
        todo!()
    }
}
