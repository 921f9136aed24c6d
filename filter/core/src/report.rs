//! Load reports: what a server says of its own load, by the ORCA standard
//! (`xds.data.orca.v3.OrcaLoadReport`).
//!
//! A server sends one with a response, in its headers or trailers:
//!
//! | header | value |
//! |---|---|
//! | `endpoint-load-metrics-bin` | base64 of the protobuf, padded or not |
//! | `endpoint-load-metrics` | `BIN ` and the same |
//! | `endpoint-load-metrics` | `JSON ` and the message as JSON |
//! | `endpoint-load-metrics` | `TEXT ` and `cpu_utilization=0.3, named_metrics.queue=4`; `:` for `=` |
//!
//! Sources: the ORCA specification, gRFC A51, and Envoy's `source/common/orca/orca_parser.cc`,
//! which like this module knows no value without a prefix. Two differences from Envoy: a value that
//! makes no sense costs itself, not the whole report, and of a name that comes twice the last valid
//! value counts.
//!
//! A report is a stranger's word, so everything about it is bounded: its length, how many metrics
//! are looked at, and each number.

mod json;
mod protobuf;
#[cfg(test)]
mod tests;
mod text;
mod wire;
mod write;

use core::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

pub use self::wire::{Metric, OrcaLoadReport};
pub use self::write::{Stamp, without_ours};

/// The header or trailer whose value [`Report::parse`] reads.
pub const HEADER: &str = "endpoint-load-metrics";
/// The header or trailer whose value [`Report::parse_binary`] reads, as gRPC's libraries send it.
pub const BINARY_HEADER: &str = "endpoint-load-metrics-bin";

/// Longest value that is read, in bytes; a longer one is refused unread.
pub const MOST_BYTES: usize = 4 * 1024;
/// Most entries looked at in the three maps of a report together; later ones are dropped.
pub const MOST_METRICS: usize = 128;
/// Highest CPU or application utilization: they may exceed 1, "the reporter dependent notion of
/// soft limits".
pub const MOST_UTILIZATION: f64 = 100.0;
/// Highest rate, a second.
pub const MOST_RATE: f64 = 1e9;
/// Highest named metric or request cost.
pub const MOST_AMOUNT: f64 = 1e12;
/// Whatever is less counts as 0, so that nothing overflows that is divided by a report's number.
pub const LEAST: f64 = 1e-9;

/// A load report, as far as it can be believed: every number is finite and within its range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report<const N: usize> {
    /// What every report may have.
    pub figures: Figures,
    /// The values of the wanted metrics, in their order; `None` where the report has none. From
    /// 0 to [`MOST_AMOUNT`], those of `utilization` to 1.
    pub wanted: [Option<f64>; N],
    /// It says something besides what is wanted.
    pub more: bool,
}

/// The standard figures. As in the protocol buffer, 0 also stands for one that was not told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Of the available CPU: 0 to [`MOST_UTILIZATION`].
    pub cpu_utilization: f64,
    /// Of the available memory: 0 to 1.
    pub mem_utilization: f64,
    /// As the application defines it: 0 to [`MOST_UTILIZATION`].
    pub application_utilization: f64,
    /// Requests a second that the server serves, from all clients: 0 to [`MOST_RATE`].
    pub rps_fractional: f64,
    /// Errors a second among them: 0 to [`MOST_RATE`].
    pub eps: f64,
    /// How many values were left out: no number, not finite, negative, or beyond [`MOST_METRICS`].
    pub dropped: u32,
    /// How many values were above their range and became its end.
    pub clamped: u32,
}

impl<const N: usize> Report<N> {
    /// Reads a value of [`HEADER`]. `wanted` names metrics of the maps as Envoy's configuration
    /// does: `named_metrics.queue`, `utilization.disk`, `request_cost.bytes`.
    ///
    /// # Errors
    /// Where the value as a whole cannot be read; nothing of it should be used then.
    pub fn parse(value: &[u8], wanted: &[&str; N]) -> Result<Self, ReportError> {
        Self::read(value, wanted, false)
    }

    /// Reads a value of [`BINARY_HEADER`]; `wanted` as in [`Report::parse`].
    ///
    /// # Errors
    /// As [`Report::parse`].
    pub fn parse_binary(value: &[u8], wanted: &[&str; N]) -> Result<Self, ReportError> {
        Self::read(value, wanted, true)
    }

    fn read(value: &[u8], wanted: &[&str; N], binary: bool) -> Result<Self, ReportError> {
        let mut values = [None; N];
        let mut reading = Reading { names: wanted, values: &mut values, ..Reading::default() };
        reading.value(value, binary)?;
        let (figures, more) = (reading.figures, reading.more);
        Ok(Self { figures, wanted: values, more })
    }
}

/// Why there is no [`Report`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportError {
    /// More than [`MOST_BYTES`].
    TooLong,
    /// Neither `TEXT `, `JSON ` nor `BIN ` comes first.
    UnknownFormat,
    /// `TEXT `, but no list of names and values.
    NotText,
    /// `JSON `, but not an object of JSON.
    NotJson,
    /// Not base64.
    NotBase64,
    /// Base64, but empty or not of the protocol buffer.
    NotProtobuf,
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "longer than 4 kB",
            Self::UnknownFormat => "neither TEXT, JSON nor BIN",
            Self::NotText => "not a list of names and values",
            Self::NotJson => "not an object of JSON",
            Self::NotBase64 => "not base64",
            Self::NotProtobuf => "not an OrcaLoadReport",
        })
    }
}

impl core::error::Error for ReportError {}

/// One of the maps of a report.
#[derive(Clone, Copy, PartialEq)]
enum Map {
    Named,
    Utilization,
    Cost,
}

impl Map {
    /// By its name in the protocol buffer, or in its JSON.
    fn of(name: &str) -> Option<Self> {
        match name {
            "named_metrics" | "namedMetrics" => Some(Self::Named),
            "utilization" => Some(Self::Utilization),
            "request_cost" | "requestCost" => Some(Self::Cost),
            _ => None,
        }
    }

    /// The beginning of a wanted name.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Named => "named_metrics.",
            Self::Utilization => "utilization.",
            Self::Cost => "request_cost.",
        }
    }
}

/// A report while it is read. Not generic, so that the module has one copy of it.
#[derive(Default)]
struct Reading<'a> {
    figures: Figures,
    names: &'a [&'a str],
    values: &'a mut [Option<f64>],
    /// Entries of maps so far.
    seen: usize,
    /// Something was not wanted.
    more: bool,
    /// Everything that was read, where that is wanted.
    whole: Option<OrcaLoadReport>,
}

impl Reading<'_> {
    /// All that a value says, as far as it can be believed.
    fn whole(value: &[u8], binary: bool) -> Result<OrcaLoadReport, ReportError> {
        let mut reading = Reading { whole: Some(OrcaLoadReport::default()), ..Self::default() };
        reading.value(value, binary)?;
        let Figures { cpu_utilization, mem_utilization, application_utilization, .. } =
            reading.figures;
        Ok(OrcaLoadReport {
            cpu_utilization,
            mem_utilization,
            application_utilization,
            rps_fractional: reading.figures.rps_fractional,
            eps: reading.figures.eps,
            ..reading.whole.unwrap_or_default()
        })
    }

    fn value(&mut self, value: &[u8], binary: bool) -> Result<(), ReportError> {
        if value.len() > MOST_BYTES {
            return Err(ReportError::TooLong);
        }
        if binary { self.base64(value) } else { self.prefixed(value) }
    }

    fn prefixed(&mut self, value: &[u8]) -> Result<(), ReportError> {
        if let Some(rest) = value.strip_prefix(b"TEXT ") {
            text::read(self, rest)
        } else if let Some(rest) = value.strip_prefix(b"JSON ") {
            json::read(self, rest)
        } else if let Some(rest) = value.strip_prefix(b"BIN ") {
            self.base64(rest)
        } else {
            Err(ReportError::UnknownFormat)
        }
    }

    fn base64(&mut self, value: &[u8]) -> Result<(), ReportError> {
        /// gRPC's libraries differ in whether they pad.
        const LENIENT: GeneralPurposeConfig =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        /// Its table takes two thousand instructions to fill.
        static ENGINE: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
        let bytes = ENGINE.decode(value).map_err(|_| ReportError::NotBase64)?;
        if bytes.is_empty() {
            return Err(ReportError::NotProtobuf);
        }
        protobuf::read(self, &bytes).map_err(|_| ReportError::NotProtobuf)
    }

    /// Takes a standard figure; `None` is a value that is no number. What is not known is passed
    /// over: the standard may grow.
    fn figure(&mut self, name: &str, value: Option<f64>) {
        let figures = &mut self.figures;
        let (figure, most) = match name {
            "cpu_utilization" | "cpuUtilization" => {
                (&mut figures.cpu_utilization, MOST_UTILIZATION)
            }
            "mem_utilization" | "memUtilization" => (&mut figures.mem_utilization, 1.0),
            "application_utilization" | "applicationUtilization" => {
                (&mut figures.application_utilization, MOST_UTILIZATION)
            }
            "rps_fractional" | "rpsFractional" => (&mut figures.rps_fractional, MOST_RATE),
            "eps" => (&mut figures.eps, MOST_RATE),
            _ => return,
        };
        match value.and_then(bounded) {
            None => figures.dropped += 1,
            Some(value) => {
                *figure = value.min(most);
                self.more |= value > 0.0;
                figures.clamped += u32::from(value > most);
            }
        }
    }

    /// Takes an entry of a map.
    fn metric(&mut self, map: Map, name: &str, value: Option<f64>) {
        self.seen += 1;
        let value = value.and_then(bounded).filter(|_| self.seen <= MOST_METRICS);
        let Some(value) = value else {
            self.figures.dropped += 1;
            return;
        };
        let most = if map == Map::Utilization { 1.0 } else { MOST_AMOUNT };
        self.figures.clamped += u32::from(value > most);
        let mut more = true;
        for (wanted, to) in self.names.iter().zip(self.values.iter_mut()) {
            // Most differ at their ends already.
            if wanted.ends_with(name) && wanted.strip_prefix(map.prefix()) == Some(name) {
                *to = Some(value.min(most));
                more = false;
            }
        }
        self.more |= more;
        if let Some(whole) = &mut self.whole {
            let metrics = match map {
                Map::Named => &mut whole.named_metrics,
                Map::Utilization => &mut whole.utilization,
                Map::Cost => &mut whole.request_cost,
            };
            metrics.push(Metric { name: name.to_owned(), value: value.min(most) });
        }
    }
}

/// The value, if it can be a measurement.
fn bounded(value: f64) -> Option<f64> {
    let real = value.is_finite() && value >= 0.0;
    real.then_some(if value < LEAST { 0.0 } else { value })
}
