//! gRPC's static stride scheduler
//! (`src/core/load_balancing/weighted_round_robin/static_stride_scheduler.cc`), which its
//! weighted round robin uses in place of gRFC A58's earliest deadline first.
//!
//! Rounds go through everybody in order; each round takes those whose share of it is due: with the
//! greatest weight nearly always, with half of it every second time. An offset by place keeps equals
//! from being due in the same rounds.

/// The greatest weight, as everybody's is scaled.
const MOST: u64 = u16::MAX as u64;
/// Weights are kept within these multiples of their mean.
const RANGE: (f64, f64) = (0.01, 10.0);

/// Weights of places 0, 1 and so on, scaled.
#[derive(Default)]
pub(super) struct Stride {
    weights: Vec<u16>,
}

impl Stride {
    /// Takes new weights; 0 or less means unknown and stands for the mean of the others. With none
    /// known all are equal: plain round robin.
    pub(super) fn set(&mut self, weights: impl Iterator<Item = f64> + Clone) {
        let known = weights.clone().filter(|&weight| weight > 0.0);
        let (sum, count, greatest) = known
            .fold((0.0, 0.0, 0.0_f64), |(sum, count, most), weight| {
                (sum + weight, count + 1.0, most.max(weight))
            });
        self.weights.clear();
        if count <= 0.0 {
            self.weights.extend(weights.map(|_| u16::MAX));
            return;
        }
        let mean = sum / count;
        let greatest = greatest.min(mean * RANGE.1);
        let scale = f64::from(u16::MAX) / greatest;
        let mean = (mean * scale).round();
        let least = (mean * RANGE.0).round().max(1.0);
        self.weights.extend(weights.map(|weight| {
            let scaled = (weight.min(greatest) * scale).round().max(least);
            whole(if weight > 0.0 { scaled } else { mean })
        }));
    }

    /// The next place; `sequence` counts everything ever looked at, over changes of weights too.
    pub(super) fn pick(&self, sequence: &mut u32) -> Option<usize> {
        let count = u64::try_from(self.weights.len()).ok().filter(|&count| count > 0)?;
        loop {
            let (round, place) = (u64::from(*sequence) / count, u64::from(*sequence) % count);
            *sequence = sequence.wrapping_add(1);
            let index = usize::try_from(place).ok()?;
            let weight = u64::from(self.weights[index]);
            // One of the scaled weights is the greatest, so hardly more than a round is looked at.
            if (weight * round + place * (MOST / 2)) % MOST >= MOST - weight {
                return Some(index);
            }
        }
    }
}

/// Of a whole number from 0 to 65535.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(number: f64) -> u16 {
    number as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(weights: &[f64], picks: u32) -> Vec<f64> {
        let mut stride = Stride::default();
        stride.set(weights.iter().copied());
        let mut tally = vec![0.0; weights.len()];
        let mut sequence = 12_345;
        for _ in 0..picks {
            tally[stride.pick(&mut sequence).unwrap()] += 1.0 / f64::from(picks);
        }
        tally
    }

    fn near(left: &[f64], right: &[f64]) -> bool {
        left.iter().zip(right).all(|(left, right)| (left - right).abs() < 0.001)
    }

    #[test]
    fn shares_are_in_proportion_to_weights() {
        let shares = shares(&[1.0, 2.0, 3.0, 4.0], 100_000);
        assert!(near(&shares, &[0.1, 0.2, 0.3, 0.4]), "{shares:?}");
    }

    #[test]
    fn the_unknown_get_the_mean_of_the_known() {
        let some = shares(&[1.0, 0.0, 3.0, 0.0], 100_000);
        assert!(near(&some, &[0.125, 0.25, 0.375, 0.25]), "{some:?}");
        for weights in [[0.0; 4], [0.0, 7.0, 0.0, 0.0]] {
            let none = shares(&weights, 4_000);
            assert!(near(&none, &[0.25; 4]), "fewer than two are known: {none:?}");
        }
    }

    #[test]
    fn extremes_are_kept_near_the_mean() {
        let mut weights = vec![1.0; 200];
        weights[0] = 1e6;
        weights[1] = 1e-6;
        let shares = shares(&weights, 100_000);
        // Mean 5001: the greatest is 50010 at most, the others are 50 at least.
        let sum = 50_010.0 + 199.0 * 50.01;
        assert!(
            near(&shares[..3], &[50_010.0 / sum, 50.0 / sum, 50.0 / sum]),
            "{:?}",
            &shares[..3]
        );
    }

    #[test]
    fn equals_are_not_due_in_the_same_rounds() {
        let mut stride = Stride::default();
        stride.set([1.0, 1.0, 1.0, 1.0, 2.0].into_iter());
        let mut sequence = 0;
        let picks: Vec<_> = (0..60).filter_map(|_| stride.pick(&mut sequence)).collect();
        assert!(picks.windows(4).all(|window| window.contains(&4)), "{picks:?}");
    }

    #[test]
    fn equals_take_turns() {
        let mut stride = Stride::default();
        stride.set([5.0; 3].into_iter());
        let mut sequence = 3;
        let picks: Vec<_> = (0..9).filter_map(|_| stride.pick(&mut sequence)).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2, 0, 1, 2]);
        stride.set(std::iter::empty());
        assert_eq!(stride.pick(&mut sequence), None);
    }
}
