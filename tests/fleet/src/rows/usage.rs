//! How busy the machine was, and by whom.

use std::{fs, thread, time::Duration};

use tokio::time::Instant;

use crate::{Error, Result, process};

/// CPU time that the Envoys used until a moment, or between two.
#[derive(Clone, Copy, Debug, Default)]
pub struct Envoys {
    /// By all proxies.
    pub proxies: Duration,
    /// Of this, by those that the row's calls go through.
    pub serving: Duration,
    /// By the servers' own Envoys.
    pub twins: Duration,
}

/// CPU time used until a moment.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    at: Instant,
    /// By the client, that is, this process.
    client: Duration,
    /// By the servers.
    servers: Duration,
    /// By all proxies and by the servers' own Envoys.
    envoys: Envoys,
    /// By everybody on the machine, the hypervisor's other guests included.
    machine: Duration,
}

/// Shares of all cores of the machine, 0 to 1, between two moments.
#[derive(Clone, Copy, Debug)]
pub struct Busy {
    /// Used by anybody.
    pub machine: f64,
    /// Used by the client.
    pub client: f64,
    /// Used by the servers.
    pub servers: f64,
    /// Used by the proxies.
    pub proxies: f64,
    /// Used by the servers' own Envoys.
    pub twins: f64,
    /// CPU time of the Envoys.
    pub envoys: Envoys,
}

impl Usage {
    /// Now, given what servers and Envoys used.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn now(servers: Duration, envoys: Envoys) -> Result<Self> {
        let client = process::cpu_time(std::process::id())?;
        Ok(Self { at: Instant::now(), client, servers, envoys, machine: machine()? })
    }

    /// Shares since `earlier`.
    pub fn since(&self, earlier: &Self) -> Busy {
        let all = (self.at - earlier.at).as_secs_f64() * cores() as f64;
        let share = |now: Duration, then: Duration| now.saturating_sub(then).as_secs_f64() / all;
        Busy {
            machine: share(self.machine, earlier.machine),
            client: share(self.client, earlier.client),
            servers: share(self.servers, earlier.servers),
            proxies: share(self.envoys.proxies, earlier.envoys.proxies),
            twins: share(self.envoys.twins, earlier.envoys.twins),
            envoys: Envoys {
                proxies: self.envoys.proxies.saturating_sub(earlier.envoys.proxies),
                serving: self.envoys.serving.saturating_sub(earlier.envoys.serving),
                twins: self.envoys.twins.saturating_sub(earlier.envoys.twins),
            },
        }
    }
}

impl Busy {
    /// Share of the cores that neither client nor servers nor Envoys used: other programs, and the
    /// kernel's work for nobody in particular.
    pub fn others(&self) -> f64 {
        (self.machine - self.client - self.servers - self.proxies - self.twins).max(0.0)
    }
}

/// Cores that this process may use.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// CPU time of the whole machine since its start, idle and waiting excluded, stolen included.
fn machine() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").map_err(Error::io("read /proc/stat"))?;
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
    // user nice system idle iowait irq softirq steal
    let busy = [0, 1, 2, 5, 6, 7].iter().filter_map(|index| ticks.get(*index)).sum();
    Ok(process::ticks_to_time(busy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_between_two_moments_is_a_share_of_all_cores() {
        let second = Duration::from_secs(1);
        let then = Usage {
            at: Instant::now(),
            client: second,
            servers: second,
            envoys: Envoys { proxies: second, serving: second, twins: second },
            machine: 9 * second,
        };
        let cores = cores() as u32;
        let now = Usage {
            at: then.at + 10 * second,
            client: 2 * second * cores,
            servers: second,
            envoys: Envoys { proxies: second, serving: second, twins: second + second * cores / 2 },
            machine: 9 * second + 4 * second * cores,
        };
        let then = Usage { client: Duration::ZERO, ..then };
        let busy = now.since(&then);
        assert!((busy.machine - 0.4).abs() < 1e-9 && (busy.client - 0.2).abs() < 1e-9, "{busy:?}");
        assert!((busy.others() - 0.15).abs() < 1e-9, "{busy:?}");
        assert_eq!(busy.envoys.twins, second * cores / 2);
    }

    #[tokio::test]
    async fn the_machine_only_gets_older() {
        let then = Usage::now(Duration::ZERO, Envoys::default()).unwrap();
        let now = Usage::now(Duration::ZERO, Envoys::default()).unwrap();
        assert!(now.machine >= then.machine && now.machine > Duration::ZERO);
    }
}
