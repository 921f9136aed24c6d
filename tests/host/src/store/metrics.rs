//! Metrics as Envoy has them: values by name for the process, handles for each VM.

use std::collections::{BTreeMap, HashMap};

use crate::types::Status;

/// Kind of a metric: the low bits of its handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
}

impl Kind {
    pub(crate) fn from_abi(kind: u32) -> Option<Self> {
        [Self::Counter, Self::Gauge, Self::Histogram].get(kind as usize).copied()
    }

    pub(crate) fn name(self) -> &'static str {
        ["counter", "gauge", "histogram"][self as usize]
    }
}

/// Names that Envoy's stats matcher drops.
pub(crate) type Drops = Box<dyn Fn(&str) -> bool>;

/// Where a value is kept: `None` where the stats matcher dropped the metric.
type Place = Option<usize>;

/// All values of a proxy.
#[derive(Default)]
pub(crate) struct Metrics {
    names: [BTreeMap<String, usize>; 3],
    counters: Vec<u64>,
    /// Wraps below zero, as Envoy's do.
    gauges: Vec<u64>,
    histograms: Vec<Vec<u64>>,
    drops: Option<Drops>,
}

impl Metrics {
    pub(crate) fn drop_where(&mut self, drops: Option<Drops>) {
        self.drops = drops;
    }

    fn place(&mut self, kind: Kind, name: &str) -> Place {
        if self.drops.as_ref().is_some_and(|drops| drops(name)) {
            return None;
        }
        let next = match kind {
            Kind::Counter => self.counters.len(),
            Kind::Gauge => self.gauges.len(),
            Kind::Histogram => self.histograms.len(),
        };
        let place = *self.names[kind as usize].entry(name.to_owned()).or_insert(next);
        if place == next {
            match kind {
                Kind::Counter => self.counters.push(0),
                Kind::Gauge => self.gauges.push(0),
                Kind::Histogram => self.histograms.push(Vec::new()),
            }
        }
        Some(place)
    }

    /// Names are forgotten; handles go on with what nobody reads.
    pub(crate) fn forget(&mut self) {
        self.names = <[BTreeMap<String, usize>; 3]>::default();
    }

    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        let named = self.names[Kind::Counter as usize].iter();
        named.map(|(name, place)| (name.clone(), self.counters[*place])).collect()
    }

    pub(crate) fn gauges(&self) -> BTreeMap<String, i64> {
        let named = self.names[Kind::Gauge as usize].iter();
        named.map(|(name, place)| (name.clone(), self.gauges[*place].cast_signed())).collect()
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.names[Kind::Counter as usize].get(name).map_or(0, |place| self.counters[*place])
    }

    pub(crate) fn gauge(&self, name: &str) -> i64 {
        let place = self.names[Kind::Gauge as usize].get(name);
        place.map_or(0, |place| self.gauges[*place].cast_signed())
    }

    pub(crate) fn histogram(&self, name: &str) -> Vec<u64> {
        let place = self.names[Kind::Histogram as usize].get(name);
        place.map_or_else(Vec::new, |place| self.histograms[*place].clone())
    }
}

/// The handles of one VM: of the n-th metric of a kind (from 1), `4 * n + kind`.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    places: HashMap<u32, (Place, String)>,
    next: [u32; 3],
}

impl Handles {
    /// A new handle, also for a name that has one.
    pub(crate) fn define(&mut self, metrics: &mut Metrics, kind: Kind, name: &str) -> u32 {
        let next = &mut self.next[kind as usize];
        *next += 1;
        let handle = *next * 4 + kind as u32;
        self.places.insert(handle, (metrics.place(kind, name), name.to_owned()));
        handle
    }

    /// The name behind a handle, or the handle as text.
    pub(crate) fn name(&self, handle: u32) -> String {
        self.places.get(&handle).map_or_else(|| format!("#{handle}"), |(_, name)| name.clone())
    }

    pub(crate) fn increment(&self, metrics: &mut Metrics, handle: u32, by: i64) -> Status {
        let found = self.places.get(&handle).map(|(place, _)| *place);
        match (Kind::from_abi(handle & 3), found) {
            (Some(Kind::Counter | Kind::Gauge), None) => Status::NotFound,
            (Some(Kind::Counter), Some(_)) if by <= 0 => Status::BadArgument,
            (Some(Kind::Counter), Some(place)) => {
                if let Some(place) = place {
                    let value = &mut metrics.counters[place];
                    *value = value.wrapping_add(by.unsigned_abs());
                }
                Status::Ok
            }
            (Some(Kind::Gauge), Some(place)) => {
                if let Some(place) = place {
                    let value = &mut metrics.gauges[place];
                    *value = value.wrapping_add(by.cast_unsigned());
                }
                Status::Ok
            }
            _ => Status::BadArgument,
        }
    }

    /// A counter adds what is recorded.
    pub(crate) fn record(&self, metrics: &mut Metrics, handle: u32, value: u64) -> Status {
        let Some((place, _)) = self.places.get(&handle) else { return Status::NotFound };
        let Some(place) = *place else { return Status::Ok };
        match Kind::from_abi(handle & 3) {
            Some(Kind::Counter) => {
                metrics.counters[place] = metrics.counters[place].wrapping_add(value);
            }
            Some(Kind::Gauge) => metrics.gauges[place] = value,
            Some(Kind::Histogram) => metrics.histograms[place].push(value),
            None => return Status::NotFound,
        }
        Status::Ok
    }

    pub(crate) fn get(&self, metrics: &Metrics, handle: u32) -> Result<u64, Status> {
        let found = self.places.get(&handle).map(|(place, _)| *place);
        match (Kind::from_abi(handle & 3), found) {
            (Some(Kind::Counter), Some(place)) => Ok(place.map_or(0, |at| metrics.counters[at])),
            (Some(Kind::Gauge), Some(place)) => Ok(place.map_or(0, |at| metrics.gauges[at])),
            (Some(Kind::Counter | Kind::Gauge), None) => Err(Status::NotFound),
            _ => Err(Status::BadArgument),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Handles, Kind, Metrics};
    use crate::types::Status;

    #[test]
    fn two_vms_share_values_by_name_and_kind() {
        let (mut metrics, mut one, mut two) =
            (Metrics::default(), Handles::default(), Handles::default());
        let first = one.define(&mut metrics, Kind::Gauge, "g");
        two.define(&mut metrics, Kind::Gauge, "other");
        let second = two.define(&mut metrics, Kind::Gauge, "g");
        assert_eq!((first, second), (5, 9));
        assert_eq!(one.increment(&mut metrics, first, 5), Status::Ok);
        assert_eq!(two.increment(&mut metrics, second, -7), Status::Ok);
        assert_eq!(two.get(&metrics, second), Ok((-2_i64).cast_unsigned()));
        assert_eq!((metrics.gauge("g"), metrics.counter("g")), (-2, 0));
    }

    #[test]
    fn each_kind_has_its_own_statuses() {
        let (mut metrics, mut vm) = (Metrics::default(), Handles::default());
        let counter = vm.define(&mut metrics, Kind::Counter, "c");
        let histogram = vm.define(&mut metrics, Kind::Histogram, "h");
        assert_eq!(vm.increment(&mut metrics, counter, 0), Status::BadArgument);
        assert_eq!(vm.increment(&mut metrics, counter, -1), Status::BadArgument);
        assert_eq!(vm.increment(&mut metrics, counter, 2), Status::Ok);
        assert_eq!(vm.record(&mut metrics, counter, 3), Status::Ok);
        assert_eq!(vm.get(&metrics, counter), Ok(5));
        assert_eq!(vm.increment(&mut metrics, histogram, 1), Status::BadArgument);
        assert_eq!(vm.record(&mut metrics, histogram, 9), Status::Ok);
        assert_eq!(vm.get(&metrics, histogram), Err(Status::BadArgument));
        assert_eq!(metrics.histogram("h"), [9]);
        assert_eq!(vm.get(&metrics, 8), Err(Status::NotFound));
        assert_eq!(vm.increment(&mut metrics, 5, 1), Status::NotFound);
        assert_eq!(vm.record(&mut metrics, 10, 1), Status::NotFound);
        assert_eq!(vm.increment(&mut metrics, 7, 1), Status::BadArgument);
    }

    #[test]
    fn what_the_matcher_drops_reads_0() {
        let (mut metrics, mut vm) = (Metrics::default(), Handles::default());
        metrics.drop_where(Some(Box::new(|name| name.starts_with('x'))));
        let gauge = vm.define(&mut metrics, Kind::Gauge, "x");
        assert_eq!(vm.increment(&mut metrics, gauge, 5), Status::Ok);
        assert_eq!(vm.record(&mut metrics, gauge, 5), Status::Ok);
        assert_eq!(vm.get(&metrics, gauge), Ok(0));
        assert!(metrics.gauges().is_empty());
    }
}
