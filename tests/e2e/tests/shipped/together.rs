//! `production.yaml` and `twin.yaml` together.

use leastload_e2e::{
    counts::nothing_is_outstanding, held::Client, shipped::Shipped, wait::eventually,
};
use leastload_fleet::envoy::Envoy;

use crate::lab::{Twins, call, connect, hold, options, served_by, steered, sum};

/// Names of ours in a response.
const OURS: [&str; 5] = [
    "endpoint-load-metrics",
    "endpoint-load-metrics-bin",
    "x-leastload-host",
    "x-leastload-self",
    "x-leastload-ask",
];

/// The shipped `file` before these twins, with `probe` in its configuration.
async fn before(file: &'static str, twins: &Twins, probe: &str) -> (Envoy, Client) {
    // No machine is too slow for a second.
    let probe = format!("{probe}\"deadline\": \"1s\"");
    let envoy = Shipped::read(file)
        .named(&twins.addresses())
        .certificates(&twins.certificates)
        .with("\"deadline\": \"10ms\"", &probe)
        .start(&options())
        .await;
    let client = connect(&envoy, "grpc").await;
    steered(&envoy, &client).await;
    (envoy, client)
}

async fn what_another_proxy_does_is_seen(file: &'static str, path: &str) {
    let twins = Twins::start(3).await;
    for probe in ["\"mode\": \"off\", ", ""] {
        let (envoy, client) = before(file, &twins, probe).await;
        let (_other, other) = twins.plain(&twins.addresses()[1..2], true).await;
        let held = hold(&other, 20).await;
        // Until each has told its load once.
        served_by(&client, twins.fleet.address(1), 9).await;
        let served = served_by(&client, twins.fleet.address(1), 40).await;
        assert!(served <= 8, "{file} {probe}: the busy server served {served} of 40");

        let reply = call(&client, &[("x-leastload-ask", "load"), ("x-leastload-host", "x")]).await;
        for name in OURS {
            assert!(!reply.metadata().contains_key(name), "{file}: {:?}", reply.metadata());
            assert!(!reply.get_ref().metadata.contains_key(name), "{file}: the server sees {name}");
        }
        let answered = [("kind", path), ("result", "answered")];
        if probe.is_empty() {
            eventually("servers are asked where nothing fresh is known", async || {
                call(&client, &[]).await;
                let answers = sum(&envoy, "probes", &answered).await;
                if answers >= 3 { Ok(()) } else { Err(envoy.admin().stats("probe").await.unwrap()) }
            })
            .await;
            assert!(envoy.log().contains(&format!("servers are asked by {path}")), "{file}");
            assert!(twins.answers().await >= sum(&envoy, "probes", &answered).await);
        } else {
            assert_eq!(sum(&envoy, "probes", &[]).await, 0, "{file}");
            assert_eq!(twins.answers().await, 0, "{file}");
        }
        assert_eq!(sum(&envoy, "reports_dropped", &[]).await, 0, "{file}");
        assert_eq!(sum(&envoy, "errors", &[]).await, 0, "{file}");
        drop(held);
        nothing_is_outstanding(&envoy).await;
        for twin in &twins.envoys {
            nothing_is_outstanding(twin).await;
            assert_eq!(sum(twin, "errors", &[]).await, 0, "{file}");
        }
    }
    // Probes are no requests of the application.
    for server in 0..3 {
        let stats = twins.fleet.stats(server).await.unwrap();
        assert!(stats.calls.keys().all(|method| !method.contains("leastload")), "{stats:?}");
    }
}

#[tokio::test]
async fn with_stateful_session() {
    what_another_proxy_does_is_seen("production.yaml", "original_dst").await;
}

#[tokio::test]
async fn with_override_host() {
    what_another_proxy_does_is_seen("production-override-host.yaml", "override_host").await;
}

#[tokio::test]
async fn a_peer_without_a_certificate_is_told_nothing() {
    let optional = ("require_client_certificate: true", "require_client_certificate: false");
    let twins = Twins::start_with(&[leastload_fleet::server::ServerOptions::default()], |twin| {
        twin.with(optional.0, optional.1)
    })
    .await;
    for mutual in [true, false] {
        let (_proxy, client) = twins.plain(&twins.addresses(), mutual).await;
        let reply = call(&client, &[("x-leastload-ask", "stamp")]).await;
        let stamped = reply.metadata().contains_key("endpoint-load-metrics-bin");
        assert_eq!(stamped, mutual, "{:?}", reply.metadata());
    }
}

#[tokio::test]
async fn a_proxy_that_drains_says_so() {
    let twins = Twins::start(2).await;
    let (envoy, client) = before("production.yaml", &twins, "\"mode\": \"off\", ").await;
    twins.envoys[0].admin().post("/healthcheck/fail").await.unwrap();
    eventually("the other serves", async || {
        let served = served_by(&client, twins.fleet.address(0), 10).await;
        if served == 0 { Ok(()) } else { Err(served) }
    })
    .await;
    twins.envoys[0].admin().post("/healthcheck/ok").await.unwrap();
    eventually("it serves again", async || {
        let served = served_by(&client, twins.fleet.address(0), 10).await;
        if served > 0 { Ok(()) } else { Err(sum(&envoy, "picks", &[]).await) }
    })
    .await;
}
