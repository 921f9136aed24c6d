//! A filter that does what a test tells it and says what it saw.
#![allow(missing_docs)]

use proxy_wasm::traits::{Context, RootContext};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Probe));
}}

struct Probe;

impl Context for Probe {}

impl RootContext for Probe {}
