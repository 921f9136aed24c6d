//! Weighted round robin of others, without our module at the client: Envoy's own
//! `client_side_weighted_round_robin` and grpcio's `weighted_round_robin` read the stamps of twins
//! that stamp every response. The calls then follow the servers' capacity.

use std::time::Duration;

use leastload_e2e::{held::Client, python::Python, wait::eventually};
use leastload_fleet::{
    config::{Cluster, EnvoyConfig, Listener},
    envoy::{Envoy, Options, VERSIONS},
    server::{ServerOptions, ServiceTime},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::lab::{Twins, call, connect, options};

/// Calls under way at a time: two more than both servers have slots.
const AT_A_TIME: usize = 10;
/// Calls of which the shares are counted.
const CALLS: usize = 300;

/// Two servers, the first three times as fast, so that its fair share is 225 of 300.
async fn twins(stamp: &str) -> Twins {
    let service = ServiceTime::Constant(Duration::from_millis(40));
    let fast = ServerOptions { service, ..ServerOptions::default() };
    let slow = ServerOptions { speed: 1.0 / 3.0, ..fast.clone() };
    let stamp = format!("\"stamp\": \"{stamp}\"");
    Twins::start_with(&[fast, slow], |twin| twin.with("\"stamp\": \"askers\"", &stamp)).await
}

/// Waits until the first server's share is about its fair one. Half would be round robin.
async fn fair(what: &str, mut fast: impl AsyncFnMut() -> usize) {
    eventually(&format!("{what}: the fast server gets about three of four"), async || {
        let fast = fast().await;
        if (190..=255).contains(&fast) { Ok(()) } else { Err(fast) }
    })
    .await;
}

async fn envoy(twins: &Twins, version: &str) -> (Envoy, Client) {
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
    let options = Options { version: version.into(), ..options() };
    let envoy = Envoy::start(&config, &options).await.unwrap();
    let client = connect(&envoy, "main").await;
    (envoy, client)
}

/// How many of [`CALLS`] calls the first server served.
async fn fast_of(twins: &Twins, client: &Client) -> usize {
    let fast = twins.fleet.address(0).to_string();
    let mut callers = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let (client, fast) = (client.clone(), fast.clone());
        callers.spawn(async move {
            let mut served = 0;
            for _ in 0..CALLS / AT_A_TIME {
                served += usize::from(call(&client, &[]).await.into_inner().served_by == fast);
            }
            served
        });
    }
    callers.join_all().await.into_iter().sum()
}

#[tokio::test]
async fn envoys_own_follows_what_twins_report() {
    for version in [VERSIONS[0], VERSIONS[3]] {
        let twins = twins("all").await;
        let (_envoy, client) = envoy(&twins, version).await;
        fair(version, async || fast_of(&twins, &client).await).await;
    }
}

#[tokio::test]
async fn envoys_own_is_plain_round_robin_without_reports() {
    let twins = twins("askers").await;
    let (_envoy, client) = envoy(&twins, VERSIONS[0]).await;
    for _ in 0..5 {
        assert_eq!(fast_of(&twins, &client).await, CALLS / 2);
    }
}

fn grpcio(twins: &Twins, policy: &Value) -> Python {
    let addresses: Vec<String> = twins.addresses().iter().map(ToString::to_string).collect();
    let target = format!("ipv4:{}", addresses.join(","));
    let folder = twins.certificates.folder().to_str().unwrap();
    Python::start("weighted.py", &[&target, folder, &policy.to_string()])
}

/// The same of a Python client.
fn fast_by_grpcio(twins: &Twins, client: &mut Python) -> usize {
    let served = client.ask(&json!({"calls": CALLS, "at_a_time": AT_A_TIME}));
    let fast = &served[twins.fleet.address(0).to_string()];
    usize::try_from(fast.as_u64().unwrap_or(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcios_follows_what_twins_report() {
    let twins = twins("all").await;
    let policy = json!({"weighted_round_robin": {
        // How long reports must have come before they count: 10 s by default.
        "blackoutPeriod": "1s",
        "weightUpdatePeriod": "0.5s",
    }});
    let mut client = grpcio(&twins, &policy);
    fair("grpcio", async || fast_by_grpcio(&twins, &mut client)).await;
}
