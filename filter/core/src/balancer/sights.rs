//! The endpoints of a cluster as one request sees them: who may be picked or asked, at what cost.

use super::Ask;
use super::cluster::Endpoint;
use crate::config::ProbeMode;
use crate::estimate::{Tuning, Usual};
use crate::pick::spread;
use crate::work::Work;

/// The endpoints of a cluster as one request sees them.
pub(super) struct Sights<'a> {
    pub(super) usual: &'a Usual,
    pub(super) now_us: u64,
    pub(super) tuning: &'a Tuning,
    pub(super) ask: Ask<'a>,
    /// A random number: what makes near-ties fall differently for each request.
    pub(super) salt: u32,
}

/// One of them, and what is thought of it.
pub(super) struct Seen<'a> {
    of: &'a Sights<'a>,
    slot: u32,
    endpoint: &'a Endpoint,
}

impl<'a> Sights<'a> {
    /// Looks at the endpoint in `slot`.
    pub(super) fn see(&'a self, slot: u32, endpoint: &'a mut Endpoint) -> Seen<'a> {
        endpoint.think(self.now_us, self.usual, self.tuning);
        self.see_again(slot, endpoint)
    }

    /// Looks at one that this request has looked at.
    pub(super) fn see_again(&'a self, slot: u32, endpoint: &'a Endpoint) -> Seen<'a> {
        Seen { of: self, slot, endpoint }
    }

    /// A cost in `slot`, for comparison: less is better, near-ties fall at random.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    pub(super) fn near(&self, cost_us: f32, slot: u32) -> u64 {
        let near = 1.0 + self.tuning.jitter * spread(self.salt, slot);
        (cost_us * near * 64.0) as u64
    }

    /// It is not set aside, or failures do not matter.
    pub(super) fn is_there(&self, endpoint: &Endpoint) -> bool {
        !self.ask.settings.estimate.failures || endpoint.aside.allows(self.now_us / 1_000)
    }

    /// Whether a pick may name it.
    pub(super) fn allows(&self, endpoint: &Endpoint) -> bool {
        self.is_there(endpoint)
            && !endpoint.view.is_draining(self.now_us)
            && !endpoint.experience.is_silent()
    }
}

impl Seen<'_> {
    /// It reported a moment ago, and a pick may name it.
    pub(super) fn is_fresh(&self) -> bool {
        self.of.now_us <= self.endpoint.thought.outlook().fresh_until_us && self.is_allowed()
    }

    /// Whether a pick may name it.
    pub(super) fn is_allowed(&self) -> bool {
        self.of.allows(self.endpoint)
    }

    /// Whether asking it would tell something new, or all are asked, and it does not want to be asked
    /// less. `random`: a number from 0 to 1.
    pub(super) fn wants_to_be_asked(&self, random: f32) -> bool {
        let always = self.of.ask.settings.probe_mode == ProbeMode::Always;
        random < self.endpoint.view.share() && self.is_allowed() && (always || !self.is_fresh())
    }

    /// What a request costs there, in microseconds. `own`: what this proxy has there; `waits`: this
    /// very VM has something there, and so knows whether anything comes back.
    pub(super) fn cost_us(&self, own: Work, waits: bool) -> f32 {
        let Self { of, endpoint, .. } = self;
        let (seen, outlook, usual) = (&endpoint.experience, endpoint.thought.outlook(), of.usual);
        let own = requests(own);
        let faults = if of.ask.settings.estimate.failures { seen.fault_cost(usual) } else { 0.0 };
        if !of.ask.settings.estimate.speed {
            return own + outlook.others + 1.0 + faults;
        }
        let mut cost = outlook.cost_us(own) * seen.mistrust(usual);
        if waits {
            cost += seen.stalled_us(of.now_us, outlook.expected_us(own));
        }
        cost + faults * usual.service_us
    }

    /// For comparison, see [`Sights::near`].
    pub(super) fn rank(&self, own: Work, waits: bool) -> u64 {
        self.of.near(self.cost_us(own, waits), self.slot)
    }

    /// Whether hardly any other can be better: it serves at once, and about as fast as any.
    pub(super) fn is_good_enough(&self, own: Work, waits: bool) -> bool {
        let best = self.of.usual.fastest_us * self.of.tuning.service_weight;
        self.of.ask.settings.estimate.speed
            && self.cost_us(own, waits) <= self.of.tuning.good_enough * best
    }
}

/// How many requests of mean cost that is.
#[expect(clippy::cast_precision_loss, reason = "few requests")]
pub(super) fn requests(work: Work) -> f32 {
    work.milli() as f32 / 1_000.0
}
