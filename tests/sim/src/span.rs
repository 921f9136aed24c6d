//! Virtual time: whole nanoseconds since the run began.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// A length of time, written `250us`, `40ms`, `2s`, `1m 30s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Span(u64);

impl Span {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// So many milliseconds.
    pub const fn ms(ms: u64) -> Self {
        Self(ms * (SECOND / 1_000))
    }

    /// So many microseconds.
    pub const fn us(us: u64) -> Self {
        Self(us * (SECOND / 1_000_000))
    }

    /// In nanoseconds.
    pub const fn ns(self) -> u64 {
        self.0
    }

    /// In nanoseconds, for arithmetic with shares and rates.
    #[allow(clippy::cast_precision_loss)]
    pub const fn as_f64(self) -> f64 {
        self.0 as f64
    }

    /// The sum of the two.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// In seconds.
    pub fn seconds(self) -> f64 {
        Duration::from_nanos(self.0).as_secs_f64()
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!("\"{text}\" is no length of time up to 24h; expected e.g. \"40ms\" or \"2s\"")
        };
        let duration = humantime::parse_duration(text).map_err(|_| bad())?;
        // A day is more than anybody simulates, and far from overflowing.
        let ns = u64::try_from(duration.as_nanos()).map_err(|_| bad())?;
        if ns <= 86_400 * SECOND { Ok(Self(ns)) } else { Err(bad()) }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time such as \"40ms\" or \"2s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(Duration::from_nanos(self.0)).fmt(f)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^([0-9]+(\\.[0-9]+)? *(ns|us|ms|s|m|h) *)+$",
            "description": "A length of time: 250us, 40ms, 2s, 1m 30s."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written() {
        for (text, ns) in [
            ("250us", 250_000),
            ("1.5s", 1_500_000_000),
            ("40ms", 40_000_000),
            ("1m 30s", 90 * SECOND),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.ns(), ns);
            assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        }
        for bad in ["", "40", "ms", "-1s", "1 fortnight", "25h", "9999999999999999h"] {
            assert!(bad.parse::<Span>().unwrap_err().contains(bad), "{bad}");
        }
    }
}
