//! Metrics, and the store that all VMs share: what core needs of the proxy.
//!
//! Labels stand in the metric's name as `label=.=value;.;`, the form that Istio's `extraStatTags`
//! extracts, and that one regular expression a label extracts in any Envoy.

use std::cell::{Cell, RefCell};

use leastload_core::Map;
use leastload_core::balancer::{Fate, Verdict};
use leastload_core::proxy::{Cas, ClusterGauge, GaugeId, Proxy};
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

use crate::host;

/// A token that no version has: writing with it succeeds only where the key is absent.
const ABSENT: u32 = u32::MAX;

/// Something that went wrong in the filter itself.
#[derive(Clone, Copy)]
pub(crate) enum Trouble {
    /// The admin interface did not answer, or not with 200.
    AdminUnreachable,
    /// The admin interface answered something else than expected.
    AdminMalformed,
    /// Something an operator should look at; the log says what.
    Warning,
}

/// A metric's handle, once it is defined.
type Handle = Cell<Option<u32>>;

/// The metrics of one cluster.
#[derive(Default)]
struct ClusterMetrics {
    picks: [Handle; Verdict::COUNT],
    fates: [Handle; Fate::COUNT],
}

/// The proxy as this VM reaches it. Metrics are defined at their first use: Envoy keeps a name for
/// the life of the process.
pub(crate) struct Envoy {
    /// Stands before every name where the VM has an id: gauges are one per process, shared data
    /// one per VM id, and they must not meet.
    prefix: String,
    /// By the number of the cluster.
    clusters: RefCell<Vec<ClusterMetrics>>,
    troubles: [Handle; 3],
    /// By the name of the cluster: the coordinator speaks of clusters it does not serve.
    figures: RefCell<Figures>,
}

#[derive(Default)]
struct Figures {
    names: Map<String, u32>,
    handles: Vec<[Handle; 4]>,
}

impl Envoy {
    pub(crate) fn new() -> Self {
        let prefix = host::text(&["plugin_vm_id"])
            .map_or_else(String::new, |id| format!("leastload_vm=.={id};.;"));
        Self {
            prefix,
            clusters: RefCell::default(),
            troubles: <[Handle; 3]>::default(),
            figures: RefCell::default(),
        }
    }

    /// Counts a decision about a request to the cluster `name`, whose number is `cluster`.
    pub(crate) fn count_pick(&self, cluster: usize, name: &str, verdict: Verdict) {
        self.of_cluster(cluster, |metrics| {
            self.count(metrics.picks.get(verdict as usize), || {
                let result = verdict.name();
                format!(
                    "leastload_cluster=.={name};.;leastload_result=.={result};.;leastload_picks"
                )
            });
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
        self.of_cluster(cluster, |metrics| {
            self.count(metrics.fates.get(fate as usize), || {
                format!(
                    "leastload_cluster=.={name};.;leastload_{label}=.={value};.;leastload_{metric}"
                )
            });
        });
    }

    /// Counts a trouble of our own.
    pub(crate) fn count_trouble(&self, trouble: Trouble) {
        let kind = match trouble {
            Trouble::AdminUnreachable => "admin_unreachable",
            Trouble::AdminMalformed => "admin_malformed",
            Trouble::Warning => "warning",
        };
        self.count(self.troubles.get(trouble as usize), || {
            format!("leastload_kind=.={kind};.;leastload_errors")
        });
    }

    /// How many faults the configuration of a plugin has.
    pub(crate) fn config_faults(&self, plugin: &str, faults: u64) {
        let name = format!("leastload_plugin=.={plugin};.;leastload_config_faults");
        if let Some(id) = self.define(MetricType::Gauge, &name) {
            let _ = hostcalls::record_metric(id, faults);
        }
    }

    fn of_cluster(&self, cluster: usize, what: impl FnOnce(&ClusterMetrics)) {
        let mut clusters = self.clusters.borrow_mut();
        if clusters.len() <= cluster {
            clusters.resize_with(cluster + 1, ClusterMetrics::default);
        }
        if let Some(metrics) = clusters.get(cluster) {
            what(metrics);
        }
    }

    fn count(&self, counter: Option<&Handle>, name: impl FnOnce() -> String) {
        if let Some(id) = counter.and_then(|handle| self.id(handle, MetricType::Counter, name)) {
            let _ = hostcalls::increment_metric(id, 1);
        }
    }

    /// The metric behind a handle, defined at its first use.
    fn id(&self, handle: &Handle, kind: MetricType, name: impl FnOnce() -> String) -> Option<u32> {
        if handle.get().is_none() {
            handle.set(self.define(kind, &name()));
        }
        handle.get()
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
        let index = if let Some(index) = figures.names.get(cluster) {
            *index as usize
        } else {
            let index = figures.handles.len();
            figures.names.insert(cluster.to_owned(), u32::try_from(index).unwrap_or(u32::MAX));
            figures.handles.push(<[Handle; 4]>::default());
            index
        };
        let Some(handle) = figures.handles.get(index).and_then(|handles| handles.get(at)) else {
            return;
        };
        let name = || format!("leastload_cluster=.={cluster};.;leastload_{metric}");
        if let Some(id) = self.id(handle, MetricType::Gauge, name) {
            let _ = hostcalls::record_metric(id, value);
        }
    }

    fn warn(&self, message: &str) {
        self.count_trouble(Trouble::Warning);
        log::warn!("leastload: {message}");
    }
}
