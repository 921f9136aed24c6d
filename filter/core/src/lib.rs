//! Every decision of leastload: which requests count, who is there, what each endpoint has
//! outstanding, and which endpoint serves the next request.
//!
//! Nothing here knows a proxy, a clock or a source of randomness: time, random numbers, bytes and
//! shared state come in as arguments, so the same code runs in the module, in unit tests and in a
//! simulator.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)
)]

// What `#[test]` is in a test module that says `use crate::test`: wasm-bindgen's where node runs it.
#[cfg(all(test, not(target_os = "unknown")))]
use std::prelude::v1::test;
#[cfg(all(test, target_os = "unknown"))]
use wasm_bindgen_test::wasm_bindgen_test as test;

pub mod ages;
pub mod aside;
pub mod balancer;
pub mod budget;
pub mod config;
pub mod delays;
pub mod estimate;
pub mod experience;
pub mod grpc;
pub mod lease;
pub mod ledger;
pub mod load;
pub mod membership;
#[cfg(any(test, feature = "memory"))]
pub mod memory;
pub mod pace;
pub mod pick;
pub mod presence;
pub mod proxy;
pub mod records;
pub mod report;
pub mod twin;
pub mod work;

/// A map by names from configuration and control plane. Its hash is not proof against names made up
/// to collide, which nobody who could send some would gain by, and takes a fifth of the instructions
/// of one that is: WebAssembly has no wide multiplication.
pub type Map<K, V> = hashbrown::HashMap<K, V, rustc_hash::FxBuildHasher>;
