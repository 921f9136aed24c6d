//! Oscillation: how much of the variance of what a server has in flight lies at one period.
//!
//! The number in flight is sampled 32 times in a period. Over windows of eight periods the Fourier
//! coefficient of that period is taken; by Parseval's theorem its power is a part of the variance.
//! A pure wave of the period gives 1, noise 2 / 256.

/// Samples in a period.
pub(crate) const SAMPLES_PER_PERIOD: u32 = 32;
const PERIODS: usize = 8;
const WINDOW: usize = PERIODS * SAMPLES_PER_PERIOD as usize;

#[derive(Clone, Copy, Default)]
struct Sums {
    values: f64,
    squares: f64,
    cosine: f64,
    sine: f64,
}

/// All servers' windows.
pub(crate) struct Waves {
    servers: Vec<Sums>,
    at: usize,
    angle: (f64, f64),
    variance: f64,
    power: f64,
}

fn angle(at: usize) -> (f64, f64) {
    #[allow(clippy::cast_precision_loss)]
    let turn = at as f64 / f64::from(SAMPLES_PER_PERIOD);
    (turn * std::f64::consts::TAU).sin_cos()
}

impl Waves {
    pub(crate) fn new(servers: usize) -> Self {
        Self {
            servers: vec![Sums::default(); servers],
            at: 0,
            angle: angle(0),
            variance: 0.0,
            power: 0.0,
        }
    }

    /// What a server has in flight at this sample.
    pub(crate) fn add(&mut self, server: usize, value: f64) {
        let sums = &mut self.servers[server];
        sums.values += value;
        sums.squares += value * value;
        sums.sine += value * self.angle.0;
        sums.cosine += value * self.angle.1;
    }

    /// The sample is complete.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn next(&mut self) {
        self.at += 1;
        self.angle = angle(self.at);
        if self.at == WINDOW {
            self.at = 0;
            let count = WINDOW as f64;
            for sums in &mut self.servers {
                self.variance += sums.squares / count - (sums.values / count).powi(2);
                // Both the frequency and its mirror image.
                self.power += 2.0 * (sums.sine.powi(2) + sums.cosine.powi(2)) / (count * count);
                *sums = Sums::default();
            }
        }
    }

    /// The share, 0 to 1. `None` where the run is shorter than a window or nothing varies.
    pub(crate) fn share(&self) -> Option<f64> {
        (self.variance > 1e-9).then(|| self.power / self.variance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(value: impl Fn(usize) -> f64) -> Option<f64> {
        let mut waves = Waves::new(1);
        for at in 0..WINDOW * 4 {
            waves.add(0, value(at));
            waves.next();
        }
        waves.share()
    }

    #[test]
    fn a_wave_of_the_period_is_all_of_its_variance_and_noise_hardly_any() {
        let wave = |period: usize| {
            move |at: usize| {
                let turn = f64::from(u32::try_from(at % period).unwrap())
                    / f64::from(u32::try_from(period).unwrap());
                10.0 + 3.0 * (turn * std::f64::consts::TAU).cos()
            }
        };
        assert!((share(wave(32)).unwrap() - 1.0).abs() < 1e-6);
        assert!(share(wave(64)).unwrap() < 1e-6);
        let rng = std::cell::RefCell::new(fastrand::Rng::with_seed(1));
        assert!(share(|_| rng.borrow_mut().f64()).unwrap() < 0.03);
        assert_eq!(share(|_| 5.0), None);
    }
}
