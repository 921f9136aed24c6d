//! The simulator against theory: where queueing theory has an exact answer, a run has to give it,
//! within 2 %.
//!
//! Every comparison pools runs of several seeds, and the spread between the seeds says how far the
//! pooled figure may be off by chance: a run that is too short to tell fails as well. `cargo test
//! --test analytic -- --nocapture` prints a table of every comparison.

mod balancers;
mod harness;
mod queues;
mod sharing;
mod theory;
