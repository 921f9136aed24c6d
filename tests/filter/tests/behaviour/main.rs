//! What the module does, seen from the proxy.

mod absent;
mod addresses;
mod aside;
mod clusters;
mod config;
mod crash;
mod election;
mod eligible;
mod endings;
mod faults;
mod grpc;
mod headers;
mod learned;
mod membership;
mod memory;
mod newcomers;
mod plugins;
mod races;
mod refused;
mod role;
mod scale;
mod served;
mod stall;
mod steering;
mod upgrade;
