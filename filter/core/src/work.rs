//! Work: what a request costs an endpoint.

use core::fmt;
use core::ops::{AddAssign, SubAssign};

/// An amount of outstanding work, or the cost of one request, in thousandths of the cluster's
/// mean request. Kept as an integer because Envoy's gauges are integers and sums must be exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Work(u64);

impl Work {
    /// The cost of a request whose method has no configured cost.
    pub const ONE: Work = Work(1000);
    /// No work: a method that is excluded.
    pub const ZERO: Work = Work(0);

    /// From thousandths of a mean request.
    pub const fn from_milli(milli: u64) -> Self {
        Work(milli)
    }

    /// In thousandths of a mean request.
    pub const fn milli(self) -> u64 {
        self.0
    }

    /// Whether there is none.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Work) {
        self.0 = self.0.saturating_add(other.0);
    }
}

/// Saturates at zero: a count is never negative.
impl SubAssign for Work {
    fn sub_assign(&mut self, other: Work) {
        self.0 = self.0.saturating_sub(other.0);
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test;

    #[test]
    fn work_is_told_in_mean_requests() {
        for (milli, text) in [(0, "0.000"), (7, "0.007"), (1000, "1.000"), (12_345, "12.345")] {
            assert_eq!(Work::from_milli(milli).to_string(), text);
        }
    }

    #[test]
    fn sums_stay_within_range() {
        let mut work = Work::from_milli(u64::MAX - 1000);
        work += Work::ONE;
        work += Work::ONE;
        assert_eq!(work.milli(), u64::MAX);
        work = Work::from_milli(1500);
        work -= Work::ONE;
        assert_eq!(work.milli(), 500);
        work -= Work::ONE;
        assert!(work.is_zero());
    }
}
