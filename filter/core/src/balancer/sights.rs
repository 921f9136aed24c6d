//! The endpoints of a cluster as one request sees them: who may be picked or asked, at what cost.

use super::Ask;
use super::cluster::Cluster;
use crate::config::ProbeMode;
use crate::estimate::Tuning;
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

impl Sights<'_> {
    pub(super) fn is_fresh(&self, slot: u32) -> bool {
        let usual = self.cluster.reports.usual();
        self.cluster
            .endpoint(slot)
            .is_some_and(|endpoint| endpoint.view.doubt(self.now_us, usual) <= self.tuning.fresh)
    }

    pub(super) fn is_silent(&self, slot: u32) -> bool {
        self.cluster.endpoint(slot).is_some_and(|endpoint| endpoint.experience.is_silent())
    }

    /// It is not set aside, or failures do not matter.
    pub(super) fn is_there(&self, slot: u32) -> bool {
        self.cluster.endpoint(slot).is_some_and(|endpoint| {
            !self.ask.settings.estimate.failures || endpoint.aside.allows(self.now_us / 1_000)
        })
    }

    /// Whether a pick may name it.
    pub(super) fn allows(&self, slot: u32) -> bool {
        self.is_there(slot)
            && self.cluster.endpoint(slot).is_some_and(|endpoint| {
                !endpoint.view.is_draining(self.now_us) && !endpoint.experience.is_silent()
            })
    }

    /// Whether asking it would tell something new, or all are asked, and it does not want to be asked
    /// less. `random`: a number from 0 to 1.
    pub(super) fn wants_to_be_asked(&self, slot: u32, random: f32) -> bool {
        let always = self.ask.settings.probe_mode == ProbeMode::Always;
        let wants = self.cluster.endpoint(slot).map_or(0.0, |endpoint| endpoint.view.share());
        random < wants && self.allows(slot) && (always || !self.is_fresh(slot))
    }

    /// What a request costs in `slot`, in microseconds. `own`: what this proxy has there; `waits`:
    /// this very VM has something there, and so knows whether anything comes back.
    fn cost_us(&self, own: Work, waits: bool, slot: u32) -> f32 {
        let Some(endpoint) = self.cluster.endpoint(slot) else { return f32::MAX };
        let (seen, usual) = (&endpoint.experience, self.cluster.reports.usual());
        let (sight, own) = (endpoint.sight(self.now_us, usual, self.tuning), requests(own));
        let faults = if self.ask.settings.estimate.failures { seen.fault_cost(usual) } else { 0.0 };
        if !self.ask.settings.estimate.speed {
            return own + sight.others + 1.0 + faults;
        }
        let mut cost = sight.cost_us(own, self.tuning) * seen.mistrust(usual);
        if waits {
            cost += seen.stalled_us(self.now_us, sight.expected_us(own));
        }
        cost + faults * usual.service_us
    }

    /// For comparison: less is better, near-ties fall at random.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    pub(super) fn rank(&self, own: Work, waits: bool, slot: u32) -> u64 {
        let near = 1.0 + self.tuning.jitter * spread(self.salt, slot);
        (self.cost_us(own, waits, slot) * near * 64.0) as u64
    }

    /// Whether hardly any other can be better: it serves at once, and about as fast as any.
    pub(super) fn is_good_enough(&self, own: Work, waits: bool, slot: u32) -> bool {
        let best = self.cluster.reports.usual().fastest_us * self.tuning.service_weight;
        self.ask.settings.estimate.speed
            && self.cost_us(own, waits, slot) <= self.tuning.good_enough * best
    }
}

/// How many requests of mean cost that is.
#[expect(clippy::cast_precision_loss, reason = "few requests")]
pub(super) fn requests(work: Work) -> f32 {
    work.milli() as f32 / 1_000.0
}
