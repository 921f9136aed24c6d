//! Header and trailer maps.

/// A header or trailer map: ordered, names in lower case, values any bytes.
///
/// ```
/// use leastload_testhost::Headers;
///
/// let headers = Headers::from([(":path", "/"), ("x-a", "1"), ("x-a", "2")]);
/// assert_eq!(headers.get("x-a"), Some("1"));
/// assert_eq!(headers.all("x-a"), ["1", "2"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, Vec<u8>)>);

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first value of a header, if it is UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_bytes(name).and_then(|value| core::str::from_utf8(value).ok())
    }

    /// The first value of a header.
    pub fn get_bytes(&self, name: &str) -> Option<&[u8]> {
        let name = name.to_ascii_lowercase();
        self.0.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_slice())
    }

    /// Whether the header is there.
    pub fn contains(&self, name: &str) -> bool {
        self.get_bytes(name).is_some()
    }

    /// Every value of a header that is UTF-8.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let name = name.to_ascii_lowercase();
        let of_name = self.0.iter().filter(|(key, _)| *key == name);
        of_name.filter_map(|(_, value)| core::str::from_utf8(value).ok()).collect()
    }

    /// Adds a value beside those that are there.
    pub fn add(&mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) {
        self.0.push((name.as_ref().to_ascii_lowercase(), value.as_ref().to_vec()));
    }

    /// Sets a header, replacing all its values.
    pub fn set(&mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) {
        let name = name.as_ref().to_ascii_lowercase();
        if let Some(at) = self.0.iter().position(|(key, _)| *key == name) {
            let mut index = 0;
            self.0.retain(|(key, _)| {
                index += 1;
                *key != name || index == at + 1
            });
            self.0[at].1 = value.as_ref().to_vec();
        } else {
            self.0.push((name, value.as_ref().to_vec()));
        }
    }

    /// Removes every value of a header.
    pub fn remove(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        self.0.retain(|(key, _)| *key != name);
    }

    /// Every entry in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }

    /// Bytes of all names and values: what Envoy calls the map's size.
    pub fn byte_size(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

impl<K: AsRef<str>, V: AsRef<[u8]>> FromIterator<(K, V)> for Headers {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        let mut headers = Self::new();
        for (name, value) in entries {
            headers.add(name, value);
        }
        headers
    }
}

impl<K: AsRef<str>, V: AsRef<[u8]>, const N: usize> From<[(K, V); N]> for Headers {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K: AsRef<str>, V: AsRef<[u8]>> From<Vec<(K, V)>> for Headers {
    fn from(entries: Vec<(K, V)>) -> Self {
        entries.into_iter().collect()
    }
}

impl From<()> for Headers {
    fn from((): ()) -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Headers;

    #[test]
    fn set_keeps_the_place_of_the_first_value_and_removes_the_others() {
        let mut headers = Headers::from([("a", "1"), ("B", "2"), ("a", "3")]);
        headers.set("A", "4");
        assert_eq!(headers, Headers::from([("a", "4"), ("b", "2")]));
        headers.remove("a");
        assert_eq!(headers.byte_size(), 2);
    }
}
