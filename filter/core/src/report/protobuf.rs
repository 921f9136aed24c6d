//! The binary form, read without a copy and written at once.
//!
//! Every request carries a report, and what a library does for a message of any kind takes ten times
//! as long: a general decoder makes a string of each name. Tests hold both against `prost`.
//! Source: Protocol Buffers' encoding, <https://protobuf.dev/programming-guides/encoding/>.

use super::{Map, OrcaLoadReport, Reading};

/// What is no message of this kind.
pub(super) struct Malformed;

/// Numbers of the figures' fields, and their names.
const FIGURES: [(u32, &str); 5] = [
    (1, "cpu_utilization"),
    (2, "mem_utilization"),
    (9, "application_utilization"),
    (6, "rps_fractional"),
    (7, "eps"),
];
/// Numbers of the maps' fields, in the order in which their entries count.
const MAPS: [(u32, Map); 3] = [(8, Map::Named), (5, Map::Utilization), (4, Map::Cost)];
/// Wire types.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;
const FIXED32: u32 = 5;

/// Takes what a message says. Of a figure that comes twice the last counts, as everywhere.
pub(super) fn read(reading: &mut Reading<'_>, message: &[u8]) -> Result<(), Malformed> {
    let mut figures = [0.0; FIGURES.len()];
    let [(named, _), others @ ..] = MAPS;
    let mut has_others = false;
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next()? {
        if number == named {
            let (name, amount) = entry(value.bytes()?)?;
            reading.metric(Map::Named, name, Some(amount));
        } else if let Some(at) = FIGURES.iter().position(|(figure, _)| *figure == number) {
            if let Some(figure) = figures.get_mut(at) {
                *figure = value.double()?;
            }
        } else if others.iter().any(|(other, _)| *other == number) {
            entry(value.bytes()?)?;
            has_others = true;
        }
    }
    for ((_, name), value) in FIGURES.into_iter().zip(figures).filter(|(_, value)| *value != 0.0) {
        reading.figure(name, Some(value));
    }
    for (wanted, map) in others.into_iter().filter(|_| has_others) {
        let mut fields = Fields(message);
        while let Some((number, value)) = fields.next()? {
            if number == wanted {
                let (name, amount) = entry(value.bytes()?)?;
                reading.metric(map, name, Some(amount));
            }
        }
    }
    Ok(())
}

/// The name and the value of a map's entry.
fn entry(message: &[u8]) -> Result<(&str, f64), Malformed> {
    let (mut name, mut amount) = (&b""[..], 0.0);
    // What every encoder writes.
    if let [0x0a, length @ 0..0x80, rest @ ..] = message
        && let Some((bytes, [0x11, value @ ..])) = rest.split_at_checked(usize::from(*length))
        && let Ok(value) = value.try_into()
    {
        (name, amount) = (bytes, f64::from_le_bytes(value));
    } else {
        let mut fields = Fields(message);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => {
                    name = value.bytes()?;
                    core::str::from_utf8(name).map_err(|_| Malformed)?;
                }
                2 => amount = value.double()?,
                _ => {}
            }
        }
    }
    Ok((core::str::from_utf8(name).map_err(|_| Malformed)?, amount))
}

/// The fields of a message.
struct Fields<'a>(&'a [u8]);

/// What a field holds, as far as a report has such fields.
enum Value<'a> {
    Double(f64),
    Bytes(&'a [u8]),
    Other,
}

impl<'a> Value<'a> {
    fn double(self) -> Result<f64, Malformed> {
        if let Value::Double(value) = self { Ok(value) } else { Err(Malformed) }
    }

    fn bytes(self) -> Result<&'a [u8], Malformed> {
        if let Value::Bytes(bytes) = self { Ok(bytes) } else { Err(Malformed) }
    }
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = u32::try_from(self.varint()?).map_err(|_| Malformed)?;
        let value = match key & 7 {
            VARINT => {
                self.varint()?;
                Value::Other
            }
            FIXED64 => {
                let bytes = self.take(8)?.try_into().map_err(|_| Malformed)?;
                Value::Double(f64::from_le_bytes(bytes))
            }
            BYTES => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                Value::Bytes(self.take(length)?)
            }
            FIXED32 => {
                self.take(4)?;
                Value::Other
            }
            // Groups, which no report ever had.
            _ => return Err(Malformed),
        };
        if key >> 3 == 0 { Err(Malformed) } else { Ok(Some((key >> 3, value))) }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        if let [byte @ 0..0x80, rest @ ..] = self.0 {
            self.0 = rest;
            return Ok(u64::from(*byte));
        }
        let mut value = 0_u64;
        for place in 0..10 {
            let (byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            if place == 9 && *byte > 1 {
                return Err(Malformed);
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }
}

/// The message, with more named metrics than it has itself.
pub(super) fn write<'a>(
    report: &OrcaLoadReport,
    more: impl Iterator<Item = (&'a str, f64)>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    put_double(&mut out, 1, report.cpu_utilization);
    put_double(&mut out, 2, report.mem_utilization);
    for (number, metrics) in [(4, &report.request_cost), (5, &report.utilization)] {
        for metric in metrics {
            put_entry(&mut out, number, &metric.name, metric.value);
        }
    }
    put_double(&mut out, 6, report.rps_fractional);
    put_double(&mut out, 7, report.eps);
    for metric in &report.named_metrics {
        put_entry(&mut out, 8, &metric.name, metric.value);
    }
    more.for_each(|(name, value)| put_entry(&mut out, 8, name, value));
    put_double(&mut out, 9, report.application_utilization);
    out
}

/// A key of one byte: no field here has a number beyond 15.
fn put_key(out: &mut Vec<u8>, number: u8, kind: u32) {
    let [kind, ..] = kind.to_le_bytes();
    out.push(number << 3 | kind);
}

fn put_double(out: &mut Vec<u8>, number: u8, value: f64) {
    if value != 0.0 {
        put_key(out, number, FIXED64);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

fn put_entry(out: &mut Vec<u8>, number: u8, name: &str, value: f64) {
    let of_name = if name.is_empty() { 0 } else { 1 + varint_length(name.len()) + name.len() };
    let of_value = if value == 0.0 { 0 } else { 9 };
    put_key(out, number, BYTES);
    put_varint(out, of_name + of_value);
    if !name.is_empty() {
        put_key(out, 1, BYTES);
        put_varint(out, name.len());
        out.extend_from_slice(name.as_bytes());
    }
    put_double(out, 2, value);
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

fn varint_length(value: usize) -> usize {
    if value < 0x80 { 1 } else { 1 + varint_length(value >> 7) }
}
