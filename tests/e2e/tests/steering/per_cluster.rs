//! Several clusters behind one listener, each with its own counts and settings.

use leastload_fleet::config::{Cluster, Http, Kind, Listener, Route};
use serde_json::{Value, json};

use crate::lab::{
    Lab, Shares, call_all, filter, hold, nothing_is_outstanding, proxy, settle, start_servers,
};

/// Streams go to the cluster `streams-eu`, everything else to `greeter`.
fn listener(configuration: &Value) -> Listener {
    let routes = vec![
        Route::new("/helloworld.Greeter/SayHelloBidi", "streams-eu"),
        Route::new("/", "greeter"),
    ];
    let http = Http { routes, wasm: Some(filter(configuration.clone())), ..Http::default() };
    Listener { kind: Kind::Http(Box::new(http)), ..Listener::http("main", "greeter") }
}

#[tokio::test]
async fn two_clusters_share_servers_but_not_counts() {
    let fleet = start_servers(2).await;
    let clusters = ["greeter", "streams-eu"].map(|name| Cluster::new(name, fleet.addresses()));
    let lab = Lab::with(fleet, proxy([listener(&json!({}))], clusters)).await;
    settle(&lab.envoy, &lab.clients).await;
    drop(hold(&lab.clients, 4).await);
    crate::lab::eventually("streams are steered, too", async || {
        drop(hold(&lab.clients, 4).await);
        let steered = lab.picks("streams-eu", "override").await;
        if steered >= 8 { Ok(()) } else { Err(format!("{steered}")) }
    })
    .await;
    nothing_is_outstanding(&lab.envoy).await;

    let streams = lab.hold(6).await;
    assert_eq!(lab.in_order(&streams.shares()), [3, 3]);
    let counts = lab.counts().await;
    assert_eq!(counts.sum("work_milli", &[("cluster", "streams-eu")]), 6_000);
    assert_eq!(counts.sum("work_milli", &[("cluster", "greeter")]), 0);
    drop(streams);
    nothing_is_outstanding(&lab.envoy).await;
}

#[tokio::test]
async fn a_prefix_switches_clusters_off_and_the_others_stay_on() {
    let fleet = start_servers(2).await;
    let clusters = ["greeter", "streams-eu"].map(|name| Cluster::new(name, fleet.addresses()));
    let off = json!({"clusters": {"streams-*": {"enabled": false}}});
    let lab = Lab::with(fleet, proxy([listener(&off)], clusters)).await;
    lab.settle().await;
    let held = lab.hold(6).await;
    assert_eq!(lab.picks("streams-eu", "disabled").await, 6);
    assert_eq!(lab.picks("streams-eu", "override").await, 0);
    assert_eq!(lab.counts().await.sum("work_milli", &[("cluster", "streams-eu")]), 0);
    assert_eq!(lab.picks("greeter", "disabled").await, 0);
    drop(held);
}

#[tokio::test]
async fn each_cluster_has_its_own_list() {
    let fleet = start_servers(3).await;
    let all = fleet.addresses();
    let clusters = ["greeter", "streams-eu"].map(|name| Cluster::new(name, all.clone()));
    let lists = json!({
        "discovery": {"admin_cluster": ""},
        "clusters": {
            "greeter": {"discovery": {"static": [all[0]]}},
            "streams-*": {"discovery": {"static": {"streams-eu": [all[1], all[2]]}}},
        },
    });
    let lab = Lab::with(fleet, proxy([listener(&lists)], clusters)).await;
    let unary: Shares = call_all(&lab.clients, 8).await;
    assert_eq!(lab.in_order(&unary), [8, 0, 0]);
    assert_eq!(lab.spread(8).await, [0, 4, 4]);
}
