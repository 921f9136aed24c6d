//! One VM's balancer: where a request goes, what it counts on, and what its end teaches.

mod asked;
mod beside;
mod call;
mod cluster;
mod coordinating;
mod ending;
mod entry;
mod header;
mod informed;
mod question;
mod reports;
mod ripening;
mod serving;
mod sights;
mod thought;
mod upkeep;

use crate::Map;
use crate::ages::Term;
use crate::budget::Budget;
use crate::config::Mechanism;
use crate::estimate::Tuning;
use crate::lease::Lease;
use crate::ledger::Ledger;
use crate::membership::roster;
use crate::pace::Pace;
use crate::pick::{self, Picks, Seat};
use crate::presence::{Presence, Undertaker};
use crate::proxy::Proxy;
use crate::records::{Roster, Source, Standing};
use crate::work::Work;

pub use asked::MOST_ASKED;
pub use beside::{Departure, TwinId, Visit};
pub use call::{Ask, Call, ClusterId, Ending, Fate, Verdict};
pub use coordinating::AdminRequest;

use beside::Beside;
use call::Word;
use cluster::Cluster;
use coordinating::Coordinating;
use informed::Choice;
use serving::Serving;
use upkeep::Upkeep;

/// Where silence was proven to mean that picks are honoured, one in so many is looked at still.
const VERIFY_ONE_IN: u32 = 16;

/// How a cluster's membership is known at this moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Knowledge {
    /// By configuration or the admin interface.
    Told,
    /// Not yet, but the admin interface is about to tell.
    Awaited,
    /// As far as responses teach it.
    Learned,
}

/// All that one VM knows and shares.
pub struct Balancer {
    rng: fastrand::Rng,
    now_ms: u64,
    now_us: u64,
    /// The estimator's parameters.
    pub tuning: Tuning,
    budget: Budget,
    busy: bool,
    ledger: Ledger,
    presence: Presence,
    pace: Pace,
    lease: Lease,
    undertaker: Undertaker,
    upkeep: Upkeep,
    coordinating: Coordinating,
    clusters: Vec<Cluster>,
    ids: Map<String, u32>,
    /// The servers that this proxy stands beside.
    twins: Vec<Beside>,
    serving: Serving,
    /// The published list of clusters, once it is full.
    all_enlisted: Map<String, u32>,
    /// Room for the sample of a pick, what its endpoints have at least, and a list of endpoints, kept so
    /// that no request allocates.
    sample: Vec<Seat>,
    floors: Vec<u64>,
    drawn: Vec<usize>,
    /// Whom to ask, by rank.
    pool: Vec<(u64, u32)>,
    value: String,
}

impl Balancer {
    /// `seed` feeds every random choice, and names this VM among the others: it must differ
    /// between VMs. `now_ms`: a monotonic clock of any origin.
    pub fn new(seed: u64, now_ms: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let me = rng.u64(1..);
        Self {
            rng,
            now_ms,
            now_us: now_ms.saturating_mul(1_000),
            tuning: Tuning::default(),
            budget: Budget::default(),
            busy: false,
            ledger: Ledger::default(),
            presence: Presence::new(me),
            pace: Pace::default(),
            lease: Lease::new(me),
            undertaker: Undertaker::default(),
            upkeep: Upkeep::new(now_ms),
            coordinating: Coordinating::default(),
            clusters: Vec::new(),
            ids: Map::default(),
            twins: Vec::new(),
            serving: Serving::default(),
            all_enlisted: Map::default(),
            sample: Vec::new(),
            floors: Vec::new(),
            drawn: Vec::new(),
            pool: Vec::new(),
            value: String::new(),
        }
    }

    /// The time, in microseconds, by the clock of [`Balancer::new`]: before each of the calls below.
    pub fn set_time(&mut self, now_us: u64) {
        self.now_us = now_us;
        self.now_ms = now_us / 1_000;
    }

    /// A request arrives: decides, and counts. Where the verdict is [`Verdict::Asking`], the
    /// endpoints of [`Balancer::questions`] are to be asked, and [`Balancer::settle`] called.
    pub fn start(&mut self, proxy: &dyn Proxy, id: ClusterId, ask: Ask<'_>) -> Call {
        self.stir(proxy);
        let knowledge = self.knowledge(id, ask);
        let left = self.reason_not_to_pick(id, ask, knowledge);
        let choice = match left {
            Some(_) => Choice::Pick(Picks::default()),
            None if self.is_informed(id, ask) => self.informed(proxy, id, ask),
            None => Choice::Pick(self.pick(proxy, id, ask, false)),
        };
        let teaches = knowledge == Knowledge::Learned && left.is_some();
        let proven = ask.config.steering.mechanism == Mechanism::StatefulSession
            && left.is_none()
            && self.clusters.get(id.index()).is_some_and(Cluster::is_proven)
            && self.rng.u32(..VERIFY_ONE_IN) != 0;
        let verdict = left.unwrap_or(Verdict::Asking);
        let mut call = Call {
            cluster: id,
            cost: ask.cost,
            verdict,
            counted: None,
            began: Term::default(),
            picks: Picks::default(),
            asked: asked::Asked::default(),
            stamped: ask.settings.estimate.reports && verdict.is_watched(),
            teaches,
            served: false,
            sent_us: self.now_us,
            expected_us: 0.0,
            word: if proven { Word::Silence } else { Word::None },
        };
        match choice {
            _ if left.is_some() => {}
            Choice::Ask(asked) => call.asked = asked,
            Choice::Pick(picks) => self.take(proxy, &mut call, ask, picks),
        }
        call
    }

    /// The endpoints of an override, best first: the pick and its spares. Empty unless the verdict
    /// is [`Verdict::Steer`].
    pub fn override_hosts(&self, call: &Call) -> impl Iterator<Item = &str> {
        let cluster = self.clusters.get(call.cluster.index());
        let steered = call.verdict == Verdict::Steer;
        call.picks.iter().filter(move |_| steered).filter_map(move |slot| {
            cluster.and_then(|c| c.endpoint(slot)).map(|endpoint| endpoint.name.as_str())
        })
    }

    /// Envoy chose `endpoint` (response headers arrived from it, after `attempts` attempts). The
    /// count follows. `None` where the request was left to Envoy.
    pub fn served(
        &mut self,
        proxy: &dyn Proxy,
        call: &mut Call,
        endpoint: &str,
        attempts: impl FnOnce() -> u64,
    ) -> Option<Fate> {
        if core::mem::replace(&mut call.served, true) {
            return None;
        }
        let cluster = self.clusters.get(call.cluster.index())?;
        // The pick may have left the cluster meanwhile, and serve the call to its end.
        let is_pick = |slot: &u32| cluster.endpoint(*slot).is_some_and(|e| e.name == endpoint);
        let pick = call.picks.first().filter(is_pick);
        let mut slot = pick.or_else(|| cluster.slot_of(endpoint));
        if call.teaches {
            slot = self.learn(proxy, call, endpoint, slot);
        }
        let fate = self.fate(proxy, call, slot, attempts);
        if slot != call.counted && call.wants_address() {
            self.count(proxy, call, slot);
        }
        if let Some(endpoint) = slot.and_then(|slot| self.endpoint(call.cluster, slot)) {
            endpoint.experience.returned();
        }
        fate
    }

    /// Outstanding work over all workers at an endpoint.
    pub fn outstanding(&mut self, proxy: &dyn Proxy, id: ClusterId, endpoint: &str) -> Work {
        let Some(cluster) = self.clusters.get(id.index()) else { return Work::ZERO };
        let Some(slot) = cluster.slot_of(endpoint) else { return Work::ZERO };
        self.ledger.outstanding(proxy, cluster.book, slot)
    }

    /// Whether this VM coordinates.
    pub fn coordinates(&self) -> bool {
        self.lease.is_held()
    }

    fn knowledge(&self, id: ClusterId, ask: Ask<'_>) -> Knowledge {
        let source = self.clusters.get(id.index()).map_or(Source::Unknown, |c| c.source);
        let told = match source {
            Source::Static => ask.settings.given.is_some(),
            Source::Admin => self.upkeep.is_fresh(self.now_ms),
            Source::Learned | Source::Unknown => false,
        };
        let awaited =
            source == Source::Unknown && self.upkeep.expects_admin(ask.config, self.now_ms);
        match (told, awaited) {
            (true, _) => Knowledge::Told,
            (false, true) => Knowledge::Awaited,
            (false, false) => Knowledge::Learned,
        }
    }

    fn reason_not_to_pick(
        &mut self,
        id: ClusterId,
        ask: Ask<'_>,
        knowledge: Knowledge,
    ) -> Option<Verdict> {
        let Some(cluster) = self.clusters.get(id.index()) else { return Some(Verdict::Unknown) };
        if !ask.settings.enabled {
            return Some(Verdict::Disabled);
        }
        if ask.cost.is_zero() {
            return Some(Verdict::Excluded);
        }
        if cluster.unbalanced {
            return Some(Verdict::Unbalanced);
        }
        let told = knowledge == Knowledge::Told;
        if knowledge == Knowledge::Awaited {
            return Some(Verdict::Unknown);
        }
        if !told && !cluster.learned.is_settled() {
            return Some(match cluster.source {
                Source::Admin | Source::Static => Verdict::Stale,
                Source::Learned => Verdict::Learn,
                Source::Unknown => Verdict::Unknown,
            });
        }
        if told && cluster.panic {
            return Some(Verdict::Panic);
        }
        if percent(&mut self.rng, 100.0 - ask.config.rollout.percent) {
            return Some(Verdict::Percent);
        }
        if !told && percent(&mut self.rng, ask.config.discovery.learn_percent) {
            return Some(Verdict::Learn);
        }
        if cluster.eligible.is_empty() {
            return Some(Verdict::Unknown);
        }
        if cluster.is_deaf(&mut self.rng) {
            return Some(Verdict::Deaf);
        }
        None
    }

    /// By own counts; `silent`: among servers that do not report.
    fn pick(&mut self, proxy: &dyn Proxy, id: ClusterId, ask: Ask<'_>, silent: bool) -> Picks {
        let Some(cluster) = self.clusters.get(id.index()) else { return Picks::default() };
        let spares = ask.spares();
        let Some(mut counts) = self.ledger.counts(cluster.book) else { return Picks::default() };
        let (cost, now_ms) = (ask.cost.milli(), self.now_ms);
        let avoids = ask.settings.estimate.failures;
        let idle = cluster.idle.iter().filter_map(|slot| {
            cluster.endpoint(*slot).map(|e| Seat { slot: *slot, weight: e.weight })
        });
        let (picker, room) = (ask.settings.picker, &mut self.sample);
        let seats = pick::candidates(&cluster.eligible, idle, picker, &mut self.rng, room);
        let salt = self.rng.u32(..);
        let differ = ask.settings.estimate.speed && cluster.lately.differ();
        let weigh = |slot, milli| match cluster.endpoint(slot).filter(|_| differ) {
            Some(endpoint) => {
                cluster.lately.weigh(&endpoint.delays, milli, pick::spread(salt, slot))
            }
            None => milli,
        };
        let floors = &mut self.floors;
        floors.clear();
        floors.extend(seats.iter().map(|seat| {
            let milli = weigh(seat.slot, counts.own(seat.slot).milli() + cost);
            pick::for_weight(milli, seat.weight)
        }));
        let work = |slot| {
            let allowed = cluster.endpoint(slot).is_some_and(|e| {
                (!avoids || e.aside.allows(now_ms)) && (!silent || e.experience.is_silent())
            });
            allowed.then(|| weigh(slot, counts.outstanding(proxy, slot).milli() + cost))
        };
        pick::best(seats, floors, 1 + spares, salt, work)
    }

    /// Envoy's own choice teaches membership where nobody tells it.
    fn learn(
        &mut self,
        proxy: &dyn Proxy,
        call: &Call,
        endpoint: &str,
        slot: Option<u32>,
    ) -> Option<u32> {
        let cluster = self.clusters.get_mut(call.cluster.index())?;
        let known = slot.and_then(|s| cluster.endpoint(s)).map(|e| e.standing);
        let newcomer = known != Some(Standing::Eligible);
        let slot = if newcomer {
            let add = |roster: &mut Roster| roster::learn(roster, Some(endpoint), &[]);
            cluster.load(roster::publish(proxy, &cluster.name, cluster.index, add)?, self.now_us);
            cluster.slot_of(endpoint)
        } else {
            slot
        };
        cluster.learned.drawn(slot?);
        if newcomer {
            cluster.learned.newcomer();
        }
        slot
    }

    /// Moves the count of a call to `slot`, or ends it.
    fn count(&mut self, proxy: &dyn Proxy, call: &mut Call, slot: Option<u32>) {
        let now_us = self.now_us;
        let Some(cluster) = self.clusters.get_mut(call.cluster.index()) else { return };
        let book = cluster.book;
        if let Some(from) = call.counted.take() {
            self.ledger.finish(proxy, book, from, call.cost, call.began);
            if let Some(endpoint) = cluster.endpoint_mut(from)
                && self.ledger.own(book, from).is_zero()
            {
                endpoint.experience.returned();
            }
        }
        if let Some(to) = slot {
            if let Some(endpoint) = cluster.endpoint_mut(to) {
                endpoint.experience.sent(now_us);
            }
            call.began = self.ledger.begin(proxy, book, to, call.cost);
            call.counted = Some(to);
        }
    }
}

/// True in `percent` of 100 cases.
fn percent(rng: &mut fastrand::Rng, percent: f64) -> bool {
    percent > 0.0 && rng.f64() * 100.0 < percent
}

#[cfg(test)]
mod tests;
