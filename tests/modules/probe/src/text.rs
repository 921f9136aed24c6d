//! Values as a trace shows them, and the encodings of the ABI.

use serde_json::Value;

/// Longest value shown whole, bytes.
const SHOWN: usize = 200;

const STATUSES: [&str; 13] = [
    "ok",
    "not_found",
    "bad_argument",
    "serialization_failure",
    "parse_failure",
    "bad_expression",
    "invalid_memory_access",
    "empty",
    "cas_mismatch",
    "result_mismatch",
    "internal_failure",
    "broken_connection",
    "unimplemented",
];

/// Name of a status.
pub(crate) fn status(status: u32) -> String {
    let known = usize::try_from(status).ok().and_then(|status| STATUSES.get(status));
    known.map_or_else(|| format!("status_{status}"), |name| (*name).to_owned())
}

/// A status with what came with it.
pub(crate) fn result((code, bytes): &(u32, Option<Vec<u8>>)) -> String {
    match bytes {
        Some(bytes) => format!("{} {}", status(*code), quoted(bytes)),
        None => status(*code),
    }
}

/// Text in quotes, escaped; other bytes in hexadecimal; the start of what is long.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let (start, more) = match bytes.get(..SHOWN) {
        Some(start) if bytes.len() > SHOWN => (start, format!("... {} bytes", bytes.len())),
        _ => (bytes, String::new()),
    };
    let text = std::str::from_utf8(start).ok().filter(|text| {
        !text.contains(|c: char| c.is_control() && c != '\n' && c != '\r' && c != '\t')
    });
    match text {
        Some(text) => format!("{text:?}{more}"),
        None => start.iter().fold("0x".to_owned(), |hex, byte| format!("{hex}{byte:02x}")) + &more,
    }
}

/// Header pairs as the ABI packs them, from `[["name", "value"], ...]`.
pub(crate) fn pack(pairs: &Value) -> Vec<u8> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let pairs: Vec<[String; 2]> = pairs
        .as_array()
        .map(|pairs| pairs.iter().map(|pair| [text(&pair[0]), text(&pair[1])]).collect())
        .unwrap_or_default();
    let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut packed = size(pairs.len()).to_vec();
    for part in pairs.iter().flatten() {
        packed.extend(size(part.len()));
    }
    for part in pairs.iter().flatten() {
        packed.extend(part.as_bytes());
        packed.push(0);
    }
    packed
}

/// The reverse: each pair shown.
pub(crate) fn unpack(packed: &[u8]) -> Vec<String> {
    let number = |at: usize| {
        let bytes = packed.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let count = number(0).unwrap_or(0);
    let mut at = 4 + 8 * count;
    let mut shown = Vec::new();
    for pair in 0..count {
        let mut part = |which: usize| {
            let size = number(4 + 8 * pair + 4 * which)?;
            let bytes = packed.get(at..at + size)?;
            at += size + 1;
            Some(quoted(bytes))
        };
        let (Some(name), Some(value)) = (part(0), part(1)) else {
            shown.push("cut short".to_owned());
            break;
        };
        shown.push(format!("{name}={value}"));
    }
    shown
}

/// A value of a property, by the type that the script says it has.
pub(crate) fn typed(kind: &str, bytes: &[u8]) -> String {
    match (kind, <[u8; 8]>::try_from(bytes)) {
        ("int", Ok(bytes)) => i64::from_le_bytes(bytes).to_string(),
        ("float", Ok(bytes)) => f64::from_le_bytes(bytes).to_string(),
        ("bool", _) if bytes.len() == 1 => (bytes != [0]).to_string(),
        ("size", _) => "some bytes".to_owned(),
        ("map", _) => format!("map {}", unpack(bytes).join(" ")),
        _ => quoted(bytes),
    }
}
