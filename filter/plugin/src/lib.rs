//! The Proxy-Wasm module: reads the proxy, calls [`leastload_core`], writes the proxy.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
// The macro of the SDK defines the entry point, without documentation.
#![allow(missing_docs)]

#[cfg(feature = "crash-on-demand")]
mod fault;
mod host;
mod metrics;
mod request;
mod root;
mod vm;

use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(root::Root::new()));
}}
