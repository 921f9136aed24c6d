//! How much of it is in force: a percentage, shadow mode, which traffic, which methods.

use leastload_fleet::{
    config::Cluster,
    load::{self, Bound, LoadSpec},
};
use serde_json::{Value, json};

use crate::lab::{
    Lab, call_all, eventually, hold, http1, main_listener, nothing_is_outstanding, proxy,
    start_servers,
};

/// A list of all three servers, so that the first call counts already; one worker, so that Envoy's
/// own round robin is exact.
async fn lab(configuration: &Value) -> Lab {
    let fleet = start_servers(3).await;
    let mut listed = json!({"discovery": {
        "admin_cluster": "", "static": {"greeter": fleet.addresses()},
    }});
    leastload_fleet::config::merge(&mut listed, configuration);
    let cluster = Cluster::new("greeter", fleet.addresses());
    Lab::with_one_worker(fleet, proxy([main_listener(listed)], [cluster])).await
}

#[tokio::test]
async fn none_or_all_are_steered_at_the_ends_of_the_scale() {
    for (percent, result) in [(0, "percent"), (100, "override")] {
        let lab = lab(&json!({"rollout": {"percent": percent}})).await;
        let held = lab.hold(9).await;
        assert_eq!(lab.in_order(&held.shares()), [3, 3, 3]);
        let counts = lab.counts().await;
        assert_eq!(counts.picks(result), 9);
        assert_eq!(counts.amounts("greeter"), [3_000; 3], "counted in any case");
        drop(held);
        nothing_is_outstanding(&lab.envoy).await;
    }
}

#[tokio::test]
async fn a_share_is_steered_and_all_are_counted() {
    let lab = lab(&json!({"rollout": {"percent": 30}})).await;
    let report = load::run(LoadSpec {
        uris: vec![lab.envoy.uri("main").unwrap()],
        rate: 400.0,
        bound: Bound::Calls(1_000),
        ..LoadSpec::default()
    })
    .await
    .unwrap();
    assert_eq!(report.failed(), 0);
    let counts = lab.counts().await;
    let steered = counts.picks("override");
    assert_eq!(steered + counts.picks("percent"), 1_000);
    // Seven standard deviations.
    assert!((200..=400).contains(&steered), "{steered}");
    let held = lab.hold(12).await;
    let counted: i64 = lab.counts().await.amounts("greeter").iter().sum();
    assert_eq!(counted, 12_000);
    drop(held);
    nothing_is_outstanding(&lab.envoy).await;
}

#[tokio::test]
async fn shadow_mode_steers_nothing_counts_all_and_compares() {
    let fleet = start_servers(3).await;
    // Of the three only the first is listed, so every pick is known, and Envoy's round robin
    // agrees with each third.
    let shadow = json!({
        "rollout": {"mode": "shadow"},
        "discovery": {"admin_cluster": "", "static": {"greeter": [fleet.address(0)]}},
    });
    let cluster = Cluster::new("greeter", fleet.addresses());
    let lab = Lab::with_one_worker(fleet, proxy([main_listener(shadow)], [cluster])).await;
    let held = lab.hold(9).await;
    assert_eq!(lab.in_order(&held.shares()), [3, 3, 3], "Envoy's round robin");
    let counts = lab.counts().await;
    assert_eq!(counts.picks("shadow"), 9);
    assert_eq!(counts.sum("shadow_picks", &[("cluster", "greeter"), ("result", "same")]), 3);
    assert_eq!(counts.sum("shadow_picks", &[("cluster", "greeter"), ("result", "other")]), 6);
    assert_eq!(counts.sum("overrides_refused", &[]), 0);
    assert_eq!(counts.amounts("greeter"), [3_000], "what the first really has");
    drop(held);
    nothing_is_outstanding(&lab.envoy).await;
}

#[tokio::test]
async fn shadow_mode_counts_where_envoy_sent_the_call() {
    let lab = lab(&json!({"rollout": {"mode": "shadow"}})).await;
    let held = lab.hold(7).await;
    let mut shares = lab.in_order(&held.shares());
    shares.sort_unstable();
    assert_eq!(shares, [2, 2, 3]);
    assert_eq!(lab.counts().await.amounts("greeter"), [3_000, 2_000, 2_000]);
    drop(held);
    nothing_is_outstanding(&lab.envoy).await;
}

/// A request that is not gRPC.
async fn get(lab: &Lab) {
    let request =
        "GET /helloworld.Greeter/SayHello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let response = http1(&lab.envoy, request).await;
    assert!(response.starts_with("HTTP/1.1 ") && !response.contains(" 503 "), "{response}");
}

#[tokio::test]
async fn http_requests_pass_unless_all_traffic_is_asked_for() {
    for (traffic, steered) in [("grpc", 0), ("all", 6)] {
        let lab = lab(&json!({"traffic": traffic})).await;
        for _ in 0..6 {
            get(&lab).await;
        }
        let counts = lab.counts().await;
        assert_eq!(counts.sum("picks", &[]), steered, "{traffic}");
        assert_eq!(counts.picks("override"), steered, "{traffic}");
        let arrived: u64 = lab
            .fleet
            .all_stats()
            .await
            .unwrap()
            .iter()
            .map(|stats| stats.calls.values().sum::<u64>())
            .sum();
        assert_eq!(arrived, 6, "{traffic}: all are served");
        nothing_is_outstanding(&lab.envoy).await;
    }
}

#[tokio::test]
async fn methods_cost_what_the_configuration_says_and_those_that_cost_nothing_are_left_out() {
    let methods = json!({"methods": {
        "/helloworld.Greeter/SayHelloBidi": {"cost": 2.5},
        "/helloworld.Greeter/*": {"cost": 0},
    }});
    let lab = lab(&methods).await;
    let held = hold(&lab.clients, 3).await;
    assert_eq!(lab.counts().await.amounts("greeter"), [2_500; 3]);
    call_all(&lab.clients, 6).await;
    let counts = lab.counts().await;
    assert_eq!((counts.picks("override"), counts.picks("excluded")), (3, 6));
    drop(held);
    nothing_is_outstanding(&lab.envoy).await;
}

#[tokio::test]
async fn a_costly_call_counts_for_several() {
    let lab =
        lab(&json!({"methods": {"/helloworld.Greeter/SayHelloClientStream": {"cost": 3}}})).await;
    let costly = leastload_e2e::held::Open::start(&lab.clients[0]);
    eventually("it is counted", async || {
        let amounts = lab.counts().await.amounts("greeter");
        if amounts == [3_000] { Ok(()) } else { Err(amounts) }
    })
    .await;
    let held = lab.hold(6).await;
    let mut shares = lab.in_order(&held.shares());
    shares.sort_unstable();
    assert_eq!(
        shares,
        [0, 3, 3],
        "the server with the costly call gets none until they have as much"
    );
    costly.finish().await.unwrap();
    drop(held);
    nothing_is_outstanding(&lab.envoy).await;
}
