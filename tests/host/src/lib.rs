//! A Proxy-Wasm host for tests: the real module, several workers, every fault on demand.
#![expect(unused_variables, dead_code, reason = "the bodies follow")]

mod abi;
mod builder;
mod calls;
mod envoy;
mod fault;
mod headers;
mod module;
mod names;
mod proxy;
mod stream;
mod trace;
mod types;
mod value;
mod worker;

pub use builder::{Builder, Plugin};
pub use calls::{GrpcCall, HttpCall};
pub use envoy::call::{Call, Failure, Response};
pub use envoy::cluster::{Cluster, EdsHealth, Health, Host, Policy};
pub use envoy::request::Request;
pub use fault::Fault;
pub use headers::Headers;
pub use module::Module;
pub use proxy::{AdminMode, Proxy};
pub use stream::{LocalReply, Passed, Stream};
pub use trace::{CallRecord, Callback, CallbackRecord, HostCall, Trace};
pub use types::{FailurePolicy, LogLevel, LogLine, Side, Status, Thread};
pub use value::Value;
pub use worker::Worker;
