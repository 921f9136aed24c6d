//! Where the admin interface cannot be asked, membership is learned from who serves.

use std::net::SocketAddr;

use leastload_fleet::config::{Cluster, EnvoyConfig};
use serde_json::{Value, json};

use crate::lab::{Lab, call_all, eventually, main_listener, proxy, start_servers};

/// Where nobody listens, and nobody without privileges could.
fn nobody() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

/// A cluster `closed` beside the others, which leads nowhere.
fn with_closed_port(mut config: EnvoyConfig) -> EnvoyConfig {
    config.clusters.push(Cluster::new("closed", [nobody()]));
    config
}

async fn lab(discovery: Value, from_file: bool, present: usize) -> Lab {
    let fleet = start_servers(3).await;
    let mut cluster = Cluster::new("greeter", fleet.addresses()[..present].to_vec());
    cluster.from_file = from_file;
    let listener = main_listener(json!({"discovery": discovery}));
    Lab::with(fleet, with_closed_port(proxy([listener], [cluster]))).await
}

/// Calls until all is learned; with no share left to Envoy afterwards, counts decide alone.
async fn learns_and_spreads_evenly(discovery: Value) -> Lab {
    let lab = lab(discovery, false, 3).await;
    lab.settle().await;
    assert_eq!(lab.exact_spread(12).await, [4, 4, 4]);
    let counts = lab.counts().await;
    assert!(counts.sum("picks", &[("result", "learn")]) >= 15, "{counts:?}");
    lab.wait_gauge("endpoints_known", 3).await;
    lab
}

#[tokio::test]
async fn with_no_admin_cluster_configured_endpoints_are_learned() {
    let lab = learns_and_spreads_evenly(json!({"admin_cluster": "", "learn_percent": 0})).await;
    assert_eq!(lab.counts().await.sum("errors", &[]), 0);
}

#[tokio::test]
async fn with_an_admin_cluster_that_does_not_exist_endpoints_are_learned() {
    unreachable("nowhere").await;
}

#[tokio::test]
async fn with_an_admin_cluster_where_nobody_listens_endpoints_are_learned() {
    unreachable("closed").await;
}

async fn unreachable(admin: &str) {
    let discovery = json!({"admin_cluster": admin, "learn_percent": 0});
    let lab = learns_and_spreads_evenly(discovery).await;
    let errors = lab.counts().await.sum("errors", &[("kind", "admin_unreachable")]);
    assert!(errors > 0, "failed readings are counted");
    let said = format!("does not answer through cluster {admin}");
    assert_eq!(lab.envoy.log().matches(&said).count(), 1, "once in the log:\n{}", lab.envoy.log());
}

#[tokio::test]
async fn a_new_host_is_found_by_the_share_left_to_envoy() {
    let mut lab = lab(json!({"admin_cluster": "", "learn_percent": 20}), true, 2).await;
    eventually("two are learned", async || {
        call_all(&lab.clients, 16).await;
        let counts = lab.counts().await;
        if counts.sum("picks", &[("result", "override")]) > 0 { Ok(()) } else { Err("not yet") }
    })
    .await;
    let all = lab.fleet.addresses();
    lab.envoy.set_endpoints("greeter", all).await.unwrap();
    eventually("the third gets a third", async || {
        let shares = lab.in_order(&call_all(&lab.clients, 60).await);
        if shares[2] >= 12 { Ok(()) } else { Err(format!("{shares:?}")) }
    })
    .await;
    lab.wait_gauge("endpoints_known", 3).await;
}

#[tokio::test]
async fn a_vanished_host_fails_no_call_and_is_forgotten() {
    let mut lab = lab(json!({"admin_cluster": "", "learn_percent": 20}), true, 3).await;
    eventually("three are learned", async || {
        // Every call must succeed, here and below.
        call_all(&lab.clients, 16).await;
        let counts = lab.counts().await;
        let known = counts.sum("endpoints_known", &[]);
        if known == 3 && counts.sum("picks", &[("result", "override")]) > 0 {
            Ok(())
        } else {
            Err(format!("{counts:?}"))
        }
    })
    .await;
    let left = lab.fleet.addresses()[..2].to_vec();
    lab.envoy.set_endpoints("greeter", left).await.unwrap();
    lab.fleet.terminate(2);
    eventually("it is forgotten", async || {
        call_all(&lab.clients, 60).await;
        let known = lab.counts().await.sum("endpoints_known", &[]);
        if known == 2 { Ok(()) } else { Err(format!("{known} known")) }
    })
    .await;
}

#[tokio::test]
async fn the_admin_interface_may_come_and_go() {
    let fleet = start_servers(3).await;
    let discovery = json!({"admin_cluster": "door", "max_age": "1s", "learn_percent": 10});
    let greeter = Cluster::new("greeter", fleet.addresses());
    let door = Cluster::new("door", [nobody()]).from_file();
    let listener = main_listener(json!({"discovery": discovery}));
    let mut lab = Lab::with(fleet, proxy([listener], [greeter, door])).await;
    // What decides about calls when one is learned and the other told: a share is left to Envoy.
    let learns = async |lab: &Lab, wanted: bool| {
        eventually(&format!("membership is learned: {wanted}"), async || {
            let before = lab.counts().await;
            call_all(&lab.clients, 200).await;
            let after = lab.counts().await;
            let new = |result| after.picks(result) - before.picks(result);
            let is = if wanted {
                new("learn") > 0 && new("override") > 100
            } else {
                new("override") == 200
            };
            if is { Ok(()) } else { Err(after) }
        })
        .await;
    };
    learns(&lab, true).await;
    let admin = lab.envoy.admin().address();
    lab.envoy.set_endpoints("door", [admin]).await.unwrap();
    learns(&lab, false).await;
    lab.envoy.set_endpoints("door", [nobody()]).await.unwrap();
    learns(&lab, true).await;
}
