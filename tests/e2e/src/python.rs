//! Programs on grpcio, a gRPC implementation that is not ours, with its own HTTP/2.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{ChildStdout, Command, Stdio},
};

use leastload_fleet::process::Process;
use serde_json::Value;

/// A Python with grpcio, made where it is missing.
fn interpreter() -> PathBuf {
    let setup = leastload_modules::root().join("tests/e2e/interop/setup.sh");
    let done = Command::new(setup).stdin(Stdio::null()).output().expect("setup.sh runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("a path of plain characters").trim().into()
}

/// A process of a script in `interop/`: it ends when it is dropped, or its input is.
#[derive(Debug)]
pub struct Python {
    process: Process,
    output: BufReader<ChildStdout>,
}

impl Python {
    /// Starts it.
    pub fn start(script: &str, arguments: &[&str]) -> Self {
        let script = leastload_modules::root().join("tests/e2e/interop").join(script);
        // Without caches of compiled code in the checkout.
        let mut all = vec!["-B".to_owned(), script.display().to_string()];
        all.extend(arguments.iter().map(ToString::to_string));
        let mut process = Process::spawn(&interpreter(), &all, |command| {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        })
        .expect("Python starts");
        let output = process.streams().stdout.take().expect("its output is piped");
        Self { process, output: BufReader::new(output) }
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("its output can be read");
        assert!(!line.is_empty(), "the script ended: see its errors above");
        line
    }

    /// What it answers to a command.
    pub fn ask(&mut self, command: &Value) -> Value {
        let input = self.process.streams().stdin.as_mut().expect("its input is piped");
        writeln!(input, "{command}").expect("it reads");
        serde_json::from_str(&self.line()).expect("it answers in JSON")
    }
}
