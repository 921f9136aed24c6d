//! A proxy in memory, for tests and benchmarks: one shared store and one set of gauges, as Envoy has
//! them. It panics where it is used as no proxy can be.
#![allow(clippy::expect_used, clippy::indexing_slicing)]

use std::cell::{Cell, RefCell};

use crate::Map;
use crate::proxy::{Cas, ClusterGauge, GaugeId, Proxy};

type Interruption = Box<dyn FnMut()>;

/// Envoy's shared data and gauges.
#[derive(Default)]
pub struct Memory {
    values: RefCell<Map<String, (Vec<u8>, u32)>>,
    next_cas: Cell<u32>,
    /// By cluster, slot and set.
    handles: RefCell<Map<(String, u32, usize), GaugeId>>,
    gauges: RefCell<Vec<i64>>,
    /// What was published last, by cluster and figure.
    pub figures: RefCell<Map<(String, String), u64>>,
    /// What an operator was told.
    pub warnings: RefCell<Vec<String>>,
    /// The proxy drops our gauges: reads are 0.
    pub drops_gauges: Cell<bool>,
    interruption: RefCell<Option<Interruption>>,
}

impl Memory {
    /// Runs `what` before each call: other VMs' doings between two calls of one.
    pub fn interrupt(&self, what: impl FnMut() + 'static) {
        *self.interruption.borrow_mut() = Some(Box::new(what));
    }

    /// The gauge of a slot as Envoy holds it.
    pub fn gauge(&self, cluster: &str, slot: u32, set: usize) -> i64 {
        let handle = self.handles.borrow().get(&(cluster.to_owned(), slot, set)).copied();
        handle.map_or(0, |gauge| self.gauges.borrow()[gauge.0 as usize])
    }

    /// How many gauges there are: names that a proxy keeps for ever.
    pub fn gauges(&self) -> usize {
        self.gauges.borrow().len()
    }

    /// Every gauge that is not zero, as `cluster/slot/set`.
    pub fn leftovers(&self) -> Vec<(String, i64)> {
        let (handles, gauges) = (self.handles.borrow(), self.gauges.borrow());
        let named = handles.iter().map(|((cluster, slot, set), gauge)| {
            (format!("{cluster}/{slot}/{set}"), gauges[gauge.0 as usize])
        });
        let mut left: Vec<_> = named.filter(|(_, value)| *value != 0).collect();
        left.sort();
        left
    }

    /// How many keys are stored, and the bytes of all values.
    pub fn stored(&self) -> (usize, usize) {
        let values = self.values.borrow();
        (values.len(), values.values().map(|(value, _)| value.len()).sum())
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
        let (mut handles, mut gauges) = (self.handles.borrow_mut(), self.gauges.borrow_mut());
        let handle = handles.entry((cluster.to_owned(), slot, set)).or_insert_with(|| {
            gauges.push(0);
            GaugeId(u32::try_from(gauges.len() - 1).expect("few gauges"))
        });
        Some(*handle)
    }

    fn gauge_add(&self, gauge: GaugeId, delta: i64) {
        self.interrupted();
        if !self.drops_gauges.get() {
            self.gauges.borrow_mut()[gauge.0 as usize] += delta;
        }
    }

    fn gauge_set(&self, gauge: GaugeId, value: u64) {
        self.interrupted();
        self.gauges.borrow_mut()[gauge.0 as usize] = i64::try_from(value).expect("a sane gauge");
    }

    fn gauge_read(&self, gauge: GaugeId) -> i64 {
        self.interrupted();
        self.gauges.borrow()[gauge.0 as usize]
    }

    fn cluster_gauge(&self, cluster: &str, figure: ClusterGauge, value: u64) {
        self.figures.borrow_mut().insert((cluster.to_owned(), format!("{figure:?}")), value);
    }

    fn warn(&self, message: &str) {
        assert!(!message.is_empty());
        self.warnings.borrow_mut().push(message.to_owned());
    }
}
