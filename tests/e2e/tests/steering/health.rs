//! Only hosts that Envoy holds fit, and of those only the best priority, are picked.

use leastload_fleet::{
    config::{Cluster, Endpoint},
    envoy::Change,
};
use serde_json::json;

use crate::lab::{
    Lab, call_all, eventually, main_listener, nothing_is_outstanding, proxy, start_servers,
};

/// A lab whose hosts follow a picture: `h`ealthy, `d`egraded, `u`nhealthy, d`r`aining, `.` absent;
/// one word for each priority, a letter for each server, in order.
async fn lab(picture: &str) -> Lab {
    let fleet = start_servers(picture.replace(' ', "").len()).await;
    let cluster = Cluster::new("greeter", hosts(&fleet.addresses(), picture)).from_file();
    let lab = Lab::with(fleet, proxy([main_listener(json!({}))], [cluster])).await;
    lab.settle().await;
    lab
}

fn hosts(addresses: &[std::net::SocketAddr], picture: &str) -> Vec<Endpoint> {
    let mut addresses = addresses.iter();
    let mut hosts = Vec::new();
    for (priority, word) in (0..).zip(picture.split(' ')) {
        for (letter, address) in word.chars().zip(&mut addresses) {
            let health = match letter {
                'h' => "HEALTHY",
                'd' => "DEGRADED",
                'u' => "UNHEALTHY",
                'r' => "DRAINING",
                _ => continue,
            };
            hosts.push(Endpoint::from(*address).priority(priority).health(health));
        }
    }
    hosts
}

/// Lets Envoy learn of the picture and waits until the filter has `eligible` endpoints.
async fn change(lab: &mut Lab, picture: &str, eligible: i64) {
    let hosts = hosts(&lab.fleet.addresses(), picture);
    assert_eq!(lab.envoy.set_endpoints("greeter", hosts).await.unwrap(), Change::Accepted);
    lab.wait_gauge("endpoints_eligible", eligible).await;
}

#[tokio::test]
async fn only_the_highest_priority_with_a_healthy_host_is_picked_and_failover_comes_and_goes() {
    let mut lab = lab("hh hhh").await;
    assert_eq!(lab.spread(8).await, [4, 4, 0, 0, 0]);

    // Envoy alone would keep sending to both priorities here.
    change(&mut lab, "hu hhh", 1).await;
    lab.wait_served_only_by(&[0]).await;
    assert_eq!(lab.spread(4).await, [4, 0, 0, 0, 0]);

    change(&mut lab, "uu hhh", 3).await;
    lab.wait_served_only_by(&[2, 3, 4]).await;
    assert_eq!(lab.spread(9).await, [0, 0, 3, 3, 3]);

    change(&mut lab, "hh hhh", 2).await;
    lab.wait_served_only_by(&[0, 1]).await;
    assert_eq!(lab.spread(8).await, [4, 4, 0, 0, 0]);
}

#[tokio::test]
async fn degraded_hosts_are_picked_only_where_none_is_healthy() {
    let mut lab = lab("hhd").await;
    assert_eq!(lab.spread(8).await, [4, 4, 0]);
    change(&mut lab, "dud", 2).await;
    lab.wait_served_only_by(&[0, 2]).await;
    assert_eq!(lab.spread(8).await, [4, 0, 4]);
    change(&mut lab, "dhd", 1).await;
    lab.wait_served_only_by(&[1]).await;
    assert_eq!(lab.spread(4).await, [0, 4, 0]);
}

#[tokio::test]
async fn with_no_healthy_host_envoy_balances_in_its_panic_mode() {
    let mut lab = lab("hhh").await;
    change(&mut lab, "uuu", 0).await;
    eventually("every worker knows", async || {
        let before = lab.picks("greeter", "panic").await;
        call_all(&lab.clients, 8).await;
        let panics = lab.picks("greeter", "panic").await - before;
        if panics == 8 { Ok(()) } else { Err(panics) }
    })
    .await;
    let before = lab.picks("greeter", "panic").await;
    let shares = lab.spread(12).await;
    assert_eq!(shares.iter().sum::<usize>(), 12);
    assert!(shares.iter().all(|calls| *calls >= 2), "Envoy uses all of them: {shares:?}");
    assert_eq!(lab.picks("greeter", "panic").await - before, 12);

    change(&mut lab, "huu", 1).await;
    lab.wait_served_only_by(&[0]).await;
}

#[tokio::test]
async fn too_few_healthy_hosts_are_panic_where_the_threshold_says_so() {
    let fleet = start_servers(4).await;
    let cluster = Cluster::new("greeter", hosts(&fleet.addresses(), "hhhh")).from_file();
    let listener = main_listener(json!({"panic_threshold": 50}));
    let mut lab = Lab::with(fleet, proxy([listener], [cluster])).await;
    lab.settle().await;
    change(&mut lab, "hhuu", 2).await;
    lab.wait_served_only_by(&[0, 1]).await;
    change(&mut lab, "huuu", 0).await;
    eventually("the result is panic", async || {
        call_all(&lab.clients, 4).await;
        if lab.picks("greeter", "panic").await > 0 { Ok(()) } else { Err("not yet") }
    })
    .await;
}

#[tokio::test]
async fn hosts_that_drain_or_fail_keep_their_calls_and_get_no_new_ones() {
    for leaving in ["hhr", "hhu", "hh."] {
        let mut lab = lab("hhh").await;
        let old = lab.hold(9).await;
        assert_eq!(lab.in_order(&old.shares()), [3, 3, 3], "{leaving}");
        change(&mut lab, leaving, 2).await;
        lab.wait_served_only_by(&[0, 1]).await;
        let new = lab.hold(6).await;
        assert_eq!(lab.in_order(&new.shares()), [3, 3, 0], "{leaving}");
        let kept = lab.fleet.stats(2).await.unwrap().in_flight;
        assert_eq!(kept, 3, "{leaving}: calls in flight stay");
        drop((old, new));
        nothing_is_outstanding(&lab.envoy).await;
    }
}
