//! A proxy with leastload in it, as a test wants it.

use core::time::Duration;

use leastload_testhost::{
    AdminMode, Builder, Call, Callback, Cluster, Host, HostCall, LogLevel, Plugin, Proxy, Response,
};
use serde_json::{Value, json};

/// The cluster that requests go to unless a test says otherwise.
pub const CLUSTER: &str = "backend";
/// Its hosts, in the order of their slots.
pub const HOSTS: [&str; 3] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];
/// The override header's default name.
pub const HEADER: &str = "x-leastload-host";
/// The cluster that leads to the admin interface, by default.
pub const ADMIN: &str = "prometheus_stats";
/// A method.
pub const METHOD: &str = "/shop.Cart/Get";
/// How often a VM ticks by default.
pub const TICK: Duration = Duration::from_millis(250);
/// Work of one request of cost 1, as gauges count it.
pub const ONE: i64 = 1000;

/// A proxy with this module and configuration, and nothing behind it.
pub fn bare(config: Value) -> Builder {
    Proxy::new(leastload_modules::release())
        .first_plugin(Plugin::new("leastload").root_id("leastload").config(config))
        .property(&["xds", "listener_direction"], 2_i64)
}

/// [`bare`], with [`CLUSTER`] and the admin interface.
pub fn plain(config: Value) -> Builder {
    bare(config)
        .cluster(Cluster::new(CLUSTER).hosts(HOSTS))
        .cluster(Cluster::new(ADMIN).hosts(["127.0.0.1:15000"]))
        .admin(ADMIN, AdminMode::Filtering)
}

/// [`plain`], steered by `stateful_session`.
pub fn sidecar(config: Value) -> Builder {
    plain(config).stateful_session(HEADER)
}

/// [`plain`], steered by the policy `override_host`; `more` is put into the configuration.
pub fn with_override_host(mut more: Value) -> Builder {
    more["override"]["mechanism"] = json!("override_host");
    let cluster = Cluster::new(CLUSTER).hosts(HOSTS).override_host(HEADER).retries(2);
    plain(more).cluster(cluster)
}

/// Hosts `10.0.X.Y:80`, so many.
pub fn many_hosts(count: u32) -> Vec<Host> {
    (0..count)
        .map(|n| Host::new(format!("10.{}.{}.{}:80", n >> 16, n >> 8 & 255, n & 255)))
        .collect()
}

/// A call under way from a worker to [`CLUSTER`].
pub fn call(proxy: &Proxy, worker: usize) -> Call {
    call_to(proxy, worker, CLUSTER)
}

/// A call under way from a worker.
pub fn call_to(proxy: &Proxy, worker: usize, cluster: &str) -> Call {
    proxy.worker(worker).grpc(METHOD).to_cluster(cluster)
}

/// A call from a worker to [`CLUSTER`] that was answered.
pub fn answered(proxy: &Proxy, worker: usize) -> Call {
    let call = call(proxy, worker);
    call.respond(Response::ok());
    call
}

/// So many calls from a worker to [`CLUSTER`], each answered before the next.
pub fn serve(proxy: &Proxy, worker: usize, calls: usize) {
    for _ in 0..calls {
        answered(proxy, worker);
    }
}

/// The servers answer calls.
pub fn answer<'a>(calls: impl IntoIterator<Item = &'a Call>) {
    for call in calls {
        call.respond(Response::ok());
    }
}

/// Lets every worker know its cluster, and the membership of it.
pub fn warm_up(proxy: &Proxy) {
    warm_up_to(proxy, CLUSTER);
}

/// As [`warm_up`], for another cluster.
pub fn warm_up_to(proxy: &Proxy, cluster: &str) {
    for worker in 0..proxy.workers().len() {
        call_to(proxy, worker, cluster).respond(Response::ok());
    }
    proxy.advance(TICK * 8);
}

/// Starts a proxy and warms it up.
pub fn warm(builder: Builder) -> Proxy {
    let proxy = builder.start();
    warm_up(&proxy);
    proxy
}

/// Lets so many ticks pass.
pub fn ticks(proxy: &Proxy, count: u32) {
    proxy.advance(TICK * count);
}

/// Calls under way from a worker, one to each host of an idle [`CLUSTER`] but this one, so that the
/// next pick is that host.
///
/// # Panics
///
/// Where the calls do not spread like that.
pub fn hold_others(proxy: &Proxy, worker: usize, host: &str) -> Vec<Call> {
    let calls: Vec<Call> = HOSTS.iter().map(|_| call(proxy, worker)).collect();
    let (named, held): (Vec<_>, Vec<_>) =
        calls.into_iter().partition(|call| call.asked().as_deref() == Some(host));
    assert_eq!((named.len(), held.len()), (1, HOSTS.len() - 1), "each host gets one call");
    answer(&named);
    held
}

/// The hosts that so many calls in a row asked for, each answered before the next.
pub fn asked_for(proxy: &Proxy, worker: usize, calls: usize) -> Vec<Option<String>> {
    (0..calls).map(|_| answered(proxy, worker).asked()).collect()
}

/// The host that each of so many calls at a time asked for, sorted.
pub fn spread(proxy: &Proxy, worker: usize, calls: usize) -> Vec<String> {
    let calls: Vec<Call> = (0..calls).map(|_| call(proxy, worker)).collect();
    let mut hosts: Vec<String> = calls.iter().filter_map(Call::asked).collect();
    answer(&calls);
    hosts.sort();
    hosts
}

/// Lines of this severity, of every thread.
pub fn lines(proxy: &Proxy, level: LogLevel) -> Vec<String> {
    let logs = proxy.logs().into_iter().filter(|line| line.level == level);
    logs.map(|line| line.text).collect()
}

/// Whether all went well: every VM lives, nothing is counted, no context is left.
///
/// # Panics
///
/// Where not.
pub fn assert_idle(proxy: &Proxy) {
    assert_alive(proxy);
    assert_eq!(crate::stats::leftovers(proxy), [], "work left when idle");
    for worker in proxy.workers() {
        assert_eq!(worker.contexts(), 0, "contexts of {}", worker.thread());
    }
}

/// Whether every VM lives.
///
/// # Panics
///
/// Where not, with the callback that killed it.
pub fn assert_alive(proxy: &Proxy) {
    for thread in proxy.workers().into_iter().chain([proxy.main()]) {
        if !thread.is_alive() {
            let died = proxy.trace().filter(|record| record.trap.is_some());
            panic!("{} died\n{died}\n{:?}", thread.thread(), proxy.logs());
        }
    }
}

/// How often the address that serves was read since the trace was last taken.
pub fn address_reads(proxy: &Proxy) -> usize {
    let trace = proxy.take_trace();
    let in_headers = trace.filter(|record| record.callback == Callback::OnResponseHeaders);
    let property = in_headers.calls().filter(|call| call.call == HostCall::GetProperty);
    property.filter(|call| call.arguments.contains("upstream.address")).count()
}
