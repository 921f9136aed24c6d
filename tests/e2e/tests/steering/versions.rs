//! Every supported release of Envoy: the shipped configurations are valid, and the core holds.

use leastload_e2e::{
    held::Open,
    shipped::{Certificates, FILES, Shipped},
};
use leastload_fleet::{
    config::{Cluster, Mechanism, OVERRIDE_HEADER},
    envoy::{Envoy, Options, VERSIONS},
};
use serde_json::json;

use crate::lab::{
    Lab, MECHANISMS, call_all, call_with, configured, eventually, main_listener,
    nothing_is_outstanding, proxy, start_servers,
};

#[tokio::test]
async fn the_shipped_configurations_are_valid_in_every_release() {
    let certificates = Certificates::new();
    for file in FILES {
        let shipped = Shipped::read(file).certificates(&certificates);
        for version in VERSIONS {
            if let Err(error) = Envoy::validate_yaml(shipped.yaml(), version).await {
                panic!("{file} in {version}: {error}");
            }
        }
    }
}

async fn core(version: &str) {
    for (mechanism, name) in MECHANISMS {
        steers(version, mechanism, name).await;
    }
    serves_with_a_faulty_configuration(version).await;
}

async fn steers(version: &str, mechanism: Mechanism, name: &str) {
    let fleet = start_servers(3).await;
    let cluster = Cluster::new("greeter", fleet.addresses());
    let config = proxy([main_listener(configured(name, json!({})))], [cluster]);
    let lab = Lab::run(fleet, config.mechanism(mechanism), &Options::version(version)).await;
    let running = lab.envoy.admin().get("/server_info").await.unwrap();
    assert!(running.contains(version) || std::env::var_os("ENVOY").is_some(), "{running}");
    lab.settle().await;
    lab.wait_gauge("endpoints_eligible", 3).await;
    let held = lab.hold(12).await;
    held.each_went_to_the_least();
    assert_eq!(lab.in_order(&held.shares()), [4, 4, 4], "{version} {name}");
    assert_eq!(lab.counts().await.amounts("greeter"), [4_000; 3], "{version} {name}");

    // A client's own header: the named server has as much to do as the others, so it would show.
    let own = lab.fleet.address(0).to_string();
    let reply = call_with(&lab.clients[0], &[(OVERRIDE_HEADER, &own)]).await;
    assert!(!reply.metadata.contains_key(OVERRIDE_HEADER), "{version} {name}");

    // Ends by cancellation, answered and unanswered, and by an error of the server.
    let unanswered = Open::start(&lab.clients[1]);
    eventually("it is counted", async || {
        let work: i64 = lab.counts().await.amounts("greeter").iter().sum();
        if work == 13_000 { Ok(()) } else { Err(work) }
    })
    .await;
    drop((held, unanswered));
    nothing_is_outstanding(&lab.envoy).await;
    let failing = Open::start(&lab.clients[0]);
    let ending = leastload_fleet::proto::helloworld::Ending::Default;
    let failed = failing.end_as(ending, tonic::Code::Internal).await.unwrap_err();
    assert_eq!(failed.code(), tonic::Code::Internal);
    nothing_is_outstanding(&lab.envoy).await;
    let counts = lab.counts().await;
    assert_eq!(counts.sum("overrides_refused", &[]), 0, "{version} {name}: {counts:?}");
    assert_eq!(counts.sum("errors", &[]), 0, "{version} {name}: {counts:?}");
}

async fn serves_with_a_faulty_configuration(version: &str) {
    let fleet = start_servers(3).await;
    let cluster = Cluster::new("greeter", fleet.addresses());
    let faulty = json!({"enabled": "perhaps", "nonsense": 1});
    let config = proxy([main_listener(faulty)], [cluster]);
    let options = Options::version(version).workers(1);
    let lab = Lab::run(fleet, config, &options).await;
    let shares = lab.in_order(&call_all(&lab.clients, 12).await);
    assert_eq!(shares, [4, 4, 4], "{version}: Envoy's round robin");
    assert_eq!(lab.counts().await.sum("config_faults", &[("plugin", "leastload")]), 2, "{version}");
    let log = lab.envoy.log();
    let line = log.lines().find(|line| line.contains("faulty configuration")).unwrap();
    assert!(line.contains("enabled") && line.contains("nonsense"), "{version}: {line}");
}

#[tokio::test]
async fn envoy_1_40() {
    core(VERSIONS[0]).await;
}

#[tokio::test]
async fn envoy_1_39() {
    core(VERSIONS[1]).await;
}

#[tokio::test]
async fn envoy_1_37() {
    core(VERSIONS[2]).await;
}

#[tokio::test]
async fn envoy_1_36() {
    core(VERSIONS[3]).await;
}
