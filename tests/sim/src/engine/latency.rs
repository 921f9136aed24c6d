//! What a server of Prequal (Wydrowski et al., NSDI 2024, section 4) answers when it is probed: the
//! median latency of recent requests that found about as many in flight as there are now.
//!
//! The paper leaves open how many samples are kept, how near is near, and what is said where there
//! are none. Here: the last [`SAMPLES`] of each number in flight, for a second (the age at which a
//! client of Prequal discards what it was told); near is one more or less, or an eighth; without
//! any near sample the nearest counts, however old. So a server that has stopped, and ends nothing,
//! does not become attractive by silence.

use std::collections::VecDeque;

/// Samples kept of each number in flight.
const SAMPLES: usize = 16;
/// Above this, numbers in flight share buckets, 8 for each doubling.
const EXACT: u32 = 64;
/// Buckets: up to more than a million in flight.
const BUCKETS: usize = 64 + 8 * 14;
/// Samples are recent for so long, in ns.
const RECENT: u64 = 1_000_000_000;

#[derive(Clone, Copy)]
struct Sample {
    at: u64,
    latency: f32,
}

/// Latencies of late, by the number of requests in flight on arrival. At most 45 kB.
#[derive(Default)]
pub(crate) struct LatencyAtRif {
    buckets: Vec<VecDeque<Sample>>,
    /// Reused by each estimate.
    near: Vec<f32>,
}

impl LatencyAtRif {
    /// A request has ended. Times in ns; `now` never goes back.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn record(&mut self, rif_at_arrival: u32, latency_ns: u64, now: u64) {
        let index = bucket(rif_at_arrival);
        if index >= self.buckets.len() {
            self.buckets.resize_with(index + 1, VecDeque::new);
        }
        let samples = &mut self.buckets[index];
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(Sample { at: now, latency: latency_ns as f32 });
    }

    /// The median (of an even number the upper one) latency at `rif` in flight, in ns. 0: nothing
    /// has ended yet.
    pub(crate) fn estimate(&mut self, rif: u32, now: u64) -> f32 {
        let width = (rif / 8).max(1);
        let (low, high) = (bucket(rif.saturating_sub(width)), bucket(rif.saturating_add(width)));
        self.near.clear();
        for samples in self.buckets.iter().take(high + 1).skip(low) {
            self.near.extend(recent(samples, now).map(|sample| sample.latency));
        }
        if self.near.is_empty() {
            let middle = bucket(rif);
            self.nearest(middle, |samples| recent(samples, now).next().is_some())
                .or_else(|| self.nearest(middle, |samples| !samples.is_empty()))
                .map_or(0.0, |sample| sample.latency)
        } else {
            let middle = self.near.len() / 2;
            *self.near.select_nth_unstable_by(middle, f32::total_cmp).1
        }
    }

    /// The newest sample of the nearest bucket that is wanted; of two as near, that of more.
    fn nearest(&self, to: usize, wanted: impl Fn(&VecDeque<Sample>) -> bool) -> Option<Sample> {
        (0..self.buckets.len())
            .filter(|&index| wanted(&self.buckets[index]))
            .min_by_key(|&index| (index.abs_diff(to), index < to))
            .and_then(|index| self.buckets[index].back().copied())
    }
}

fn recent(samples: &VecDeque<Sample>, now: u64) -> impl Iterator<Item = &Sample> {
    samples.iter().rev().take_while(move |sample| now - sample.at <= RECENT)
}

/// Its number in flight, or an eighth of a doubling.
fn bucket(rif: u32) -> usize {
    let index = if rif < EXACT {
        rif
    } else {
        // The highest bit is at least the sixth; the three below it choose among eight.
        let highest = rif.ilog2();
        EXACT + (highest - 6) * 8 + ((rif >> (highest - 3)) & 7)
    };
    (index as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn ms(latency: &mut LatencyAtRif, rif: u32, now: u64) -> f32 {
        latency.estimate(rif, now) / 1e6
    }

    #[test]
    #[allow(clippy::float_cmp)]
    fn it_is_the_median_at_the_present_number_in_flight() {
        let mut latency = LatencyAtRif::default();
        assert_eq!(latency.estimate(3, 0), 0.0, "nothing is known");
        for (rif, values) in [(0, [10, 12, 900]), (10, [50, 60, 70]), (40, [200, 210, 1])] {
            for value in values {
                latency.record(rif, value * MS, 0);
            }
        }
        assert_eq!(ms(&mut latency, 0, 0), 12.0);
        assert_eq!(ms(&mut latency, 1, 0), 12.0, "one more is near");
        assert_eq!(ms(&mut latency, 10, 0), 60.0);
        assert_eq!(ms(&mut latency, 38, 0), 200.0, "an eighth is near");
        assert_eq!(ms(&mut latency, 13, 0), 70.0, "the nearest, its newest");
        assert_eq!(ms(&mut latency, 25, 0), 1.0, "of two as near, that of more");
        assert_eq!(ms(&mut latency, u32::MAX, 0), 1.0);
    }

    #[test]
    #[allow(clippy::float_cmp)]
    fn old_samples_give_way_to_recent_ones_but_do_not_vanish() {
        let mut latency = LatencyAtRif::default();
        latency.record(5, 10 * MS, 0);
        latency.record(5, 20 * MS, 100 * MS);
        assert_eq!(ms(&mut latency, 5, 1_000 * MS), 20.0, "both are recent");
        latency.record(9, 90 * MS, 1_050 * MS);
        assert_eq!(ms(&mut latency, 5, 1_050 * MS), 20.0, "the first is too old");
        assert_eq!(ms(&mut latency, 5, 1_101 * MS), 90.0, "recent before near");
        assert_eq!(ms(&mut latency, 5, 9_000 * MS), 20.0, "a server that ends nothing");
        for value in 100..200 {
            latency.record(5, value * MS, 1_200 * MS);
        }
        assert_eq!(ms(&mut latency, 5, 1_200 * MS), 192.0, "the last 16");
    }

    #[test]
    fn buckets_are_in_order_and_bounded() {
        let mut last = 0;
        for rif in 0..5_000 {
            let index = bucket(rif);
            assert!(index == last || index == last + 1, "{rif}: {index} after {last}");
            last = index;
        }
        assert_eq!(bucket(63), 63);
        assert_eq!(bucket(64), 64);
        assert_eq!(bucket(72), 65);
        assert_eq!(bucket(u32::MAX), BUCKETS - 1);
        let mut latency = LatencyAtRif::default();
        for rif in 0..20_000 {
            latency.record(rif, 1, 0);
        }
        assert!(latency.buckets.len() <= BUCKETS);
        assert!(latency.buckets.iter().all(|samples| samples.len() <= SAMPLES));
    }
}
