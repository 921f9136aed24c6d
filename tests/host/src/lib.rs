//! A Proxy-Wasm host for tests: the real module, several workers, every fault on demand.
