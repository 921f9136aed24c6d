//! The programs of the lab. `scripts/build-mesh.sh` builds them from Go modules, with the versions
//! of `go/go.mod`, and says by `LEASTLOAD_MESH_TOOLS` where.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::net;

/// Envoy that Istio 1.31 ships.
pub const ENVOY: &str = "1.39.3";
/// What the proxies say they are.
pub const ISTIO: &str = "1.31.0";

/// Where everything is, and where this run keeps its files. All of it is below [`ROOT`], which the
/// proxies' user can reach wherever the repository and the user's cache are.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The Envoy of all sidecars and gateways.
    pub envoy: PathBuf,
    /// Its version.
    pub envoy_version: String,
    /// Root of the repository.
    pub repository: PathBuf,
}

/// A file system of our mount namespace.
const ROOT: &str = "/mnt";

impl Tools {
    /// Finds the programs, and has them below [`ROOT`]; `run` is emptied.
    ///
    /// # Panics
    /// Where something is missing, with what to do.
    pub fn find(run: &Path) -> Self {
        let tools = env::var_os("LEASTLOAD_MESH_TOOLS").expect("start this by `make test-mesh`");
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let repository = repository.canonicalize().expect("the repository is there");
        let version = env::var("LEASTLOAD_MESH_ENVOY").unwrap_or_else(|_| ENVOY.into());
        let fetch = repository.join("tests/fleet/fetch-envoy.sh");
        let fetched = Command::new(fetch).arg(&version).output().expect("fetch-envoy.sh runs");
        assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
        let envoy = PathBuf::from(String::from_utf8_lossy(&fetched.stdout).trim());
        let _ = fs::remove_dir_all(run);
        fs::create_dir_all(run).expect("a folder for this run");
        net::run("mount", &["-t", "tmpfs", "-o", "mode=0755", "tmpfs", ROOT]);
        let envoy_folder = envoy.parent().unwrap_or(&envoy);
        let dist = repository.join("dist");
        for (name, folder) in
            [("tools", Path::new(&tools)), ("run", run), ("envoy", envoy_folder), ("dist", &dist)]
        {
            let here = Path::new(ROOT).join(name);
            fs::create_dir(&here).expect("a folder to mount on");
            net::run("mount", &["--bind", &folder.to_string_lossy(), &here.to_string_lossy()]);
        }
        let envoy = Path::new(ROOT).join("envoy").join(envoy.file_name().unwrap_or_default());
        Self { envoy, envoy_version: version, repository }
    }

    /// A program that was built.
    pub fn program(&self, name: &str) -> PathBuf {
        Path::new(ROOT).join("tools/bin").join(name)
    }

    /// A file that came with the sources: CRDs, the bootstrap of a proxy.
    pub fn share(&self, name: &str) -> PathBuf {
        Path::new(ROOT).join("tools/share").join(name)
    }

    /// What `make build` and `make image` made.
    pub fn dist(&self, name: &str) -> PathBuf {
        Path::new(ROOT).join("dist").join(name)
    }

    /// Logs, keys and state of this run.
    pub fn run(&self) -> PathBuf {
        Path::new(ROOT).join("run")
    }

    /// A file of this run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.run().join(name)
    }
}

/// Where a system's program is.
///
/// # Panics
/// Where it is nowhere in `PATH`.
pub fn system(program: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders.find(|folder| folder.join(program).is_file());
    found.unwrap_or_else(|| panic!("{program} is missing")).join(program)
}
