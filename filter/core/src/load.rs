//! What a server says of its own load, as far as it matters for a pick.

use crate::report::Report;

/// Requests in flight beyond which a report is taken for this many.
pub const MOST_IN_FLIGHT: f32 = 100_000.0;
/// Longest service time that is believed, in microseconds: ten minutes.
pub const LONGEST_SERVICE_US: f32 = 600_000_000.0;

/// A server's load at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Requests in flight, without the one that carries the report: 0 to [`MOST_IN_FLIGHT`].
    pub in_flight: f32,
    /// Expected time of service without waiting, in microseconds, above 0; `None`: not known.
    pub service_us: Option<f32>,
    /// How many requests it serves at a time without making any of them wait, at least 1; `None`:
    /// not known.
    pub slots: Option<f32>,
    /// It drains, or says that it does not serve.
    pub draining: bool,
    /// The part of what askers would like to ask that they may: 0 to 1.
    pub asks: f32,
    /// Every response has a report, asked for or not.
    pub all: bool,
}

impl Load {
    /// The metrics of a report that [`Load::of`] reads, as [`Report::parse`] wants them.
    pub const WANTED: [&str; 6] = [
        "named_metrics.rif",
        "named_metrics.svc",
        "named_metrics.cap",
        "named_metrics.drain",
        "named_metrics.asks",
        "named_metrics.all",
    ];

    /// The load that a report tells; `None` where it is no report of a twin's.
    pub fn of(report: &Report<{ Load::WANTED.len() }>) -> Option<Self> {
        let [in_flight, service_ms, slots, drain, asks, all] = report.wanted.map(|value| {
            #[expect(clippy::cast_possible_truncation, reason = "at most 10^12")]
            value.map(|value| value as f32)
        });
        Some(Self {
            in_flight: in_flight?.min(MOST_IN_FLIGHT),
            service_us: service_ms
                .map(|ms| (ms * 1_000.0).min(LONGEST_SERVICE_US))
                .filter(|us| *us >= 1.0),
            slots: slots.map(|slots| slots.clamp(1.0, MOST_IN_FLIGHT)),
            draining: drain.is_some_and(|drain| drain > 0.0),
            asks: asks.map_or(1.0, |asks| asks.min(1.0)),
            all: all.is_some_and(|all| all > 0.0),
        })
    }
}
