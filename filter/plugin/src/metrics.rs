//! Metrics, and the store that all VMs share: what core needs of the proxy.
//!
//! Labels stand in the metric's name as `label=.=value;.;`, the form that Istio's `extraStatTags`
//! extracts, and that one regular expression a label extracts in any Envoy.

use std::cell::RefCell;

use hashbrown::HashMap;
use leastload_core::balancer::{Fate, Verdict};
use leastload_core::proxy::{Cas, ClusterGauge, GaugeId, Proxy};
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

use crate::host;

/// A token that no version has: writing with it succeeds only where the key is absent.
const ABSENT: u32 = u32::MAX;

/// Something that went wrong in the filter itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Trouble {
    /// The admin interface did not answer, or not with 200.
    AdminUnreachable,
    /// The admin interface answered something else than expected.
    AdminMalformed,
    /// Something an operator should look at; the log says what.
    Warning,
}

/// Counters, by what they count.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Counter {
    Pick(Verdict),
    Fate(Fate),
}

/// The proxy as this VM reaches it. Metrics are defined at their first use: Envoy keeps a name for
/// the life of the process.
pub(crate) struct Envoy {
    /// Stands before every name where the VM has an id: gauges are one per process, shared data
    /// one per VM id, and they must not meet.
    prefix: String,
    counters: RefCell<HashMap<usize, HashMap<Counter, u32>>>,
    troubles: RefCell<HashMap<Trouble, u32>>,
    figures: RefCell<HashMap<String, [Option<u32>; 4]>>,
}

impl Envoy {
    pub(crate) fn new() -> Self {
        let prefix = host::text(&["plugin_vm_id"])
            .map_or_else(String::new, |id| format!("leastload_vm=.={id};.;"));
        Self {
            prefix,
            counters: RefCell::default(),
            troubles: RefCell::default(),
            figures: RefCell::default(),
        }
    }

    /// Counts a decision about a request to the cluster `name`, whose number is `cluster`.
    pub(crate) fn count_pick(&self, cluster: usize, name: &str, verdict: Verdict) {
        self.count(cluster, Counter::Pick(verdict), || {
            let result = verdict.name();
            format!("leastload_cluster=.={name};.;leastload_result=.={result};.;leastload_picks")
        });
    }

    /// Counts what became of a pick; one that was honoured is not worth a host call.
    pub(crate) fn count_fate(&self, cluster: usize, name: &str, fate: Fate) {
        let (metric, label, value) = match fate {
            Fate::Honoured => return,
            Fate::Retry => ("overrides_refused", "reason", "retry"),
            Fate::NotEligible => ("overrides_refused", "reason", "not_eligible"),
            Fate::Gone => ("overrides_refused", "reason", "gone"),
            Fate::Ignored => ("overrides_refused", "reason", "ignored"),
            Fate::ShadowSame => ("shadow_picks", "result", "same"),
            Fate::ShadowOther => ("shadow_picks", "result", "other"),
        };
        self.count(cluster, Counter::Fate(fate), || {
            format!("leastload_cluster=.={name};.;leastload_{label}=.={value};.;leastload_{metric}")
        });
    }

    /// Counts a trouble of our own.
    pub(crate) fn count_trouble(&self, trouble: Trouble) {
        let mut troubles = self.troubles.borrow_mut();
        let id = *troubles.entry(trouble).or_insert_with(|| {
            let kind = match trouble {
                Trouble::AdminUnreachable => "admin_unreachable",
                Trouble::AdminMalformed => "admin_malformed",
                Trouble::Warning => "warning",
            };
            let name = format!("leastload_kind=.={kind};.;leastload_errors");
            self.define(MetricType::Counter, &name).unwrap_or(u32::MAX)
        });
        let _ = hostcalls::increment_metric(id, 1);
    }

    /// How many faults the configuration of a plugin has.
    pub(crate) fn config_faults(&self, plugin: &str, faults: u64) {
        let name = format!("leastload_plugin=.={plugin};.;leastload_config_faults");
        if let Some(id) = self.define(MetricType::Gauge, &name) {
            let _ = hostcalls::record_metric(id, faults);
        }
    }

    fn count(&self, cluster: usize, counter: Counter, name: impl FnOnce() -> String) {
        let mut counters = self.counters.borrow_mut();
        let id = *counters.entry(cluster).or_default().entry(counter).or_insert_with(|| {
            self.define(MetricType::Counter, &name()).unwrap_or(u32::MAX)
        });
        let _ = hostcalls::increment_metric(id, 1);
    }

    fn define(&self, kind: MetricType, name: &str) -> Option<u32> {
        hostcalls::define_metric(kind, &format!("{}{name}", self.prefix)).ok()
    }
}

impl Proxy for Envoy {
    fn shared_get(&self, key: &str) -> Option<(Vec<u8>, Cas)> {
        let (value, cas) = hostcalls::get_shared_data(key).ok()?;
        Some((value.unwrap_or_default(), Cas(cas?)))
    }

    fn shared_swap(&self, key: &str, value: &[u8], expected: Option<Cas>) -> bool {
        let cas = expected.map_or(ABSENT, |cas| cas.0);
        hostcalls::set_shared_data(key, Some(value), Some(cas)).is_ok()
    }

    fn work_gauge(&self, cluster: &str, slot: u32, set: usize) -> Option<GaugeId> {
        let name = if cluster.is_empty() {
            "leastload_gauge_check".to_owned()
        } else {
            format!(
                "leastload_cluster=.={cluster};.;leastload_slot=.={slot};.;leastload_set=.={set};.;\
                 leastload_work_milli"
            )
        };
        self.define(MetricType::Gauge, &name).map(GaugeId)
    }

    fn gauge_add(&self, gauge: GaugeId, delta: i64) {
        let _ = hostcalls::increment_metric(gauge.0, delta);
    }

    fn gauge_set(&self, gauge: GaugeId, value: u64) {
        let _ = hostcalls::record_metric(gauge.0, value);
    }

    fn gauge_read(&self, gauge: GaugeId) -> i64 {
        hostcalls::get_metric(gauge.0).map_or(0, u64::cast_signed)
    }

    fn cluster_gauge(&self, cluster: &str, figure: ClusterGauge, value: u64) {
        let (at, metric) = match figure {
            ClusterGauge::Known => (0, "endpoints_known"),
            ClusterGauge::Eligible => (1, "endpoints_eligible"),
            ClusterGauge::Outstanding => (2, "outstanding_milli"),
            ClusterGauge::Age => (3, "membership_age_ms"),
        };
        let mut figures = self.figures.borrow_mut();
        let ids = figures.entry_ref(cluster).or_default();
        let Some(id) = ids.get_mut(at) else { return };
        if id.is_none() {
            let name = format!("leastload_cluster=.={cluster};.;leastload_{metric}");
            *id = self.define(MetricType::Gauge, &name);
        }
        if let Some(id) = *id {
            let _ = hostcalls::record_metric(id, value);
        }
    }

    fn warn(&self, message: &str) {
        self.count_trouble(Trouble::Warning);
        log::warn!("leastload: {message}");
    }
}
