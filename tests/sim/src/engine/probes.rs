//! Probes: a question to a server about its load, and its answer.

use super::Simulation;
use super::queue::What;
use crate::policy::{ServerId, Stamp};

/// A probe under way.
#[derive(Clone, Copy)]
pub(crate) struct Probe {
    proxy: u32,
    server: ServerId,
    token: u64,
    answer: Option<Stamp>,
}

impl Simulation<'_> {
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn send_probe(&mut self, proxy: u32, server: ServerId, token: u64) {
        if self.meter.is_on(self.now) {
            self.meter.probes += 1;
        }
        if self.chance(self.scenario.probes.lost_percent) {
            return;
        }
        let key = self.probes.insert(Probe { proxy, server, token, answer: None }) as u32;
        let at = self.now + self.delay();
        self.queue.push(at, What::Probe { key });
    }

    /// It reaches the server.
    pub(super) fn probe(&mut self, key: u32) {
        let server = self.probes[key as usize].server;
        // Nobody is there to answer: the connection fails, which says nothing of the load.
        let answer = self.stamp(server, true);
        self.probes[key as usize].answer = answer;
        let at = self.now + self.delay();
        self.queue.push(at, What::Probed { key });
    }

    /// Its answer reaches the proxy.
    pub(super) fn probed(&mut self, key: u32) {
        let Probe { proxy, server, token, answer } = self.probes.remove(key as usize);
        self.policy(proxy, |policy, env| policy.probed(env, server, token, answer.as_ref()));
    }

    /// What a server says of itself; `None` where it has no twin or keeps silent.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn stamp(&mut self, server: ServerId, probed: bool) -> Option<Stamp> {
        let (now, period) = (self.now, self.scenario.reports.period.ns());
        let host = &mut self.fleet.hosts[server as usize];
        if !host.work.is_up() || host.silent {
            return None;
        }
        let twin = host.twin.as_mut()?;
        host.work.advance(now);
        let load = (host.in_flight, host.work.waiting());
        let mut stamp = twin.stamp(now, period, (host.work.done, host.work.possible), load);
        if probed && self.needs.latency_at_rif {
            stamp.latency_ns = host.latency.estimate(host.in_flight, now);
        }
        let lie = host.lie as f32;
        if self.needs.twin.is_some() {
            stamp.load = Some(twin.load(now, probed, lie));
        }
        if lie.to_bits() != 1.0_f32.to_bits() {
            stamp.in_flight *= lie;
            stamp.waiting *= lie;
            stamp.service_ns *= lie;
            stamp.latency_ns *= lie;
            stamp.utilization *= lie;
        }
        Some(stamp)
    }
}
