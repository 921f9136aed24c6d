//! A local OCI registry without TLS, and the plugin's image in it.

use std::{
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use leastload_fleet::process::Process;

use crate::{
    control::{start, start_program, until},
    net::{HOST, run},
    tools::{Tools, system},
};

/// Where it listens.
pub const REGISTRY: &str = "10.77.0.1:5000";

/// The running registry; ends on drop.
#[derive(Debug)]
pub struct Registry {
    _process: Process,
    /// SHA-256 of the image of `dist/image`, in hexadecimal, as a `WasmPlugin` has it.
    pub digest: String,
}

impl Registry {
    /// Starts it with `leastload:latest` in it.
    ///
    /// # Panics
    /// Where it does not start, or the image cannot be pushed.
    pub fn start(tools: &Tools) -> Self {
        let arguments = ["registry".into(), "serve".into(), format!("--address={REGISTRY}")];
        let process = start(tools, "crane", &arguments, &[]);
        until("the registry listens", || TcpStream::connect(REGISTRY).is_ok());
        let digest = push(tools, &tools.dist("image"), "leastload:latest");
        Self { _process: process, digest }
    }
}

/// Pushes an OCI layout by the command that users have; the SHA-256 that it says.
///
/// # Panics
/// Where that fails.
pub fn push(tools: &Tools, layout: &Path, name: &str) -> String {
    let pushed = Command::new(tools.repository.join("scripts/push.sh"))
        .arg(format!("{REGISTRY}/{name}"))
        .arg(layout)
        .env("CRANE", tools.program("crane"))
        .env("PLAIN_HTTP", "1")
        .stdin(Stdio::null())
        .output()
        .expect("scripts/push.sh runs");
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    let said = String::from_utf8_lossy(&pushed.stdout);
    said.trim().split_once("@sha256:").expect("it says IMAGE@sha256:...").1.into()
}

/// Makes an OCI layout of a module by the command behind `make image`; its folder.
///
/// # Panics
/// Where that fails.
pub fn image(tools: &Tools, module: &Path, name: &str) -> PathBuf {
    let layout = tools.file(&format!("image-{name}"));
    let script = tools.repository.join("scripts/oci_layout.py");
    let arguments =
        [script.as_path(), module, &layout].map(|path| path.to_string_lossy().into_owned());
    run("python3", &["-B", &arguments[0], &arguments[1], &arguments[2]]);
    layout
}

/// Serves `dist/` over plain HTTP at port 8000 of the host; ends on drop.
///
/// # Panics
/// Where it does not start.
pub fn files(tools: &Tools) -> Process {
    let arguments = ["-m", "http.server", "--bind", HOST, "--directory"].map(String::from);
    let folder = tools.dist("").to_string_lossy().into_owned();
    let arguments: Vec<_> = arguments.into_iter().chain([folder, "8000".into()]).collect();
    let server = start_program(tools, "http", &system("python3"), &arguments, &[]);
    until("the web server listens", || TcpStream::connect((HOST, 8000)).is_ok());
    server
}

/// SHA-256 of the module itself, in hexadecimal.
///
/// # Panics
/// Where there is none.
pub fn module_digest(tools: &Tools) -> String {
    let sum = run("sha256sum", &[&tools.dist("leastload.wasm").to_string_lossy()]);
    sum.split_whitespace().next().expect("a sum").into()
}
