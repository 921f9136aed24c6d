//! The filter in real Envoys with real gRPC calls: who is in a cluster and may be picked, what the
//! configuration says and when it is faulty, the override header, what operators see, releases of
//! Envoy, and clients and servers that are not ours.
//!
//! Most of it is asked of held calls: each begins when the one before is counted, so the filter's
//! exact counts spread them exactly, where chance or Envoy's own balancing would not.

mod configuration;
mod health;
mod internal;
mod interop;
mod kill;
mod lab;
mod learned;
mod membership;
mod metrics;
mod override_header;
mod per_cluster;
mod refused;
mod rollout;
mod versions;
