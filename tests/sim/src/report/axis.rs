//! Axes with ticks where a reader expects them.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::standing::figure;

/// How values become distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Linear,
    Log,
    /// ln(1 + n): equal steps for equal factors, and 0 has a place.
    Log1p,
}

impl Scale {
    fn of(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.max(f64::MIN_POSITIVE).ln(),
            Self::Log1p => value.max(0.0).ln_1p(),
        }
    }
}

/// A range of values and its ticks.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
}

/// 1, 2 and 5 times every power of ten that matters.
fn decades(steps: &[f64]) -> impl Iterator<Item = f64> {
    (-6..10).flat_map(move |power| steps.iter().map(move |step| step * 10_f64.powi(power)))
}

/// Multiples of a round step, three to eight of them.
fn evenly(low: f64, high: f64) -> Vec<f64> {
    let Some(step) = decades(&[1.0, 2.0, 5.0]).find(|step| (high - low) / step <= 7.5) else {
        return vec![low];
    };
    let first = (low / step).ceil();
    (0..=8).map(|n| (first + f64::from(n)) * step).filter(|tick| *tick <= high).collect()
}

/// A latency: `5 ms`, `2 s`.
fn time(ms: f64) -> String {
    let short = |value: f64| {
        let text = figure(value);
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        }
    };
    if ms >= 1e3 { format!("{} s", short(ms / 1e3)) } else { format!("{} ms", short(ms)) }
}

impl Axis {
    /// Latencies in ms, logarithmic, with some room around them.
    pub(super) fn latency(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values
            .filter(|value| *value > 0.0 && value.is_finite())
            .fold((f64::INFINITY, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = if low.is_finite() { (low, high) } else { (1.0, 10.0) };
        let (low, high) = (low / 1.12, high * 1.12);
        let within = |steps: &[f64]| -> Vec<f64> {
            decades(steps).filter(|tick| (low..=high).contains(tick)).collect()
        };
        let ticks = [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]]
            .into_iter()
            .map(within)
            .find(|ticks| ticks.len() <= 8)
            .filter(|ticks| ticks.len() >= 3)
            .unwrap_or_else(|| if high / low < 20.0 { evenly(low, high) } else { within(&[1.0]) });
        let ticks = ticks.into_iter().map(|tick| (tick, time(tick))).collect();
        Self { scale: Scale::Log, low, high, ticks }
    }

    /// Numbers in flight, from 0 to at least 10.
    pub(super) fn in_flight(most: f64) -> Self {
        let high = most.max(10.0);
        let all = std::iter::once(0.0).chain(decades(&[1.0, 3.0]).filter(|tick| *tick >= 1.0));
        let ticks = all.filter(|tick| *tick <= high).map(|tick| (tick, figure(tick)));
        let ticks = ticks.map(|(tick, text)| (tick, text.replace(".00", "").replace(".0", "")));
        Self { scale: Scale::Log1p, low: 0.0, high, ticks: ticks.collect() }
    }

    /// Seconds.
    pub(super) fn seconds(low: f64, high: f64) -> Self {
        let ticks = evenly(low, high).into_iter().map(|tick| (tick, format!("{tick} s"))).collect();
        Self { scale: Scale::Linear, low, high: high.max(low + 1e-3), ticks }
    }

    /// These values and no others, in ascending order; logarithmic where they span a factor of 20.
    pub(super) fn values(values: &[(f64, String)]) -> Self {
        let (low, high) = (values[0].0, values[values.len() - 1].0);
        let scale = if low > 0.0 && high / low >= 20.0 { Scale::Log } else { Scale::Linear };
        let (low, high) = if scale == Scale::Log {
            let room = (high / low).powf(0.05);
            (low / room, high * room)
        } else {
            let room = ((high - low) * 0.05).max(1e-9);
            (low - room, high + room)
        };
        Self { scale, low, high, ticks: values.to_vec() }.thinned()
    }

    /// Without labels that would touch others when they stand side by side. The last come first:
    /// the most demanding value keeps its own.
    pub(super) fn thinned(mut self) -> Self {
        let mut free = f64::INFINITY;
        for (value, text) in std::mem::take(&mut self.ticks).into_iter().rev() {
            #[allow(clippy::cast_precision_loss)]
            let half = (text.chars().count() as f64).mul_add(0.012, 0.012);
            if self.share(value) + half <= free {
                free = self.share(value) - half;
                self.ticks.insert(0, (value, text));
            }
        }
        self
    }

    /// Rows of marks, in pixels from the top; without ticks.
    pub(super) fn rows(pixels: f64) -> Self {
        Self { scale: Scale::Linear, low: pixels, high: 0.0, ticks: Vec::new() }
    }

    /// Where a value lies between the ends, 0 to 1.
    fn share(&self, value: f64) -> f64 {
        let (low, high) = (self.scale.of(self.low), self.scale.of(self.high));
        ((self.scale.of(value) - low) / (high - low)).clamp(0.0, 1.0)
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    #[allow(clippy::cast_possible_truncation)]
    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (self.share(*value) * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|(tick, _)| *tick).collect()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|(tick, _)| tick.total_cmp(value).is_eq());
        tick.map_or_else(String::new, |(_, text)| text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn latencies_have_three_to_eight_round_ticks() {
        let latency = |low: f64, high: f64| Axis::latency([low, high].into_iter());
        assert_eq!(
            ticks(&latency(9.0, 1_100.0)),
            ["10 ms", "20 ms", "50 ms", "100 ms", "200 ms", "500 ms", "1 s"]
        );
        assert_eq!(
            ticks(&latency(62.0, 81.0)),
            ["60 ms", "65 ms", "70 ms", "75 ms", "80 ms", "85 ms", "90 ms"]
        );
        for (low, high) in
            [(1.0, 1.0), (0.01, 60_000.0), (300.0, 700.0), (3.0, 60_000.0), (5.0, 95.0)]
        {
            let axis = latency(low, high);
            assert!((3..=8).contains(&axis.ticks.len()), "{:?}", ticks(&axis));
        }
        assert!(!Axis::latency(std::iter::empty()).ticks.is_empty());
    }

    #[test]
    fn values_whose_labels_would_touch_lose_the_lesser_label() {
        let values = |values: &[f64]| {
            Axis::values(&values.iter().map(|v| (*v, v.to_string())).collect::<Vec<_>>())
        };
        assert_eq!(ticks(&values(&[1.0, 20.0, 100.0, 400.0])), ["1", "20", "100", "400"]);
        assert_eq!(ticks(&values(&[0.5, 0.98, 0.99])), ["0.5", "0.99"]);
        assert_eq!(ticks(&values(&[5.0])), ["5"]);
    }

    #[test]
    fn values_map_from_end_to_end() {
        let axis = Axis::in_flight(100.0);
        assert_eq!(axis.map(&0.0, (200, 0)), 200);
        assert_eq!(axis.map(&1e9, (200, 0)), 0);
        assert_eq!(ticks(&axis), ["0", "1", "3", "10", "30", "100"]);
    }
}
