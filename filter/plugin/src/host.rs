//! Host calls, each only in the phase in which Envoy answers it: the SDK panics on a status it
//! does not expect, and a panic kills the VM. Values are bytes: a client may send any.

use std::io;

use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType};

/// A header of the request, in its headers callback.
pub(crate) fn request_header(name: &str) -> Option<Vec<u8>> {
    hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, name).ok().flatten()
}

/// A header of the response, in its headers callback.
pub(crate) fn response_header(name: &str) -> Option<Vec<u8>> {
    hostcalls::get_map_value_bytes(MapType::HttpResponseHeaders, name).ok().flatten()
}

/// Removes every value of a header of the request, in its headers callback.
pub(crate) fn remove_request_header(name: &str) {
    let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, name, None);
}

/// Removes every value of a header of the response, in its headers callback.
pub(crate) fn remove_response_header(name: &str) {
    let _ = hostcalls::set_map_value(MapType::HttpResponseHeaders, name, None);
}

/// Sets a header of the request, in its headers callback; every value that was there goes. `None`
/// where it could not be set.
pub(crate) fn set_request_header(name: &str, value: &str) -> Option<()> {
    hostcalls::set_map_value(MapType::HttpRequestHeaders, name, Some(value)).ok()
}

/// A property that is text.
pub(crate) fn text(path: &[&str]) -> Option<String> {
    hostcalls::get_property(path.to_vec())
        .ok()
        .flatten()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|text| !text.is_empty())
}

/// A property that is a whole number: Envoy gives 8 bytes, little-endian.
pub(crate) fn number(path: &[&str]) -> Option<u64> {
    let bytes = hostcalls::get_property(path.to_vec()).ok().flatten()?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Whether the answer to a call of ours is there and has status 200, in its callback.
pub(crate) fn call_succeeded() -> bool {
    let status = hostcalls::get_map_value_bytes(MapType::HttpCallResponseHeaders, ":status");
    status.ok().flatten().as_deref() == Some(b"200")
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
