//! `kill -9` of a server under load, beside Envoy's `LEAST_REQUEST` with the same seeded work.

use leastload_fleet::{
    config::{Cluster, Listener},
    envoy::{Envoy, Options},
    load::{self, Bound, LoadReport, LoadSpec, Method},
};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::lab::{
    Lab, eventually, main_listener, nothing_is_outstanding, patient_health_check, proxy,
    start_servers,
};

const ROUNDS: usize = 3;

#[tokio::test]
async fn a_killed_server_fails_no_more_calls_than_with_least_request() {
    let fleet = start_servers(4).await;
    let mut cluster = Cluster::new("greeter", fleet.addresses()).lb_policy("LEAST_REQUEST");
    cluster.health_checks = vec![patient_health_check("1s")];
    let without = proxy([Listener::http("main", "greeter")], [cluster.clone()]);
    let least_request = Envoy::start(&without, &Options::default()).await.unwrap();
    let mut lab = Lab::with(fleet, proxy([main_listener(json!({}))], [cluster])).await;
    lab.settle().await;

    let (mut ours, mut theirs) = (0, 0);
    for round in 0..ROUNDS {
        lab.fleet.reset_stats().await.unwrap();
        let arms = [offer(&lab.envoy, round), offer(&least_request, round)];
        eventually("the load flows", async || {
            let served = lab.fleet.stats(round).await.unwrap().ended;
            if served >= 20 { Ok(()) } else { Err(served) }
        })
        .await;
        lab.fleet.kill(round);
        let [with, without] = arms;
        let (with, without) = (with.await.unwrap(), without.await.unwrap());
        ours += with.failed();
        theirs += without.failed();
        println!("round {round}: leastload {:?}, LEAST_REQUEST {:?}", with.codes, without.codes);
        nothing_is_outstanding(&lab.envoy).await;
        lab.fleet.restart(round, None).await.unwrap();
        for envoy in [&lab.envoy, &least_request] {
            healthy(envoy).await;
        }
    }
    assert!(theirs > 0, "the kill was not felt");
    assert!(ours <= theirs, "{ours} calls failed, {theirs} with LEAST_REQUEST");
}

fn offer(envoy: &Envoy, round: usize) -> JoinHandle<LoadReport> {
    let spec = LoadSpec {
        uris: vec![envoy.uri("main").unwrap()],
        rate: 150.0,
        bound: Bound::Calls(500),
        work: Some("exp:20ms".parse().unwrap()),
        mix: vec![(Method::Unary, 2), (Method::ServerStream, 1)],
        seed: 7 + round as u64,
        ..LoadSpec::default()
    };
    tokio::spawn(async { load::run(spec).await.unwrap() })
}

/// Waits until all servers are healthy again.
async fn healthy(envoy: &Envoy) {
    eventually("all are healthy", async || {
        let hosts = envoy.admin().hosts("greeter").await.unwrap();
        if hosts.iter().any(|host| host.failed) { Err(hosts) } else { Ok(()) }
    })
    .await;
}
