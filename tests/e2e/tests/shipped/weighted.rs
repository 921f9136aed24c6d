//! Envoy's own `client_side_weighted_round_robin`, without our module at the client, reads the stamps
//! of twins that stamp every response.

use std::time::Duration;

use leastload_e2e::{held::Client, wait::eventually};
use leastload_fleet::{
    config::{Cluster, EnvoyConfig, Listener},
    envoy::{Envoy, Options},
    server::{ServerOptions, ServiceTime},
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::lab::{Twins, call, connect, options};

/// Calls under way at a time: two more than both servers have slots.
const AT_A_TIME: usize = 10;

/// Two servers, the first three times as fast, before them Envoy's policy.
async fn lab(stamp: &str) -> (Twins, Envoy, Client) {
    let service = ServiceTime::Constant(Duration::from_millis(15));
    let fast = ServerOptions { service, ..ServerOptions::default() };
    let slow = ServerOptions { speed: 1.0 / 3.0, ..fast.clone() };
    let stamp = format!("\"stamp\": \"{stamp}\"");
    let twins =
        Twins::start_with(&[fast, slow], |twin| twin.with("\"stamp\": \"askers\"", &stamp)).await;
    let policy = "load_balancing_policies.client_side_weighted_round_robin";
    let message = "v3.ClientSideWeightedRoundRobin";
    let cluster = Cluster::new("greeter", twins.addresses()).extra(json!({
        "transport_socket": twins.certificates.upstream(true),
        "lb_policy": "LOAD_BALANCING_POLICY_CONFIG",
        "load_balancing_policy": {"policies": [{"typed_extension_config": {
            "name": format!("envoy.{policy}"),
            "typed_config": {
                "@type": format!("type.googleapis.com/envoy.extensions.{policy}.{message}"),
                // How long reports must have come before they count: 10 s by default.
                "blackout_period": "1s",
                "weight_update_period": "0.5s",
            },
        }}]},
    }));
    let config = EnvoyConfig::new([Listener::http("main", "greeter")], [cluster]);
    let options = Options { version: leastload_fleet::envoy::VERSIONS[0].into(), ..options() };
    let envoy = Envoy::start(&config, &options).await.unwrap();
    let client = connect(&envoy, "main").await;
    (twins, envoy, client)
}

/// How many of so many calls the first server served.
async fn fast_of(twins: &Twins, client: &Client, calls: usize) -> usize {
    let fast = twins.fleet.address(0).to_string();
    let mut callers = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let (client, fast) = (client.clone(), fast.clone());
        callers.spawn(async move {
            let mut served = 0;
            for _ in 0..calls / AT_A_TIME {
                served += usize::from(call(&client, &[]).await.into_inner().served_by == fast);
            }
            served
        });
    }
    callers.join_all().await.into_iter().sum()
}

#[tokio::test]
async fn envoys_own_weighted_round_robin_follows_what_twins_report() {
    let (twins, _envoy, client) = lab("all").await;
    eventually("the fast server gets about three of four", async || {
        let fast = fast_of(&twins, &client, 300).await;
        if (205..=245).contains(&fast) { Ok(()) } else { Err(fast) }
    })
    .await;
}

#[tokio::test]
async fn and_is_plain_round_robin_without() {
    let (twins, _envoy, client) = lab("askers").await;
    for _ in 0..5 {
        assert_eq!(fast_of(&twins, &client, 300).await, 150);
    }
}
