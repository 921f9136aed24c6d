//! Membership that nobody tells: learned from the addresses that serve.

use leastload_filter_tests::lab::{
    ADMIN, CLUSTER, HOSTS, answered, asked_for, assert_idle, call, sidecar, spread, ticks, warm,
};
use leastload_filter_tests::stats::{figure, picks, work_at};
use leastload_testhost::{AdminMode, Builder, Proxy, Response};
use serde_json::json;

fn without_admin(learn_percent: u32) -> Builder {
    let discovery = json!({"admin_cluster": "", "learn_percent": learn_percent});
    sidecar(json!({"discovery": discovery}))
}

/// Requests until the first one is steered.
fn requests_until_steered(proxy: &Proxy, worker: usize) -> usize {
    let first = (0..500).find(|_| answered(proxy, worker).asked().is_some());
    first.expect("it steers in the end")
}

#[test]
fn steering_begins_when_newcomers_have_become_unlikely() {
    let proxy = without_admin(0).start();
    // Three requests show the three hosts, 5 * 3 + 10 more bring nobody new.
    assert_eq!(requests_until_steered(&proxy, 0), 3 + 25, "in a row, by docs/algorithm.md");
    assert_eq!(spread(&proxy, 0, 3), HOSTS);
    assert_idle(&proxy);
}

#[test]
fn before_it_steers_requests_are_counted_where_they_are() {
    let proxy = without_admin(0).start();
    let calls: Vec<_> = (0..6).map(|_| call(&proxy, 0)).collect();
    for call in &calls {
        call.response_headers([(":status", "200")], false);
    }
    assert_eq!((0..3).map(|slot| work_at(&proxy, CLUSTER, slot)).sum::<i64>(), 6000);
    for call in &calls {
        call.response_trailers([("grpc-status", "0")]);
    }
    assert_idle(&proxy);
}

#[test]
fn workers_learn_from_each_other() {
    let proxy = without_admin(0).workers(2).start();
    requests_until_steered(&proxy, 0);
    ticks(&proxy, 8);
    assert_eq!(figure(&proxy, CLUSTER, "endpoints_known"), 3);
    assert_eq!(requests_until_steered(&proxy, 1), 25, "it need not see them itself");
}

#[test]
fn a_share_is_left_to_envoy_for_learning() {
    let proxy = without_admin(10).start();
    requests_until_steered(&proxy, 0);
    let left = asked_for(&proxy, 0, 1000).iter().filter(|asked| asked.is_none()).count();
    assert!((60..140).contains(&left), "{left} of 1000");
}

#[test]
fn a_newcomer_is_found_and_then_more_are_looked_for() {
    let proxy = without_admin(50).start();
    requests_until_steered(&proxy, 0);
    proxy.edit_cluster(CLUSTER, |cluster| cluster.hosts.push("10.0.0.4:80".into()));
    let unsettled = (0..100).position(|_| {
        answered(&proxy, 0);
        figure_now(&proxy) == 4
    });
    assert!(unsettled.is_some(), "found within 100 requests");
    assert!(asked_for(&proxy, 0, 25).iter().all(Option::is_none), "a newcomer: there may be more");
    requests_until_steered(&proxy, 0);
    assert!(spread(&proxy, 0, 60).contains(&"10.0.0.4:80".to_owned()));
}

/// Known endpoints, as the coordinator publishes them once a second.
fn figure_now(proxy: &Proxy) -> i64 {
    ticks(proxy, 5);
    figure(proxy, CLUSTER, "endpoints_known")
}

#[test]
fn a_host_that_envoy_no_longer_uses_is_forgotten() {
    let proxy = without_admin(50).start();
    requests_until_steered(&proxy, 0);
    ticks(&proxy, 8);
    proxy.edit_cluster(CLUSTER, |cluster| cluster.remove(HOSTS[2]));
    for _ in 0..300 {
        answered(&proxy, 0);
    }
    assert_eq!(figure_now(&proxy), 2);
    assert!(!spread(&proxy, 0, 60).contains(&HOSTS[2].to_owned()));
    assert_idle(&proxy);
}

#[test]
fn a_host_that_refuses_three_overrides_in_a_row_is_forgotten() {
    let proxy = without_admin(0).start();
    requests_until_steered(&proxy, 0);
    proxy.edit_cluster(CLUSTER, |cluster| cluster.remove(HOSTS[2]));
    for _ in 0..40 {
        spread(&proxy, 0, 3);
        ticks(&proxy, 4);
    }
    assert_eq!(figure_now(&proxy), 2, "set aside between the refusals, then dropped");
    assert_idle(&proxy);
}

#[test]
fn a_failing_admin_interface_is_replaced_by_learning() {
    let proxy = warm(sidecar(json!({})).admin(ADMIN, AdminMode::Refused));
    requests_until_steered(&proxy, 0);
    assert!(picks(&proxy, CLUSTER, "learn") > 0);
    assert_eq!(spread(&proxy, 0, 3), HOSTS);
    proxy.admin(AdminMode::Filtering);
    proxy.edit_cluster(CLUSTER, |cluster| cluster.remove(HOSTS[0]));
    ticks(&proxy, 8);
    assert_eq!(spread(&proxy, 0, 2), HOSTS[1..], "who is told knows better");
}

#[test]
fn a_request_without_an_address_teaches_nothing() {
    let proxy = without_admin(0).start();
    for _ in 0..60 {
        let call = call(&proxy, 0);
        call.stream().remove_property(&["upstream", "address"]);
        call.respond(Response::ok());
    }
    assert_eq!(figure_now(&proxy), 0);
    assert_idle(&proxy);
}
