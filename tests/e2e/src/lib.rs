//! End-to-end tests: the module in real Envoys with real gRPC calls. What several of them need is
//! here; the tests themselves are in `tests/`.

pub mod module;

pub use module::module;
