//! The proxy's clock, which only the test moves, and its random numbers.

use std::cell::Cell;

/// The wall clock at the start: 2030-01-01T00:00:00Z, in nanoseconds since 1970.
const EPOCH: u64 = 1_893_456_000_000_000_000;
/// The monotonic clock at the start, in nanoseconds: an hour, so that subtractions have room.
const MONOTONIC: u64 = 3_600_000_000_000;

/// Nanoseconds since the start.
#[derive(Debug, Default)]
pub(crate) struct Clock(Cell<u64>);

impl Clock {
    pub(crate) fn now(&self) -> u64 {
        self.0.get()
    }

    pub(crate) fn set(&self, now: u64) {
        self.0.set(now);
    }

    pub(crate) fn wall(&self) -> u64 {
        EPOCH + self.0.get()
    }

    pub(crate) fn monotonic(&self) -> u64 {
        MONOTONIC + self.0.get()
    }
}

/// Random numbers from a seed (`SplitMix64`): no cryptography, the same on every machine.
#[derive(Debug)]
pub(crate) struct Random(Cell<u64>);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    pub(crate) fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below a bound, which is not 0.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn bytes(&self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        assert_eq!(Random::new(7).bytes(20), Random::new(7).bytes(20));
        assert_ne!(Random::new(7).bytes(20), Random::new(8).bytes(20));
        assert_eq!(Random::new(0).next(), 0xe220_a839_7b1d_cdaf);
    }
}
