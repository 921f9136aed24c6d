//! What the end-to-end tests share: the modules under test, an Envoy with servers and clients
//! around it, calls that last as long as a test wants, and the filter's own counts.
//!
//! | Room | Question it answers |
//! |---|---|
//! | [`module`] | where is the module under test, and the one with faults on demand? |
//! | [`lab`] | how do I start servers, an Envoy with the filter, and clients of every worker? |
//! | [`held`] | how do I keep a call under way until I say how it ends? |
//! | [`counts`] | what does the filter say is outstanding, and what did it decide? |
//! | [`python`] | how do I start a client or a server that is not ours? |
//! | [`raw`] | how do I send what a gRPC client does not? |
//! | [`shipped`] | how do I start a configuration of `envoy/` as it is? |
//! | [`wait`] | how do I wait for a condition? |
//! | [`traffic`] | how do I keep short calls coming meanwhile? |
//!
//! Helpers panic where a test has failed; nothing here measures time.

// All of them panic, and for the same reason.
#![allow(clippy::missing_panics_doc)]

pub mod counts;
pub mod held;
pub mod lab;
pub mod python;
pub mod raw;
pub mod shipped;
pub mod traffic;
pub mod wait;
