//! What is wrong with a configuration, in words that fit on one line of a log.

use core::fmt;

use serde_json::Value;

/// Most faults that are listed; further ones are counted.
const MOST_LISTED: usize = 50;

/// Most characters of a value or name that are echoed.
const MOST_ECHOED: usize = 60;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: `discovery.interval`, `clusters["a*"].enabled`; `$` is the whole.
    pub path: String,
    /// What belongs there.
    pub expected: String,
    /// What is there; `None` where the field as such is unknown.
    pub got: Option<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, expected, got } = self;
        match got {
            Some(got) => write!(f, "{path}: expected {expected}, got {got}"),
            None => write!(f, "{path}: unknown field, expected one of {expected}"),
        }
    }
}

/// Everything that is wrong with a configuration. As text it is one line without control
/// characters, whatever the configuration holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    listed: Vec<Fault>,
    more: usize,
}

impl Faults {
    /// How many there are, those not listed included.
    pub fn count(&self) -> usize {
        self.listed.len().saturating_add(self.more)
    }

    /// The first 50.
    pub fn listed(&self) -> &[Fault] {
        &self.listed
    }

    pub(super) fn push(&mut self, path: &str, expected: &str, got: Option<String>) {
        if self.listed.len() >= MOST_LISTED {
            self.more = self.more.saturating_add(1);
            return;
        }
        let path = if path.is_empty() { "$" } else { path };
        self.listed.push(Fault { path: path.to_owned(), expected: expected.to_owned(), got });
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.listed.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "; " })?;
            fault.fmt(f)?;
        }
        if self.more > 0 {
            write!(f, "; and {} more", self.more)?;
        }
        Ok(())
    }
}

impl core::error::Error for Faults {}

/// A value as it is echoed. A secret may have been put in the wrong place, and a log line has an
/// end, so of objects and arrays only their kind is told.
pub(super) fn echo(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(true) => "true".to_owned(),
        Value::Bool(false) => "false".to_owned(),
        Value::String(text) => quoted(text),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(number), ..) => number.to_string(),
            (_, Some(number), _) => number.to_string(),
            (_, _, Some(number)) => decimal(number),
            (None, None, None) => "a number".to_owned(),
        },
    }
}

/// In quotes, cut short, and with whatever could start a new line or hide text escaped.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for (index, character) in text.chars().enumerate() {
        if index == MOST_ECHOED {
            quoted.push_str("...");
            break;
        }
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            // Line and paragraph separators, marks and overrides of direction, the byte order mark.
            '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => quoted.extend(character.escape_unicode()),
            _ if character.is_control() => quoted.extend(character.escape_unicode()),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// To three decimals. Formatting a float in full would cost the module many kilobytes.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be from 0 to 1e15 and whole"
)]
fn decimal(number: f64) -> String {
    let sign = if number < 0.0 { "-" } else { "" };
    let thousandths = (number.abs() * 1000.0).round();
    if !(0.0..=1e15).contains(&thousandths) {
        return "a very large number".to_owned();
    }
    let thousandths = thousandths as u64;
    let text = format!("{sign}{}.{:03}", thousandths / 1000, thousandths % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
