//! How much work a request is.

use std::path::Path;

use fastrand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::random::{unit_exponential, unit_normal};
use crate::span::Span;

/// A distribution of service times.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ServiceTime {
    /// Always the same.
    Constant {
        /// The time.
        value: Span,
    },
    /// Exponential.
    Exponential {
        /// Its mean.
        mean: Span,
    },
    /// Uniform.
    Uniform {
        /// The least.
        low: Span,
        /// The largest.
        high: Span,
    },
    /// Log-normal: a heavy tail.
    LogNormal {
        /// Its mean (not the median).
        mean: Span,
        /// Deviation of the logarithm, 0 to 5.
        sigma: f64,
    },
    /// Light requests, and now and then a heavy one.
    Bimodal {
        /// The light ones.
        light: Span,
        /// The heavy ones.
        heavy: Span,
        /// Percent of heavy ones.
        heavy_percent: f64,
    },
    /// Normal; what is negative is drawn again (Prequal's test bed).
    Normal {
        /// Mean before negative values are drawn again; afterwards it is larger.
        mean: Span,
        /// Standard deviation, likewise.
        deviation: Span,
    },
    /// Drawn from a file of samples.
    Samples(Samples),
}

/// Measured service times.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Samples {
    /// One number of milliseconds a line; relative to the scenario's file.
    pub file: String,
    #[serde(skip)]
    pub(crate) ns: Vec<f64>,
}

impl Samples {
    /// Reads the file.
    ///
    /// # Errors
    /// A sentence with the file's name, where it cannot be read or a line is no time.
    pub(crate) fn load(&mut self, folder: &Path) -> Result<(), String> {
        let path = folder.join(&self.file);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        self.ns = lines
            .map(|(number, line)| match line.trim().parse::<f64>() {
                Ok(ms) if (0.0..=86_400_000.0).contains(&ms) => Ok(ms * 1e6),
                _ => Err(format!("{}, line {number}: no number of ms: {line:?}", path.display())),
            })
            .collect::<Result<_, _>>()?;
        if self.ns.iter().any(|ns| *ns > 0.0) {
            Ok(())
        } else {
            Err(format!("{}: no samples above 0", path.display()))
        }
    }
}

impl ServiceTime {
    /// Its mean, in ns.
    #[allow(clippy::cast_precision_loss)]
    pub fn mean(&self) -> f64 {
        match self {
            Self::Constant { value } => value.as_f64(),
            Self::Exponential { mean } | Self::LogNormal { mean, .. } => mean.as_f64(),
            Self::Uniform { low, high } => f64::midpoint(low.as_f64(), high.as_f64()),
            Self::Bimodal { light, heavy, heavy_percent } => {
                let share = heavy_percent / 100.0;
                light.as_f64() * (1.0 - share) + heavy.as_f64() * share
            }
            Self::Normal { mean, deviation } => truncated_mean(mean.as_f64(), deviation.as_f64()),
            Self::Samples(samples) => samples.ns.iter().sum::<f64>() / samples.ns.len() as f64,
        }
    }

    /// Draws one, in ns.
    pub fn draw(&self, rng: &mut Rng) -> f64 {
        match self {
            Self::Constant { value } => value.as_f64(),
            Self::Exponential { mean } => mean.as_f64() * unit_exponential(rng),
            Self::Uniform { low, high } => {
                low.as_f64() + (high.as_f64() - low.as_f64()) * rng.f64()
            }
            // exp(mu + sigma Z) has the mean exp(mu + sigma^2 / 2).
            Self::LogNormal { mean, sigma } => {
                mean.as_f64() * (sigma * unit_normal(rng) - sigma * sigma / 2.0).exp()
            }
            Self::Bimodal { light, heavy, heavy_percent } => {
                let heavy_one = rng.f64() * 100.0 < *heavy_percent;
                if heavy_one { heavy.as_f64() } else { light.as_f64() }
            }
            Self::Normal { mean, deviation } => loop {
                let drawn = mean.as_f64() + deviation.as_f64() * unit_normal(rng);
                if drawn >= 0.0 {
                    return drawn;
                }
            },
            Self::Samples(samples) => samples.ns[rng.usize(..samples.ns.len())],
        }
    }
}

/// Mean of a normal distribution without its negative part: `m + s phi(m/s) / Phi(m/s)`.
fn truncated_mean(mean: f64, deviation: f64) -> f64 {
    if deviation == 0.0 {
        return mean;
    }
    let at = mean / deviation;
    let density = (-at * at / 2.0).exp() / std::f64::consts::TAU.sqrt();
    // Phi by Simpson's rule between 0 and `at`: exact to ten digits for the few deviations there are.
    let steps = 1_000;
    let width = at / f64::from(steps);
    let height = |i: i32| (-(f64::from(i) * width).powi(2) / 2.0).exp();
    let inner: f64 = (1..steps).map(|i| height(i) * if i % 2 == 0 { 2.0 } else { 4.0 }).sum();
    let area = (height(0) + inner + height(steps)) * width / 3.0;
    mean + deviation * density / (0.5 + area / std::f64::consts::TAU.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_those_of_what_is_drawn() {
        let ms = Span::ms;
        let all = [
            ServiceTime::Constant { value: ms(7) },
            ServiceTime::Exponential { mean: ms(40) },
            ServiceTime::Uniform { low: ms(10), high: ms(50) },
            ServiceTime::LogNormal { mean: ms(40), sigma: 1.0 },
            ServiceTime::Bimodal { light: ms(10), heavy: ms(200), heavy_percent: 10.0 },
            ServiceTime::Normal { mean: ms(80), deviation: ms(80) },
            ServiceTime::Normal { mean: ms(80), deviation: Span::ZERO },
            ServiceTime::Samples(Samples { file: String::new(), ns: vec![1e6, 2e6, 9e6] }),
        ];
        for service in all {
            let mut rng = Rng::with_seed(1);
            let draws = 400_000;
            let sum: f64 = (0..draws).map(|_| service.draw(&mut rng)).sum();
            let ratio = sum / f64::from(draws) / service.mean();
            assert!((0.99..1.01).contains(&ratio), "{service:?}: {ratio}");
        }
    }

    #[test]
    fn a_bad_sample_is_named_by_file_and_line() {
        let folder = std::env::temp_dir();
        let file = format!("leastload-samples-{}", std::process::id());
        let mut samples = Samples { file: file.clone(), ns: Vec::new() };
        assert!(samples.load(&folder).unwrap_err().contains(&file));
        for (text, fault) in
            [("1\nx\n", "line 2"), ("1\n-2", "line 2"), ("\n", "no samples"), ("0\n0", "above 0")]
        {
            std::fs::write(folder.join(&file), text).unwrap();
            let error = samples.load(&folder).unwrap_err();
            assert!(error.contains(fault) && error.contains(&file), "{error}");
        }
        std::fs::write(folder.join(&file), "1.5\n\n2\n").unwrap();
        samples.load(&folder).unwrap();
        assert_eq!(samples.ns, [1.5e6, 2e6]);
        std::fs::remove_file(folder.join(&file)).unwrap();
    }
}
