//! The control plane: who is there, and when each proxy hears of it. And how newcomers fare.

use std::rc::Rc;

use super::Simulation;
use super::queue::What;
use crate::measure::{Joined, round};
use crate::policy::{Member, ServerId, Truth};
use crate::span::SECOND;

/// A quarter of a second: over so long a newcomer's share is counted.
const BUCKET: u64 = SECOND / 4;
/// For so many of them.
const BUCKETS: usize = 40;

impl Simulation<'_> {
    /// The control plane's list changed.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn publish(&mut self) {
        let listed = (0..).zip(&self.fleet.hosts).filter(|(_, host)| host.listed);
        let members: Rc<[Member]> =
            listed.map(|(server, host)| Member { server, weight: host.weight }).collect();
        self.lists.push(members);
        let version = self.lists.len() as u32;
        if version == 1 {
            // The proxies start with it.
            return;
        }
        let membership = &self.scenario.membership;
        for proxy in 0..self.proxies.len() as u32 {
            let jitter = membership.jitter.as_f64() * self.world.f64();
            let at = self.now + membership.delay.ns() + jitter as u64;
            self.queue.push(at, What::News { proxy, version });
        }
    }

    /// A proxy hears who is there.
    pub(super) fn news(&mut self, proxy: u32, version: u32) {
        let heard = &mut self.proxies[proxy as usize].heard;
        if *heard >= version {
            return;
        }
        *heard = version;
        let members = Rc::clone(&self.lists[version as usize - 1]);
        self.policy(proxy, |policy, env| policy.members(env, &members));
    }

    /// A pick was made: how it looks to newcomers. The fair share of a server is what it can do by
    /// what all can do that are there.
    pub(super) fn picked(&mut self, server: ServerId) {
        if !self.newcomers.watched(self.now) {
            return;
        }
        let power = |truth: &Truth| f64::from(truth.slots) * truth.speed;
        let there = self.fleet.hosts.iter().zip(&self.truth).filter(|(host, _)| host.listed);
        let all: f64 = there.map(|(_, truth)| power(truth)).sum();
        let fair =
            |server: ServerId| power(&self.truth[server as usize]) / all.max(f64::MIN_POSITIVE);
        self.newcomers.picked(self.now, server, fair);
    }
}

/// A server that joined, and how many picks it got.
struct Newcomer {
    server: ServerId,
    at: u64,
    /// Its picks, and what would have been fair, by bucket.
    buckets: [(u32, f64); BUCKETS],
}

/// Servers that joined while it was measured; the first few of them.
#[derive(Default)]
pub(super) struct Newcomers {
    all: Vec<Newcomer>,
}

impl Newcomers {
    const MOST: usize = 64;

    pub(super) fn joins(&mut self, at: u64, server: ServerId, measured: bool) {
        if measured && self.all.len() < Self::MOST {
            self.all.push(Newcomer { server, at, buckets: [(0, 0.0); BUCKETS] });
        }
    }

    /// Those that are new still.
    fn watched(&self, now: u64) -> bool {
        self.all.last().is_some_and(|last| now - last.at < BUCKET * BUCKETS as u64)
    }

    /// A pick was made.
    #[allow(clippy::cast_possible_truncation)]
    fn picked(&mut self, now: u64, server: ServerId, fair: impl Fn(ServerId) -> f64) {
        for newcomer in &mut self.all {
            let bucket = ((now - newcomer.at) / BUCKET) as usize;
            if let Some((picks, share)) = newcomer.buckets.get_mut(bucket) {
                *picks += u32::from(newcomer.server == server);
                *share += fair(newcomer.server);
            }
        }
    }

    #[allow(clippy::cast_precision_loss)]
    pub(super) fn summary(&self) -> Vec<Joined> {
        let sum = |newcomer: &Newcomer| {
            let ratio = |(picks, fair): &(u32, f64)| {
                // Too few to tell.
                if *fair < 5.0 { None } else { Some(f64::from(*picks) / fair) }
            };
            let ratios: Vec<Option<f64>> = newcomer.buckets.iter().map(ratio).collect();
            let fair_at = ratios.iter().position(|ratio| ratio.is_some_and(|ratio| ratio >= 0.9));
            Joined {
                server: newcomer.server,
                at_s: round(newcomer.at as f64 / 1e9),
                to_fair_share_s: fair_at.map(|bucket| (bucket + 1) as f64 * BUCKET as f64 / 1e9),
                most_of_fair_share: round(ratios.into_iter().flatten().fold(0.0, f64::max)),
            }
        };
        self.all.iter().map(sum).collect()
    }
}
