//! The choice among endpoints: the least outstanding work for its weight, ties at random.
//!
//! What this VM itself has outstanding at an endpoint is known for free and is the least that all
//! workers together can have there; reading the rest costs a host call. So candidates are visited
//! in the order of that floor, and the search ends when nobody's floor is below what was found:
//! the answer is that of reading everything.

use core::cmp::Reverse;
use core::mem;
use std::collections::BinaryHeap;

use crate::config::Picker;

/// Most endpoints that one pick names: itself and its spares.
pub const MOST: usize = 9;

/// An endpoint in the comparison. Smaller is better; `tie` is drawn anew for each search, so that
/// equals are equally likely whatever their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// Work for its weight: first the floor, then what was read.
    load: u64,
    tie: u32,
    slot: u32,
    weight: u32,
}

impl Candidate {
    const NOBODY: Self = Self { load: u64::MAX, tie: u32::MAX, slot: u32::MAX, weight: 0 };
}

/// A pick: the best slots, best first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Picks {
    slots: [Option<u32>; MOST],
}

impl Picks {
    /// The best slot.
    pub fn first(&self) -> Option<u32> {
        self.iter().next()
    }

    /// All of them, the best first.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.slots.iter().map_while(|slot| *slot)
    }
}

/// A search for the best endpoints. Kept between picks, so that none of them allocates.
#[derive(Default)]
pub struct Search {
    candidates: Vec<Reverse<Candidate>>,
    sample: Vec<u32>,
}

impl Search {
    /// Begins a search among `eligible`: all of it, or, where looking at every endpoint would cost
    /// more than it gains, a sample without repetition and `idle`.
    ///
    /// `floor` tells an endpoint's weight and the least it would have outstanding with this
    /// request, in thousandths of a mean request; `None` leaves it out.
    pub fn begin(
        &mut self,
        eligible: &[u32],
        idle: &[u32],
        picker: Picker,
        rng: &mut fastrand::Rng,
        floor: impl Fn(u32) -> Option<(u64, u32)>,
    ) {
        self.candidates.clear();
        let mut offer = |slot: u32, rng: &mut fastrand::Rng| {
            if let Some((milli, weight)) = floor(slot) {
                let load = for_weight(milli, weight);
                let tie = rng.u32(..);
                self.candidates.push(Reverse(Candidate { load, tie, slot, weight }));
            }
        };
        if eligible.len() <= picker.scan_limit.max(picker.samples) {
            for &slot in eligible {
                offer(slot, rng);
            }
            return;
        }
        // Floyd's algorithm: a uniform sample without repetition, in as many draws as its size.
        self.sample.clear();
        for last in eligible.len() - picker.samples..eligible.len() {
            let draw = eligible.get(rng.usize(..=last)).filter(|slot| !self.sample.contains(slot));
            self.sample.extend(draw.or_else(|| eligible.get(last)));
        }
        for &slot in self.sample.iter().chain(idle) {
            offer(slot, rng);
        }
    }

    /// The best `wanted` (1 to [`MOST`]). `work` reads what an endpoint would have outstanding with
    /// this request over all workers: not less than its floor.
    pub fn best(&mut self, wanted: usize, mut work: impl FnMut(u32) -> u64) -> Picks {
        let mut found = [Candidate::NOBODY; MOST];
        let found = found.split_at_mut(wanted.clamp(1, MOST)).0;
        let mut heap = BinaryHeap::from(mem::take(&mut self.candidates));
        while let Some(Reverse(mut next)) = heap.pop() {
            if found.last().is_some_and(|worst| worst.load <= next.load) {
                break;
            }
            // An endpoint of the sample may be among the idle too.
            if found.iter().any(|known| known.slot == next.slot) {
                continue;
            }
            next.load = for_weight(work(next.slot), next.weight);
            for place in &mut *found {
                if next < *place {
                    mem::swap(&mut next, place);
                }
            }
        }
        self.candidates = heap.into_vec();
        let mut picks = Picks::default();
        for (slot, candidate) in picks.slots.iter_mut().zip(found) {
            *slot = (candidate.weight > 0).then_some(candidate.slot);
        }
        picks
    }
}

/// Fixed point keeps a small load over a large weight apart from none.
fn for_weight(milli: u64, weight: u32) -> u64 {
    let load = milli.saturating_mul(1 << 16);
    if weight > 1 { load / u64::from(weight) } else { load }
}

#[cfg(test)]
mod tests;
