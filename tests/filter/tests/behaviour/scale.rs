//! Large clusters, and many of them.

use leastload_filter_tests::lab::{
    CLUSTER, HEADER, answer, answered, assert_idle, call, call_to, many_hosts, sidecar, spread,
    ticks, warm,
};
use leastload_filter_tests::stats::{figure, picks, work};
use leastload_testhost::{Call, Cluster, Proxy, Response};
use serde_json::json;

fn large(count: u32) -> Proxy {
    let cluster = Cluster::new(CLUSTER).hosts(many_hosts(count));
    warm(sidecar(json!({})).cluster(cluster).workers(2).tracing(false))
}

#[test]
fn ten_thousand_endpoints() {
    let proxy = large(10_000);
    assert_eq!(figure(&proxy, CLUSTER, "endpoints_eligible"), 10_000);
    let mut hosts = spread(&proxy, 0, 500);
    assert_eq!(hosts.len(), 500, "all are steered");
    hosts.dedup();
    assert!(hosts.len() > 450, "a sample finds an idle one: {} of 500", hosts.len());
    assert_idle(&proxy);
}

#[test]
fn endpoints_beyond_twenty_thousand_are_left_to_envoy() {
    let proxy = large(20_500);
    assert_eq!(figure(&proxy, CLUSTER, "endpoints_known"), 20_000);
    assert!(answered(&proxy, 1).asked().is_some());
    assert_idle(&proxy);
}

#[test]
fn up_to_the_scan_limit_the_least_of_all_is_found() {
    let proxy = large(32);
    let mut hosts = spread(&proxy, 0, 32);
    hosts.dedup();
    assert_eq!(hosts.len(), 32);
}

/// A proxy with clusters `c0`, `c1`, ... of one host each.
fn many_clusters(count: u32) -> Proxy {
    let clusters = (0..count).map(|n| Cluster::new(format!("c{n}")).hosts(many_hosts(1)));
    let builder = sidecar(json!({})).workers(2).tracing(false);
    clusters.fold(builder, leastload_testhost::Builder::cluster).start()
}

#[test]
fn a_thousand_clusters() {
    let proxy = many_clusters(1_000);
    let begin = |worker| (0..1_000).map(move |n| (worker, format!("c{n}")));
    let calls: Vec<Call> = begin(0).map(|(worker, name)| call_to(&proxy, worker, &name)).collect();
    answer(&calls);
    ticks(&proxy, 8);
    for worker in 0..2 {
        let calls: Vec<Call> =
            begin(worker).map(|(worker, name)| call_to(&proxy, worker, &name)).collect();
        assert!(calls.iter().all(|call| call.headers().contains(HEADER)), "worker {worker}");
        assert_eq!(work(&proxy), 1_000_000);
        answer(&calls);
    }
    assert_idle(&proxy);
}

#[test]
fn clusters_beyond_the_limit_are_left_to_envoy() {
    let proxy = many_clusters(1_030);
    for round in 0..2 {
        for n in 0..1_030 {
            let call = call_to(&proxy, 0, &format!("c{n}"));
            assert_eq!(call.headers().contains(HEADER), round == 1 && n < 1_024, "{round} {n}");
            call.respond(Response::ok());
            assert_eq!(call.grpc_status(), Some(0));
        }
        ticks(&proxy, 8);
    }
    assert_eq!(picks(&proxy, "c1023", "override"), 1);
    assert_eq!(picks(&proxy, "c1024", "no_membership"), 0, "not even looked at");
    assert_idle(&proxy);
}

#[test]
fn eight_workers_share_a_large_cluster() {
    let cluster = Cluster::new(CLUSTER).hosts(many_hosts(100));
    let config = json!({"picker": {"scan_limit": 100}});
    let proxy = warm(sidecar(config).cluster(cluster).workers(8));
    let calls: Vec<Call> = (0..100).map(|n| call(&proxy, n % 8)).collect();
    let mut hosts: Vec<String> = calls.iter().filter_map(Call::asked).collect();
    hosts.sort();
    hosts.dedup();
    assert_eq!(hosts.len(), 100, "each host gets one");
    drop(calls);
    assert_idle(&proxy);
}
