//! A proxy in memory: one shared store and one set of gauges, as Envoy has them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use leastload_core::proxy::{Cas, ClusterGauge, GaugeId, Proxy};

/// Envoy's shared data and gauges.
#[derive(Default)]
pub(crate) struct Memory {
    values: RefCell<HashMap<String, (Vec<u8>, u32)>>,
    next_cas: Cell<u32>,
    names: RefCell<HashMap<(String, u32, usize), u32>>,
    gauges: RefCell<Vec<i64>>,
}

impl Memory {
    /// Every gauge that is not zero.
    pub(crate) fn leftovers(&self) -> Vec<(String, i64)> {
        let gauges = self.gauges.borrow();
        let mut left: Vec<_> = self
            .names
            .borrow()
            .iter()
            .map(|((cluster, slot, set), gauge)| {
                (format!("{cluster}/{slot}/{set}"), gauges[*gauge as usize])
            })
            .filter(|(_, value)| *value != 0)
            .collect();
        left.sort();
        left
    }

    /// How many gauges there are: names that a proxy keeps for ever.
    pub(crate) fn gauges(&self) -> usize {
        self.gauges.borrow().len()
    }

    /// How many keys, and the bytes of all values.
    pub(crate) fn stored(&self) -> (usize, usize) {
        let values = self.values.borrow();
        (values.len(), values.values().map(|(value, _)| value.len()).sum())
    }
}

impl Proxy for Memory {
    fn shared_get(&self, key: &str) -> Option<(Vec<u8>, Cas)> {
        self.values.borrow().get(key).map(|(value, cas)| (value.clone(), Cas(*cas)))
    }

    fn shared_swap(&self, key: &str, value: &[u8], expected: Option<Cas>) -> bool {
        let mut values = self.values.borrow_mut();
        if values.get(key).map(|(_, cas)| Cas(*cas)) != expected {
            return false;
        }
        self.next_cas.set(self.next_cas.get() + 1);
        values.insert(key.to_owned(), (value.to_vec(), self.next_cas.get()));
        true
    }

    fn work_gauge(&self, cluster: &str, slot: u32, set: usize) -> Option<GaugeId> {
        let mut gauges = self.gauges.borrow_mut();
        let mut names = self.names.borrow_mut();
        let id = *names.entry((cluster.to_owned(), slot, set)).or_insert_with(|| {
            gauges.push(0);
            u32::try_from(gauges.len() - 1).expect("few gauges")
        });
        Some(GaugeId(id))
    }

    fn gauge_add(&self, gauge: GaugeId, delta: i64) {
        self.gauges.borrow_mut()[gauge.0 as usize] += delta;
    }

    fn gauge_set(&self, gauge: GaugeId, value: u64) {
        self.gauges.borrow_mut()[gauge.0 as usize] = i64::try_from(value).expect("a sane gauge");
    }

    fn gauge_read(&self, gauge: GaugeId) -> i64 {
        self.gauges.borrow()[gauge.0 as usize]
    }

    fn cluster_gauge(&self, _: &str, _: ClusterGauge, _: u64) {}

    fn warn(&self, message: &str) {
        assert!(!message.is_empty());
    }
}
