//! CPU time of a process, and how often it slept and read: from the kernel's own clocks.

use std::{fs, time::Duration};

use leastload_fleet::{Error, Result};
use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

/// Threads of Envoy that serve requests are called so.
const WORKER: &str = "wrk:";

/// What a process used since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU time, user and system, of all its threads: the process's CPU clock, in nanoseconds.
    pub cpu: Duration,
    /// That of Envoy's workers alone: `/proc/PID/task/TID/schedstat`, in nanoseconds (what a thread
    /// that runs used since the last clock tick is missing; these sleep when it is read).
    pub workers: Duration,
    /// How often a worker waited for work: voluntary context switches.
    pub sleeps: u64,
    /// Calls of `read` and its kin, all threads: `/proc/PID/io`; 0 where that is not permitted.
    pub reads: u64,
}

impl Usage {
    /// Reads it now.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn of(pid: u32) -> Result<Self> {
        let mut usage = Self { cpu: cpu(pid)?, ..Self::default() };
        for task in tasks(pid)? {
            let text = |file: &str| fs::read_to_string(format!("/proc/{pid}/task/{task}/{file}"));
            if text("comm").is_ok_and(|name| name.starts_with(WORKER)) {
                let schedstat = text("schedstat").unwrap_or_default();
                let on_cpu = schedstat.split(' ').next().and_then(|field| field.parse().ok());
                usage.workers += Duration::from_nanos(on_cpu.unwrap_or(0));
                let status = text("status").unwrap_or_default();
                usage.sleeps += field(&status, "voluntary_ctxt_switches:");
            }
        }
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        usage.reads = field(&io, "syscr:");
        Ok(usage)
    }

    /// What was used from `earlier` to now.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            workers: self.workers.saturating_sub(earlier.workers),
            sleeps: self.sleeps.saturating_sub(earlier.sleeps),
            reads: self.reads.saturating_sub(earlier.reads),
        }
    }
}

/// Ids of a process's threads.
///
/// # Errors
/// When the process has ended.
pub fn tasks(pid: u32) -> Result<Vec<i32>> {
    let folder = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&folder).map_err(Error::io(format!("read {folder}")))?;
    Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// CPU time of a process, user and system, to the nanosecond.
///
/// # Errors
/// When the process has ended.
pub fn cpu(pid: u32) -> Result<Duration> {
    clock_getcpuclockid(Pid::from_raw(pid.cast_signed()))
        .and_then(clock_gettime)
        .map(Duration::from)
        .map_err(|errno| Error::Io(format!("read the CPU clock of {pid}"), errno.into()))
}

/// CPU time of the whole machine since its start: all that was busy, and what the hypervisor gave
/// to others. In clock ticks of usually 10 ms.
///
/// # Errors
/// When `/proc/stat` cannot be read.
pub fn machine() -> Result<(Duration, Duration)> {
    let stat = fs::read_to_string("/proc/stat").map_err(Error::io("read /proc/stat"))?;
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
    let per_second =
        nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    let time = |ticks: u64| Duration::from_secs_f64(ticks as f64 / per_second as f64);
    // user nice system idle iowait irq softirq steal
    let at = |index: usize| ticks.get(index).copied().unwrap_or(0);
    Ok((time([0, 1, 2, 5, 6].map(at).iter().sum()), time(at(7))))
}

/// The number after `name` in a file of lines `name value`.
fn field(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_in_the_clock_of_the_process() {
        let me = std::process::id();
        let before = Usage::of(me).unwrap();
        let mut sum = 0_u64;
        for n in 0..3_000_000_u64 {
            sum = std::hint::black_box(sum ^ n);
        }
        let used = Usage::of(me).unwrap().since(before);
        assert!(used.cpu > Duration::ZERO, "{used:?}");
        assert!(used.reads > 0, "reading /proc is reading: {used:?}");
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(Usage::of(u32::MAX / 2).is_err());
    }
}
