//! How a pick reaches Envoy.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use leastload_filter_tests::lab::{
    CLUSTER, HEADER, HOSTS, answer, answered, assert_idle, call, plain, serve, sidecar, warm,
    with_override_host,
};
use leastload_filter_tests::stats::{picks, refused};
use leastload_testhost::{Call, Cluster, Failure, Response};
use serde_json::json;

#[test]
fn the_session_filter_gets_one_host_in_base64() {
    let proxy = warm(sidecar(json!({})));
    let call = call(&proxy, 0);
    let headers = call.headers();
    let values = headers.all(HEADER);
    assert_eq!(values.len(), 1);
    let host = STANDARD.decode(values[0]).expect("base64");
    assert_eq!(call.chosen().map(String::into_bytes), Some(host));
}

#[test]
fn the_policy_gets_the_pick_and_two_spares_by_load() {
    let proxy = warm(with_override_host(json!({})));
    let first = call(&proxy, 0);
    let second = call(&proxy, 0);
    let third = call(&proxy, 0);
    let list = |call: &Call| call.headers().get(HEADER).unwrap_or_default().to_owned();
    for call in [&first, &second, &third] {
        let listed = list(call);
        let mut hosts: Vec<&str> = listed.split(',').collect();
        assert_eq!(call.chosen().as_deref(), Some(hosts[0]));
        hosts.sort_unstable();
        assert_eq!(hosts, HOSTS, "each host once");
    }
    assert!(list(&second).ends_with(&first.chosen().unwrap_or_default()), "the busy one last");
}

#[test]
fn as_many_spares_as_the_configuration_says() {
    for (spares, entries) in [(0, 1), (1, 2), (2, 3), (8, 9)] {
        let hosts = leastload_filter_tests::lab::many_hosts(20);
        let cluster = Cluster::new(CLUSTER).hosts(hosts).override_host(HEADER);
        let config = json!({"override": {"spares": spares}});
        let proxy = warm(with_override_host(config).cluster(cluster));
        let headers = call(&proxy, 0).headers();
        let mut hosts: Vec<&str> = headers.get(HEADER).unwrap_or_default().split(',').collect();
        assert_eq!(hosts.len(), entries);
        hosts.sort_unstable();
        hosts.dedup();
        assert_eq!(hosts.len(), entries, "no host twice");
    }
}

#[test]
fn spares_only_where_there_are_hosts_for_them() {
    let cluster = Cluster::new(CLUSTER).hosts([HOSTS[0]]).override_host(HEADER);
    let proxy = warm(with_override_host(json!({})).cluster(cluster));
    assert_eq!(call(&proxy, 0).headers().get(HEADER), Some(HOSTS[0]));
}

#[test]
fn retries_go_to_the_spares_in_order() {
    let proxy = warm(with_override_host(json!({})));
    let call = call(&proxy, 0);
    let headers = call.headers();
    let listed: Vec<&str> = headers.get(HEADER).unwrap_or_default().split(',').collect();
    let mut served = vec![call.chosen().unwrap_or_default()];
    for _ in 0..2 {
        call.fail(Failure::Connect);
        served.push(call.chosen().unwrap_or_default());
    }
    assert_eq!(served, listed);
    call.respond(Response::ok());
    assert_eq!(call.grpc_status(), Some(0));
    assert_idle(&proxy);
}

#[test]
fn the_session_filters_retries_are_envoys() {
    let cluster = Cluster::new(CLUSTER).hosts(HOSTS).retries(2);
    let proxy = warm(sidecar(json!({})).cluster(cluster));
    let held = leastload_filter_tests::lab::hold_others(&proxy, 0, HOSTS[0]);
    let call = call(&proxy, 0);
    while call.chosen().as_deref() == Some(HOSTS[0]) {
        call.fail(Failure::Connect);
    }
    call.respond(Response::ok());
    answer(&held);
    assert_eq!(refused(&proxy, CLUSTER, "retry"), 1);
    assert!(!call.response().headers.unwrap_or_default().contains(HEADER));
    assert_idle(&proxy);
}

#[test]
fn the_header_has_the_name_of_the_configuration() {
    let config = json!({"override": {"header": "x-other"}});
    let proxy = warm(plain(config).stateful_session("x-other"));
    let call = answered(&proxy, 0);
    assert!(call.headers().contains("x-other"));
    assert!(!call.headers().contains(HEADER));
    assert_eq!(call.asked(), call.chosen());
}

#[test]
fn honoured_overrides_are_no_refusals() {
    for proxy in [warm(sidecar(json!({}))), warm(with_override_host(json!({})))] {
        let before = picks(&proxy, CLUSTER, "override");
        serve(&proxy, 0, 100);
        assert_eq!(picks(&proxy, CLUSTER, "override") - before, 100);
        for reason in ["retry", "not_eligible", "gone", "ignored"] {
            assert_eq!(refused(&proxy, CLUSTER, reason), 0, "{reason}");
        }
    }
}

#[test]
fn no_more_than_three_hosts_listed_means_no_more_than_that_many_attempts() {
    let proxy = warm(with_override_host(json!({"override": {"spares": 0}})));
    let call = call(&proxy, 0);
    call.fail(Failure::Reset);
    assert_eq!(call.attempts(), 2, "Envoy chooses where the list ends");
    call.respond(Response::ok());
    assert_idle(&proxy);
}
