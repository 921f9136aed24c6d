//! A Proxy-Wasm host for tests: the real module, several workers, every fault on demand.
//!
//! A [`Proxy`] runs a filter in one VM for each worker and one for the main thread, over one store,
//! with a clock that only the test moves. A [`Call`] goes through the filter to a [`Cluster`]:
//!
//! ```
//! use std::time::Duration;
//!
//! use leastload_testhost::{AdminMode, Cluster, Proxy, Response};
//! use serde_json::json;
//!
//! let proxy = Proxy::new(leastload_modules::release())
//!     .workers(4)
//!     .config(json!({"discovery": {"admin_cluster": "admin"}}))
//!     .cluster(Cluster::new("c").hosts(["10.0.0.1:80", "10.0.0.2:80"]))
//!     .stateful_session("x-leastload-host")
//!     .admin("admin", AdminMode::Filtering)
//!     .start();
//! // The first request of a cluster makes it known; then its hosts are looked up.
//! proxy.worker(0).grpc("/pkg.Svc/Method").to_cluster("c").respond(Response::ok());
//! proxy.advance(Duration::from_secs(5));
//!
//! let first = proxy.worker(2).grpc("/pkg.Svc/Method").to_cluster("c");
//! let second = proxy.worker(2).grpc("/pkg.Svc/Method").to_cluster("c");
//! assert_ne!(first.chosen(), second.chosen());
//! first.respond(Response::ok());
//! second.reset();
//! ```
//!
//! Below it, a [`Stream`] takes every step by itself, and a [`Fault`] decides what a host call
//! returns, where a VM traps, and what other threads do in between:
//!
//! ```
//! use leastload_testhost::{Callback, Fault, Proxy};
//!
//! let proxy = Proxy::new(leastload_modules::empty()).workers(2).start();
//! proxy.fault(Fault::in_callback(Callback::OnRequestHeaders).worker(1).traps());
//! let stream = proxy.worker(1).stream();
//! stream.request_headers([(":path", "/")], true);
//! assert_eq!(stream.local_reply().map(|reply| reply.status), Some(503));
//! assert!(proxy.worker(0).is_alive() && !proxy.worker(1).is_alive());
//! ```

mod abi;
mod builder;
mod calls;
mod clock;
mod context;
mod engine;
mod envoy;
mod fault;
mod grpc;
mod headers;
mod inner;
mod lifecycle;
mod module;
mod names;
mod properties;
mod proxy;
mod recorder;
mod schedule;
mod store;
mod stream;
mod trace;
mod types;
mod value;
mod vm;
mod worker;

pub use builder::{Builder, Plugin};
pub use calls::HttpCall;
pub use envoy::call::Call;
pub use envoy::cluster::{Cluster, EdsHealth, Health, Host, Policy};
pub use envoy::request::Request;
pub use envoy::response::{Failure, Response};
pub use fault::Fault;
pub use grpc::GrpcCall;
pub use headers::Headers;
pub use module::Module;
pub use proxy::{AdminMode, Proxy};
pub use stream::{LocalReply, Passed, Stream};
pub use trace::{CallRecord, Callback, CallbackRecord, HostCall, Trace};
pub use types::{FailurePolicy, LogLevel, LogLine, Side, Status, Thread};
pub use value::Value;
pub use worker::Worker;
