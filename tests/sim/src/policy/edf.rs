//! Envoy's scheduler where weights differ: earliest deadline first
//! (`source/common/upstream/edf_scheduler.h`).
//!
//! An entry's deadline lies 1 / weight after the time it was put in; the pick is the entry with the
//! earliest deadline, which becomes the time, and it is put back with the weight it has then. So a
//! weight that changed counts only from the entry's next pick on.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use fastrand::Rng;

use super::Member;

/// Entries are numbered from 0.
struct Edf {
    queue: BinaryHeap<Entry>,
    /// The last pick's deadline.
    time: f64,
    /// Numbers what was put in: of equal deadlines the older goes first.
    order: u64,
}

struct Entry {
    deadline: f64,
    order: u64,
    index: usize,
}

impl Ord for Entry {
    /// The heap gives its greatest: the earliest deadline.
    fn cmp(&self, other: &Self) -> Ordering {
        other.deadline.total_cmp(&self.deadline).then(other.order.cmp(&self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl Edf {
    /// As if so many picks had been made already, with these weights (`createWithPicks`): shares of
    /// them at once, the rest one by one.
    #[allow(clippy::cast_precision_loss)] // Entries and picks are far from 2^53.
    fn new(count: usize, picks: u32, weight: impl Fn(usize) -> f64) -> Self {
        let sum: f64 = (0..count).map(&weight).sum();
        let mut edf = Self { queue: BinaryHeap::with_capacity(count), time: 0.0, order: 0 };
        let mut left = f64::from(picks);
        for index in 0..count {
            let weight = weight(index);
            // A thousandth of a pick less than its share: rounding must not make it a pick more.
            let share = (f64::from(picks) * weight / sum - 1e-3).floor().max(0.0);
            left -= share;
            edf.time = edf.time.max(share / weight);
            edf.queue.push(Entry { deadline: (share + 1.0) / weight, order: edf.order, index });
            edf.order += 1;
        }
        while left >= 1.0 {
            edf.pick(&weight);
            left -= 1.0;
        }
        edf
    }

    /// The next entry; `weight` is asked for its weight, to put it back.
    fn pick(&mut self, weight: impl FnOnce(usize) -> f64) -> Option<usize> {
        let mut first = self.queue.peek_mut()?;
        let index = first.index;
        self.time = first.deadline;
        *first = Entry { deadline: self.time + 1.0 / weight(index), order: self.order, index };
        self.order += 1;
        Some(index)
    }
}

/// A worker's place in the rotation, and its schedule where weights differ.
struct Worker {
    /// Random, for life: where it starts.
    seed: u32,
    /// Place in the rotation.
    next: usize,
    edf: Option<Edf>,
}

/// What Envoy's workers keep to take turns (`EdfLoadBalancerBase`): each its own, so each starts
/// anywhere and none knows where the others are.
#[derive(Default)]
pub(super) struct Turns {
    workers: Vec<Worker>,
    weighted: bool,
}

impl Turns {
    /// The members changed: schedules begin anew, from each worker's own start; a rotation goes on
    /// at its number.
    pub(super) fn members(&mut self, members: &[Member], weight: impl Fn(usize) -> f64) {
        self.weighted = members.windows(2).any(|pair| pair[0].weight != pair[1].weight);
        for worker in &mut self.workers {
            worker.schedule(self.weighted.then_some(members.len()), &weight);
        }
    }

    /// Whether weights differ: only then is there a schedule.
    pub(super) fn weighted(&self) -> bool {
        self.weighted
    }

    /// A worker's next place of `count` in its rotation.
    pub(super) fn rotate(&mut self, rng: &mut Rng, worker: u16, count: usize) -> usize {
        let worker = self.worker(rng, worker, count, |_| 1.0);
        let place = worker.next % count;
        worker.next = worker.next.wrapping_add(1);
        place
    }

    /// A worker's next place of `count` by its schedule.
    pub(super) fn scheduled(
        &mut self,
        rng: &mut Rng,
        worker: u16,
        count: usize,
        weight: impl Fn(usize) -> f64,
    ) -> Option<usize> {
        self.worker(rng, worker, count, &weight).edf.as_mut()?.pick(weight)
    }

    /// Workers appear with their first request.
    fn worker(
        &mut self,
        rng: &mut Rng,
        worker: u16,
        count: usize,
        weight: impl Fn(usize) -> f64,
    ) -> &mut Worker {
        let worker = usize::from(worker);
        while self.workers.len() <= worker {
            let seed = rng.u32(..);
            let mut new = Worker { seed, next: seed as usize, edf: None };
            new.schedule(self.weighted.then_some(count), &weight);
            self.workers.push(new);
        }
        &mut self.workers[worker]
    }
}

impl Worker {
    fn schedule(&mut self, count: Option<usize>, weight: impl Fn(usize) -> f64) {
        // Envoy's bound on the picks it emulates: a tenth of 2^32.
        const MOST: u32 = u32::MAX / 10;
        self.edf = count.map(|count| Edf::new(count, self.seed % MOST, weight));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEIGHTS: [f64; 3] = [1.0, 2.5, 5.0];

    fn picks(edf: &mut Edf, times: u32) -> Vec<usize> {
        (0..times).filter_map(|_| edf.pick(|index| WEIGHTS[index])).collect()
    }

    #[test]
    fn turns_are_in_proportion_to_weights_and_spread_out() {
        let mut edf = Edf::new(3, 0, |index| WEIGHTS[index]);
        let picks = picks(&mut edf, 17);
        let times = |index| picks.iter().filter(|&&pick| pick == index).count();
        assert_eq!([times(0), times(1), times(2)], [2, 5, 10]);
        // Deadlines 0.2, 0.4 and, in the order they were put in, 0.4.
        assert_eq!(picks[..3], [2, 1, 2]);
        let heavy_thrice = picks.windows(4).any(|window| window == [2, 2, 2, 2]);
        assert!(!heavy_thrice, "{picks:?}");
    }

    #[test]
    fn a_start_in_the_middle_is_that_many_picks_ahead() {
        let mut from_start = Edf::new(3, 0, |index| WEIGHTS[index]);
        for ahead in 0..200 {
            let mut edf = Edf::new(3, ahead, |index| WEIGHTS[index]);
            // Ties may go otherwise: entries are numbered anew.
            let (ours, theirs) = (edf.queue.peek(), from_start.queue.peek());
            let deadlines = (ours.map(|entry| entry.deadline), theirs.map(|entry| entry.deadline));
            let (Some(ours), Some(theirs)) = deadlines else { panic!("entries") };
            assert!((ours - theirs).abs() < 1e-9, "{ahead}: {ours} {theirs}");
            picks(&mut edf, 1);
            picks(&mut from_start, 1);
        }
    }

    #[test]
    fn equal_deadlines_go_in_turn() {
        let mut edf = Edf::new(4, 0, |_| 1.0);
        let picks: Vec<_> = (0..8).filter_map(|_| edf.pick(|_| 1.0)).collect();
        assert_eq!(picks, [0, 1, 2, 3, 0, 1, 2, 3]);
    }

    #[test]
    fn a_new_weight_counts_from_the_next_pick_on() {
        let mut edf = Edf::new(2, 0, |_| 1.0);
        assert_eq!(edf.pick(|_| 0.25), Some(0));
        // 0 is due again at 5, 1 at 1, 2, 3, 4 and, put in later than 0, at 5.
        let picks: Vec<_> = (0..5).filter_map(|_| edf.pick(|_| 1.0)).collect();
        assert_eq!(picks, [1, 1, 1, 1, 0]);
    }
}
