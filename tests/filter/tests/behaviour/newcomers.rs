//! Membership that is old, late, or reuses a slot.

use core::time::Duration;

use leastload_filter_tests::lab::{
    ADMIN, CLUSTER, HOSTS, answer, answered, asked_for, assert_idle, call, call_to, sidecar, ticks,
    warm,
};
use leastload_filter_tests::stats::{figure, picks, work_at};
use leastload_testhost::{AdminMode, Cluster, Response};
use serde_json::json;

#[test]
fn membership_that_nobody_confirms_goes_stale_and_then_is_learned() {
    let proxy = warm(sidecar(json!({})));
    proxy.admin(AdminMode::Refused);
    ticks(&proxy, 30);
    assert_eq!(asked_for(&proxy, 0, 10).iter().flatten().count(), 10, "7.5 s: still believed");
    ticks(&proxy, 20);
    assert_eq!(asked_for(&proxy, 0, 10).iter().flatten().count(), 0, "12.5 s: not any more");
    assert!(picks(&proxy, CLUSTER, "stale_membership") >= 1);
    assert!(figure(&proxy, CLUSTER, "membership_age_ms") >= 10_000);
    proxy.admin(AdminMode::Filtering);
    ticks(&proxy, 8);
    assert_eq!(asked_for(&proxy, 0, 10).iter().flatten().count(), 10);
    assert!(figure(&proxy, CLUSTER, "membership_age_ms") <= 1_250);
}

#[test]
fn a_vm_that_comes_while_nobody_confirms_does_not_trust_a_list_of_any_age() {
    let proxy = warm(sidecar(json!({})));
    proxy.admin(AdminMode::Refused);
    ticks(&proxy, 60);
    assert_eq!(answered(&proxy, 0).asked(), None);
    proxy.worker(0).restart();
    assert_eq!(answered(&proxy, 0).asked(), None);
    proxy.admin(AdminMode::Filtering);
    ticks(&proxy, 12);
    assert_eq!(asked_for(&proxy, 0, 10).iter().flatten().count(), 10);
}

#[test]
fn max_age_is_what_the_configuration_says() {
    let proxy = warm(sidecar(json!({"discovery": {"max_age": "2m"}})));
    proxy.admin(AdminMode::Refused);
    proxy.advance(Duration::from_secs(100));
    assert_eq!(asked_for(&proxy, 0, 10).iter().flatten().count(), 10);
}

#[test]
fn a_cluster_that_came_after_the_question_waits_for_the_next_answer() {
    let other = Cluster::new("other").hosts(["10.1.0.1:80"]);
    let proxy = sidecar(json!({})).cluster(other).admin(ADMIN, AdminMode::Held).start();
    answered(&proxy, 0);
    ticks(&proxy, 1);
    let without_other = proxy.admin_clusters(Some("^(backend|prometheus_stats)$"));
    let question = proxy.http_calls()[0].clone();
    call_to(&proxy, 0, "other").respond(Response::ok());
    question.respond(200, without_other);
    ticks(&proxy, 1);
    assert!(call(&proxy, 0).asked().is_some());
    assert_eq!(call_to(&proxy, 0, "other").asked(), None, "not known is not empty");
    assert_eq!(picks(&proxy, "other", "no_membership"), 2);
    assert_eq!(picks(&proxy, "other", "learn"), 0);
    let calls = proxy.http_calls();
    let path = calls[0].headers.get(":path").unwrap_or_default();
    assert!(path.contains("other"), "asked for at the next tick already: {path}");
}

#[test]
fn a_slot_is_used_again_only_after_half_a_minute_and_without_work() {
    let proxy = warm(sidecar(json!({})));
    let held: Vec<_> = (0..3).map(|_| call(&proxy, 0)).collect();
    proxy.edit_cluster(CLUSTER, |cluster| cluster.remove(HOSTS[0]));
    ticks(&proxy, 4 * 60);
    let join = |address: &str| {
        proxy.edit_cluster(CLUSTER, |cluster| cluster.hosts.push(address.into()));
        // It was idle.
        answered(&proxy, 0);
        ticks(&proxy, 6);
    };
    join("10.0.0.4:80");
    assert_eq!(work_at(&proxy, CLUSTER, 0), 1000, "a call to the host that left goes on");
    answer(&held);
    let calls: Vec<_> = (0..3).map(|_| call(&proxy, 0)).collect();
    assert_eq!(work_at(&proxy, CLUSTER, 0), 0, "so the newcomer got a slot of its own");
    assert_eq!(work_at(&proxy, CLUSTER, 3), 1000);
    answer(&calls);
    ticks(&proxy, 8);
    join("10.0.0.5:80");
    let calls: Vec<_> = (0..4).map(|_| call(&proxy, 0)).collect();
    assert_eq!(work_at(&proxy, CLUSTER, 0), 1000, "now the slot is free for another");
    assert_eq!(work_at(&proxy, CLUSTER, 4), 0);
    answer(&calls);
    assert_idle(&proxy);
}

#[test]
fn a_slot_is_not_reused_within_half_a_minute() {
    let proxy = warm(sidecar(json!({})));
    proxy.edit_cluster(CLUSTER, |cluster| cluster.remove(HOSTS[0]));
    ticks(&proxy, 4 * 25);
    proxy.edit_cluster(CLUSTER, |cluster| cluster.hosts.push("10.0.0.4:80".into()));
    answered(&proxy, 0);
    ticks(&proxy, 6);
    let calls: Vec<_> = (0..3).map(|_| call(&proxy, 0)).collect();
    assert_eq!(work_at(&proxy, CLUSTER, 0), 0);
    assert_eq!(work_at(&proxy, CLUSTER, 3), 1000);
    drop(calls);
}

#[test]
fn a_host_that_returns_has_its_slot_and_its_count_again() {
    let proxy = warm(sidecar(json!({})));
    let held: Vec<_> = (0..3).map(|_| call(&proxy, 0)).collect();
    proxy.edit_cluster(CLUSTER, |cluster| cluster.remove(HOSTS[0]));
    ticks(&proxy, 6);
    proxy.edit_cluster(CLUSTER, |cluster| cluster.hosts.push(HOSTS[0].into()));
    ticks(&proxy, 6);
    assert_eq!(work_at(&proxy, CLUSTER, 0), 1000);
    let next: Vec<_> = (0..3).map(|_| call(&proxy, 0)).collect();
    assert_eq!(work_at(&proxy, CLUSTER, 0), 2000, "the old call is not forgotten");
    answer(held.iter().chain(&next));
    assert_idle(&proxy);
}
