//! One VM's view of one cluster: the published roster, and what the VM itself saw of it.

use super::reports::{Others, Reports};
use super::thought::{Floors, Thought};
use crate::Map;
use crate::aside::Aside;
use crate::delays::{self, Delays, Lately, Typical};
use crate::estimate::{Usual, View};
use crate::experience::Experience;
use crate::membership::learned::Learned;
use crate::pick::Seat;
use crate::records::{Roster, Source, Standing};

/// How far ignored overrides must outweigh honoured ones until Envoy is taken for unable to honour
/// any: the filter that reads the header is missing, or it stands before ours. An ignored one weighs
/// twice as much as an honoured one, for even where none is honoured, Envoy's own choice falls on
/// the pick now and then: on one of two hosts half the time.
const DEAF_AFTER: u32 = 32;
/// What an ignored override adds; an honoured one takes away 1.
const IGNORED: u32 = 2;
/// One request in so many still tries an override then.
const DEAF_TRIAL: u32 = 64;
/// Picks in a row that must be seen honoured, by the address that served, until the absence of
/// `stateful_session`'s response header is believed.
const PROVEN_AFTER: u32 = 32;

/// An endpoint in its slot.
pub(super) struct Endpoint {
    pub(super) name: String,
    /// The name in base64, once a pick needed it.
    pub(super) encoded: Option<Box<str>>,
    pub(super) weight: u32,
    pub(super) standing: Standing,
    pub(super) aside: Aside,
    /// Overrides to it that were refused in a row.
    pub(super) refused: u32,
    /// What it reports.
    pub(super) view: View,
    /// What this VM saw of it.
    pub(super) experience: Experience,
    /// How long requests of this VM took there.
    pub(super) delays: Delays,
    /// When this VM learned of it.
    pub(super) since_us: u64,
    /// What is thought of it.
    pub(super) thought: Thought,
}

/// So long a newcomer is taken for one as good as the others, in microseconds. What its first requests
/// took says little: it warms up, and whoever is avoided for it shows no better.
const NEWCOMER_US: u64 = 3_000_000;

impl Endpoint {
    pub(super) fn is_newcomer(&self, now_us: u64) -> bool {
        self.since_us > 0 && now_us.saturating_sub(self.since_us) < NEWCOMER_US
    }

    /// It had left the cluster, and is there again.
    fn came_back(&self, standing: Standing) -> bool {
        self.standing == Standing::Gone && standing != Standing::Gone
    }
}

/// A cluster as one VM sees it.
pub(super) struct Cluster {
    pub(super) name: String,
    /// Its index in the published list of clusters.
    pub(super) index: usize,
    /// Its index in the ledger.
    pub(super) book: usize,
    pub(super) version: u32,
    pub(super) source: Source,
    pub(super) panic: bool,
    pub(super) unbalanced: bool,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) eligible: Vec<Seat>,
    pub(super) floors: Floors,
    /// Slots whose last request of this VM ended a moment ago, the latest last.
    pub(super) idle: Vec<u32>,
    pub(super) learned: Learned,
    pub(super) reports: Reports,
    /// How long requests of this VM take.
    pub(super) lately: Lately,
    slots: Map<String, u32>,
    /// How far ignored overrides outweigh honoured ones.
    ignored: u32,
    warned: bool,
    /// Picks seen honoured since one was silently ignored.
    honoured: u32,
}

impl Cluster {
    pub(super) fn new(name: &str, index: usize, book: usize) -> Self {
        Self {
            name: name.to_owned(),
            index,
            book,
            version: 0,
            source: Source::Unknown,
            panic: false,
            unbalanced: false,
            endpoints: Vec::new(),
            eligible: Vec::new(),
            floors: Floors::default(),
            idle: Vec::new(),
            learned: Learned::default(),
            reports: Reports::default(),
            lately: Lately::default(),
            slots: Map::default(),
            ignored: 0,
            warned: false,
            honoured: 0,
        }
    }

    /// Takes over a published roster. What is known of an endpoint stays with it, until it goes: whoever
    /// comes back to its address is another.
    pub(super) fn load(&mut self, roster: Roster, now_us: u64) {
        // Nobody is a newcomer in a cluster that is one.
        let now_us = if self.version == 0 { 0 } else { now_us };
        self.version = roster.version;
        self.source = roster.source();
        self.panic = roster.panic;
        self.unbalanced = roster.unbalanced;
        self.slots.clear();
        self.eligible.clear();
        self.floors.all_change();
        if self.endpoints.is_empty() {
            self.endpoints.reserve_exact(roster.entries.len());
        }
        for (slot, entry) in (0_u32..).zip(roster.entries) {
            let standing = entry.standing();
            if standing == Standing::Gone {
                self.learned.drop_slot(slot);
            } else {
                self.slots.insert(entry.endpoint.clone(), slot);
            }
            if standing == Standing::Eligible {
                self.eligible.push(Seat { slot, weight: entry.weight.max(1) });
                if self.source == Source::Learned {
                    self.learned.adopt(slot);
                }
            }
            match self.endpoints.get_mut(slot as usize) {
                Some(known) if known.name == entry.endpoint && !known.came_back(standing) => {
                    if known.standing == Standing::Known && standing == Standing::Eligible {
                        known.aside.reconsider();
                    }
                    known.weight = entry.weight.max(1);
                    known.standing = standing;
                }
                known => {
                    let new = Endpoint {
                        name: entry.endpoint,
                        encoded: None,
                        weight: entry.weight.max(1),
                        standing,
                        aside: Aside::default(),
                        refused: 0,
                        view: View::default(),
                        experience: Experience::default(),
                        delays: Delays::default(),
                        since_us: now_us,
                        thought: Thought::default(),
                    };
                    match known {
                        Some(replaced) => *replaced = new,
                        None => self.endpoints.push(new),
                    }
                }
            }
        }
        let eligible = &self.eligible;
        self.idle.retain(|slot| seat_of(eligible, *slot).is_some());
    }

    /// Brings up to date what is usual.
    pub(super) fn survey(&mut self, now_us: u64) {
        let (mut usual, mut count) = (Usual::default(), 0.0);
        let mut others = Others::default();
        self.floors.all_change();
        for seat in &self.eligible {
            let Some(endpoint) = self.endpoints.get_mut(seat.slot as usize) else { continue };
            // What is usual changes.
            endpoint.thought = Thought::default();
            let is_silent = endpoint.experience.is_silent();
            others.silent |= is_silent;
            if endpoint.view.is_known(now_us) {
                count += 1.0;
                endpoint.view.add_to(&mut usual, count, endpoint.is_newcomer(now_us));
                let judged = endpoint.view.tells_service(now_us);
                endpoint.experience.add_to(&mut usual, count, judged);
            } else {
                others.unheard |= !is_silent;
                endpoint.experience.leave_out();
            }
        }
        self.reports.surveyed(usual, count > 0.0, others);
    }

    /// Compares how long requests take at endpoints, after so many ticks at the usual pace.
    pub(super) fn compare_delays(&mut self, ticks: u64) {
        if !self.lately.any {
            return;
        }
        let kept = delays::kept(ticks);
        let (mut any, mut all) = (false, Typical::default());
        for endpoint in self.endpoints.iter_mut().filter(|endpoint| endpoint.delays.any()) {
            endpoint.delays.fade(kept);
            any |= endpoint.delays.any();
            if endpoint.standing == Standing::Eligible {
                all.add(&endpoint.delays);
            }
        }
        let eligible = |endpoint: &&mut Endpoint| endpoint.standing == Standing::Eligible;
        let delays =
            self.endpoints.iter_mut().filter(eligible).map(|endpoint| &mut endpoint.delays);
        self.lately = if any { Lately::compare(all, delays) } else { Lately::default() };
    }

    /// What is held against endpoints fades.
    pub(super) fn fade(&mut self) {
        let usual = self.reports.usual();
        for seat in &self.eligible {
            if let Some(endpoint) = self.endpoints.get_mut(seat.slot as usize) {
                endpoint.view.fade();
                endpoint.experience.fade(usual);
            }
        }
    }

    /// The slot of a present endpoint.
    pub(super) fn slot_of(&self, endpoint: &str) -> Option<u32> {
        self.slots.get(endpoint).copied()
    }

    pub(super) fn endpoint(&self, slot: u32) -> Option<&Endpoint> {
        self.endpoints.get(slot as usize)
    }

    /// To change it: what a request costs there is worked out anew. Who only thinks of it takes it from
    /// `endpoints`.
    pub(super) fn endpoint_mut(&mut self, slot: u32) -> Option<&mut Endpoint> {
        self.floors.changes(slot);
        self.endpoints.get_mut(slot as usize)
    }

    /// Remembers at most `most` slots that became idle, of endpoints that a pick may name.
    pub(super) fn became_idle(&mut self, slot: u32, most: usize) {
        self.idle.retain(|known| *known != slot);
        if self.endpoint(slot).is_none_or(|endpoint| endpoint.standing != Standing::Eligible) {
            return;
        }
        if self.idle.len() >= most && !self.idle.is_empty() {
            self.idle.remove(0);
        }
        if most > 0 {
            self.idle.push(slot);
        }
    }

    /// An override to `slot` was honoured.
    pub(super) fn heard(&mut self, slot: u32) {
        self.ignored = self.ignored.saturating_sub(1);
        if let Some(endpoint) = self.endpoint_mut(slot) {
            endpoint.refused = 0;
        }
    }

    /// The address that served was the pick's.
    pub(super) fn prove(&mut self) {
        self.honoured = self.honoured.saturating_add(1);
    }

    /// Another endpoint served than the pick, and the response did not say so.
    pub(super) fn doubt(&mut self) {
        self.honoured = 0;
    }

    /// Whether a response that names no other endpoint comes from the pick: the filter that reads
    /// the header was seen at work. Reading the address of every response costs a microsecond.
    pub(super) fn is_proven(&self) -> bool {
        self.honoured >= PROVEN_AFTER
    }

    /// An override was ignored. True once, when that becomes a pattern.
    pub(super) fn ignored(&mut self) -> bool {
        self.ignored = (self.ignored + IGNORED).min(DEAF_AFTER + IGNORED);
        self.ignored >= DEAF_AFTER && !core::mem::replace(&mut self.warned, true)
    }

    /// Whether to leave this request to Envoy because it honours no override.
    pub(super) fn is_deaf(&self, rng: &mut fastrand::Rng) -> bool {
        self.ignored >= DEAF_AFTER && rng.u32(..DEAF_TRIAL) != 0
    }
}

/// The seat of an eligible slot.
pub(super) fn seat_of(eligible: &[Seat], slot: u32) -> Option<&Seat> {
    let at = eligible.binary_search_by_key(&slot, |seat| seat.slot).ok()?;
    eligible.get(at)
}
