//! A figure that was measured several times.

use serde::{Deserialize, Serialize};

/// A figure over the rounds.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Spread {
    /// Median of the rounds.
    pub median: f64,
    /// Lowest round.
    pub min: f64,
    /// Highest round.
    pub max: f64,
}

impl Spread {
    /// That of these rounds, in any order; zeros where there are none.
    pub fn over(mut rounds: Vec<f64>) -> Self {
        rounds.sort_by(f64::total_cmp);
        let middle = rounds.len() / 2;
        let (Some(min), Some(max)) = (rounds.first(), rounds.last()) else {
            return Self::default();
        };
        let median = if rounds.len().is_multiple_of(2) {
            f64::midpoint(rounds[middle - 1], rounds[middle])
        } else {
            rounds[middle]
        };
        Self { median, min: *min, max: *max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_median() {
        let odd = Spread::over(vec![3.0, 1.0, 2.0]);
        assert_eq!(odd, Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert!((Spread::over(vec![4.0, 1.0]).median - 2.5).abs() < 1e-12);
        assert_eq!(Spread::over(Vec::new()), Spread::default());
    }
}
