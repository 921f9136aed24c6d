//! The endpoints of a cluster as one request sees them: who may be picked or asked, at what cost.

use super::Ask;
use super::cluster::{Cluster, Endpoint};
use crate::config::ProbeMode;
use crate::estimate::{Sight, Tuning};
use crate::pick::spread;
use crate::work::Work;

/// The endpoints of a cluster as one request sees them.
pub(super) struct Sights<'a> {
    pub(super) cluster: &'a Cluster,
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
    sight: Sight,
}

impl Sights<'_> {
    pub(super) fn see(&self, slot: u32) -> Option<Seen<'_>> {
        let endpoint = self.cluster.endpoint(slot)?;
        let sight = endpoint.sight(self.now_us, self.cluster.reports.usual(), self.tuning);
        Some(Seen { of: self, slot, endpoint, sight })
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
        self.sight.doubt <= self.of.tuning.fresh && self.is_allowed()
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
    fn cost_us(&self, own: Work, waits: bool) -> f32 {
        let Self { of, endpoint, sight, .. } = self;
        let (seen, usual) = (&endpoint.experience, of.cluster.reports.usual());
        let own = requests(own);
        let faults = if of.ask.settings.estimate.failures { seen.fault_cost(usual) } else { 0.0 };
        if !of.ask.settings.estimate.speed {
            return own + sight.others + 1.0 + faults;
        }
        let mut cost = sight.cost_us(own, of.tuning) * seen.mistrust(usual);
        if waits {
            cost += seen.stalled_us(of.now_us, sight.expected_us(own));
        }
        cost + faults * usual.service_us
    }

    /// For comparison: less is better, near-ties fall at random.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    pub(super) fn rank(&self, own: Work, waits: bool) -> u64 {
        let near = 1.0 + self.of.tuning.jitter * spread(self.of.salt, self.slot);
        (self.cost_us(own, waits) * near * 64.0) as u64
    }

    /// Whether hardly any other can be better: it serves at once, and about as fast as any.
    pub(super) fn is_good_enough(&self, own: Work, waits: bool) -> bool {
        let best = self.of.cluster.reports.usual().fastest_us * self.of.tuning.service_weight;
        self.of.ask.settings.estimate.speed
            && self.cost_us(own, waits) <= self.of.tuning.good_enough * best
    }
}

/// How many requests of mean cost that is.
#[expect(clippy::cast_precision_loss, reason = "few requests")]
pub(super) fn requests(work: Work) -> f32 {
    work.milli() as f32 / 1_000.0
}
