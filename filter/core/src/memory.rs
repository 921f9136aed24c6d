//! A proxy in memory, for tests: one shared store and one set of gauges, as Envoy has them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::proxy::{Cas, ClusterGauge, GaugeId, Proxy};

type Interruption = Box<dyn FnMut()>;

/// Envoy's shared data and gauges.
#[derive(Default)]
pub(crate) struct Memory {
    values: RefCell<HashMap<String, (Vec<u8>, u32)>>,
    next_cas: Cell<u32>,
    names: RefCell<Vec<String>>,
    gauges: RefCell<Vec<i64>>,
    pub(crate) figures: RefCell<HashMap<(String, String), u64>>,
    pub(crate) warnings: RefCell<Vec<String>>,
    /// The proxy drops our gauges: reads are 0.
    pub(crate) drops_gauges: Cell<bool>,
    interruption: RefCell<Option<Interruption>>,
}

impl Memory {
    /// Runs `what` before each call: other VMs' doings between two calls of one.
    pub(crate) fn interrupt(&self, what: impl FnMut() + 'static) {
        *self.interruption.borrow_mut() = Some(Box::new(what));
    }

    /// The gauge of a slot as Envoy holds it.
    pub(crate) fn gauge(&self, cluster: &str, slot: u32, set: usize) -> i64 {
        let name = format!("{cluster}/{slot}/{set}");
        let names = self.names.borrow();
        let at = names.iter().position(|known| *known == name);
        at.map_or(0, |at| self.gauges.borrow()[at])
    }

    /// Every gauge that is not zero.
    pub(crate) fn leftovers(&self) -> Vec<(String, i64)> {
        let names = self.names.borrow().clone();
        names.into_iter().zip(self.gauges.borrow().clone()).filter(|(_, v)| *v != 0).collect()
    }

    fn interrupted(&self) {
        // Taken out while it runs: what it does is not interrupted again.
        if let Some(mut what) = self.interruption.take() {
            what();
            *self.interruption.borrow_mut() = Some(what);
        }
    }
}

impl Proxy for Memory {
    fn shared_get(&self, key: &str) -> Option<(Vec<u8>, Cas)> {
        self.interrupted();
        self.values.borrow().get(key).map(|(value, cas)| (value.clone(), Cas(*cas)))
    }

    fn shared_swap(&self, key: &str, value: &[u8], expected: Option<Cas>) -> bool {
        self.interrupted();
        let mut values = self.values.borrow_mut();
        if values.get(key).map(|(_, cas)| Cas(*cas)) != expected {
            return false;
        }
        self.next_cas.set(self.next_cas.get() + 1);
        values.insert(key.to_owned(), (value.to_vec(), self.next_cas.get()));
        true
    }

    fn work_gauge(&self, cluster: &str, slot: u32, set: usize) -> Option<GaugeId> {
        let name = format!("{cluster}/{slot}/{set}");
        let mut names = self.names.borrow_mut();
        let at = names.iter().position(|known| *known == name).unwrap_or_else(|| {
            names.push(name);
            self.gauges.borrow_mut().push(0);
            names.len() - 1
        });
        Some(GaugeId(u32::try_from(at).unwrap()))
    }

    fn gauge_add(&self, gauge: GaugeId, delta: i64) {
        self.interrupted();
        if !self.drops_gauges.get() {
            self.gauges.borrow_mut()[gauge.0 as usize] += delta;
        }
    }

    fn gauge_set(&self, gauge: GaugeId, value: u64) {
        self.interrupted();
        self.gauges.borrow_mut()[gauge.0 as usize] = i64::try_from(value).unwrap();
    }

    fn gauge_read(&self, gauge: GaugeId) -> i64 {
        self.interrupted();
        self.gauges.borrow()[gauge.0 as usize]
    }

    fn cluster_gauge(&self, cluster: &str, figure: ClusterGauge, value: u64) {
        self.figures.borrow_mut().insert((cluster.to_owned(), format!("{figure:?}")), value);
    }

    fn warn(&self, message: &str) {
        self.warnings.borrow_mut().push(message.to_owned());
    }
}
