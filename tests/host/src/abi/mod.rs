//! The functions that the host gives to a VM, with the arguments and statuses of
//! `proxy-wasm-cpp-host` and Envoy.

mod buffers;
mod calls;
mod env;
mod general;
mod maps;
mod metrics;
pub(crate) mod pairs;
mod shared;
mod wasi;

use wasmtime::{Engine, Linker};

use crate::engine::Abi;
use crate::vm::Data;

/// Everything Envoy 1.36 registers, for one version of the ABI.
pub(crate) fn linker(engine: &Engine, abi: Abi) -> wasmtime::Result<Linker<Data>> {
    let mut linker = Linker::new(engine);
    general::link(&mut linker, abi)?;
    maps::link(&mut linker)?;
    buffers::link(&mut linker)?;
    shared::link(&mut linker)?;
    metrics::link(&mut linker)?;
    calls::link(&mut linker)?;
    wasi::link(&mut linker, "wasi_snapshot_preview1")?;
    wasi::link(&mut linker, "wasi_unstable")?;
    Ok(linker)
}
