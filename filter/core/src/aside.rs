//! Endpoints set aside: they refused an override, lost a connection or could not be reached.
//!
//! An endpoint that fails at once looks idle, so least outstanding work would send it everything.
//! It is left out for a while, then tried with one request at a time; each failed trial doubles the
//! while. A single success clears it.

/// The first time aside, in milliseconds.
const FIRST_MS: u64 = 1_000;
/// Doublings at most: the longest time aside is 32 s.
const MOST_DOUBLINGS: u32 = 5;

/// What one VM knows of one endpoint's failures.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aside {
    level: u32,
    until_ms: u64,
    trial: bool,
}

impl Aside {
    /// Whether a pick may name the endpoint now.
    pub fn allows(&self, now_ms: u64) -> bool {
        self.level == 0 || (now_ms >= self.until_ms && !self.trial)
    }

    /// A pick named it.
    pub fn picked(&mut self) {
        self.trial = self.level > 0;
    }

    /// A request it served went well. One that was sent before the failure clears nothing.
    pub fn succeeded(&mut self, now_ms: u64) {
        if now_ms >= self.until_ms {
            *self = Self::default();
        }
    }

    /// The trial ended without telling anything, by a cancel for instance: try again.
    pub fn undecided(&mut self) {
        self.trial = false;
    }

    /// Envoy takes it for well again: it is tried at once, and set aside for little longer than at first
    /// if that fails.
    pub fn reconsider(&mut self) {
        self.level = self.level.min(1);
        self.until_ms = 0;
    }

    /// A request failed there. Requests that were under way when it was set aside fail together
    /// and count once.
    pub fn failed(&mut self, now_ms: u64) {
        self.trial = false;
        if self.level == 0 || now_ms >= self.until_ms {
            let doublings = self.level.min(MOST_DOUBLINGS);
            self.level = doublings + 1;
            self.until_ms = now_ms.saturating_add(FIRST_MS << doublings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test;

    #[test]
    fn a_failure_sets_aside_and_trials_go_one_at_a_time() {
        let mut aside = Aside::default();
        assert!(aside.allows(0));
        aside.failed(0);
        assert!(!aside.allows(999));
        assert!(aside.allows(1_000));
        aside.picked();
        assert!(!aside.allows(1_000), "one trial at a time");
        aside.undecided();
        assert!(aside.allows(1_000));
        aside.picked();
        aside.failed(1_000);
        assert!(!aside.allows(2_999), "the second time is twice as long");
        assert!(aside.allows(3_000));
        aside.picked();
        aside.succeeded(2_999);
        assert!(!aside.allows(3_000), "the trial is still under way");
        aside.succeeded(3_000);
        assert!(aside.allows(3_000));
        aside.picked();
        assert!(aside.allows(3_000), "no trial needed any more");
    }

    #[test]
    fn one_that_is_well_again_is_tried_at_once_by_one_request() {
        let mut aside = Aside::default();
        aside.reconsider();
        assert!(aside.allows(0));
        (0..5).for_each(|n| aside.failed(n * 100_000));
        aside.reconsider();
        assert!(aside.allows(400_001));
        aside.picked();
        assert!(!aside.allows(400_001));
        aside.failed(400_001);
        assert!(!aside.allows(402_000));
        assert!(aside.allows(402_001));
    }

    #[test]
    fn requests_that_fail_together_count_once_and_the_time_is_bounded() {
        let mut aside = Aside::default();
        (0..100).for_each(|_| aside.failed(0));
        assert!(aside.allows(1_000));
        let mut now = 0;
        for _ in 0..100 {
            aside.failed(now);
            now += 40_000;
        }
        aside.failed(now);
        assert!(!aside.allows(now + 31_999));
        assert!(aside.allows(now + 32_000));
    }
}
