//! A filter that does what a test tells it and says what it saw.
//!
//! A script is a JSON object: callback to a list of actions, each `["name", argument, ...]`, e.g.
//! `{"on_request_headers": [["get_header", "request", ":path"], ["pause"]]}`. A key with a number,
//! `on_request_body#2`, is for that call of the callback alone. The script of a root context is its
//! plugin configuration; that of a stream is the request header `x-probe`, else what the plugin
//! configuration has under `stream`.
//!
//! Every callback and every host call of a script is logged, as
//! `@<root id> <context id> <what was seen>`.
#![allow(missing_docs, reason = "it is a module for proxies and has no interface in Rust")]

mod abi;
mod actions;
mod calls;
mod exports;
mod probe;
mod text;
