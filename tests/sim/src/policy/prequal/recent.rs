//! The distribution of requests in flight over the servers, as one client has heard of it.

/// Answers it is estimated from. The paper does not say; the crate prequal-core has the same.
const WINDOW: usize = 64;

/// Numbers in flight in the last answers.
pub(super) struct Recent {
    /// In the order in which they came, from `oldest` on.
    ring: Vec<f32>,
    oldest: usize,
    sorted: Vec<f32>,
}

impl Recent {
    pub(super) fn new() -> Self {
        let (ring, sorted) = (Vec::with_capacity(WINDOW), Vec::with_capacity(WINDOW));
        Self { ring, oldest: 0, sorted }
    }

    pub(super) fn add(&mut self, in_flight: f32) {
        if self.ring.len() == WINDOW {
            let place = self.place(self.ring[self.oldest]);
            self.sorted.remove(place);
            self.ring[self.oldest] = in_flight;
            self.oldest = (self.oldest + 1) % WINDOW;
        } else {
            self.ring.push(in_flight);
        }
        self.sorted.insert(self.place(in_flight), in_flight);
    }

    /// The first that is not less.
    fn place(&self, in_flight: f32) -> usize {
        self.sorted.partition_point(|other| other.total_cmp(&in_flight).is_lt())
    }

    /// Servers with more in flight are hot. At 0 all are (only the number in flight decides), at 1
    /// or before the first answer none is (only the latency).
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
    pub(super) fn threshold(&self, quantile: f64) -> f32 {
        if quantile <= 0.0 {
            return f32::NEG_INFINITY;
        }
        if quantile >= 1.0 || self.sorted.is_empty() {
            return f32::INFINITY;
        }
        self.sorted[((self.sorted.len() - 1) as f64 * quantile) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp)]
    fn the_threshold_is_the_quantile_of_the_last_answers() {
        let mut recent = Recent::new();
        assert_eq!(recent.threshold(0.5), f32::INFINITY);
        for value in (1_u8..=100).rev() {
            recent.add(value.into());
        }
        // 1 to 64 are left.
        assert_eq!(recent.threshold(0.5), 32.0);
        assert_eq!(recent.threshold(0.84), 53.0);
        assert_eq!(recent.threshold(0.999), 63.0);
        assert_eq!(recent.threshold(0.0), f32::NEG_INFINITY);
        assert_eq!(recent.threshold(1.0), f32::INFINITY);
        for _ in 0..WINDOW {
            recent.add(7.0);
        }
        assert_eq!(recent.threshold(0.01), 7.0);
        assert_eq!(recent.sorted.len(), WINDOW);
    }
}
