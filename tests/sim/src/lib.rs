//! A discrete-event simulator of load balancing: leastload's own core on a virtual clock, beside
//! every rival and beside the limit. docs/simulator.md is its guide.

pub mod against;
pub mod batch;
mod engine;
pub mod fleets;
pub mod measure;
pub mod policy;
mod random;
pub mod report;
pub mod scenario;
pub mod span;

pub use engine::run;
