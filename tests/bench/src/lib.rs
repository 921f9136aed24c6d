//! What leastload costs: CPU per request in real Envoys, time per pick in core.
//!
//! | Room | Question it answers |
//! |---|---|
//! | [`arm`] | which Envoys are compared? |
//! | [`servers`] | what answers the requests, at next to no cost? |
//! | [`stamps`] | what do servers say of their load, and was it read? |
//! | [`load`] | what sends them, always the same number at once? |
//! | [`waits`] | for how long do requests wait whose questions nobody answers? |
//! | [`usage`] | how much CPU time did a process use? |
//! | [`cores`] | how are Envoy and the load kept apart? |
//! | [`run`] | in which order is what measured, and what makes a measurement void? |
//! | [`summary`] | what do the rounds say together? |
//! | [`rig`], [`memory`] | how does core run without a proxy around it? |
//! | [`micro`] | what did the benchmarks of core say? |
//! | [`report`] | how is it all shown? |
//!
//! Nothing here decides a test by a time.

// Measurement code: counts become ratios, and all of them are far below 2^52.
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

pub mod arm;
pub mod cores;
pub mod load;
pub mod machine;
pub mod micro;
pub mod report;
pub mod rig;
pub mod run;
pub mod servers;
pub mod stamps;
pub mod summary;
pub mod usage;
pub mod waits;
