//! The choice among endpoints: the least outstanding work for its weight, ties at random.

use crate::config::Picker;

/// One endpoint's place in the comparison. Smaller is better; the random part is drawn anew for
/// each comparison, so that equals are equally likely whatever their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    load: u64,
    tie: u64,
}

/// The best candidates found so far, best first: the pick and its spares.
pub struct Best {
    wanted: usize,
    found: Vec<(Rank, u32)>,
}

impl Best {
    /// Keeps the best `wanted` (at least one).
    pub fn new(wanted: usize) -> Self {
        let wanted = wanted.max(1);
        Self { wanted, found: Vec::with_capacity(wanted + 1) }
    }

    /// Compares one more candidate: what it would have outstanding with this request, in
    /// thousandths of a mean request, over its load-balancing weight.
    pub fn offer(&mut self, slot: u32, milli: u64, weight: u32, rng: &mut fastrand::Rng) {
        // Fixed point keeps a small load over a large weight apart from none.
        let load = milli.saturating_mul(1 << 16) / u64::from(weight.max(1));
        let rank = Rank { load, tie: rng.u64(..) };
        if self.found.len() >= self.wanted
            && self.found.last().is_some_and(|(last, _)| *last < rank)
        {
            return;
        }
        if self.found.iter().any(|(_, known)| *known == slot) {
            return;
        }
        let at = self.found.partition_point(|(other, _)| *other < rank);
        self.found.insert(at, (rank, slot));
        self.found.truncate(self.wanted);
    }

    /// The slots, best first; empty if nothing was offered.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        self.found.iter().map(|(_, slot)| *slot)
    }
}

/// Calls `look` with each candidate of one pick: all of `eligible`, or, where reading every count
/// would cost more than it gains, a sample without repetition and then `idle`, whose endpoints may
/// come twice.
pub fn candidates(
    eligible: &[u32],
    idle: &[u32],
    picker: Picker,
    rng: &mut fastrand::Rng,
    mut look: impl FnMut(u32, &mut fastrand::Rng),
) {
    if eligible.len() <= picker.scan_limit.max(picker.samples) {
        for &slot in eligible {
            look(slot, rng);
        }
        return;
    }
    // Floyd's algorithm: a uniform sample without repetition, in as many draws as its size.
    let mut drawn: Vec<usize> = Vec::with_capacity(picker.samples);
    for last in eligible.len() - picker.samples..eligible.len() {
        let draw = rng.usize(..=last);
        drawn.push(if drawn.contains(&draw) { last } else { draw });
    }
    for slot in drawn.iter().filter_map(|&index| eligible.get(index)).chain(idle) {
        look(*slot, rng);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(loads: &[(u32, u64, u32)], wanted: usize, rng: &mut fastrand::Rng) -> Vec<u32> {
        let mut best = Best::new(wanted);
        for &(slot, milli, weight) in loads {
            best.offer(slot, milli, weight, rng);
        }
        best.slots().collect()
    }

    #[test]
    fn least_work_wins_and_spares_follow_in_order() {
        let mut rng = fastrand::Rng::with_seed(1);
        let loads = [(0, 3000, 1), (1, 1000, 1), (2, 2000, 1), (3, 500, 1)];
        assert_eq!(best(&loads, 1, &mut rng), [3]);
        assert_eq!(best(&loads, 3, &mut rng), [3, 1, 2]);
        assert_eq!(best(&loads, 9, &mut rng), [3, 1, 2, 0]);
        assert!(best(&[], 2, &mut rng).is_empty());
    }

    #[test]
    fn weight_divides_the_work() {
        let mut rng = fastrand::Rng::with_seed(1);
        assert_eq!(best(&[(0, 4000, 1), (1, 6000, 2)], 1, &mut rng), [1]);
        assert_eq!(best(&[(0, 1000, 0), (1, 2000, u32::MAX)], 1, &mut rng), [1]);
    }

    #[test]
    fn ties_fall_on_each_equally_often() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut hits = [0_u32; 5];
        let loads: Vec<_> = (0..5).map(|slot| (slot, 1000, 1)).collect();
        for _ in 0..50_000 {
            hits[best(&loads, 1, &mut rng)[0] as usize] += 1;
        }
        // Five standard deviations of a binomial with p = 1/5.
        assert!(hits.iter().all(|&hit| hit.abs_diff(10_000) < 450), "{hits:?}");
    }

    #[test]
    fn a_large_cluster_is_sampled_evenly_without_repetition() {
        let eligible: Vec<u32> = (0..1000).collect();
        let picker = Picker { scan_limit: 128, samples: 8, idle: 0 };
        let mut rng = fastrand::Rng::with_seed(3);
        let mut hits = vec![0_u32; 1000];
        for _ in 0..20_000 {
            let mut seen = Vec::new();
            candidates(&eligible, &[], picker, &mut rng, |slot, _| seen.push(slot));
            assert_eq!(seen.len(), 8);
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 8);
            for slot in seen {
                hits[slot as usize] += 1;
            }
        }
        assert!(hits.iter().all(|&hit| hit.abs_diff(160) < 80), "160 expected of each");
    }

    #[test]
    fn the_idle_are_looked_at_beside_the_sample_only_where_one_is_drawn() {
        let mut rng = fastrand::Rng::with_seed(3);
        let picker = Picker { scan_limit: 4, samples: 2, idle: 4 };
        let mut seen = Vec::new();
        candidates(&[1, 2, 3, 4, 5, 6], &[6], picker, &mut rng, |slot, _| seen.push(slot));
        assert_eq!((seen.len(), seen.last()), (3, Some(&6)));
        seen.clear();
        candidates(&[1, 2, 3, 4], &[4], picker, &mut rng, |slot, _| seen.push(slot));
        assert_eq!(seen, [1, 2, 3, 4]);
    }

    #[test]
    fn the_same_seed_picks_the_same() {
        let picks = |seed| {
            let mut rng = fastrand::Rng::with_seed(seed);
            (0..64).map(|_| best(&[(0, 1, 1), (1, 1, 1), (2, 1, 1)], 1, &mut rng)[0]).collect()
        };
        let (one, two, other): (Vec<u32>, Vec<u32>, Vec<u32>) = (picks(9), picks(9), picks(10));
        assert_eq!(one, two);
        assert_ne!(one, other);
    }
}
