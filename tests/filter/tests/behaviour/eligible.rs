//! Who may be picked: health, priorities, weights, panic, original destinations.

use leastload_filter_tests::lab::{
    CLUSTER, HOSTS, answer, asked_for, call, sidecar, spread, ticks, warm,
};
use leastload_filter_tests::stats::{figure, picks};
use leastload_testhost::{Cluster, EdsHealth, Health, Host, Proxy};
use serde_json::{Value, json};

/// A warm proxy with these hosts.
fn with_hosts<const N: usize>(config: Value, hosts: [Host; N]) -> Proxy {
    warm(sidecar(config).cluster(Cluster::new(CLUSTER).hosts(hosts)))
}

/// Last octets of the hosts that 30 calls at a time ask for, each once.
fn asked(proxy: &Proxy) -> Vec<String> {
    let mut hosts = spread(proxy, 0, 30);
    hosts.dedup();
    hosts.iter().map(|host| host.trim_start_matches("10.0.0.").replace(":80", "")).collect()
}

fn host(last: u32) -> Host {
    Host::new(format!("10.0.0.{last}:80"))
}

#[test]
fn every_flag_of_a_sick_host_keeps_it_out() {
    let flag = |set: fn(&mut Health)| {
        let mut health = Health::HEALTHY;
        set(&mut health);
        health
    };
    for sick in [
        Health::UNHEALTHY,
        Health::DRAINING,
        Health::DEGRADED,
        Health::EJECTED,
        Health::FAILED_CHECK,
        flag(|health| health.eds = EdsHealth::Timeout),
        flag(|health| health.degraded = true),
        flag(|health| (health.pending, health.failed_active) = (true, true)),
        flag(|health| (health.excluded, health.failed_active) = (true, true)),
    ] {
        let proxy = with_hosts(json!({}), [host(1), host(2).health(sick), host(3)]);
        assert_eq!(asked(&proxy), ["1", "3"], "{sick:?}");
        assert_eq!(figure(&proxy, CLUSTER, "endpoints_known"), 3);
        assert_eq!(figure(&proxy, CLUSTER, "endpoints_eligible"), 2);
    }
}

#[test]
fn a_host_that_discovery_dropped_but_passes_its_checks_is_fit() {
    let dropped = Health { removed: true, ..Health::HEALTHY };
    let proxy = with_hosts(json!({}), [host(1), host(2).health(dropped)]);
    assert_eq!(asked(&proxy), ["1", "2"]);
}

#[test]
fn degraded_hosts_serve_where_none_is_healthy() {
    let degraded = |last| host(last).health(Health::DEGRADED);
    let proxy =
        with_hosts(json!({}), [degraded(1), degraded(2), host(3).health(Health::UNHEALTHY)]);
    assert_eq!(asked(&proxy), ["1", "2"]);
}

#[test]
fn a_host_that_recovers_is_used_again() {
    let proxy = with_hosts(json!({}), [host(1), host(2).health(Health::EJECTED)]);
    assert_eq!(asked(&proxy), ["1"]);
    proxy.edit_cluster(CLUSTER, |cluster| cluster.set_health("10.0.0.2:80", Health::HEALTHY));
    ticks(&proxy, 6);
    assert_eq!(asked(&proxy), ["1", "2"]);
}

#[test]
fn the_best_priority_with_a_healthy_host_serves_alone() {
    let proxy = with_hosts(
        json!({}),
        [host(1), host(2), host(3).priority(1), host(4).priority(1), host(5).priority(2)],
    );
    assert_eq!(asked(&proxy), ["1", "2"]);
    let fail = |last: u32, health| {
        let address = format!("10.0.0.{last}:80");
        proxy.edit_cluster(CLUSTER, |cluster| cluster.set_health(&address, health));
        ticks(&proxy, 6);
    };
    fail(1, Health::UNHEALTHY);
    assert_eq!(asked(&proxy), ["2"]);
    fail(2, Health::DEGRADED);
    assert_eq!(asked(&proxy), ["3", "4"], "healthy ones before degraded ones");
    fail(3, Health::DRAINING);
    fail(4, Health::DRAINING);
    assert_eq!(asked(&proxy), ["5"]);
    fail(1, Health::HEALTHY);
    assert_eq!(asked(&proxy), ["1"], "and back");
}

#[test]
fn a_host_that_became_sick_while_it_served_is_not_idle_but_unfit() {
    let picker = json!({"scan_limit": 1, "samples": 2, "idle": 4});
    let proxy = with_hosts(json!({"picker": picker}), [1, 2, 3, 4, 5].map(host));
    let calls: Vec<_> = (0..9).map(|_| call(&proxy, 0)).collect();
    proxy.edit_cluster(CLUSTER, |cluster| cluster.set_health(HOSTS[0], Health::UNHEALTHY));
    ticks(&proxy, 6);
    answer(&calls);
    assert_eq!(asked(&proxy), ["2", "3", "4", "5"]);
}

#[test]
fn with_no_host_fit_envoy_balances() {
    let sick = |last| host(last).health(Health::UNHEALTHY);
    let proxy = with_hosts(json!({}), [sick(1), sick(2)]);
    assert_eq!(asked_for(&proxy, 0, 3), [const { None }; 3]);
    assert_eq!(picks(&proxy, CLUSTER, "panic"), 3);
    assert_eq!(figure(&proxy, CLUSTER, "endpoints_eligible"), 0);
}

#[test]
fn below_the_panic_threshold_envoy_balances() {
    let half =
        || [host(1), host(2), host(3).health(Health::UNHEALTHY), host(4).health(Health::EJECTED)];
    let enough = with_hosts(json!({"panic_threshold": 50}), half());
    assert_eq!(asked(&enough), ["1", "2"]);
    let too_few = with_hosts(json!({"panic_threshold": 51}), half());
    assert_eq!(asked(&too_few), [""; 0]);
    assert_eq!(picks(&too_few, CLUSTER, "panic"), 30);
}

#[test]
fn draining_hosts_and_unchecked_ones_are_no_panic() {
    let draining = |last| host(last).health(Health::DRAINING);
    let proxy = with_hosts(json!({"panic_threshold": 100}), [host(1), draining(2), draining(3)]);
    assert_eq!(asked(&proxy), ["1"]);
}

#[test]
fn a_cluster_may_have_its_own_threshold() {
    let config = json!({"panic_threshold": 0, "clusters": {"back*": {"panic_threshold": 90}}});
    let proxy = with_hosts(config, [host(1), host(2).health(Health::UNHEALTHY)]);
    assert_eq!(asked(&proxy), [""; 0]);
}

#[test]
fn weights_share_the_work() {
    let proxy = with_hosts(json!({}), [host(1).weight(1), host(2).weight(2), host(3).weight(7)]);
    let hosts = spread(&proxy, 0, 100);
    let shares = HOSTS.map(|host| hosts.iter().filter(|found| *found == host).count());
    assert_eq!(shares, [10, 20, 70]);
}

#[test]
fn a_weight_that_changes_counts_at_once() {
    let proxy = with_hosts(json!({}), [host(1), host(2)]);
    proxy.edit_cluster(CLUSTER, |cluster| cluster.hosts[1].weight = 3);
    ticks(&proxy, 6);
    let hosts = spread(&proxy, 0, 100);
    assert_eq!(hosts.iter().filter(|host| *host == HOSTS[1]).count(), 75);
}

#[test]
fn original_destinations_are_not_balanced() {
    let made = |address: &str| Host::new(address).hostname(format!("{CLUSTER}{address}"));
    let proxy = with_hosts(json!({}), [made(HOSTS[0]), made(HOSTS[1])]);
    assert_eq!(asked_for(&proxy, 0, 3), [const { None }; 3]);
    assert_eq!(picks(&proxy, CLUSTER, "not_balanced"), 3);
}

#[test]
fn an_endpoint_listed_in_two_priorities_is_the_better_ones() {
    let twice = [host(1).priority(1), host(1).health(Health::UNHEALTHY), host(2).priority(1)];
    let proxy = with_hosts(json!({}), twice);
    assert_eq!(asked(&proxy), ["2"], "Envoy resolves an override to the higher priority's host");
}
