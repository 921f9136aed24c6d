//! Where membership comes from, and how it reaches every worker.

use leastload_filter_tests::lab::{
    ADMIN, CLUSTER, HOSTS, answered, asked_for, assert_idle, bare, call, lines, plain, sidecar,
    ticks, warm,
};
use leastload_filter_tests::stats::{errors, figure, picks};
use leastload_testhost::{AdminMode, Cluster, LogLevel, Proxy};
use serde_json::json;

/// So many calls, to let every worker take part.
fn all_ask_for(proxy: &Proxy, hosts: &[&str]) {
    for worker in 0..proxy.workers().len() {
        let mut asked: Vec<_> = asked_for(proxy, worker, 40).into_iter().flatten().collect();
        assert_eq!(asked.len(), 40, "worker {worker} steers");
        asked.sort();
        asked.dedup();
        assert_eq!(asked, hosts, "worker {worker}");
    }
}

#[test]
fn a_static_list_steers_from_the_first_request_on() {
    let config = json!({"discovery": {"static": {CLUSTER: HOSTS}, "admin_cluster": ""}});
    let proxy = sidecar(config).workers(4).start();
    all_ask_for(&proxy, &HOSTS);
    ticks(&proxy, 100);
    assert_eq!(proxy.http_calls().len(), 0, "nobody is asked");
    all_ask_for(&proxy, &HOSTS);
    assert_idle(&proxy);
}

#[test]
fn a_static_list_bounds_what_the_admin_interface_tells() {
    let config = json!({"discovery": {"static": {CLUSTER: HOSTS[..2]}}});
    let proxy = warm(sidecar(config));
    all_ask_for(&proxy, &HOSTS[..2]);
    proxy.edit_cluster(CLUSTER, |cluster| cluster.remove(HOSTS[0]));
    ticks(&proxy, 6);
    all_ask_for(&proxy, &HOSTS[1..2]);
}

#[test]
fn an_empty_static_list_leaves_the_cluster_to_envoy() {
    let proxy = warm(sidecar(json!({"discovery": {"static": {CLUSTER: []}}})));
    assert_eq!(asked_for(&proxy, 0, 3), [const { None }; 3]);
}

#[test]
fn the_admin_interface_tells_every_worker() {
    for mode in [AdminMode::Filtering, AdminMode::Whole] {
        let proxy = warm(sidecar(json!({})).workers(8).admin(ADMIN, mode));
        all_ask_for(&proxy, &HOSTS);
        assert_eq!(figure(&proxy, CLUSTER, "endpoints_known"), 3, "{mode:?}");
        assert_eq!(figure(&proxy, CLUSTER, "endpoints_eligible"), 3);
        assert_eq!(errors(&proxy, "admin_unreachable"), 0);
    }
}

#[test]
fn only_clusters_in_use_are_asked_for() {
    let proxy = sidecar(json!({}))
        .cluster(Cluster::new("unused").hosts(["10.9.9.9:80"]))
        .admin(ADMIN, AdminMode::Held)
        .start();
    ticks(&proxy, 8);
    assert_eq!(proxy.http_calls().len(), 0, "before the first request nothing is");
    answered(&proxy, 0);
    ticks(&proxy, 2);
    let calls = proxy.http_calls();
    let path = calls[0].headers.get(":path").unwrap_or_default();
    assert_eq!(path, "/clusters?format=json&filter=%5E%28backend%7Cprometheus_stats%29%24");
    assert_eq!(calls[0].cluster, ADMIN);
    assert_eq!(calls.len(), 1, "one worker asks for all");
}

#[test]
fn a_new_host_gets_requests_and_one_that_left_gets_none() {
    let proxy = warm(sidecar(json!({})).workers(2));
    proxy.edit_cluster(CLUSTER, |cluster| {
        cluster.remove(HOSTS[2]);
        cluster.hosts.push("10.0.0.4:80".into());
    });
    ticks(&proxy, 6);
    all_ask_for(&proxy, &[HOSTS[0], HOSTS[1], "10.0.0.4:80"]);
    assert_eq!(figure(&proxy, CLUSTER, "endpoints_known"), 3);
}

#[test]
fn until_the_admin_interface_has_answered_envoy_balances() {
    let proxy = warm(sidecar(json!({})).workers(2).admin(ADMIN, AdminMode::Held));
    assert_eq!(asked_for(&proxy, 1, 30), vec![None; 30]);
    assert_eq!(picks(&proxy, CLUSTER, "no_membership"), 32);
    let answer = proxy.admin_clusters(None);
    proxy.http_calls()[0].respond(200, answer);
    ticks(&proxy, 1);
    all_ask_for(&proxy, &HOSTS);
}

#[test]
fn a_held_answer_is_given_up_and_asked_for_again() {
    let proxy = warm(sidecar(json!({})).admin(ADMIN, AdminMode::Held));
    ticks(&proxy, 60);
    assert_eq!(errors(&proxy, "admin_unreachable"), 2, "each asks for five seconds at most");
    assert_eq!(lines(&proxy, LogLevel::Warn).len(), 1, "but it is said once");
    let answer = proxy.admin_clusters(None);
    proxy.http_calls().last().expect("it asks again").respond(200, answer);
    ticks(&proxy, 2);
    all_ask_for(&proxy, &HOSTS);
}

#[test]
fn without_admin_interface_requests_pass_and_it_is_said_once() {
    for mode in [AdminMode::Refused, AdminMode::Reset] {
        let proxy = warm(sidecar(json!({})).workers(2).admin(ADMIN, mode));
        ticks(&proxy, 40);
        answered(&proxy, 0);
        let warnings = lines(&proxy, LogLevel::Warn);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("cluster prometheus_stats: membership is learned"));
        assert!(errors(&proxy, "admin_unreachable") >= 10, "asked once a second");
        assert_idle(&proxy);
    }
}

#[test]
fn a_missing_admin_cluster_is_a_failing_one() {
    let proxy = warm(bare(json!({})).cluster(Cluster::new(CLUSTER).hosts(HOSTS)));
    assert!(errors(&proxy, "admin_unreachable") > 0);
    assert_eq!(lines(&proxy, LogLevel::Warn).len(), 1);
    assert_idle(&proxy);
}

#[test]
fn an_admin_interface_that_comes_back_is_believed() {
    let proxy = warm(sidecar(json!({})).admin(ADMIN, AdminMode::Refused));
    proxy.admin(AdminMode::Filtering);
    ticks(&proxy, 8);
    all_ask_for(&proxy, &HOSTS);
    proxy.admin(AdminMode::Refused);
    ticks(&proxy, 8);
    assert_eq!(lines(&proxy, LogLevel::Warn).len(), 2, "said again when it fails again");
}

#[test]
fn nonsense_is_malformed_and_changes_nothing() {
    let proxy = warm(sidecar(json!({})));
    proxy.admin(AdminMode::Held);
    for (times, nonsense) in
        ["", "{", "[1", "{}", r#"{"cluster_statuses":[]}"#, "<html>"].iter().enumerate()
    {
        while proxy.http_calls().is_empty() {
            ticks(&proxy, 1);
        }
        proxy.http_calls()[0].respond(200, nonsense);
        assert_eq!(errors(&proxy, "admin_malformed"), times as u64 + 1, "{nonsense}");
    }
    all_ask_for(&proxy, &HOSTS);
}

#[test]
fn an_answer_that_lacks_a_cluster_empties_it() {
    let proxy = warm(sidecar(json!({})));
    proxy.remove_cluster(CLUSTER);
    ticks(&proxy, 6);
    assert_eq!(figure(&proxy, CLUSTER, "endpoints_known"), 0);
    proxy.set_cluster(Cluster::new(CLUSTER).hosts(HOSTS));
    ticks(&proxy, 6);
    all_ask_for(&proxy, &HOSTS);
}

#[test]
fn the_interval_is_kept() {
    let proxy = warm(sidecar(json!({"discovery": {"interval": "4s"}})).workers(4));
    proxy.take_trace();
    for _ in 0..20 {
        answered(&proxy, 0);
        ticks(&proxy, 8);
    }
    let asked = proxy.take_trace().count(leastload_testhost::HostCall::HttpCall);
    assert!((9..=10).contains(&asked), "{asked} times in 40 s");
}

#[test]
fn a_worker_that_starts_serving_later_knows_at_once() {
    let proxy = plain(json!({})).workers(2).stateful_session("x-leastload-host").start();
    answered(&proxy, 0);
    ticks(&proxy, 8);
    assert!(call(&proxy, 1).asked().is_some(), "its first request is steered");
}
