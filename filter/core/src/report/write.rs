//! A twin's report of its server, as it is sent: in any of the three forms, alone or merged into
//! what the application reports of itself.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::wire::{Metric, OrcaLoadReport};
use super::{MOST_AMOUNT, MOST_BYTES, Reading, protobuf};
use crate::config::Format;
use crate::load::Load;

/// The metrics that are a twin's alone: an application's of the same name give way.
const OURS: [&str; 6] = ["rif", "svc", "cap", "drain", "asks", "all"];
/// Bits of a number's mantissa that are sent: it is off by at most one in 512, and what follows are
/// zeros, which are short on the wire.
const BITS: u32 = 8;

#[cfg(test)]
mod tests;

/// What a twin says of its server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stamp {
    /// What our own filter at the client reads.
    pub load: Load,
    /// Requests a second, over all workers; 0: none, or not known.
    pub rps: f32,
    /// Failures a second among them.
    pub eps: f32,
    /// The part of what the server can serve that it serves; 0: not known.
    pub utilization: f32,
}

impl Stamp {
    /// Without what only others than our own filter read: below 64 bytes on the wire with HTTP/2.
    #[must_use]
    pub fn brief(self) -> Self {
        Self { rps: 0.0, eps: 0.0, utilization: 0.0, ..self }
    }

    /// The value of the header or trailer of this format:
    /// [`BINARY_HEADER`](super::BINARY_HEADER) for [`Format::Bin`], which is base64 here as Envoy
    /// takes it, [`HEADER`](super::HEADER) for the others.
    pub fn write(&self, format: Format) -> String {
        self.written(OrcaLoadReport::default(), format)
    }

    /// The same, merged into what the application reports: `theirs` is a value of
    /// [`HEADER`](super::HEADER), or of [`BINARY_HEADER`](super::BINARY_HEADER) where `binary`. What
    /// it says of itself stays; only our own metrics are replaced. `None` where it cannot be read,
    /// or is longer than 4 kB, before or after.
    pub fn merge(&self, theirs: &[u8], binary: bool, format: Format) -> Option<String> {
        let mut report = Reading::whole(theirs, binary).ok()?;
        report.named_metrics.retain(|metric| !OURS.contains(&metric.name.as_str()));
        Some(self.written(report, format)).filter(|value| value.len() <= MOST_BYTES)
    }

    fn written(&self, mut report: OrcaLoadReport, format: Format) -> String {
        for (figure, ours) in [
            (&mut report.application_utilization, self.utilization),
            (&mut report.rps_fractional, self.rps),
            (&mut report.eps, self.eps),
        ] {
            if *figure == 0.0 {
                *figure = rounded(ours);
            }
        }
        let load = &self.load;
        let values = [
            Some(load.in_flight),
            load.service_us.map(|service| service / 1_000.0),
            load.slots,
            load.draining.then_some(1.0),
            Some(load.asks.max(0.0)).filter(|asks| *asks < 1.0),
            load.all.then_some(1.0),
        ];
        let ours = OURS.into_iter().zip(values);
        let ours = ours.filter_map(|(name, value)| Some((name, rounded(value?))));
        if format == Format::Bin {
            return BASE64_STANDARD.encode(protobuf::write(&report, ours));
        }
        let ours = ours.map(|(name, value)| Metric { name: name.to_owned(), value });
        report.named_metrics.extend(ours);
        print(&report, format == Format::Json)
    }
}

/// What an application says in a report that a twin was merged into: for its client, in the form in
/// which it came. `theirs` and `binary` as in [`Stamp::merge`]. `None` where that is nothing.
pub fn without_ours(theirs: &[u8], binary: bool) -> Option<String> {
    let mut report = Reading::whole(theirs, binary).ok()?;
    report.named_metrics.retain(|metric| !OURS.contains(&metric.name.as_str()));
    if report == OrcaLoadReport::default() {
        return None;
    }
    let (text, json) = (theirs.starts_with(b"TEXT "), theirs.starts_with(b"JSON "));
    if !binary && (text || json) {
        return Some(print(&report, json));
    }
    let encoded = BASE64_STANDARD.encode(protobuf::write(&report, core::iter::empty()));
    Some(if binary { encoded } else { format!("BIN {encoded}") })
}

/// The number with fewer digits; 0 for what is none.
fn rounded(value: f32) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "a power of ten")]
    const MOST: f32 = MOST_AMOUNT as f32;
    const DROPPED: u32 = f32::MANTISSA_DIGITS - 1 - BITS;
    // Not a number is not above 0.
    if value > 0.0 {
        let bits = value.min(MOST).to_bits() + (1 << (DROPPED - 1));
        f64::from(f32::from_bits(bits >> DROPPED << DROPPED))
    } else {
        0.0
    }
}

/// The report as text or as JSON.
fn print(report: &OrcaLoadReport, json: bool) -> String {
    let mut out = String::from(if json { "JSON {" } else { "TEXT " });
    for (name, value) in report.figures() {
        if value > 0.0 {
            entry(&mut out, json, "", name, value);
        }
    }
    for (map, metrics) in report.maps() {
        let (prefix, start) = (map.prefix(), out.len());
        if json {
            out.push('"');
            out.push_str(prefix.trim_end_matches('.'));
            out.push_str("\":{");
        }
        let empty = out.len();
        for Metric { name, value } in metrics {
            // Others would need escapes, or end the name too early.
            let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\,=:".contains(&byte);
            if !name.is_empty() && name.bytes().all(plain) {
                entry(&mut out, json, if json { "" } else { prefix }, name, *value);
            }
        }
        if out.len() == empty {
            out.truncate(start);
        } else if json {
            out.pop();
            out.push_str("},");
        }
    }
    if out.ends_with(',') {
        out.pop();
    }
    if json {
        out.push('}');
    }
    out
}

fn entry(out: &mut String, json: bool, prefix: &str, name: &str, value: f64) {
    let quote = if json { "\"" } else { "" };
    for part in [quote, prefix, name, quote, if json { ":" } else { "=" }] {
        out.push_str(part);
    }
    number(out, value);
    out.push(',');
}

/// A number from 0 to [`MOST_AMOUNT`] with at most six decimals: what the standard library knows of
/// printing floating point would cost the module many kilobytes.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
fn number(out: &mut String, value: f64) {
    let millionths = (value * 1e6 + 0.5) as u64;
    out.push_str(&(millionths / 1_000_000).to_string());
    let mut rest = millionths % 1_000_000;
    if rest > 0 {
        out.push('.');
    }
    while rest > 0 {
        rest *= 10;
        out.push(char::from(b'0' + (rest / 1_000_000) as u8));
        rest %= 1_000_000;
    }
}
