//! Overrides that another host than the pick served, by reason, and a proxy that honours none.

use leastload_filter_tests::lab::{
    CLUSTER, HEADER, HOSTS, answer, answered, assert_idle, call, hold_others, lines, plain, serve,
    sidecar, ticks, warm, with_override_host,
};
use leastload_filter_tests::stats::{picks, refused};
use leastload_testhost::{Call, Health, LogLevel, Proxy, Response};
use serde_json::json;

/// A call that names the first host while `change` makes the proxy use another; the filter learns
/// of the change before the answer, if `late`.
fn refuse(change: fn(&Proxy), late: bool) -> Proxy {
    let proxy = warm(sidecar(json!({})));
    let held = hold_others(&proxy, 0, HOSTS[0]);
    change(&proxy);
    let refused = call(&proxy, 0);
    assert_eq!(refused.asked().as_deref(), Some(HOSTS[0]));
    if late {
        ticks(&proxy, 8);
    }
    refused.respond(Response::ok());
    assert_eq!(refused.grpc_status(), Some(0), "served all the same");
    answer(&held);
    assert_idle(&proxy);
    proxy
}

fn sick(proxy: &Proxy) {
    proxy.edit_cluster(CLUSTER, |cluster| cluster.set_health(HOSTS[0], Health::UNHEALTHY));
}

fn removed(proxy: &Proxy) {
    proxy.edit_cluster(CLUSTER, |cluster| cluster.remove(HOSTS[0]));
}

fn reasons(proxy: &Proxy) -> [u64; 4] {
    ["retry", "not_eligible", "gone", "ignored"].map(|reason| refused(proxy, CLUSTER, reason))
}

#[test]
fn a_host_that_became_sick_was_not_eligible() {
    assert_eq!(reasons(&refuse(sick, true)), [0, 1, 0, 0]);
}

#[test]
fn a_host_that_left_is_gone() {
    assert_eq!(reasons(&refuse(removed, true)), [0, 0, 1, 0]);
}

#[test]
fn where_envoy_knows_something_newer_the_override_was_ignored() {
    assert_eq!(reasons(&refuse(sick, false)), [0, 0, 0, 1]);
    assert_eq!(reasons(&refuse(removed, false)), [0, 0, 0, 1]);
}

#[test]
fn a_host_that_refused_is_set_aside() {
    let proxy = refuse(sick, false);
    let asked = |call: Call| call.asked();
    assert!((0..10).all(|_| asked(answered(&proxy, 0)).as_deref() != Some(HOSTS[0])));
}

/// Calls until the filter takes the proxy for deaf.
fn deafen(proxy: &Proxy) {
    for _ in 0..2_000 {
        answered(proxy, 0);
        if picks(proxy, CLUSTER, "not_honoured") > 0 {
            return;
        }
        ticks(proxy, 4);
    }
    panic!("never deaf: {:?}", reasons(proxy));
}

#[test]
fn a_proxy_that_honours_no_override_is_left_alone_and_it_is_said_once() {
    let proxy = warm(plain(json!({})));
    deafen(&proxy);
    let warnings = lines(&proxy, LogLevel::Warn);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("cluster backend: Envoy honours no override"));
    let tried = (0..1280).filter(|_| call(&proxy, 0).headers().contains(HEADER)).count();
    assert!((1..=45).contains(&tried), "about one in 64 still tries: {tried} of 1280");
    assert_eq!(lines(&proxy, LogLevel::Warn).len(), 1);
    assert_idle(&proxy);
}

#[test]
fn when_overrides_are_honoured_again_steering_begins_again() {
    let proxy = warm(with_override_host(json!({})));
    proxy.edit_cluster(CLUSTER, |cluster| cluster.override_host = None);
    deafen(&proxy);
    proxy.edit_cluster(CLUSTER, |cluster| cluster.override_host = Some(HEADER.to_owned()));
    ticks(&proxy, 4 * 40);
    let deaf = |proxy: &Proxy| !answered(proxy, 0).headers().contains(HEADER);
    let heard = (0..2_000).position(|_| (0..8).all(|_| !deaf(&proxy)));
    assert!(heard.is_some(), "the trials bring it back");
    assert_idle(&proxy);
}

#[test]
fn one_that_is_refused_now_and_then_is_not_deaf() {
    let proxy = warm(sidecar(json!({})));
    for round in 0..60 {
        let health = if round % 2 == 0 { Health::UNHEALTHY } else { Health::HEALTHY };
        proxy.edit_cluster(CLUSTER, |cluster| cluster.set_health(HOSTS[round / 2 % 3], health));
        serve(&proxy, 0, 6);
        ticks(&proxy, 6);
    }
    assert_eq!(picks(&proxy, CLUSTER, "not_honoured"), 0);
    assert_idle(&proxy);
}
