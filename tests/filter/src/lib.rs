//! The behaviour of the module we ship, callback by callback, and what it costs.

pub mod cost;
pub mod lab;
pub mod stats;
