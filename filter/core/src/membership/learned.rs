//! Membership learned from the addresses that serve what Envoy balances by itself: for proxies
//! whose admin interface cannot be read.
//!
//! Only requests that were left to Envoy teach: what a pick steered says nothing of what Envoy's
//! balancer would use. Before most of the cluster is known, all requests are left to Envoy, since
//! steering among the first few would flood them; later, a small share.

/// Draws without a newcomer, for each known endpoint, after which the rest is taken for known: one
/// that Envoy uses as often as the others is missed with a chance of e^-5.
const SETTLED_FACTOR: u32 = 5;
/// Draws by which that is more, for the smallest clusters.
const SETTLED_BASE: u32 = 10;
/// Draws without an appearance, for each known endpoint, after which one is forgotten. Envoy's own
/// balancer may avoid a busy endpoint for a while, so this is generous.
const FORGET_FACTOR: u32 = 20;

/// What one VM learned of one cluster.
#[derive(Debug, Default)]
pub struct Learned {
    draws: u32,
    last_new: u32,
    known: u32,
    /// The draw at which each slot was last seen; 0 where it is not known.
    last_seen: Vec<u32>,
}

impl Learned {
    /// Envoy's own choice fell on the endpoint in `slot`, which membership holds now.
    pub fn drawn(&mut self, slot: u32) {
        self.draws = self.draws.saturating_add(1);
        if self.see(slot, self.draws) {
            self.last_new = self.draws;
        }
    }

    /// The endpoint just drawn was not known to membership: there may be more.
    pub fn newcomer(&mut self) {
        self.last_new = self.draws;
    }

    /// Whether membership is complete enough to steer by.
    pub fn is_settled(&self) -> bool {
        let quiet = SETTLED_FACTOR.saturating_mul(self.known).saturating_add(SETTLED_BASE);
        self.known > 0 && self.draws - self.last_new >= quiet
    }

    /// Takes out the slots of those that Envoy no longer uses.
    pub fn forgotten(&mut self) -> Vec<u32> {
        let oldest = self.draws.saturating_sub(FORGET_FACTOR.saturating_mul(self.known));
        let is_old = |seen: u32| seen > 0 && seen < oldest;
        let old: Vec<u32> =
            (0..).zip(&self.last_seen).filter(|(_, seen)| is_old(**seen)).map(|(s, _)| s).collect();
        for slot in &old {
            self.drop_slot(*slot);
        }
        old
    }

    /// An endpoint that another VM learned: as if just seen here.
    pub fn adopt(&mut self, slot: u32) {
        if self.last_seen.get(slot as usize).is_none_or(|seen| *seen == 0) {
            self.see(slot, self.draws.max(1));
        }
    }

    /// An endpoint that left the membership.
    pub fn drop_slot(&mut self, slot: u32) {
        if let Some(seen) = self.last_seen.get_mut(slot as usize)
            && core::mem::take(seen) > 0
        {
            self.known -= 1;
        }
    }

    /// True if it was not known.
    fn see(&mut self, slot: u32, draw: u32) -> bool {
        let index = slot as usize;
        if index >= self.last_seen.len() {
            self.last_seen.resize(index + 1, 0);
        }
        let Some(seen) = self.last_seen.get_mut(index) else { return false };
        let new = core::mem::replace(seen, draw) == 0;
        self.known += u32::from(new);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test;

    #[test]
    fn steering_waits_until_newcomers_have_become_unlikely() {
        let mut learned = Learned::default();
        assert!(!learned.is_settled());
        for draw in 0..15 {
            learned.drawn(0);
            assert!(!learned.is_settled(), "after {draw}");
        }
        learned.drawn(0);
        assert!(learned.is_settled());
        learned.drawn(1);
        assert!(!learned.is_settled(), "a newcomer: there may be more");
        (0..20).for_each(|_| learned.drawn(1));
        assert!(learned.is_settled());
        // One that the published roster brought before the draw was counted.
        learned.adopt(2);
        (0..25).for_each(|_| learned.drawn(2));
        assert!(learned.is_settled());
        learned.newcomer();
        assert!(!learned.is_settled());
    }

    #[test]
    fn an_endpoint_that_envoy_no_longer_uses_is_forgotten() {
        let mut learned = Learned::default();
        learned.drawn(0);
        learned.drawn(1);
        for _ in 0..40 {
            learned.drawn(0);
            assert!(learned.forgotten().is_empty());
        }
        learned.drawn(0);
        learned.drawn(0);
        assert_eq!(learned.forgotten(), [1]);
        assert!(learned.forgotten().is_empty());
    }

    /// Draws the endpoint in slot 0 until it settles; how often.
    fn settles_after(learned: &mut Learned) -> Option<u32> {
        (1..=100).find(|_| {
            learned.drawn(0);
            learned.is_settled()
        })
    }

    #[test]
    fn what_another_vm_learned_counts_as_known_and_is_no_news() {
        let mut learned = Learned::default();
        learned.adopt(0);
        learned.adopt(1);
        assert!(!learned.is_settled());
        assert_eq!(settles_after(&mut learned), Some(20), "two are known, and none is new");
    }

    #[test]
    fn being_adopted_again_is_not_being_seen() {
        let mut learned = Learned::default();
        learned.adopt(1);
        for _ in 0..41 {
            learned.drawn(0);
            learned.adopt(1);
            assert!(learned.forgotten().is_empty());
        }
        learned.drawn(0);
        assert_eq!(learned.forgotten(), [1]);
        // It is unknown again, and adopted anew it has its time again.
        learned.adopt(1);
        assert!(learned.forgotten().is_empty());
        (0..40).for_each(|_| learned.drawn(0));
        assert!(learned.forgotten().is_empty());
        learned.drawn(0);
        assert_eq!(learned.forgotten(), [1]);
    }

    #[test]
    fn who_left_is_no_longer_waited_for() {
        let mut learned = Learned::default();
        for slot in 0..3 {
            learned.drawn(slot);
        }
        learned.drop_slot(2);
        // Neither one that is gone already nor one that was never there counts.
        learned.drop_slot(2);
        learned.drop_slot(1_000);
        assert_eq!(settles_after(&mut learned), Some(20));
        learned.drop_slot(0);
        learned.drop_slot(1);
        assert!(!learned.is_settled(), "nobody is known");
        assert!(learned.forgotten().is_empty());
    }
}
