//! How many probes a proxy may send.

/// Probes that one VM may still send: a bucket that fills with time, and which part of its requests
/// may ask at all, by how many got their answers in time.
#[derive(Debug)]
pub struct Budget {
    left: f64,
    filled_us: u64,
    share: f64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: 0.0, filled_us: 0, share: 1.0 }
    }
}

impl Budget {
    /// Whether a request may ask. Answers that come late are as dear as others, and where the proxy or
    /// the servers are short of processors, asking makes that worse. `random`: from 0 to 1.
    pub fn allows(&self, random: f64) -> bool {
        random < self.share
    }

    /// A request has waited for answers; `in_time`: most came before its deadline. While three of four
    /// requests see that, all may ask.
    pub fn waited(&mut self, in_time: bool) {
        /// Whoever never gets an answer asks with one request in so many.
        const LEAST: f64 = 1.0 / 64.0;
        self.share = if in_time {
            (self.share * 1.1 + 0.01).min(1.0)
        } else {
            (self.share * 0.7).max(LEAST)
        };
    }

    /// Whether so many are left. `rate`: how many a second this VM may send.
    pub fn has(&mut self, count: usize, rate: f64, now_us: u64) -> bool {
        /// What may come in one burst, in seconds of the rate.
        const BURST_SECONDS: f64 = 0.1;
        let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let elapsed_us = u32::try_from(now_us.saturating_sub(self.filled_us)).unwrap_or(u32::MAX);
        self.filled_us = now_us;
        let most = (rate * BURST_SECONDS).max(count);
        self.left = (self.left + rate * f64::from(elapsed_us) / 1e6).min(most);
        rate > 0.0 && self.left >= count
    }

    /// So many are sent.
    pub fn spend(&mut self, count: usize) {
        self.left -= f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test;

    #[test]
    fn fewer_requests_ask_while_most_answers_are_late_and_all_again_when_they_are_not() {
        let mut budget = Budget::default();
        let mut after = |late: fn(u32) -> bool, waits: u32| {
            (0..waits).for_each(|wait| budget.waited(!late(wait)));
            [0.0, 0.016, 0.5, 0.999].map(|random| budget.allows(random))
        };
        assert_eq!(after(|wait| wait % 5 == 0, 500), [true; 4], "one in five is late");
        assert_eq!(after(|_| true, 100), [true, false, false, false]);
        assert_eq!(after(|_| false, 20), [true, true, true, false]);
        assert_eq!(after(|_| false, 10), [true; 4]);
        let [_, _, half, _] = after(|wait| wait % 2 == 0, 500);
        assert!(!half, "every second one is late");
    }

    #[test]
    fn no_more_than_the_rate_is_sent_whatever_is_asked() {
        let mut budget = Budget::default();
        let sent = |budget: &mut Budget, from: u64, rate: f64| {
            // Every tenth of a millisecond, for ten seconds.
            let mut sent = 0;
            for step in 0..100_000_u64 {
                if budget.has(3, rate, from + step * 100) {
                    budget.spend(3);
                    sent += 3;
                }
            }
            sent
        };
        assert!((9_980..=10_110).contains(&sent(&mut budget, 0, 1_000.0)));
        // Whoever was quiet has a tenth of a second's worth, no more.
        assert!((9_980..=10_110).contains(&sent(&mut budget, 1_000_000_000, 1_000.0)));
        assert_eq!(sent(&mut Budget::default(), 5_000_000, 0.0), 0);
        // Less than one question a second is still one now and then.
        assert!((3..=6).contains(&sent(&mut Budget::default(), 0, 0.5)));
    }
}
