//! Random numbers of the usual distributions.

use fastrand::Rng;

/// Exponential with mean 1, by inversion.
pub(crate) fn unit_exponential(rng: &mut Rng) -> f64 {
    // 1 - u is in (0, 1], so the logarithm is finite.
    -(1.0 - rng.f64()).ln()
}

/// Standard normal (Box and Muller, 1958).
pub(crate) fn unit_normal(rng: &mut Rng) -> f64 {
    let radius = (2.0 * unit_exponential(rng)).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

/// Whether the `nth` of many, from 0, is among `percent` of them, spread evenly; rounded down.
pub(crate) fn is_among(nth: u32, percent: f64) -> bool {
    // 100 * 0.29 is less than 29, 100 * 29 / 100 is not.
    let upto = |count: u32| (f64::from(count) * percent / 100.0).floor();
    upto(nth + 1) > upto(nth)
}

/// A generator for one purpose of a run, unrelated to those of its other purposes.
pub(crate) fn stream(seed: u64, purpose: u64) -> Rng {
    Rng::with_seed(
        seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ purpose.wrapping_mul(0xd1b5_4a32_d192_ed03),
    )
}
