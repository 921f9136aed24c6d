//! Engines and compiled modules: one engine with fuel and one without, each module compiled once in
//! a process, and kept on disk for the next one where that works.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::{env, fs};

use wasmtime::{Cache, CacheConfig, Config, Engine, ExternType, InstancePre, Linker};

use crate::abi;
use crate::module::Module;
use crate::vm::Data;

/// The version of the ABI, as an export names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abi {
    V0_2_0,
    V0_2_1,
}

/// A module ready to be instantiated.
#[derive(Clone)]
pub(crate) struct Compiled {
    pub(crate) engine: Engine,
    pub(crate) linked: InstancePre<Data>,
    pub(crate) fuel: bool,
}

/// One engine with everything it compiled.
struct Workshop {
    engine: Engine,
    linkers: [Linker<Data>; 2],
    compiled: Mutex<HashMap<Arc<[u8]>, Compiled>>,
    fuel: bool,
}

fn workshop(fuel: bool) -> &'static Workshop {
    static PLAIN: OnceLock<Workshop> = OnceLock::new();
    static FUEL: OnceLock<Workshop> = OnceLock::new();
    if fuel { &FUEL } else { &PLAIN }.get_or_init(|| Workshop::new(fuel))
}

impl Workshop {
    fn new(fuel: bool) -> Self {
        let mut config = Config::new();
        config.consume_fuel(fuel).cache(disk_cache());
        let engine = Engine::new(&config).expect("the engine's configuration is valid");
        let linkers = [Abi::V0_2_0, Abi::V0_2_1]
            .map(|abi| abi::linker(&engine, abi).expect("each host function is defined once"));
        Self { engine, linkers, compiled: Mutex::default(), fuel }
    }

    fn compile(&self, bytes: &[u8]) -> Result<Compiled, String> {
        let module = wasmtime::Module::new(&self.engine, bytes)
            .map_err(|error| format!("it does not compile: {error:#}"))?;
        let exports = |name: &str| module.get_export(name).is_some();
        let linker = match (exports("proxy_abi_version_0_2_1"), exports("proxy_abi_version_0_2_0"))
        {
            (true, _) => &self.linkers[1],
            (false, true) => &self.linkers[0],
            _ => return Err("it exports no Proxy-Wasm ABI version 0.2".into()),
        };
        if !exports("malloc") && !exports("proxy_on_memory_allocate") {
            return Err("it exports no allocator".into());
        }
        if !matches!(module.get_export("memory"), Some(ExternType::Memory(_))) {
            return Err("it exports no memory".into());
        }
        let instance = linker
            .instantiate_pre(&module)
            .map_err(|error| format!("it imports what Envoy does not give: {error:#}"))?;
        Ok(Compiled { engine: self.engine.clone(), linked: instance, fuel: self.fuel })
    }
}

/// A module, compiled now or earlier in this process.
pub(crate) fn compiled(module: &Module, fuel: bool) -> Result<Compiled, String> {
    let bytes: Arc<[u8]> = match module {
        Module::Bytes(bytes) => Arc::clone(bytes),
        Module::File(path) => {
            fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?.into()
        }
    };
    let workshop = workshop(fuel);
    let mut all = workshop.compiled.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match all.entry(bytes) {
        Entry::Occupied(found) => Ok(found.get().clone()),
        Entry::Vacant(free) => {
            let compiled = workshop.compile(free.key())?;
            Ok(free.insert(compiled).clone())
        }
    }
}

/// Compiled code of earlier processes; none where no folder can be written.
fn disk_cache() -> Option<Cache> {
    let mut config = CacheConfig::new();
    config.with_directory(cache_folder()?);
    Cache::new(config).ok()
}

fn cache_folder() -> Option<PathBuf> {
    let named = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let user = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")));
    let build = named("CARGO_TARGET_DIR");
    let folders = user.into_iter().chain(build).chain([env::temp_dir()]);
    folders.map(|folder| folder.join("leastload").join("wasmtime")).find(|folder| {
        let probe = folder.join(format!("writable-{}", std::process::id()));
        let writable = fs::create_dir_all(folder).and_then(|()| fs::write(&probe, b"")).is_ok();
        let _ = fs::remove_file(probe);
        writable
    })
}
