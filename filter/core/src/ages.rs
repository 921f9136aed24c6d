//! Work by age: what has lasted for much longer than requests do is a stream that stays open, and no
//! load that will end soon.

use std::collections::VecDeque;

/// What began within so many microseconds is of one age.
const WIDTH_US: u64 = 250_000;
/// Most ages told apart: beyond, the oldest two are taken together.
const MOST: usize = 64;
/// What has lasted for so many times as long as a request is expected to take there is no request,
const LONG: f32 = 20.0;
/// but never what has lasted for less than so many microseconds.
const SHORTEST_US: f32 = 1e6;

/// After how many microseconds work is counted no more where a request is expected to take so many.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
pub fn longest_us(expected_us: f32) -> u64 {
    (LONG * expected_us).max(SHORTEST_US) as u64
}

/// When work began: to be given back at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term(u32);

/// The work of one VM in one place that is counted, by age.
#[derive(Clone, Debug, Default)]
pub struct Ages {
    clock_us: u64,
    /// What began before is counted no more.
    since: Term,
    /// What began last, and how much of it there is.
    newest: (Term, u64),
    /// What began before, by age, the oldest first: the last that is part of it, and how much it is.
    /// Apart from the newest, so that most places need no memory of their own.
    older: VecDeque<(Term, u64)>,
}

impl Ages {
    /// So much begins.
    pub fn begin(&mut self, milli: u64) -> Term {
        let now = term(self.clock_us).max(self.since);
        let (term, sum) = &mut self.newest;
        if *term == now {
            *sum = sum.saturating_add(milli);
            return now;
        }
        let before = std::mem::replace(&mut self.newest, (now, milli));
        // Nothing is left of most ages by then.
        while let Some((_, 0)) = self.older.front() {
            self.older.pop_front();
        }
        if before.1 > 0 {
            self.older.push_back(before);
        }
        if self.older.len() >= MOST
            && let Some((_, oldest)) = self.older.pop_front()
            && let Some((_, sum)) = self.older.front_mut()
        {
            *sum = sum.saturating_add(oldest);
        }
        now
    }

    /// Whether what began then is counted no more.
    pub fn is_long(&self, term: Term) -> bool {
        term < self.since
    }

    /// So much of what began then ends. False where it is counted no more.
    pub fn finish(&mut self, term: Term, milli: u64) -> bool {
        if self.is_long(term) {
            return false;
        }
        let mut ages = self.older.iter_mut().chain([&mut self.newest]);
        if let Some((_, sum)) = ages.find(|(last, _)| *last >= term) {
            *sum = sum.saturating_sub(milli);
        }
        true
    }

    /// So much time passes. How much has lasted for longer than `longest_us`: it is counted no more.
    pub fn pass(&mut self, elapsed_us: u64, longest_us: u64) -> u64 {
        self.clock_us = self.clock_us.saturating_add(elapsed_us);
        let since = term(self.clock_us.saturating_sub(longest_us));
        let mut old = 0_u64;
        while let Some((term, milli)) = self.older.front().copied()
            && (term < since || milli == 0)
        {
            self.older.pop_front();
            old = old.saturating_add(self.drop_until(term, milli));
        }
        let (term, milli) = self.newest;
        if self.older.is_empty() && term < since {
            self.newest.1 = 0;
            old = old.saturating_add(self.drop_until(term, milli));
        }
        old
    }

    /// So much, which began until then, is counted no more.
    fn drop_until(&mut self, term: Term, milli: u64) -> u64 {
        if milli > 0 {
            self.since = Term(term.0.saturating_add(1));
        }
        milli
    }
}

/// The age of what begins at this time of a clock.
fn term(us: u64) -> Term {
    Term(u32::try_from(us / WIDTH_US).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test;

    #[test]
    fn what_lasts_is_counted_no_more_and_its_end_is_not_counted_again() {
        let mut ages = Ages::default();
        let stream = ages.begin(250);
        assert_eq!(ages.pass(900_000, 1_000_000), 0);
        let later = ages.begin(1_000);
        assert_eq!(ages.pass(600_000, 1_000_000), 250);
        assert!(ages.is_long(stream) && !ages.is_long(later));
        assert!(ages.finish(later, 1_000) && !ages.finish(stream, 250));
        assert_eq!(ages.pass(60_000_000, 1_000_000), 0);
        // What began is never older than what was dropped, whatever the bound is then.
        let next = ages.begin(1_000);
        assert_eq!(ages.pass(1, 0), 0);
        assert!(ages.finish(next, 1_000));
        assert_eq!([0.0, 40_000.0, 100_000.0].map(longest_us), [1_000_000, 1_000_000, 2_000_000]);
    }

    /// Whatever begins, ends and ages in whatever order: each is taken off exactly once, and the
    /// number of ages is bounded.
    #[test]
    fn each_is_taken_off_once() {
        for seed in 0..200 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let (mut ages, mut sum, mut open) = (Ages::default(), 0, Vec::new());
            for _ in 0..2_000 {
                match dice.u32(..10) {
                    0..4 => {
                        let milli = dice.u64(1..3_000);
                        open.push((ages.begin(milli), milli));
                        sum += milli;
                    }
                    4..8 if !open.is_empty() => {
                        let (term, milli) = open.swap_remove(dice.usize(..open.len()));
                        if ages.finish(term, milli) {
                            sum -= milli;
                        }
                    }
                    _ => sum -= ages.pass(dice.u64(..400_000), dice.u64(..40_000_000)),
                }
                let counted = open.iter().filter(|(term, _)| !ages.is_long(*term));
                assert_eq!(sum, counted.map(|(_, milli)| milli).sum::<u64>(), "seed {seed}");
                assert!(ages.older.len() < MOST);
            }
        }
    }
}
