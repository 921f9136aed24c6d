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
}

impl Thought {
    /// As it was thought last.
    pub(super) fn outlook(&self) -> &Outlook {
        &self.outlook
    }
}

/// What a request costs at least in each slot, as it was found last: apart from the endpoints, for each
/// pick reads all of it.
#[derive(Default)]
pub(super) struct Floors {
    by: Option<Estimate>,
    slots: Vec<Floor>,
}

#[derive(Clone, Copy, Default)]
struct Floor {
    /// Until then, while nothing happens there, a pick may name the endpoint, for so much.
    until_us: u64,
    cost_us: f32,
}

impl Floors {
    /// What is known of an endpoint changes, or what this VM has there.
    pub(super) fn changes(&mut self, slot: u32) {
        if let Some(floor) = self.slots.get_mut(slot as usize) {
            floor.until_us = 0;
        }
    }

    /// So do all.
    pub(super) fn all_change(&mut self) {
        self.slots.clear();
    }

    /// Costs are to be found in this way from now on.
    pub(super) fn find_by(&mut self, by: Estimate) {
        if self.by.replace(by) != Some(by) {
            self.all_change();
        }
    }

    fn keep(&mut self, slot: u32, floor: Floor) {
        let index = slot as usize;
        if index >= self.slots.len() {
            self.slots.resize(index + 1, Floor::default());
        }
        if let Some(place) = self.slots.get_mut(index) {
            *place = floor;
        }
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
        self.thought = Thought { until_us, outlook: sight.outlook(tuning) };
    }
}

impl Sights<'_> {
    /// What a request costs at least in a seat, for comparison; `own`: what this VM has there. `None`
    /// where it did not report a moment ago, or no pick may name it.
    pub(super) fn floor(
        &self,
        seat: Seat,
        floors: &mut Floors,
        endpoints: &mut [Endpoint],
        own: impl FnOnce() -> Work,
    ) -> Option<u64> {
        let cost_us = match floors.slots.get(seat.slot as usize) {
            Some(floor) if self.now_us < floor.until_us => floor.cost_us,
            _ => {
                let endpoint = endpoints.get_mut(seat.slot as usize)?;
                let floor = self.find_floor(seat.slot, endpoint, own())?;
                floors.keep(seat.slot, floor);
                floor.cost_us
            }
        };
        Some(pick::for_weight(self.near(cost_us, seat.slot), seat.weight))
    }

    fn find_floor(&self, slot: u32, endpoint: &mut Endpoint, own: Work) -> Option<Floor> {
        let seen = self.see(slot, endpoint);
        // A stall is left out: it depends on more than counts.
        let cost_us = seen.is_fresh().then(|| seen.cost_us(own, false))?;
        let Thought { until_us, outlook } = &endpoint.thought;
        Some(Floor { until_us: outlook.fresh_until_us.saturating_add(1).min(*until_us), cost_us })
    }
}
