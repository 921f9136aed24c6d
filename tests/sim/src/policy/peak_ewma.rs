//! Peak EWMA on the better of two: Finagle's `p2cPeakEwma`
//! (`finagle-core/.../loadbalancer/PeakEwma.scala`, `p2c/P2CPick.scala`) and, with `default_rtt`,
//! that of tower (`tower/src/load/peak_ewma.rs`, `balance/p2c/service.rs`), which linkerd2-proxy
//! uses with 30 ms and a decay of 10 s (`linkerd/app/core/src/control.rs`).
//!
//! A server's cost is its latency, averaged so that what is old counts exp(-age / decay); a latency
//! above it is taken over at once. A look at it counts as a latency of 0, so it fades while nobody
//! answers. Load is cost times (requests outstanding from here + 1). Where nothing is known, Finagle
//! sends one request and shuns the server until its answer; tower assumes `default_rtt`, which fades
//! like a measured one. Two different servers are drawn, evenly; of equals the first. Every ending
//! counts as an answer, a quick failure as a quick answer. Not modelled: Finagle's failure accrual,
//! which only draws again where a node is not open; weights; completion at the response's first
//! bytes (Linkerd): here it is at the end.

use fastrand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Ask, Ended, Env, Member, Pick, Policy, ServerId};
use crate::span::Span;

/// Parameters of Peak EWMA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PeakEwmaConfig {
    /// After so long a latency counts 1/e.
    pub decay: Span,
    /// What a server is taken for before its first answer; Linkerd: `30ms`. By default, as Finagle
    /// has it, it gets one request and no other until that is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_rtt: Option<Span>,
}

impl Default for PeakEwmaConfig {
    fn default() -> Self {
        Self { decay: Span::ms(10_000), default_rtt: None }
    }
}

impl PeakEwmaConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.decay == Span::ZERO { Err("decay: expected more than 0".into()) } else { Ok(()) }
    }

    pub(super) fn build(&self) -> PeakEwma {
        PeakEwma {
            decay_ns: self.decay.as_f64(),
            default_ns: self.default_rtt.map_or(0.0, Span::as_f64),
            shuns_unknown: self.default_rtt.is_none(),
            members: Vec::new(),
            metrics: Vec::new(),
        }
    }
}

/// Load of a server with requests under way and no answer yet, in ns (`Long.MaxValue >> 16`: 39 h).
const PENALTY: f64 = 140_737_488_355_327.0;

/// What a proxy knows of a server.
#[derive(Clone, Copy, Default)]
struct Metric {
    /// Peak EWMA of latency, in ns.
    cost: f64,
    /// When it was last looked at or changed.
    at: u64,
    /// Requests sent and not ended.
    pending: u32,
    member: bool,
}

impl Metric {
    #[allow(clippy::cast_precision_loss)] // A run is far shorter than 2^53 ns.
    fn observe(&mut self, now: u64, latency_ns: f64, decay_ns: f64) {
        if latency_ns > self.cost {
            self.cost = latency_ns;
        } else {
            let old = (-((now - self.at) as f64) / decay_ns).exp();
            self.cost = self.cost * old + latency_ns * (1.0 - old);
        }
        self.at = now;
    }
}

/// One proxy's peaks.
pub(crate) struct PeakEwma {
    decay_ns: f64,
    default_ns: f64,
    shuns_unknown: bool,
    members: Vec<Member>,
    /// By server.
    metrics: Vec<Metric>,
}

impl PeakEwma {
    fn load(&mut self, now: u64, server: ServerId) -> f64 {
        let metric = &mut self.metrics[server as usize];
        metric.observe(now, 0.0, self.decay_ns);
        let pending = f64::from(metric.pending);
        if self.shuns_unknown && metric.cost <= 0.0 && metric.pending > 0 {
            PENALTY + pending
        } else {
            metric.cost * (pending + 1.0)
        }
    }

    fn choose(&mut self, now: u64, rng: &mut Rng) -> Option<ServerId> {
        let count = self.members.len();
        let first = rng.usize(..count.max(1));
        let one = self.members.get(first)?.server;
        if count == 1 {
            return Some(one);
        }
        let second = rng.usize(..count - 1);
        let other = self.members[second + usize::from(second >= first)].server;
        Some(if self.load(now, other) < self.load(now, one) { other } else { one })
    }
}

impl Policy for PeakEwma {
    fn members(&mut self, env: &mut Env<'_>, members: &[Member]) {
        self.members = members.to_vec();
        let before: Vec<bool> = self.metrics.iter().map(|metric| metric.member).collect();
        let servers = members.iter().map(|member| member.server as usize + 1).max().unwrap_or(0);
        self.metrics.resize(servers.max(before.len()), Metric::default());
        self.metrics.iter_mut().for_each(|metric| metric.member = false);
        for member in members {
            let index = member.server as usize;
            let metric = &mut self.metrics[index];
            metric.member = true;
            if !before.get(index).copied().unwrap_or(false) {
                // It is new, or new again: nothing is known.
                (metric.cost, metric.at) = (self.default_ns, env.now);
            }
        }
    }

    fn pick(&mut self, env: &mut Env<'_>, _: &Ask<'_>) -> Pick {
        let Some(server) = self.choose(env.now, env.rng) else { return Pick::Nobody };
        self.metrics[server as usize].pending += 1;
        Pick::Server(server)
    }

    #[allow(clippy::cast_precision_loss)] // As above.
    fn ended(&mut self, env: &mut Env<'_>, ended: &Ended<'_>) {
        let metric = &mut self.metrics[ended.server as usize];
        metric.pending -= 1;
        metric.observe(env.now, ended.latency_ns as f64, self.decay_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::*;

    const MS: u64 = 1_000_000;

    fn linkerd() -> PeakEwma {
        PeakEwmaConfig { default_rtt: Some(Span::ms(30)), ..PeakEwmaConfig::default() }.build()
    }

    fn near(left: f64, right: f64) -> bool {
        (left - right).abs() < right * 1e-9
    }

    #[test]
    fn peaks_count_at_once_and_fade_by_age() {
        let mut metric = Metric::default();
        metric.observe(0, 10e6, 10e9);
        assert!(near(metric.cost, 10e6));
        metric.observe(1, 500e6, 10e9);
        assert!(near(metric.cost, 500e6), "a peak");
        metric.observe(10_000 * MS + 1, 10e6, 10e9);
        let old = (-1.0_f64).exp();
        assert!(near(metric.cost, 500e6 * old + 10e6 * (1.0 - old)), "one decay later");
        let cost = metric.cost;
        metric.observe(20_000 * MS + 1, 0.0, 10e9);
        assert!(near(metric.cost, cost * old), "a look fades it");
    }

    #[test]
    fn load_is_cost_times_outstanding_and_one() {
        let mut policy = linkerd();
        let mut rig = Rig::new(PeakEwmaConfig::default().build(), &[1]);
        rig.pick();
        assert!(rig.policy.load(0, 0) > 1e14, "unknown and loaded: shunned");
        rig.answer(0, 5 * MS, None);
        assert!(near(rig.policy.load(0, 0), 5e6));
        rig.pick();
        rig.pick();
        assert!(near(rig.policy.load(0, 0), 15e6));
        let old = (-1.0_f64).exp();
        assert!(
            near(rig.policy.load(10_000 * MS, 0), 15e6 * old),
            "it fades while it is looked at"
        );
        std::mem::swap(&mut rig.policy, &mut policy);
        rig.members(&[(0, 1)]);
        assert!(near(rig.policy.load(0, 0), 30e6), "Linkerd: taken for 30 ms");
    }

    #[test]
    fn two_different_servers_are_drawn() {
        // The worst of three never gets a request; with replacement it would get one in nine.
        for worst in 0..3 {
            let mut rig = Rig::new(linkerd(), &[1; 3]);
            rig.policy.metrics[worst].cost = 1e12;
            let mut tally = rig.tally(9_000, 1);
            assert_eq!(tally.remove(worst), 0);
            assert!(tally.iter().all(|&count| (4_300..4_700).contains(&count)), "{tally:?}");
        }
    }

    #[test]
    fn the_unknown_get_one_request_until_its_answer() {
        let mut rig = Rig::new(PeakEwmaConfig::default().build(), &[1; 8]);
        for server in 0..7 {
            let metric = &mut rig.policy.metrics[server];
            metric.cost = 1e6;
        }
        let picks: Vec<ServerId> = (0..200).map(|_| rig.pick()).collect();
        assert_eq!(picks.iter().filter(|&&server| server == 7).count(), 1, "only its first");
        rig.answer(7, MS / 10, None);
        assert!((0..50).any(|_| rig.pick() == 7), "answered quickly");
    }

    #[test]
    fn whoever_returns_is_unknown_and_keeps_its_requests() {
        let mut rig = Rig::new(linkerd(), &[1, 1]);
        rig.policy.metrics[1].cost = 1e12;
        rig.members(&[(0, 1)]);
        assert_eq!(rig.pick(), 0);
        rig.members(&[(0, 1), (1, 1)]);
        assert_eq!(rig.pick(), 1, "30 ms and none under way");
        rig.members(&[]);
        assert_eq!(rig.ask(), Pick::Nobody);
        rig.answer(0, MS, None);
        rig.answer(1, MS, None);
        assert!(rig.policy.metrics.iter().all(|metric| metric.pending == 0));
    }
}
