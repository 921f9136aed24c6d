//! The Proxy-Wasm module: reads the proxy, calls [`leastload_core`], writes the proxy.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
// The macro of the SDK defines the entry point, without documentation.
#![allow(missing_docs)]

mod alarm;
#[cfg(feature = "crash-on-demand")]
mod fault;
mod host;
mod inbound;
mod metrics;
mod outbound;
mod probe;
mod reports;
mod request;
mod root;
mod vm;
mod waiting;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|context| Box::new(root::Root::new(context)));
}}
