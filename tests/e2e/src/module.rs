//! The modules under test.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// Path of the module: `$LEASTLOAD_WASM` where set, else `dist/leastload.wasm`, brought up to date
/// by `scripts/build-wasm.sh` once in a test process.
pub fn release() -> PathBuf {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    let build = || match env::var_os("LEASTLOAD_WASM") {
        Some(path) => path.into(),
        None => build("dist/leastload.wasm", &[]),
    };
    MODULE.get_or_init(build).clone()
}

/// Path of the module that crashes and stalls on demand.
pub fn with_faults() -> PathBuf {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    let build = || build("dist/test/leastload-faults.wasm", &["--features", "crash-on-demand"]);
    MODULE.get_or_init(build).clone()
}

/// Root of the repository.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest).to_owned()
}

/// Builds a variant of the module to a path below the root, where it is not up to date.
fn build(output: &str, arguments: &[&str]) -> PathBuf {
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
