//! The choice by what servers report, and whether to ask them first.

use super::asked::{Asked, MOST_ASKED};
use super::cluster::{Cluster, Endpoint, seat_of};
use super::sights::{Sights, requests};
use super::{Ask, Balancer, Call, ClusterId, Verdict};
use crate::config::{DEADLINE_MS, ProbeMode};
use crate::ledger::Counts;
use crate::load::Load;
use crate::pick::{self, Picks, Seat};
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
        let (book, usual) = (cluster.book, *cluster.reports.usual());
        if let Some(endpoint) = cluster.endpoint_mut(slot) {
            // Of a slot that nobody has a gauge would stay for ever.
            let mut own = self.ledger.outstanding(proxy, book, slot);
            own -= carried;
            if load.service_us.is_some() && !endpoint.view.tells_service(now_us) {
                endpoint.experience.promised(&usual);
            }
            let timed = load.service_us.is_some() && !endpoint.is_newcomer(now_us);
            endpoint.hear(load, requests(own), now_us);
            endpoint.experience.reported();
            if !carried.is_zero() {
                endpoint.experience.returned();
            }
            cluster.reports.counted(load.in_flight, requests(own));
            let first = cluster.reports.heard(slot, load.all);
            if first || timed && usual.timed == 0.0 {
                // What is usual must not wait for the next tick: who does not tell its time of service
                // yet would look as if it took none.
                cluster.survey(now_us);
            }
        }
    }

    /// The server in `slot` answered a question without a report: it has no twin.
    pub fn unheard(&mut self, id: ClusterId, slot: u32) {
        let Some(cluster) = self.clusters.get_mut(id.index()) else { return };
        if let Some(endpoint) = cluster.endpoint_mut(slot) {
            endpoint.experience.silence();
            cluster.reports.silenced();
        }
    }

    /// The question of a call to `slot` is over; `reported`: by an answer with a report, which was
    /// told to [`Balancer::heard`]. True where no other is awaited, for it was the last, or says that
    /// hardly any other can be better: then [`Balancer::settle`].
    pub fn answered(
        &mut self,
        proxy: &dyn Proxy,
        call: &mut Call,
        ask: Ask<'_>,
        slot: u32,
        reported: bool,
    ) -> bool {
        if call.verdict != Verdict::Asking {
            // Late: what it said is known, but nobody waits for it again.
            return false;
        }
        if let Some(endpoint) = self.endpoint(call.cluster, slot) {
            if reported {
                endpoint.view.answered();
            } else {
                endpoint.view.missed();
            }
        }
        let last = call.asked.answered(slot);
        let enough = !last && reported && self.is_good_enough(proxy, call.cluster, ask, slot);
        if enough {
            call.asked.suffice();
        }
        last || enough
    }

    /// Whether a request may go to `slot` without looking further.
    fn is_good_enough(
        &mut self,
        proxy: &dyn Proxy,
        id: ClusterId,
        ask: Ask<'_>,
        slot: u32,
    ) -> bool {
        let Some(cluster) = self.clusters.get_mut(id.index()) else { return false };
        let Some(mut counts) = self.ledger.counts(cluster.book) else { return false };
        let Some(endpoint) = cluster.endpoints.get_mut(slot as usize) else { return false };
        let (usual, tuning) = (cluster.reports.usual(), &self.tuning);
        let sights = Sights { usual, now_us: self.now_us, tuning, ask, salt: 0 };
        let (seen, waits) = (sights.see(slot, endpoint), !counts.own(slot).is_zero());
        seen.is_fresh() && seen.is_good_enough(counts.outstanding(proxy, slot), waits)
    }

    /// The question of a call to `slot` could not be sent: no answer to it is awaited.
    pub fn unsent(&mut self, call: &mut Call, slot: u32) {
        if call.verdict == Verdict::Asking {
            call.asked.unsent(slot);
            if let Some(endpoint) = self.endpoint(call.cluster, slot) {
                endpoint.view.missed();
            }
        }
    }

    pub(super) fn endpoint(&mut self, id: ClusterId, slot: u32) -> Option<&mut Endpoint> {
        self.clusters.get_mut(id.index())?.endpoint_mut(slot)
    }

    /// The longest that a call may wait for answers, in microseconds: what the configuration says; where
    /// it says nothing, no more than a part of the usual time of service.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    pub fn longest_wait_us(&self, id: ClusterId, ask: Ask<'_>) -> u64 {
        /// Waiting for longer costs more than knowing can bring.
        const PART: f32 = 0.25;
        if let Some(told_ms) = ask.config.probe.deadline_ms {
            return told_ms * 1_000;
        }
        let most_us = DEADLINE_MS * 1_000;
        let usual_us = self.clusters.get(id.index()).map_or(0.0, |c| c.reports.usual().service_us);
        if usual_us == 0.0 {
            return most_us;
        }
        most_us.min(((usual_us * PART) as u64).max(1_000))
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
        if let Some(in_time) = call.asked.most_answered() {
            self.budget.waited(in_time);
        }
        for slot in call.asked.unanswered().filter(|_| !call.asked.anybody) {
            if let Some(endpoint) = self.endpoint(call.cluster, slot) {
                endpoint.view.missed();
            }
        }
        if let Choice::Pick(picks) = self.choose(proxy, call.cluster, ask, true) {
            let picks = self.or_any(proxy, call.cluster, ask, picks);
            self.take(proxy, call, ask, picks);
        }
    }

    /// Whether reports decide, rather than own counts alone.
    pub(super) fn is_informed(&self, id: ClusterId, ask: Ask<'_>) -> bool {
        ask.settings.estimate.reports
            && (ask.settings.probe_mode == ProbeMode::Always
                || self.clusters.get(id.index()).is_some_and(|c| c.reports.is_any()))
    }

    /// Chooses, or says whom to ask first. `asked`: those who were have answered, or too late.
    pub(super) fn choose(
        &mut self,
        proxy: &dyn Proxy,
        id: ClusterId,
        ask: Ask<'_>,
        asked: bool,
    ) -> Choice {
        /// One request in so many does not take what is good enough while others were not heard of.
        const EXPLORE: u32 = 64;
        let may_ask = !asked && ask.may_ask();
        let nobody = Choice::Pick(Picks::default());
        let Some(cluster) = self.clusters.get_mut(id.index()) else { return nobody };
        let Some(mut counts) = self.ledger.counts(cluster.book) else { return nobody };
        let Cluster { endpoints, eligible: all, reports, floors: kept, .. } = cluster;
        let (tuning, usual, salt) = (&self.tuning, reports.usual(), self.rng.u32(..));
        let sights = Sights { usual, now_us: self.now_us, tuning, ask, salt };
        let (rng, room, drawn) = (&mut self.rng, &mut self.sample, &mut self.drawn);
        let (floors, wanted) = (&mut self.floors, 1 + ask.spares());
        let waits = |counts: &Counts<'_>, slot| !counts.own(slot).is_zero();
        room.clear();
        floors.clear();
        kept.find_by(ask.settings.estimate);
        let fresh = |seat: &Seat| {
            if let Some(floor) = sights.floor(*seat, kept, endpoints, || counts.own(seat.slot)) {
                room.push(*seat);
                floors.push(floor);
            }
        };
        if all.len() <= ask.settings.picker.scan_limit {
            all.iter().for_each(fresh);
        } else {
            reports.recent().iter().filter_map(|slot| seat_of(all, *slot)).for_each(fresh);
        }
        let rank = |counts: &mut Counts<'_>, endpoints: &[Endpoint], slot| {
            let (endpoint, waits) = (endpoints.get(slot as usize)?, waits(counts, slot));
            Some(sights.see_again(slot, endpoint).rank(counts.find(proxy, slot), waits))
        };
        let always = may_ask && ask.settings.probe_mode == ProbeMode::Always;
        if !room.is_empty() && !always {
            let work = |slot| rank(&mut counts, endpoints, slot);
            let picks = pick::best(room, floors, wanted, salt, work);
            let complete = room.len() == all.len();
            let good = |slot| {
                let (waits, own) = (waits(&counts, slot), counts.found(slot));
                let endpoint = endpoints.get(slot as usize);
                endpoint.is_some_and(|e| sights.see_again(slot, e).is_good_enough(own, waits))
            };
            // Who has one request at a time would go on with the first it heard of, and know nobody when
            // that one fails.
            let explores = reports.some_are_unheard() && rng.u32(..EXPLORE) == 0;
            if complete || !explores && picks.first().is_some_and(good) {
                return Choice::Pick(picks);
            }
        }
        let fanout = ask.config.probe.fanout.min(MOST_ASKED);
        let rate = f64::from(ask.config.probe.budget) / f64::from(self.presence.places().max(1));
        let may_ask = always || may_ask && self.budget.allows(rng.f64());
        if may_ask && self.budget.has(fanout, rate, self.now_us) {
            // The best-looking of some drawn at random.
            let pool = &mut self.pool;
            pool.clear();
            draw(all, tuning.ask_pool.max(fanout), rng, drawn, |seat, rng| {
                let random = rng.f32();
                let Some(endpoint) = endpoints.get_mut(seat.slot as usize) else { return };
                let seen = sights.see(seat.slot, endpoint);
                if seen.wants_to_be_asked(random) {
                    let (own, waits) = (counts.own(seat.slot), waits(&counts, seat.slot));
                    pool.push((seen.rank(own, waits), seat.slot));
                }
            });
            pool.sort_unstable();
            let mut asked = Asked::default();
            pool.iter().take(fanout).for_each(|(_, slot)| asked.push(*slot));
            if !asked.is_empty() {
                self.budget.spend(pool.len().min(fanout));
                return Choice::Ask(asked);
            }
        }
        // The best of what is fresh and of some drawn at random, for what looks best of all that is
        // stale would look best to every proxy.
        draw(all, tuning.stale_samples, rng, drawn, |seat, _| {
            let Some(endpoint) = endpoints.get_mut(seat.slot as usize) else { return };
            let seen = sights.see(seat.slot, endpoint);
            if seen.is_allowed() && !room.contains(seat) {
                room.push(*seat);
                let floor = seen.rank(counts.own(seat.slot), false);
                floors.push(pick::for_weight(floor, seat.weight));
            }
        });
        let work = |slot| rank(&mut counts, endpoints, slot);
        Choice::Pick(pick::best(room, floors, wanted, salt, work))
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
            call.expected_us = self.expected_us(call.cluster, slot);
            self.count(proxy, call, Some(slot));
            if let Some(endpoint) =
                self.clusters.get_mut(call.cluster.index()).and_then(|c| c.endpoint_mut(slot))
            {
                endpoint.aside.picked();
                if call.verdict == Verdict::Steer {
                    let silent = endpoint.experience.is_silent();
                    call.stamped &= endpoint.view.wants_stamp(self.now_us, silent, &self.tuning);
                }
            }
        }
    }

    /// How long a request should take in `slot`, of which a pick has just read the count, in microseconds;
    /// 0 where nothing tells.
    fn expected_us(&mut self, id: ClusterId, slot: u32) -> f32 {
        let Some(cluster) = self.clusters.get_mut(id.index()) else { return 0.0 };
        let Some(endpoint) = cluster.endpoints.get_mut(slot as usize) else { return 0.0 };
        if !endpoint.view.is_known(self.now_us) {
            return 0.0;
        }
        let own = self.ledger.found(cluster.book, slot);
        let outlook = endpoint.think(self.now_us, cluster.reports.usual(), &self.tuning);
        outlook.expected_us(requests(own))
    }

    /// By what servers report; among those that do not, by own counts.
    pub(super) fn informed(&mut self, proxy: &dyn Proxy, id: ClusterId, ask: Ask<'_>) -> Choice {
        if self.prefers_silent(id, ask) {
            let picks = self.pick(proxy, id, ask, true);
            if picks.first().is_some() {
                return Choice::Pick(picks);
            }
        }
        match self.choose(proxy, id, ask, false) {
            Choice::Pick(picks) => Choice::Pick(self.or_any(proxy, id, ask, picks)),
            choice @ Choice::Ask(_) => choice,
        }
    }

    /// Where reports leave nobody to choose, own counts do.
    fn or_any(&mut self, proxy: &dyn Proxy, id: ClusterId, ask: Ask<'_>, picks: Picks) -> Picks {
        if picks.first().is_none() { self.pick(proxy, id, ask, false) } else { picks }
    }

    /// Where only some report, own counts decide between the two kinds: reports would favour one.
    /// They do so by the mean, for the least of all is always at one that nobody should use.
    #[expect(clippy::cast_precision_loss, reason = "a chance")]
    fn prefers_silent(&mut self, id: ClusterId, ask: Ask<'_>) -> bool {
        let Some(cluster) = self.clusters.get(id.index()) else { return false };
        if !cluster.reports.some_are_silent() {
            return false;
        }
        let Self { ledger, rng, drawn, .. } = self;
        let (usual, tuning) = (cluster.reports.usual(), &self.tuning);
        let sights = Sights { usual, now_us: self.now_us, tuning, ask, salt: 0 };
        let all = &cluster.eligible;
        let (mut silent, mut others) = ([0_u64; 2], [0_u64; 2]);
        let mut add = |seat: &Seat| {
            let Some(endpoint) = cluster.endpoint(seat.slot) else { return };
            let is_silent = endpoint.experience.is_silent();
            if is_silent && sights.is_there(endpoint) || sights.allows(endpoint) {
                let [work, weight] = if is_silent { &mut silent } else { &mut others };
                *work = work.saturating_add(ledger.own(cluster.book, seat.slot).milli());
                *weight += u64::from(seat.weight);
            }
        };
        let picker = ask.settings.picker;
        if all.len() <= picker.scan_limit {
            all.iter().for_each(add);
        } else {
            draw(all, picker.samples, rng, drawn, |seat, _| add(seat));
        }
        let ([silent, silents], [others, reporters]) = (silent, others);
        if silents == 0 || reporters == 0 {
            return reporters == 0;
        }
        // In proportion to weight, less where work stands: a proxy with one request under way has it at
        // one kind, and the next must not go to the other however small that is.
        let chance = |weight: u64, work: u64| weight as f64 / (1_000 + work / weight) as f64;
        let (silent, others) = (chance(silents, silent), chance(reporters, others));
        rng.f64() * (silent + others) < silent
    }

    /// Brings up to date what is usual, after so many ticks at the usual pace.
    pub(super) fn survey(&mut self, ticks: u64) {
        self.clusters.iter_mut().for_each(|cluster| cluster.compare_delays(ticks));
        for cluster in self.clusters.iter_mut().filter(|cluster| cluster.reports.is_any()) {
            (0..ticks).for_each(|_| cluster.fade());
            cluster.survey(self.now_us);
        }
    }
}

/// A uniform sample without repetition, by Floyd's algorithm.
fn draw(
    all: &[Seat],
    count: usize,
    rng: &mut fastrand::Rng,
    drawn: &mut Vec<usize>,
    mut take: impl FnMut(&Seat, &mut fastrand::Rng),
) {
    drawn.clear();
    for last in all.len().saturating_sub(count)..all.len() {
        let at = rng.usize(..=last);
        let at = if drawn.contains(&at) { last } else { at };
        drawn.push(at);
        if let Some(seat) = all.get(at) {
            take(seat, rng);
        }
    }
}
