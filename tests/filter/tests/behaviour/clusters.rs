//! Settings by cluster, and how much of the filter is in force.

use leastload_filter_tests::lab::{
    CLUSTER, HEADER, HOSTS, ONE, answer, asked_for, assert_idle, call, call_to, sidecar, spread,
    warm,
};
use leastload_filter_tests::stats::{all_picks, picks, shadow_picks, work};
use leastload_testhost::{Call, Cluster, Response};
use serde_json::json;

#[test]
fn a_cluster_that_is_not_enabled_is_left_to_envoy() {
    let proxy = warm(sidecar(json!({"enabled": false})));
    let call = call(&proxy, 0);
    assert!(!call.headers().contains(HEADER));
    assert_eq!(work(&proxy), 0);
    call.respond(Response::ok());
    assert_eq!(picks(&proxy, CLUSTER, "disabled"), all_picks(&proxy, CLUSTER));
}

#[test]
fn the_exact_name_speaks_before_the_longest_prefix() {
    let config = json!({"clusters": {
        "*": {"enabled": false},
        "cart-*": {"enabled": true},
        "cart-eu-*": {"enabled": false},
        "cart-eu-1": {"enabled": true},
    }});
    let names = ["cart-us", "cart-eu-1", "cart-eu-2", "other"];
    let cluster = |builder, name| {
        let builder: leastload_testhost::Builder = builder;
        builder.cluster(Cluster::new(name).hosts(HOSTS))
    };
    let proxy = names.iter().copied().fold(sidecar(config), cluster).start();
    for name in names {
        call_to(&proxy, 0, name).respond(Response::ok());
    }
    assert_eq!(names.map(|name| picks(&proxy, name, "disabled")), [0, 0, 1, 1]);
}

#[test]
fn one_percent_and_ninety_nine() {
    let proxy = warm(sidecar(json!({"rollout": {"percent": 50}})));
    let steered = asked_for(&proxy, 0, 400).iter().flatten().count() as u64;
    assert!((140..260).contains(&steered), "{steered} of 400");
    assert_eq!(picks(&proxy, CLUSTER, "percent"), 400 - steered);
}

#[test]
fn what_percent_leaves_to_envoy_is_counted_where_envoy_sent_it() {
    let proxy = warm(sidecar(json!({"rollout": {"percent": 0}})));
    let calls: Vec<Call> = (0..6).map(|_| call(&proxy, 0)).collect();
    assert_eq!(work(&proxy), 0, "not known before the answer begins");
    for call in &calls {
        assert!(!call.headers().contains(HEADER));
        call.response_headers([(":status", "200")], false);
    }
    assert_eq!(work(&proxy), 6 * ONE);
    for call in &calls {
        call.response_trailers([("grpc-status", "0")]);
    }
    assert_idle(&proxy);
}

#[test]
fn in_shadow_mode_picks_are_made_counted_and_compared_but_not_enforced() {
    let proxy = warm(sidecar(json!({"rollout": {"mode": "shadow"}})));
    let calls: Vec<Call> = (0..9).map(|_| call(&proxy, 0)).collect();
    assert!(calls.iter().all(|call| !call.headers().contains(HEADER)));
    assert_eq!(work(&proxy), 9 * ONE);
    answer(&calls);
    let (same, other) =
        (shadow_picks(&proxy, CLUSTER, "same"), shadow_picks(&proxy, CLUSTER, "other"));
    assert_eq!(same + other, 9);
    assert_eq!(picks(&proxy, CLUSTER, "shadow"), 9);
    assert_idle(&proxy);
}

#[test]
fn the_least_loaded_host_is_asked_for() {
    let proxy = warm(sidecar(json!({})));
    let ten_each: Vec<&str> = HOSTS.iter().flat_map(|host| [*host; 10]).collect();
    assert_eq!(spread(&proxy, 0, 30), ten_each);
    assert_idle(&proxy);
}

#[test]
fn every_worker_sees_what_the_others_have_outstanding() {
    let proxy = warm(sidecar(json!({})).workers(4));
    let calls: Vec<Call> = (0..40).map(|n| call(&proxy, n % 4)).collect();
    for host in HOSTS {
        let here = calls.iter().filter(|call| call.asked().as_deref() == Some(host)).count();
        assert!((13..=14).contains(&here), "{host}: {here} of 40");
    }
    answer(&calls);
    assert_idle(&proxy);
}

#[test]
fn beyond_the_scan_limit_a_sample_is_compared() {
    let config = json!({"picker": {"scan_limit": 1, "samples": 2, "idle": 0}});
    let proxy = warm(sidecar(config));
    let hosts = spread(&proxy, 0, 300);
    for host in HOSTS {
        let here = hosts.iter().filter(|found| *found == host).count();
        assert!((80..120).contains(&here), "two choices balance well: {host}: {here}");
    }
}
