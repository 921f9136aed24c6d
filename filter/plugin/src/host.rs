//! Host calls, each only in the phase in which Envoy answers it: the SDK panics on a status it
//! does not expect, and a panic kills the VM. Values are bytes: a client may send any.
//!
//! Headers and trailers of a kind are there in the callback of that kind, and those of a request as
//! long as it is paused in its headers.

use std::io;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, GrpcStatusCode, MapType, Status};

/// A request's headers.
pub(crate) const REQUEST: MapType = MapType::HttpRequestHeaders;
/// A response's headers.
pub(crate) const RESPONSE: MapType = MapType::HttpResponseHeaders;
/// A response's trailers.
pub(crate) const TRAILERS: MapType = MapType::HttpResponseTrailers;
/// The headers of the answer to a call of ours, in its callback, if it has any.
pub(crate) const ANSWER: MapType = MapType::HttpCallResponseHeaders;

/// The first value of a header.
pub(crate) fn header(map: MapType, name: &str) -> Option<Vec<u8>> {
    hostcalls::get_map_value_bytes(map, name).ok().flatten()
}

/// Sets a header; every value that was there goes.
pub(crate) fn set_header(map: MapType, name: &str, value: &str) {
    let _ = hostcalls::set_map_value(map, name, Some(value));
}

/// Removes every value of a header.
pub(crate) fn remove_header(map: MapType, name: &str) {
    let _ = hostcalls::set_map_value(map, name, None);
}

/// Removes a header that is mostly absent: to look costs half as much as to remove.
pub(crate) fn drop_header(map: MapType, name: &str) {
    if header(map, name).is_some() {
        remove_header(map, name);
    }
}

/// A property that is text.
pub(crate) fn text(path: &[&str]) -> Option<String> {
    property(path).and_then(|bytes| String::from_utf8(bytes).ok()).filter(|text| !text.is_empty())
}

/// A property that is a whole number: Envoy gives 8 bytes, little-endian.
pub(crate) fn number(path: &[&str]) -> Option<u64> {
    Some(u64::from_le_bytes(property(path)?.try_into().ok()?))
}

/// Whether a property is there and true.
pub(crate) fn is_true(path: &[&str]) -> bool {
    property(path).is_some_and(|bytes| bytes == [1])
}

fn property(path: &[&str]) -> Option<Vec<u8>> {
    hostcalls::get_property(path.to_vec()).ok().flatten()
}

/// Sends a request of our own, without a body: its token. `None` where Envoy cannot send it.
pub(crate) fn send(cluster: &str, headers: Vec<(&str, &str)>, timeout: Duration) -> Option<u32> {
    hostcalls::dispatch_http_call(cluster, headers, None, vec![], timeout).ok()
}

/// Answers the request: a gRPC response of headers alone, with status 0.
pub(crate) fn answer(headers: Vec<(&str, &[u8])>) {
    let _ = hostcalls::send_grpc_response(GrpcStatusCode::Ok, None, headers);
}

/// Lets go of the request of the effective context, which must be paused in its headers.
pub(crate) fn resume_request() {
    let _ = hostcalls::resume_http_request();
}

/// Host calls speak of this context from now on, until the callback ends. False where it is gone.
pub(crate) fn speak_of(context: u32) -> bool {
    hostcalls::set_effective_context(context) == Ok(())
}

/// Sets how often the root context of the effective context ticks.
pub(crate) fn set_tick_period(period: Duration) {
    let _: Result<(), Status> = hostcalls::set_tick_period(period);
}

/// The plugin's configuration, while it is delivered.
pub(crate) fn configuration(size: usize) -> Vec<u8> {
    if size == 0 {
        return Vec::new();
    }
    hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size)
        .ok()
        .flatten()
        .unwrap_or_default()
}

/// The body of the answer to a call of ours, in its callback: read in pieces, so that a large one
/// never stands in the VM's memory as a whole.
pub(crate) struct CallBody {
    at: usize,
    size: usize,
}

impl CallBody {
    pub(crate) fn new(size: usize) -> Self {
        Self { at: 0, size }
    }
}

impl io::Read for CallBody {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let want = into.len().min(self.size - self.at);
        if want == 0 {
            return Ok(0);
        }
        let piece = hostcalls::get_buffer(BufferType::HttpCallResponseBody, self.at, want)
            .ok()
            .flatten()
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let got = piece.len().min(into.len());
        for (to, from) in into.iter_mut().zip(&piece) {
            *to = *from;
        }
        self.at += got;
        Ok(got)
    }
}
