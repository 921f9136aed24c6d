//! Envoy on its own cores, the load and its servers on the last: sharing one, they would evict each
//! other's caches and wake each other at other times in each run.

use std::sync::OnceLock;

use leastload_fleet::Result;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use crate::usage;

/// The cores for each side.
#[derive(Clone, Debug)]
pub struct Cores {
    envoy: CpuSet,
    load: CpuSet,
    text: String,
}

impl Cores {
    /// Divides the cores this process may use; `None` where there is only one.
    pub fn divide() -> Option<&'static Self> {
        // Once: after a comparison this process has one core left, and the next one needs all.
        static DIVIDED: OnceLock<Option<Cores>> = OnceLock::new();
        DIVIDED.get_or_init(Self::divide_now).as_ref()
    }

    fn divide_now() -> Option<Self> {
        let mine = sched_getaffinity(Pid::from_raw(0)).ok()?;
        let mut all: Vec<usize> =
            (0..CpuSet::count()).filter(|core| mine.is_set(*core).unwrap_or(false)).collect();
        let last = all.pop().filter(|_| !all.is_empty())?;
        let set = |cores: &[usize]| {
            let mut set = CpuSet::new();
            cores.iter().try_for_each(|core| set.set(*core)).ok().map(|()| set)
        };
        let text = format!("Envoy on {all:?}, load and servers on [{last}]");
        Some(Self { envoy: set(&all)?, load: set(&[last])?, text })
    }

    /// Keeps all threads of an Envoy on its cores.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn pin_envoy(&self, pid: u32) -> Result<bool> {
        pin(pid, &self.envoy)
    }

    /// Keeps all threads of a process on the core of the load.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn pin_load(&self, pid: u32) -> Result<bool> {
        pin(pid, &self.load)
    }
}

impl std::fmt::Display for Cores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Threads started later inherit it. False where the machine does not permit it.
fn pin(pid: u32, cores: &CpuSet) -> Result<bool> {
    let tasks = usage::tasks(pid)?;
    Ok(tasks.into_iter().all(|task| sched_setaffinity(Pid::from_raw(task), cores).is_ok()))
}
