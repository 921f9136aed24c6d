//! Metrics, and the store that all VMs share: what core needs of the proxy.
//!
//! Labels stand in the metric's name as `label=.=value;.;`, the form that Istio's `extraStatTags`
//! extracts, and that one regular expression a label extracts in any Envoy.

use std::cell::{Cell, OnceCell, RefCell};

use leastload_core::Map;
use leastload_core::balancer::{Fate, Verdict};
use leastload_core::proxy::{Cas, ClusterGauge, GaugeId, Proxy};
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

use crate::host;
use crate::probe::{Asked, Path};
use crate::waiting::Waited;

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

/// What a load report lost.
#[derive(Clone, Copy)]
pub(crate) enum Loss {
    /// All of it: it is longer than what is read.
    TooLong,
    /// All of it: it is none.
    Malformed,
    /// Values that make no sense.
    Values,
    /// What exceeds a range.
    Excess,
}

/// A metric's handle, once it is defined.
type Handle = Cell<Option<u32>>;

/// The metrics of one cluster.
#[derive(Default)]
struct ClusterMetrics {
    picks: [Handle; Verdict::COUNT],
    fates: [Handle; Fate::COUNT],
    /// Only where servers are asked.
    asking: OnceCell<Box<AskingMetrics>>,
}

#[derive(Default)]
struct AskingMetrics {
    probes: [[Handle; Asked::COUNT]; Path::COUNT],
    waits: [Handle; Waited::COUNT],
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
    losses: [Handle; 4],
    answers: [Handle; 2],
    /// By the name of the cluster: the coordinator speaks of clusters it does not serve.
    figures: RefCell<Figures>,
}

#[derive(Default)]
struct Figures {
    names: Map<String, u32>,
    handles: Vec<[Handle; ClusterGauge::COUNT]>,
}

impl Envoy {
    pub(crate) fn new() -> Self {
        let prefix = host::text(&["plugin_vm_id"])
            .map_or_else(String::new, |id| format!("leastload_vm=.={id};.;"));
        Self {
            prefix,
            clusters: RefCell::default(),
            troubles: Default::default(),
            losses: Default::default(),
            answers: Default::default(),
            figures: RefCell::default(),
        }
    }

    /// Counts a decision about a request to the cluster `name`, whose number is `cluster`.
    pub(crate) fn count_pick(&self, cluster: usize, name: &str, verdict: Verdict) {
        self.of_cluster(cluster, |metrics| {
            let labels = [("cluster", name), ("result", verdict.name())];
            self.count(metrics.picks.get(verdict as usize), &labels, "picks");
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
            let labels = [("cluster", name), (label, value)];
            self.count(metrics.fates.get(fate as usize), &labels, metric);
        });
    }

    /// Counts what became of a probe.
    pub(crate) fn count_probe(&self, cluster: usize, name: &str, path: Path, asked: Asked) {
        self.of_cluster(cluster, |metrics| {
            let handles = metrics.asking.get_or_init(Box::default).probes.get(path as usize);
            let labels = [("cluster", name), ("kind", path.name()), ("result", asked.name())];
            self.count(handles.and_then(|all| all.get(asked as usize)), &labels, "probes");
        });
    }

    /// Counts how the wait of a request ended.
    pub(crate) fn count_wait(&self, cluster: usize, name: &str, waited: Waited) {
        self.of_cluster(cluster, |metrics| {
            let labels = [("cluster", name), ("result", waited.name())];
            let handles = &metrics.asking.get_or_init(Box::default).waits;
            self.count(handles.get(waited as usize), &labels, "probe_waits");
        });
    }

    /// Counts a trouble of our own.
    pub(crate) fn count_trouble(&self, trouble: Trouble) {
        let kind = match trouble {
            Trouble::AdminUnreachable => "admin_unreachable",
            Trouble::AdminMalformed => "admin_malformed",
            Trouble::Warning => "warning",
        };
        self.count(self.troubles.get(trouble as usize), &[("kind", kind)], "errors");
    }

    /// Counts a load report that was not all taken.
    pub(crate) fn count_loss(&self, loss: Loss) {
        let reason = match loss {
            Loss::TooLong => "too_long",
            Loss::Malformed => "malformed",
            Loss::Values => "values",
            Loss::Excess => "excess",
        };
        self.count(self.losses.get(loss as usize), &[("reason", reason)], "reports_dropped");
    }

    /// Counts a probe that reached the server beside this proxy.
    pub(crate) fn count_answer(&self, given: bool) {
        let result = if given { "given" } else { "not_allowed" };
        self.count(self.answers.get(usize::from(given)), &[("result", result)], "probe_answers");
    }

    /// How many faults the configuration of a plugin has.
    pub(crate) fn config_faults(&self, plugin: &str, faults: u64) {
        let labels = [("plugin", plugin)];
        if let Some(id) = self.define(MetricType::Gauge, &labels, "config_faults") {
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

    fn count(&self, counter: Option<&Handle>, labels: &[(&str, &str)], metric: &str) {
        let id = counter.and_then(|handle| self.id(handle, MetricType::Counter, labels, metric));
        if let Some(id) = id {
            let _ = hostcalls::increment_metric(id, 1);
        }
    }

    /// The metric behind a handle, defined at its first use.
    fn id(
        &self,
        handle: &Handle,
        kind: MetricType,
        labels: &[(&str, &str)],
        metric: &str,
    ) -> Option<u32> {
        if handle.get().is_none() {
            handle.set(self.define(kind, labels, metric));
        }
        handle.get()
    }

    fn define(&self, kind: MetricType, labels: &[(&str, &str)], metric: &str) -> Option<u32> {
        let mut name = self.prefix.clone();
        for (label, value) in labels {
            for part in ["leastload_", label, "=.=", value, ";.;"] {
                name.push_str(part);
            }
        }
        name.push_str("leastload_");
        name.push_str(metric);
        hostcalls::define_metric(kind, &name).ok()
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
        let id = if cluster.is_empty() {
            self.define(MetricType::Gauge, &[], "gauge_check")
        } else {
            let (slot, set) = (slot.to_string(), set.to_string());
            let labels = [("cluster", cluster), ("slot", &slot), ("set", &set)];
            self.define(MetricType::Gauge, &labels, "work_milli")
        };
        id.map(GaugeId)
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
        let metric = match figure {
            ClusterGauge::Known => "endpoints_known",
            ClusterGauge::Eligible => "endpoints_eligible",
            ClusterGauge::Outstanding => "outstanding_milli",
            ClusterGauge::Age => "membership_age_ms",
            ClusterGauge::Service => "twin_service_us",
            ClusterGauge::Slots => "twin_slots_milli",
            ClusterGauge::Asks => "twin_asks_milli",
            ClusterGauge::Draining => "twin_draining",
        };
        let mut figures = self.figures.borrow_mut();
        let index = if let Some(index) = figures.names.get(cluster) {
            *index as usize
        } else {
            let index = figures.handles.len();
            figures.names.insert(cluster.to_owned(), u32::try_from(index).unwrap_or(u32::MAX));
            figures.handles.push(Default::default());
            index
        };
        let handles = figures.handles.get(index);
        let Some(handle) = handles.and_then(|all| all.get(figure as usize)) else { return };
        let labels = [("cluster", cluster)];
        if let Some(id) = self.id(handle, MetricType::Gauge, &labels, metric) {
            let _ = hostcalls::record_metric(id, value);
        }
    }

    fn warn(&self, message: &str) {
        self.count_trouble(Trouble::Warning);
        log::warn!("leastload: {message}");
    }
}
