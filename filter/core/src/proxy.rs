//! What core asks of the proxy it runs in. The module implements it with host calls, a simulator
//! or a test with memory.

/// Token of one version of a shared value: a write that names it succeeds only on that version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cas(pub u32);

/// Handle of a process-wide gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaugeId(pub u32);

/// Figures about one cluster that an operator watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterGauge {
    /// Endpoints in the membership.
    Known,
    /// Endpoints a pick may name.
    Eligible,
    /// Outstanding work over all workers, in thousandths of a mean request.
    Outstanding,
    /// Age of the membership, in milliseconds.
    Age,
    /// What a twin tells of its server: time of service in microseconds; 0: not known.
    Service,
    /// Requests served at a time, in thousandths; 0: not known.
    Slots,
    /// The part of what askers would like to ask that they may, in thousandths.
    Asks,
    /// 1 where it drains or does not serve, else 0.
    Draining,
}

impl ClusterGauge {
    /// How many there are.
    pub const COUNT: usize = Self::Draining as usize + 1;
}

/// The proxy: a store that all its workers share, and gauges that are one atomic each in the whole
/// process. No call fails loudly: what cannot be read is absent, what cannot be written is lost,
/// and the callers are written for both.
pub trait Proxy {
    /// The value of `key` and its token; the value is empty where it was released.
    fn shared_get(&self, key: &str) -> Option<(Vec<u8>, Cas)>;

    /// Writes `value` if the key is still at `expected` (`None`: if it is absent). True if written.
    fn shared_swap(&self, key: &str, value: &[u8], expected: Option<Cas>) -> bool;

    /// The gauge of outstanding work of one slot of a cluster, in gauge set 0 or 1.
    fn work_gauge(&self, cluster: &str, slot: u32, set: usize) -> Option<GaugeId>;

    /// Adds to a gauge.
    fn gauge_add(&self, gauge: GaugeId, delta: i64);

    /// Sets a gauge.
    fn gauge_set(&self, gauge: GaugeId, value: u64);

    /// Reads a gauge as a signed number: after a wrong sequence it may be below zero.
    fn gauge_read(&self, gauge: GaugeId) -> i64;

    /// Publishes a figure about a cluster.
    fn cluster_gauge(&self, cluster: &str, figure: ClusterGauge, value: u64);

    /// Says something an operator should know. Never called per request.
    fn warn(&self, message: &str);
}
