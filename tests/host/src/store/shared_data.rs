//! Shared data as Envoy has it: one store in the process, a map for each VM id.

use std::collections::{BTreeMap, HashMap};

use crate::types::Status;

/// Values with their versions, by key.
type Map = BTreeMap<Vec<u8>, (Vec<u8>, u32)>;

#[derive(Debug)]
pub(crate) struct SharedData {
    /// By VM id.
    maps: HashMap<String, Map>,
    /// Versions are counted over all keys; 0 is none.
    next_cas: u32,
}

impl Default for SharedData {
    fn default() -> Self {
        Self { maps: HashMap::new(), next_cas: 1 }
    }
}

impl SharedData {
    pub(crate) fn get(&self, vm_id: &str, key: &[u8]) -> Option<&(Vec<u8>, u32)> {
        self.maps.get(vm_id)?.get(key)
    }

    /// A version of 0 always matches, and so does any version where the key is absent.
    pub(crate) fn set(&mut self, vm_id: &str, key: &[u8], value: &[u8], cas: u32) -> Status {
        let map = self.maps.entry(vm_id.to_owned()).or_default();
        if map.get(key).is_some_and(|(_, version)| cas != 0 && cas != *version) {
            return Status::CasMismatch;
        }
        map.insert(key.to_vec(), (value.to_vec(), self.next_cas));
        self.next_cas = self.next_cas.checked_add(1).unwrap_or(1);
        Status::Ok
    }

    pub(crate) fn keys(&self, vm_id: &str) -> Vec<String> {
        let keys = self.maps.get(vm_id).into_iter().flatten();
        keys.map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::SharedData;
    use crate::types::Status;

    #[test]
    fn a_version_is_compared_only_where_one_is_given_and_the_key_is_there() {
        let mut data = SharedData::default();
        assert_eq!(data.set("", b"k", b"1", 77), Status::Ok);
        assert_eq!(data.get("", b"k"), Some(&(b"1".to_vec(), 1)));
        assert_eq!(data.set("", b"k", b"2", 77), Status::CasMismatch);
        assert_eq!(data.set("", b"k", b"2", 1), Status::Ok);
        assert_eq!(data.set("", b"k", b"3", 0), Status::Ok);
        assert_eq!(data.get("", b"k"), Some(&(b"3".to_vec(), 3)));
    }

    #[test]
    fn versions_are_counted_over_all_keys_and_vm_ids_do_not_meet() {
        let mut data = SharedData::default();
        data.set("a", b"k", b"1", 0);
        data.set("b", b"k", b"2", 0);
        assert_eq!(data.get("a", b"k"), Some(&(b"1".to_vec(), 1)));
        assert_eq!(data.get("b", b"k"), Some(&(b"2".to_vec(), 2)));
        assert_eq!(data.get("c", b"k"), None);
    }

    #[test]
    fn no_version_is_0() {
        let mut data = SharedData { next_cas: u32::MAX, ..SharedData::default() };
        data.set("", b"k", b"1", 0);
        data.set("", b"l", b"1", 0);
        assert_eq!(data.get("", b"k").map(|(_, cas)| *cas), Some(u32::MAX));
        assert_eq!(data.get("", b"l").map(|(_, cas)| *cas), Some(1));
    }
}
