//! The JSON of protocol buffers: names as in the `.proto` or in camel case, numbers also as
//! strings. It is read through the same kind of source as the configuration and the admin
//! interface's answer, so that the module holds one JSON parser.

use core::fmt;
use std::io::{BufReader, Read};

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::{Map, Reading, ReportError};

/// Takes every member of the object in `text`.
pub(super) fn read(reading: &mut Reading<'_>, mut text: &[u8]) -> Result<(), ReportError> {
    parse(&mut text, Object { reading, map: None }).ok_or(ReportError::NotJson)
}

/// A decimal number, also with a sign `+` or without a digit before the point. The standard
/// library's own way would cost the module many kilobytes.
pub(super) fn number(text: &[u8]) -> Option<f64> {
    let mut text = text.strip_prefix(b"+").unwrap_or(text);
    // White space is fine in JSON, but not within one value.
    if !text.first()?.is_ascii_graphic() || !text.last()?.is_ascii_graphic() {
        return None;
    }
    let number = core::marker::PhantomData::<f64>;
    if text.first() == Some(&b'.') {
        parse(&mut b"0".chain(text), number)
    } else {
        parse(&mut text, number)
    }
}

fn parse<'de, S: DeserializeSeed<'de>>(source: &mut dyn Read, seed: S) -> Option<S::Value> {
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(512, source));
    let value = seed.deserialize(&mut json).ok()?;
    json.end().ok()?;
    Some(value)
}

/// The whole report, or one of its maps.
struct Object<'a, 'r> {
    reading: &'a mut Reading<'r>,
    map: Option<Map>,
}

impl<'de> DeserializeSeed<'de> for Object<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            match (self.map, Map::of(&name)) {
                (Some(map), _) => self.reading.metric(map, &name, members.next_value::<Value>()?.0),
                (None, Some(map)) => {
                    members.next_value_seed(Object { reading: self.reading, map: Some(map) })?;
                }
                (None, None) => match members.next_value::<Value>()? {
                    Value(_, true) => {}
                    Value(number, false) => self.reading.figure(&name, number),
                },
            }
        }
        Ok(())
    }

    /// Null: a map that is not there.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if self.map.is_some() { Ok(()) } else { Err(E::custom("null")) }
    }
}

/// The number that a value is, if it is one; and whether it is null.
struct Value(Option<f64>, bool);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value(Some(number), false))
    }

    #[expect(clippy::cast_precision_loss, reason = "so large a number is clamped anyway")]
    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value(Some(number as f64), false))
    }

    #[expect(clippy::cast_precision_loss, reason = "a negative number is dropped")]
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value(Some(number as f64), false))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value(number(text.as_bytes()), false))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value(None, true))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value(None, false))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value(None, false))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value(None, false))
    }
}
