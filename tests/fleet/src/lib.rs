//! What the tests and the demo run around the filter: real gRPC servers, an open-loop load client,
//! and real Envoys with configurations rendered from Rust.
//!
//! | Room | Question it answers |
//! |---|---|
//! | [`proto`] | which gRPC services do the test servers speak? |
//! | [`server`] | how does one test server behave? |
//! | [`fleet`] | how do I start, freeze, kill and ask many servers? |
//! | [`load`] | how do I offer load, and what did the callers see? |
//! | [`envoy`] | how do I run a real Envoy, change it and read it? |
//! | [`config`] | which Envoy configuration do I want? |
//! | [`demo`] | how does `make demo` compare the arms and show it? |
//! | [`rows`] | how does `make fleet` compare policies behind many proxies? |
//!
//! Everything binds loopback only, picks free ports, and ends each process it started by its id:
//! on drop, and also when this process dies.

// Measurement code: counts become ratios and percentiles, and all of them are far below 2^52.
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap
)]

pub mod config;
pub mod demo;
pub mod envoy;
pub mod error;
pub mod fleet;
pub mod load;
pub mod process;
pub mod proto;
pub mod rows;
pub mod server;
pub mod serving;
pub mod spread;

pub use error::{Error, Result};
