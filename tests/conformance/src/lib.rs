//! The same scenarios in `leastload-testhost` and in real Envoys, their traces compared.
//!
//! See the README beside this crate.

mod callout;
pub mod differences;
pub mod envoy;
pub mod golden;
pub mod host;
mod log;
mod peers;
pub mod scenario;
mod seen;
pub mod step;
pub mod trace;
