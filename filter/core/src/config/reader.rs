//! The steps of a walk: into a field, an entry, a value; each fault is noted where it is met.

use serde_json::{Map, Value};

use super::fault::{Faults, echo, quoted};
use super::schema::{Field, Kind, list, milliseconds};

#[derive(Default)]
pub(super) struct Reader {
    /// Of what is being read.
    path: String,
    /// Those met so far.
    pub(super) faults: Faults,
}

/// Whether a duration was given.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Timing {
    Absent,
    Faulty,
    /// In ms.
    Valid(u64),
}

/// The leaves: each returns what it read, or reports the fault.
impl Reader {
    pub(super) fn boolean(&mut self, field: &Field, value: &Value) -> Option<bool> {
        self.checked(field, value, value.as_bool())
    }

    pub(super) fn choice(&mut self, field: &Field, value: &Value) -> Option<&'static str> {
        let Kind::Choice(words) = field.kind else { return None };
        let word = value.as_str().and_then(|text| words.iter().find(|word| **word == text));
        self.checked(field, value, word.copied())
    }

    /// Whole numbers may be written as `8.0`: a protocol buffer's Struct has no other numbers.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be whole and within a range that is small"
    )]
    pub(super) fn whole(&mut self, field: &Field, value: &Value) -> Option<usize> {
        let Kind::Whole(min, max) = field.kind else { return None };
        let fits = |number: &f64| {
            number.fract() == 0.0 && (f64::from(min)..=f64::from(max)).contains(number)
        };
        let number = value.as_f64().filter(fits).map(|number| number as usize);
        self.checked(field, value, number)
    }

    pub(super) fn number(&mut self, field: &Field, value: &Value) -> Option<f64> {
        let Kind::Number(min, max) = field.kind else { return None };
        let fits = |number: &f64| (f64::from(min)..=f64::from(max)).contains(number);
        self.checked(field, value, value.as_f64().filter(fits))
    }

    pub(super) fn duration(&mut self, field: &Field, value: &Value) -> Timing {
        let Kind::Duration(min, max) = field.kind else { return Timing::Absent };
        let ms = value
            .as_str()
            .and_then(milliseconds)
            .filter(|ms| (min.into()..=max.into()).contains(ms));
        self.checked(field, value, ms).map_or(Timing::Faulty, Timing::Valid)
    }

    pub(super) fn text(
        &mut self,
        field: &Field,
        value: &Value,
        fits: &dyn Fn(&str) -> bool,
    ) -> Option<String> {
        let text = value.as_str().filter(|text| fits(text)).map(ToOwned::to_owned);
        self.checked(field, value, text)
    }

    fn checked<T>(&mut self, field: &Field, value: &Value, read: Option<T>) -> Option<T> {
        if read.is_none() {
            self.fault(&field.kind.expected(), echo(value));
        }
        read
    }
}

/// The walk.
impl Reader {
    pub(super) fn fault(&mut self, expected: &str, got: String) {
        self.faults.push(&self.path, expected, Some(got));
    }

    pub(super) fn within(&mut self, step: &str, walk: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(if length == 0 { step.trim_start_matches('.') } else { step });
        walk(self);
        self.path.truncate(length);
    }

    /// An object with known fields.
    pub(super) fn fields(
        &mut self,
        value: &Value,
        fields: &'static [Field],
        take: &mut dyn FnMut(&mut Self, &'static Field, &Value),
    ) {
        let Some(map) = self.object(value, "an object") else { return };
        for (name, value) in map {
            if let Some(field) = fields.iter().find(|field| field.name == name.as_str()) {
                self.within(&format!(".{name}"), |reader| take(reader, field, value));
            } else {
                let mut known = String::new();
                list(&mut known, fields.iter().map(|field| field.name.to_owned()));
                self.within(&step(name), |reader| reader.faults.push(&reader.path, &known, None));
            }
        }
    }

    /// An object whose names are the operator's own.
    pub(super) fn entries(
        &mut self,
        field: &Field,
        value: &Value,
        most: usize,
        take: &mut dyn FnMut(&mut Self, &str, &Value),
    ) {
        let Some(map) = self.object(value, &field.kind.expected()) else { return };
        if map.len() > most {
            self.fault(&format!("at most {most} entries"), map.len().to_string());
            return;
        }
        for (name, value) in map {
            self.within(&format!("[{}]", quoted(name)), |reader| take(reader, name, value));
        }
    }

    fn object<'v>(&mut self, value: &'v Value, expected: &str) -> Option<&'v Map<String, Value>> {
        if !value.is_object() {
            self.fault(expected, echo(value));
        }
        value.as_object()
    }
}

/// The path's step to an unknown field.
fn step(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if (1..=60).contains(&name.len()) && name.bytes().all(is_plain) {
        format!(".{name}")
    } else {
        format!("[{}]", quoted(name))
    }
}
