//! What the filter counts, by the names in docs/metrics.md.

use leastload_testhost::Proxy;

fn label(name: &str, value: &str) -> String {
    format!("leastload_{name}=.={value};.;")
}

/// `leastload_picks`
pub fn picks(proxy: &Proxy, cluster: &str, result: &str) -> u64 {
    let labels = label("cluster", cluster) + &label("result", result);
    proxy.counter(&(labels + "leastload_picks"))
}

/// `leastload_picks` of every result.
pub fn all_picks(proxy: &Proxy, cluster: &str) -> u64 {
    let counters = proxy.counters().into_iter();
    let of_cluster = counters.filter(|(name, _)| {
        name.contains(&label("cluster", cluster)) && name.ends_with(";.;leastload_picks")
    });
    of_cluster.map(|(_, count)| count).sum()
}

/// `leastload_overrides_refused`
pub fn refused(proxy: &Proxy, cluster: &str, reason: &str) -> u64 {
    let labels = label("cluster", cluster) + &label("reason", reason);
    proxy.counter(&(labels + "leastload_overrides_refused"))
}

/// `leastload_shadow_picks`
pub fn shadow_picks(proxy: &Proxy, cluster: &str, result: &str) -> u64 {
    let labels = label("cluster", cluster) + &label("result", result);
    proxy.counter(&(labels + "leastload_shadow_picks"))
}

/// `leastload_errors`
pub fn errors(proxy: &Proxy, kind: &str) -> u64 {
    proxy.counter(&(label("kind", kind) + "leastload_errors"))
}

/// `leastload_config_faults`
pub fn config_faults(proxy: &Proxy, plugin: &str) -> i64 {
    proxy.gauge(&(label("plugin", plugin) + "leastload_config_faults"))
}

/// One of a cluster's figures: `endpoints_known`, `endpoints_eligible`, `outstanding_milli`,
/// `membership_age_ms`.
pub fn figure(proxy: &Proxy, cluster: &str, figure: &str) -> i64 {
    proxy.gauge(&format!("{}leastload_{figure}", label("cluster", cluster)))
}

/// `leastload_work_milli` of a slot, in both sets together.
pub fn work_at(proxy: &Proxy, cluster: &str, slot: usize) -> i64 {
    (0..2).map(|set| work_in(proxy, cluster, slot, set)).sum()
}

/// `leastload_work_milli` of a slot in one set.
pub fn work_in(proxy: &Proxy, cluster: &str, slot: usize, set: usize) -> i64 {
    let labels = label("cluster", cluster) + &label("slot", &slot.to_string());
    proxy.gauge(&(labels + &label("set", &set.to_string()) + "leastload_work_milli"))
}

/// All gauges of work, by name.
pub fn work_gauges(proxy: &Proxy) -> Vec<(String, i64)> {
    let gauges = proxy.gauges().into_iter();
    gauges.filter(|(name, _)| name.ends_with("leastload_work_milli")).collect()
}

/// Work over all slots, clusters and sets.
pub fn work(proxy: &Proxy) -> i64 {
    work_gauges(proxy).iter().map(|(_, value)| value).sum()
}

/// Gauges of work that are not zero.
pub fn leftovers(proxy: &Proxy) -> Vec<(String, i64)> {
    work_gauges(proxy).into_iter().filter(|(_, value)| *value != 0).collect()
}

/// `leastload_probes`
pub fn probes(proxy: &Proxy, cluster: &str, path: &str, result: &str) -> u64 {
    let labels = label("cluster", cluster) + &label("kind", path) + &label("result", result);
    proxy.counter(&(labels + "leastload_probes"))
}

/// `leastload_probe_waits`
pub fn waits(proxy: &Proxy, cluster: &str, result: &str) -> u64 {
    let labels = label("cluster", cluster) + &label("result", result);
    proxy.counter(&(labels + "leastload_probe_waits"))
}

/// `leastload_probe_answers`
pub fn answers(proxy: &Proxy, result: &str) -> u64 {
    proxy.counter(&(label("result", result) + "leastload_probe_answers"))
}

/// `leastload_reports_dropped`
pub fn dropped(proxy: &Proxy, reason: &str) -> u64 {
    proxy.counter(&(label("reason", reason) + "leastload_reports_dropped"))
}
