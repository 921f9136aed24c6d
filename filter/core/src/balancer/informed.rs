//! The choice by what servers report, and whether to ask them first.

use super::asked::{Asked, MOST_ASKED};
use super::cluster::{Cluster, Endpoint};
use super::{Ask, Balancer, Call, ClusterId, Verdict};
use crate::config::ProbeMode;
use crate::estimate::{Sight, Tuning, Usual};
use crate::ledger::Counts;
use crate::load::Load;
use crate::pick::{self, Picks, Seat, spread};
use crate::proxy::Proxy;
use crate::work::Work;

/// What to do with a request.
pub(super) enum Choice {
    Pick(Picks),
    Ask(Asked),
}

impl Balancer {
    /// The slot of an endpoint that is a member now.
    pub fn slot_of(&self, id: ClusterId, endpoint: &str) -> Option<u32> {
        self.clusters.get(id.index())?.slot_of(endpoint)
    }

    /// The server in `slot` says what its load is. `carried`: what of this proxy's own count there is
    /// not in it, namely the request on whose response the report came.
    pub fn heard(
        &mut self,
        proxy: &dyn Proxy,
        id: ClusterId,
        slot: u32,
        load: &Load,
        carried: Work,
    ) {
        let now_us = self.now_us;
        let Some(cluster) = self.clusters.get_mut(id.index()) else { return };
        let mut own = self.ledger.outstanding(proxy, cluster.book, slot);
        own -= carried;
        if let Some(endpoint) = cluster.endpoint_mut(slot) {
            endpoint.view.hear(load, requests(own), now_us);
            endpoint.experience.reported();
            cluster.reports.heard(slot);
        }
    }

    /// The server in `slot` answered a question without a report: it has no twin.
    pub fn unheard(&mut self, id: ClusterId, slot: u32) {
        if let Some(endpoint) = self.endpoint(id, slot) {
            endpoint.experience.silence();
        }
    }

    /// The question of a call to `slot` is over; `reported`: by an answer with a report, which was
    /// told to [`Balancer::heard`]. True where it was the last awaited: then [`Balancer::settle`].
    pub fn answered(&mut self, call: &mut Call, slot: u32, reported: bool) -> bool {
        if let Some(endpoint) = self.endpoint(call.cluster, slot) {
            if reported {
                endpoint.view.answered();
            } else {
                endpoint.view.missed();
            }
        }
        call.asked.answered(slot)
    }

    fn endpoint(&mut self, id: ClusterId, slot: u32) -> Option<&mut Endpoint> {
        self.clusters.get_mut(id.index())?.endpoint_mut(slot)
    }

    /// The endpoints that a call asks whose verdict is [`Verdict::Asking`], with their slots.
    pub fn questions(&self, call: &Call) -> impl Iterator<Item = (u32, &str)> {
        let cluster = self.clusters.get(call.cluster.index());
        call.asked.slots().filter_map(move |slot| {
            cluster.and_then(|c| c.endpoint(slot)).map(|endpoint| (slot, endpoint.name.as_str()))
        })
    }

    /// All answers are there, or no more are awaited: the call goes on its way.
    pub fn settle(&mut self, proxy: &dyn Proxy, call: &mut Call, ask: Ask<'_>) {
        if call.verdict != Verdict::Asking {
            return;
        }
        for slot in call.asked.unanswered() {
            if let Some(endpoint) = self.endpoint(call.cluster, slot) {
                endpoint.view.missed();
            }
        }
        if let Choice::Pick(picks) = self.choose(proxy, call.cluster, ask, false) {
            self.take(proxy, call, ask, picks);
        }
    }

    /// Whether reports decide, rather than own counts alone.
    pub(super) fn is_informed(&self, id: ClusterId, ask: Ask<'_>) -> bool {
        ask.settings.estimate.reports
            && (ask.settings.probe_mode == ProbeMode::Always
                || self.clusters.get(id.index()).is_some_and(|c| c.reports.is_any()))
    }

    /// Chooses, or says whom to ask first, if it `may_ask`.
    pub(super) fn choose(
        &mut self,
        proxy: &dyn Proxy,
        id: ClusterId,
        ask: Ask<'_>,
        may_ask: bool,
    ) -> Choice {
        let nobody = Choice::Pick(Picks::default());
        let Some(cluster) = self.clusters.get(id.index()) else { return nobody };
        let Some(mut counts) = self.ledger.counts(cluster.book) else { return nobody };
        let tuning = &self.tuning;
        let sights = Sights { cluster, now_us: self.now_us, tuning, ask, salt: self.rng.u32(..) };
        let (rng, room) = (&mut self.rng, &mut self.sample);
        let (all, wanted) = (&cluster.eligible, 1 + ask.spares());
        let floor = |counts: &Counts<'_>, slot| sights.rank(counts.own(slot), slot);
        let work = |counts: &mut Counts<'_>, slot| {
            Some(sights.rank(counts.outstanding(proxy, slot), slot))
        };
        room.clear();
        let is_fresh = |seat: &&Seat| sights.is_fresh(seat.slot) && sights.allows(seat.slot);
        if all.len() <= ask.settings.picker.scan_limit {
            room.extend(all.iter().filter(is_fresh));
        } else {
            let recent = cluster.reports.recent().iter();
            room.extend(recent.filter_map(|slot| cluster.seat(*slot)).filter(is_fresh));
        }
        let always = may_ask && ask.settings.probe_mode == ProbeMode::Always;
        if !room.is_empty() && !always {
            let picks = pick::best(room, wanted, sights.salt, &mut counts, floor, work);
            let complete = room.len() == all.len();
            let good = |slot| sights.is_good_enough(counts.outstanding(proxy, slot), slot);
            if !may_ask || complete || picks.first().is_some_and(good) {
                return Choice::Pick(picks);
            }
        }
        let fanout = ask.config.probe.fanout.min(MOST_ASKED);
        let rate = f64::from(ask.config.probe.budget) / f64::from(self.presence.places().max(1));
        if may_ask && self.budget.take(fanout, rate, self.now_us) {
            // The best-looking of some drawn at random.
            let mut pool = Vec::with_capacity(tuning.ask_pool);
            draw(all, tuning.ask_pool.max(fanout), rng, |seat, rng| {
                if sights.wants_to_be_asked(seat.slot, rng.f32()) {
                    pool.push((sights.rank(counts.own(seat.slot), seat.slot), seat.slot));
                }
            });
            pool.sort_unstable();
            let mut asked = Asked::default();
            pool.iter().take(fanout).for_each(|(_, slot)| asked.push(*slot));
            if !asked.is_empty() {
                return Choice::Ask(asked);
            }
        }
        // Nobody can be asked: the best of what is fresh and of some drawn at random, for what looks
        // best of all that is stale would look best to every proxy.
        draw(all, tuning.stale_samples, rng, |seat, _| {
            if sights.allows(seat.slot) && !room.contains(seat) {
                room.push(*seat);
            }
        });
        Choice::Pick(pick::best(room, wanted, sights.salt, &mut counts, floor, work))
    }

    /// Steers a call to `picks`, and counts it there.
    pub(super) fn take(&mut self, proxy: &dyn Proxy, call: &mut Call, ask: Ask<'_>, picks: Picks) {
        call.verdict = match (picks.first(), ask.config.rollout.shadow) {
            (None, _) => Verdict::Aside,
            (Some(_), true) => Verdict::Shadow,
            (Some(_), false) => Verdict::Steer,
        };
        call.picks = picks;
        call.sent_us = self.now_us;
        if let Some(slot) = picks.first() {
            call.expected_us = self.expected_us(proxy, call.cluster, slot);
            self.count(proxy, call, Some(slot));
            if let Some(endpoint) =
                self.clusters.get_mut(call.cluster.index()).and_then(|c| c.endpoint_mut(slot))
            {
                endpoint.aside.picked();
            }
        }
    }

    /// How long a request should take in `slot`, in microseconds; 0 where nothing tells.
    fn expected_us(&mut self, proxy: &dyn Proxy, id: ClusterId, slot: u32) -> f32 {
        let Some(cluster) = self.clusters.get(id.index()) else { return 0.0 };
        let Some(endpoint) = cluster.endpoint(slot) else { return 0.0 };
        if !endpoint.view.is_known(self.now_us) {
            return 0.0;
        }
        let own = self.ledger.outstanding(proxy, cluster.book, slot);
        let sight = endpoint.sight(self.now_us, cluster.reports.usual(), &self.tuning);
        sight.expected_us(requests(own))
    }

    /// By what servers report; among those that do not, by own counts.
    pub(super) fn informed(&mut self, proxy: &dyn Proxy, id: ClusterId, ask: Ask<'_>) -> Choice {
        // Where only some report, own counts decide between the two kinds: reports would favour one.
        if self.clusters.get(id.index()).is_some_and(|c| c.reports.some_are_silent()) {
            let picks = self.pick(proxy, id, ask);
            let slot = picks.first();
            if slot
                .and_then(|slot| self.endpoint(id, slot))
                .is_none_or(|e| e.experience.is_silent())
            {
                return Choice::Pick(picks);
            }
        }
        match self.choose(proxy, id, ask, ask.may_ask()) {
            Choice::Pick(picks) if picks.first().is_none() => {
                Choice::Pick(self.pick(proxy, id, ask))
            }
            choice => choice,
        }
    }

    /// Brings up to date what is usual.
    pub(super) fn survey(&mut self) {
        let now = self.now_us;
        for cluster in self.clusters.iter_mut().filter(|cluster| cluster.reports.is_any()) {
            let (mut usual, mut count, mut silent) = (Usual::default(), 0.0, false);
            for seat in &cluster.eligible {
                let Some(endpoint) = cluster.endpoints.get_mut(seat.slot as usize) else {
                    continue;
                };
                endpoint.view.fade();
                endpoint.experience.fade();
                silent |= endpoint.experience.is_silent();
                if endpoint.view.is_known(now) {
                    count += 1.0;
                    endpoint.view.add_to(&mut usual, count);
                    endpoint.experience.add_to(&mut usual, count);
                }
            }
            cluster.reports.surveyed(usual, count > 0.0, silent);
        }
    }
}

/// The endpoints of a cluster as one request sees them.
struct Sights<'a> {
    cluster: &'a Cluster,
    now_us: u64,
    tuning: &'a Tuning,
    ask: Ask<'a>,
    /// A random number: what makes near-ties fall differently for each request.
    salt: u32,
}

impl Sights<'_> {
    fn see(&self, slot: u32) -> Option<Sight> {
        let endpoint = self.cluster.endpoint(slot)?;
        Some(endpoint.sight(self.now_us, self.cluster.reports.usual(), self.tuning))
    }

    fn is_fresh(&self, slot: u32) -> bool {
        self.see(slot).is_some_and(|sight| sight.doubt <= self.tuning.fresh)
    }

    /// Whether a pick may name it.
    fn allows(&self, slot: u32) -> bool {
        self.cluster.endpoint(slot).is_some_and(|endpoint| {
            let avoids = self.ask.settings.estimate.failures;
            (!avoids || endpoint.aside.allows(self.now_us / 1_000))
                && !endpoint.view.is_draining(self.now_us)
                && !endpoint.experience.is_silent()
        })
    }

    /// Whether asking it would tell something new, and it does not want to be asked less. `random`:
    /// a number from 0 to 1.
    fn wants_to_be_asked(&self, slot: u32, random: f32) -> bool {
        let wants = self.cluster.endpoint(slot).map_or(0.0, |endpoint| endpoint.view.share());
        random < wants && self.allows(slot) && !self.is_fresh(slot)
    }

    /// What a request costs in `slot`, in microseconds.
    fn cost_us(&self, own: Work, slot: u32) -> f32 {
        let Some(endpoint) = self.cluster.endpoint(slot) else { return f32::MAX };
        let (seen, usual) = (&endpoint.experience, self.cluster.reports.usual());
        let (sight, own) = (endpoint.sight(self.now_us, usual, self.tuning), requests(own));
        if !self.ask.settings.estimate.speed {
            return own + sight.others + 1.0;
        }
        let mut cost = sight.cost_us(own, self.tuning) * seen.mistrust(usual);
        if own > 0.0 {
            cost += seen.stalled_us(self.now_us, sight.expected_us(own));
        }
        if self.ask.settings.estimate.failures {
            cost += seen.fault_cost(usual) * usual.service_us;
        }
        cost
    }

    /// For comparison: less is better, near-ties fall at random.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    fn rank(&self, own: Work, slot: u32) -> u64 {
        let near = 1.0 + self.tuning.jitter * spread(self.salt, slot);
        (self.cost_us(own, slot) * near * 64.0) as u64
    }

    /// Whether hardly any other can be better: it serves at once, and about as fast as any.
    fn is_good_enough(&self, own: Work, slot: u32) -> bool {
        let best = self.cluster.reports.usual().fastest_us * self.tuning.service_weight;
        self.ask.settings.estimate.speed
            && self.cost_us(own, slot) <= self.tuning.good_enough * best
    }
}

/// A uniform sample without repetition, by Floyd's algorithm.
fn draw(
    all: &[Seat],
    count: usize,
    rng: &mut fastrand::Rng,
    mut take: impl FnMut(&Seat, &mut fastrand::Rng),
) {
    let mut drawn = Vec::with_capacity(count);
    for last in all.len().saturating_sub(count)..all.len() {
        let at = rng.usize(..=last);
        let at = if drawn.contains(&at) { last } else { at };
        drawn.push(at);
        if let Some(seat) = all.get(at) {
            take(seat, rng);
        }
    }
}

/// How many requests of mean cost that is.
#[expect(clippy::cast_precision_loss, reason = "few requests")]
fn requests(work: Work) -> f32 {
    work.milli() as f32 / 1_000.0
}
