//! The least that any filter does for stamps, at either proxy: what of their price is Envoy's own.
//!
//! Plugin configuration `client`: asks with one request in nine, and takes the stamp out of its response
//! unread; but not where the path begins with [`SILENT`]. Anything else: answers each who asks with one and
//! the same stamp.
#![allow(missing_docs)]

use std::cell::Cell;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, MapType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}}

const ASK: &str = "x-leastload-ask";
const STAMP: &str = "endpoint-load-metrics-bin";
/// As long as a twin's.
const CONSTANT: &str = "Qg4KA3JpZhEAAAAAAMBVQEIOCgNzdmMRAAAAAABwN0BCDgoDY2FwEQAAAAAAEF5A";
/// Paths of requests that never ask.
const SILENT: &[u8] = b"/helloworld.Silence/";
/// leastload asks with about so large a part of a busy proxy's requests.
const ONE_IN: u32 = 9;

#[derive(Default)]
struct Root {
    is_client: bool,
    requests: Cell<u32>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let configuration = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size);
        self.is_client = configuration == Ok(Some(b"client".to_vec()));
        true
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        let requests = self.requests.get().wrapping_add(1);
        self.requests.set(requests);
        let is_due = requests.is_multiple_of(ONE_IN);
        Some(if self.is_client {
            Box::new(Client { asks: is_due })
        } else {
            Box::new(Server { asked: false })
        })
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Client {
    asks: bool,
}

impl Context for Client {}

impl HttpContext for Client {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let path = hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, ":path");
        self.asks &= matches!(path, Ok(Some(path)) if !path.starts_with(SILENT));
        if self.asks {
            let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, ASK, Some("stamp"));
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        if self.asks {
            let _ = hostcalls::get_map_value_bytes(MapType::HttpResponseTrailers, STAMP);
            let _ = hostcalls::set_map_value(MapType::HttpResponseTrailers, STAMP, None);
        }
        Action::Continue
    }
}

struct Server {
    asked: bool,
}

impl Context for Server {}

impl HttpContext for Server {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let ask = hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, ASK);
        self.asked = matches!(ask, Ok(Some(_)));
        if self.asked {
            let _ = hostcalls::set_map_value(MapType::HttpRequestHeaders, ASK, None);
        }
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _: usize) -> Action {
        if self.asked {
            let _ = hostcalls::set_map_value(MapType::HttpResponseTrailers, STAMP, Some(CONSTANT));
        }
        Action::Continue
    }
}
