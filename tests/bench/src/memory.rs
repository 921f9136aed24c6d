//! A proxy in memory: shared values, and gauges that are plain integers, so that what is timed is
//! core and not a host.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
};

use leastload_core::proxy::{Cas, ClusterGauge, GaugeId, Proxy};

/// The shared store and the gauges of one proxy.
#[derive(Debug, Default)]
pub struct Memory {
    values: RefCell<HashMap<String, (Vec<u8>, u32)>>,
    last_cas: Cell<u32>,
    handles: RefCell<HashMap<(String, u32, usize), GaugeId>>,
    gauges: RefCell<Vec<i64>>,
}

impl Memory {
    fn gauge(&self, gauge: GaugeId, change: impl FnOnce(&mut i64)) {
        if let Some(value) = self.gauges.borrow_mut().get_mut(gauge.0 as usize) {
            change(value);
        }
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
        self.last_cas.set(self.last_cas.get() + 1);
        values.insert(key.to_owned(), (value.to_vec(), self.last_cas.get()));
        true
    }

    fn work_gauge(&self, cluster: &str, slot: u32, set: usize) -> Option<GaugeId> {
        let mut handles = self.handles.borrow_mut();
        let mut gauges = self.gauges.borrow_mut();
        let handle = handles.entry((cluster.to_owned(), slot, set)).or_insert_with(|| {
            gauges.push(0);
            GaugeId(u32::try_from(gauges.len() - 1).unwrap_or(u32::MAX))
        });
        Some(*handle)
    }

    fn gauge_add(&self, gauge: GaugeId, delta: i64) {
        self.gauge(gauge, |value| *value += delta);
    }

    fn gauge_set(&self, gauge: GaugeId, value: u64) {
        self.gauge(gauge, |at| *at = i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn gauge_read(&self, gauge: GaugeId) -> i64 {
        self.gauges.borrow().get(gauge.0 as usize).copied().unwrap_or(0)
    }

    fn cluster_gauge(&self, _: &str, _: ClusterGauge, _: u64) {}

    fn warn(&self, _: &str) {}
}
