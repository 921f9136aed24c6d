//! A request before it is sent.

use crate::envoy::call::Call;
use crate::headers::Headers;
use crate::stream::Stream;
use crate::value::Value;

/// A request to be sent.
#[must_use = "it is sent by `to_cluster`"]
pub struct Request {
    stream: Stream,
    headers: Headers,
    body: Option<Vec<u8>>,
}

impl Request {
    pub(crate) fn grpc(stream: Stream, path: &str) -> Self {
        let headers = Headers::from([
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "test"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]);
        Self { stream, headers, body: Some(vec![0; 5]) }
    }

    pub(crate) fn http(stream: Stream, method: &str, path: &str) -> Self {
        let headers = Headers::from([
            (":method", method),
            (":scheme", "http"),
            (":path", path),
            (":authority", "test"),
        ]);
        Self { stream, headers, body: Some(Vec::new()) }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.add(name, value);
        self
    }

    /// Sets a header, or with `None` removes it: also one that every request has.
    pub fn set_header(mut self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.headers.set(name, value),
            None => self.headers.remove(name),
        }
        self
    }

    /// Sets a property of its stream.
    pub fn property(self, path: &[&str], value: impl Into<Value>) -> Self {
        self.stream.set_property(path, value);
        self
    }

    /// Its body, in one piece; a gRPC request has one empty message unless told otherwise, one of
    /// plain HTTP has none and ends with its headers.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// The body does not come with the headers: see [`Call::send_body`].
    pub fn streaming(mut self) -> Self {
        self.body = None;
        self
    }

    /// Its route leads to this cluster; it is sent. Once its headers pass the filter, a host is
    /// chosen.
    pub fn to_cluster(self, cluster: &str) -> Call {
        self.stream.set_property(&["xds", "cluster_name"], cluster);
        self.send(Some(cluster))
    }

    /// It has no route: Envoy answers 404 where the filter does not.
    pub fn without_route(self) -> Call {
        self.send(None)
    }

    fn send(self, cluster: Option<&str>) -> Call {
        Call::open(self.stream, cluster.map(str::to_owned), self.headers, self.body)
    }

    /// The client is gone before the request reaches the filter, because an earlier filter paused:
    /// the filter sees `on_log` alone.
    pub fn cancelled_before_filter(self) {
        self.stream.set_property(&["response", "flags"], super::response::flags::CLIENT_RESET);
        self.stream.arrive_unseen(self.headers);
        self.stream.finish();
    }
}
