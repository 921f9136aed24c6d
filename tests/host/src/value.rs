//! Values of properties, encoded as Envoy does.

use crate::abi::pairs;

/// A property's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// Bytes; a message-typed property is its serialised form.
    Bytes(Vec<u8>),
    /// 8 bytes, little-endian.
    Int(i64),
    /// 8 bytes, little-endian.
    Uint(u64),
    /// 8 bytes, little-endian.
    Double(f64),
    /// 1 byte.
    Bool(bool),
    /// Pairs, like a header map.
    Map(Vec<(String, Value)>),
    /// Pairs with empty second halves.
    List(Vec<Value>),
}

impl Value {
    /// The bytes that the VM gets.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Bytes(bytes) => bytes.clone(),
            Self::Int(number) => number.to_le_bytes().to_vec(),
            Self::Uint(number) => number.to_le_bytes().to_vec(),
            Self::Double(number) => number.to_le_bytes().to_vec(),
            Self::Bool(yes) => vec![u8::from(*yes)],
            Self::Map(entries) => pairs::encode(
                &entries
                    .iter()
                    .map(|(k, v)| (k.clone().into_bytes(), v.encode()))
                    .collect::<Vec<_>>(),
            ),
            Self::List(items) => {
                pairs::encode(&items.iter().map(|v| (v.encode(), Vec::new())).collect::<Vec<_>>())
            }
        }
    }

    /// What a path leads to from here.
    pub(crate) fn walk(&self, path: &[&str]) -> Option<&Self> {
        let Some((first, rest)) = path.split_first() else { return Some(self) };
        match self {
            Self::Map(entries) => {
                entries.iter().find(|(key, _)| key == first).and_then(|(_, value)| value.walk(rest))
            }
            Self::List(items) => {
                first.parse::<usize>().ok().and_then(|at| items.get(at)?.walk(rest))
            }
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Uint(number)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}
