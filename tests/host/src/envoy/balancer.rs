//! Envoy's own choice of a host, where nothing names one.

use crate::envoy::cluster::{Cluster, Host, Policy};
use crate::inner::Inner;

/// A priority takes more than its share of requests, in percent of its fit hosts, before the next
/// one gets any (Envoy's `overprovisioning_factor`).
const OVERPROVISIONING: u64 = 140;
/// With fewer fit hosts, in percent, health is ignored (Envoy's `healthy_panic_threshold`).
const PANIC: u64 = 50;

/// The hosts to choose from: of one priority, fit ones, or all in panic.
fn candidates(cluster: &Cluster, random: impl Fn(u64) -> u64) -> Vec<&Host> {
    let mut priorities: Vec<u32> = cluster.hosts.iter().map(|host| host.priority).collect();
    priorities.sort_unstable();
    priorities.dedup();
    let of = |priority: u32| cluster.hosts.iter().filter(move |host| host.priority == priority);
    let fit = |priority: u32, degraded: bool| {
        let is_fit = move |host: &&Host| {
            !host.health.is_unhealthy() && host.health.is_degraded() == degraded
        };
        of(priority).filter(is_fit).collect::<Vec<_>>()
    };
    // How much of the load, in percent, each group can take; healthy hosts come first.
    let mut groups = Vec::new();
    let mut total = 0;
    for degraded in [false, true] {
        for priority in &priorities {
            let hosts = fit(*priority, degraded);
            let share = OVERPROVISIONING * hosts.len() as u64 / of(*priority).count() as u64;
            let share = share.min(100).min(100 - total);
            total += share;
            groups.push((share, hosts));
        }
    }
    let all_fit: u64 = groups.iter().map(|(_, hosts)| hosts.len() as u64).sum();
    let panics = all_fit * 100 < PANIC * cluster.hosts.len() as u64 && total < 100;
    if panics || total == 0 {
        let first = priorities.first().copied().unwrap_or(0);
        return of(first).collect();
    }
    let mut at = if total == 1 { 0 } else { random(total) };
    for (share, hosts) in groups {
        if at < share {
            return hosts;
        }
        at -= share;
    }
    Vec::new()
}

impl Inner {
    /// The address of the host for a request of a worker; `None` where the cluster has none.
    pub(crate) fn balance(&self, worker: usize, cluster: &Cluster) -> Option<String> {
        let single = cluster.hosts.iter().all(|host| host.priority == cluster.hosts[0].priority);
        let hosts = candidates(cluster, |bound| if single { 0 } else { self.random.below(bound) });
        let total: u64 = hosts.iter().map(|host| u64::from(host.weight.max(1))).sum();
        if total == 0 {
            return None;
        }
        let mut at = match cluster.policy {
            Policy::Random => self.random.below(total),
            Policy::RoundRobin => {
                let mut turns = self.turns.borrow_mut();
                let turn = turns.entry((worker, cluster.name.clone())).or_default();
                *turn += 1;
                (*turn as u64 - 1) % total
            }
        };
        hosts.into_iter().find_map(|host| {
            let weight = u64::from(host.weight.max(1));
            if at < weight {
                return Some(host.address.clone());
            }
            at -= weight;
            None
        })
    }
}
