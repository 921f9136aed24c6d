//! The Wasm modules that tests load: brought up to date by `scripts/build-wasm.sh` once in a test process.

use std::{
    env,
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use nix::fcntl::{Flock, FlockArg};

/// Path of the module: `$LEASTLOAD_WASM` where set, else `dist/leastload.wasm`.
pub fn release() -> PathBuf {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| given_or_built("LEASTLOAD_WASM", "dist/leastload.wasm", &[])).clone()
}

/// Path of the module that crashes and stalls on demand, by the request header
/// `x-leastload-fault`: `$LEASTLOAD_FAULT_WASM` where set.
pub fn with_faults() -> PathBuf {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    let features = ["--features", "crash-on-demand"];
    let find = || given_or_built("LEASTLOAD_FAULT_WASM", "target/leastload-fault.wasm", &features);
    MODULE.get_or_init(find).clone()
}

/// Path of the filter that only reads `:path`: what any Wasm filter costs.
pub fn empty() -> PathBuf {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| of_tests("empty")).clone()
}

/// Path of the filter that does the least for stamps: what of their price is Envoy's own.
pub fn stamps() -> PathBuf {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| of_tests("stamps")).clone()
}

/// Path of the filter that does what a test tells it.
pub fn probe() -> PathBuf {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| of_tests("probe")).clone()
}

fn of_tests(name: &str) -> PathBuf {
    let (package, output) = (format!("leastload-{name}"), format!("target/{name}.wasm"));
    built(&output, &["--package", &package])
}

/// Root of the repository.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_owned()
}

/// The module that a variable names, else a variant built to a path below the root.
fn given_or_built(variable: &str, output: &str, arguments: &[&str]) -> PathBuf {
    if let Some(given) = env::var_os(variable) {
        return given.into();
    }
    built(output, arguments)
}

fn built(output: &str, arguments: &[&str]) -> PathBuf {
    let _alone = lock();
    let built = Command::new(root().join("scripts/build-wasm.sh"))
        .args(["--output", output])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("scripts/build-wasm.sh runs");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "scripts/build-wasm.sh failed: {said}");
    root().join(output)
}

/// Test processes may run side by side: one builds, the others wait.
fn lock() -> Flock<File> {
    let folder = root().join("target");
    std::fs::create_dir_all(&folder).expect("the folder target can be made");
    let file = File::create(folder.join("module.lock")).expect("the lock can be made");
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).expect("the lock works")
}
