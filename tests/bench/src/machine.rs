//! What the figures were measured on.

use std::{fs, path::Path};

use leastload_fleet::{Error, Result};
use serde::Serialize;

use crate::arm::Modules;

/// The machine and what ran on it.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Cores.
    pub cores: usize,
    /// The processor's name.
    pub processor: String,
    /// The kernel.
    pub kernel: String,
    /// Release of Envoy.
    pub envoy: String,
    /// Version of leastload.
    pub leastload: String,
    /// Size of its module in bytes.
    pub module_bytes: u64,
    /// Size of the empty filter in bytes.
    pub empty_bytes: u64,
}

impl Machine {
    /// Looks at this one.
    ///
    /// # Errors
    /// When a module is missing.
    pub fn look(envoy: &str, modules: &Modules) -> Result<Self> {
        let bytes = |path: &Path| {
            let found = fs::metadata(path).map_err(Error::io(format!("read {}", path.display())));
            found.map(|found| found.len())
        };
        let envoy = match std::env::var("ENVOY") {
            Ok(path) => format!("{path} (named by ENVOY)"),
            Err(_) => envoy.to_owned(),
        };
        Ok(Self {
            cores: cores(),
            processor: cpuinfo("model name").next().unwrap_or_else(|| "unknown".into()),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| "unknown".into(), |text| text.trim().to_owned()),
            envoy,
            leastload: env!("CARGO_PKG_VERSION").into(),
            module_bytes: bytes(&modules.leastload)?,
            empty_bytes: bytes(&modules.empty)?,
        })
    }
}

/// Cores of the machine, whichever this process may use.
pub fn cores() -> usize {
    cpuinfo("processor").count().max(1)
}

fn cpuinfo(name: &str) -> impl Iterator<Item = String> {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let lines: Vec<String> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
        .collect();
    lines.into_iter()
}
