//! How long a call takes: distributions of the service time, drawn by seed.

use std::{fmt, str::FromStr, time::Duration};

use fastrand::Rng;

use crate::Error;

/// A distribution of service times. Written and read as `const:10ms`, `exp:40ms`,
/// `uniform:20ms,60ms`, `lognormal:40ms,1.5`, `bimodal:10ms,200ms,0.1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ServiceTime {
    /// Always the same.
    Constant(Duration),
    /// Exponential with this mean.
    Exponential(Duration),
    /// Uniform between the two.
    Uniform(Duration, Duration),
    /// Log-normal with this mean (not median) and this sigma of the logarithm, 0 to 5.
    LogNormal(Duration, f64),
    /// The first, or with this probability the second: rare heavy calls among light ones.
    Bimodal(Duration, Duration, f64),
}

impl ServiceTime {
    /// Mean of the distribution.
    pub fn mean(&self) -> Duration {
        match *self {
            Self::Constant(mean) | Self::Exponential(mean) | Self::LogNormal(mean, _) => mean,
            Self::Uniform(low, high) => (low + high) / 2,
            Self::Bimodal(light, heavy, share) => light.mul_f64(1.0 - share) + heavy.mul_f64(share),
        }
    }

    /// Draws one service time.
    pub fn sample(&self, rng: &mut Rng) -> Duration {
        match *self {
            Self::Constant(value) => value,
            Self::Exponential(mean) => mean.mul_f64(unit_exponential(rng)),
            Self::Uniform(low, high) => low + high.saturating_sub(low).mul_f64(rng.f64()),
            Self::LogNormal(mean, sigma) => {
                // exp(mu + sigma Z) has mean exp(mu + sigma^2 / 2).
                mean.mul_f64((sigma * unit_normal(rng) - sigma * sigma / 2.0).exp())
            }
            Self::Bimodal(light, heavy, share) => {
                if rng.f64() < share {
                    heavy
                } else {
                    light
                }
            }
        }
    }
}

/// Exponential with mean 1, by inversion.
pub(crate) fn unit_exponential(rng: &mut Rng) -> f64 {
    // 1 - u is in (0, 1], so the logarithm is finite.
    -(1.0 - rng.f64()).ln()
}

/// Standard normal, by Box and Muller (1958).
fn unit_normal(rng: &mut Rng) -> f64 {
    let radius = (2.0 * unit_exponential(rng)).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

impl FromStr for ServiceTime {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || {
            Error::Argument(format!(
                "'{text}' is no service time; expected const:10ms, exp:40ms, uniform:20ms,60ms, \
                 lognormal:40ms,1.5 or bimodal:10ms,200ms,0.1"
            ))
        };
        let (kind, arguments) = text.split_once(':').ok_or_else(bad)?;
        let parts: Vec<&str> = arguments.split(',').map(str::trim).collect();
        let time = |part: &str| parse_duration(part).map_err(|_| bad());
        let number = |part: &str, most: f64| match part.parse::<f64>() {
            Ok(number) if (0.0..=most).contains(&number) => Ok(number),
            _ => Err(bad()),
        };
        Ok(match (kind, parts.as_slice()) {
            ("const", [value]) => Self::Constant(time(value)?),
            ("exp", [mean]) => Self::Exponential(time(mean)?),
            ("uniform", [low, high]) => Self::Uniform(time(low)?, time(high)?),
            ("lognormal", [mean, sigma]) => Self::LogNormal(time(mean)?, number(sigma, 5.0)?),
            ("bimodal", [light, heavy, share]) => {
                Self::Bimodal(time(light)?, time(heavy)?, number(share, 1.0)?)
            }
            _ => return Err(bad()),
        })
    }
}

impl fmt::Display for ServiceTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| format!("{}ms", time.as_secs_f64() * 1e3);
        match *self {
            Self::Constant(value) => write!(f, "const:{}", ms(value)),
            Self::Exponential(mean) => write!(f, "exp:{}", ms(mean)),
            Self::Uniform(low, high) => write!(f, "uniform:{},{}", ms(low), ms(high)),
            Self::LogNormal(mean, sigma) => write!(f, "lognormal:{},{sigma}", ms(mean)),
            Self::Bimodal(light, heavy, share) => {
                write!(f, "bimodal:{},{},{share}", ms(light), ms(heavy))
            }
        }
    }
}

/// Reads a duration with its unit: `250us`, `40ms`, `1.5s`, `2m`.
///
/// # Errors
/// When the unit is missing or the number is not one, is negative or above a day.
pub fn parse_duration(text: &str) -> Result<Duration, Error> {
    let bad = || Error::Argument(format!("'{text}' is no duration; expected e.g. 40ms or 1.5s"));
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(bad)?;
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(bad()),
    } * number.parse::<f64>().map_err(|_| bad())?;
    if (0.0..=86_400.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_of(distribution: ServiceTime, draws: u32) -> f64 {
        let mut rng = Rng::with_seed(7);
        let sum: f64 = (0..draws).map(|_| distribution.sample(&mut rng).as_secs_f64()).sum();
        sum / f64::from(draws)
    }

    #[test]
    fn means_are_as_named() {
        for text in [
            "const:10ms",
            "exp:40ms",
            "uniform:20ms,60ms",
            "lognormal:40ms,1",
            "bimodal:10ms,200ms,0.1",
        ] {
            let distribution: ServiceTime = text.parse().unwrap();
            let (drawn, named) = (mean_of(distribution, 200_000), distribution.mean());
            let error = drawn / named.as_secs_f64() - 1.0;
            assert!(error.abs() < 0.03, "{text}: mean {drawn} is off by {error}");
            assert_eq!(distribution.to_string(), text, "written as it is read");
        }
    }

    #[test]
    fn exponential_has_its_tail() {
        let mut rng = Rng::with_seed(3);
        let distribution = ServiceTime::Exponential(Duration::from_millis(10));
        let beyond =
            (0..100_000).filter(|_| distribution.sample(&mut rng).as_millis() >= 30).count();
        // P(X > 3 mean) = e^-3 = 4.98 %.
        assert!((4_700..5_300).contains(&beyond), "{beyond} of 100,000 above three means");
    }

    #[test]
    fn the_seed_decides() {
        let distribution: ServiceTime = "lognormal:40ms,1.5".parse().unwrap();
        let draw = |seed| {
            let mut rng = Rng::with_seed(seed);
            (0..50).map(|_| distribution.sample(&mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn nonsense_is_refused_with_what_was_expected() {
        for text in ["", "exp", "exp:40", "exp:-1ms", "lognormal:40ms", "lognormal:1ms,9", "x:1ms"]
        {
            let error = text.parse::<ServiceTime>().unwrap_err().to_string();
            assert!(error.contains("expected const:10ms"), "{error}");
        }
    }
}
