//! Outstanding work in real Envoys with real gRPC calls: exact over all workers while calls are
//! under way, and back at 0 however they end, whoever crashes, stalls, leaves or is replaced.
//!
//! Calls are held until a test says how they end, and conditions are waited for: nothing here
//! depends on how fast the machine is.

mod balance;
mod crash;
mod endings;
mod updates;
