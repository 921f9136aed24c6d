//! What is thought of an endpoint, kept for a moment: to work it out for each request would cost more
//! than the rest of a pick.

use super::cluster::Endpoint;
use super::sights::Sights;
use crate::config::Estimate;
use crate::estimate::{Outlook, Tuning, Usual};
use crate::load::Load;
use crate::pick::{self, Seat};
use crate::work::Work;

/// An outlook holds for such a part of the time of service, if nothing is heard: what others have is
/// a hundredth of the way from what was reported to what is usual then.
const HOLDS_FOR: f32 = 1.0 / 32.0;

/// What is thought of an endpoint.
#[derive(Default)]
pub(super) struct Thought {
    until_us: u64,
    outlook: Outlook,
    floor: Option<Floor>,
}

/// What a request costs at least: while nothing but time passes, as long as the outlook holds.
struct Floor {
    own: Work,
    by: Estimate,
    cost_us: f32,
    /// A pick may name it.
    allowed: bool,
}

impl Thought {
    /// What is known of the endpoint changes, or it may.
    pub(super) fn changes(&mut self) {
        self.floor = None;
    }

    /// As it was thought last.
    pub(super) fn outlook(&self) -> &Outlook {
        &self.outlook
    }
}

impl Endpoint {
    /// It reports; `own`: see [`View::hear`](crate::estimate::View::hear).
    pub(super) fn hear(&mut self, load: &Load, own: f32, now_us: u64) {
        self.view.hear(load, own, now_us);
        self.thought = Thought::default();
    }

    /// What to expect there now.
    pub(super) fn think(&mut self, now_us: u64, usual: &Usual, tuning: &Tuning) -> &Outlook {
        if now_us >= self.thought.until_us {
            self.think_anew(now_us, usual, tuning);
        }
        &self.thought.outlook
    }

    fn think_anew(&mut self, now_us: u64, usual: &Usual, tuning: &Tuning) {
        let mut sight = self.view.sight(now_us, usual, tuning);
        if self.is_newcomer(now_us) && usual.service_us > 0.0 {
            sight.service_us = usual.service_us;
            sight.slots = usual.slots.max(1.0);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let until_us = now_us.saturating_add((sight.service_us * HOLDS_FOR) as u64);
        self.thought = Thought { until_us, outlook: sight.outlook(tuning), floor: None };
    }
}

impl Sights<'_> {
    /// What a request costs at least in a seat, for comparison; `own`: what this VM has there. `None`
    /// where it did not report a moment ago, or no pick may name it.
    pub(super) fn floor(&self, seat: Seat, endpoint: &mut Endpoint, own: Work) -> Option<u64> {
        let by = self.ask.settings.estimate;
        let holds = |thought: &Thought, floor: &Floor| {
            self.now_us < thought.until_us && floor.own == own && floor.by == by
        };
        let floor = match &endpoint.thought.floor {
            Some(floor) if holds(&endpoint.thought, floor) => floor,
            _ => self.find_floor(seat.slot, endpoint, own),
        };
        let (allowed, cost_us) = (floor.allowed, floor.cost_us);
        let is_fresh = allowed && self.now_us <= endpoint.thought.outlook.fresh_until_us;
        is_fresh.then(|| pick::for_weight(self.near(cost_us, seat.slot), seat.weight))
    }

    fn find_floor<'e>(&self, slot: u32, endpoint: &'e mut Endpoint, own: Work) -> &'e Floor {
        let seen = self.see(slot, endpoint);
        // A stall is left out: it depends on more than counts.
        let cost_us = seen.cost_us(own, false);
        let (by, allowed) = (self.ask.settings.estimate, seen.is_allowed());
        endpoint.thought.floor.insert(Floor { own, by, cost_us, allowed })
    }
}
