//! Membership by a list in the configuration and by Envoy's admin interface, and what kinds of
//! endpoints there are.

use leastload_fleet::{
    config::{Cluster, Endpoint, Listener},
    envoy::{Change, Envoy, Options},
    fleet::Fleet,
    proto::helloworld::{Ending, HelloRequest},
    server::ServerOptions,
};
use serde_json::json;

use crate::lab::{
    Lab, eventually, filter, hold, main_listener, nothing_is_outstanding, proxy, settle,
    start_servers,
};

#[tokio::test]
async fn a_list_in_the_configuration_is_steered_from_the_first_call_on() {
    let fleet = start_servers(3).await;
    let listed = json!({"discovery": {
        "admin_cluster": "",
        "static": {"greeter": fleet.addresses()},
    }});
    let cluster = Cluster::new("greeter", fleet.addresses());
    let lab = Lab::with(fleet, proxy([main_listener(listed)], [cluster])).await;
    assert_eq!(lab.exact_spread(12).await, [4, 4, 4]);
    assert_eq!(lab.picks("greeter", "override").await, 12);
    assert_eq!(lab.counts().await.sum("picks", &[]), 12);
}

#[tokio::test]
async fn a_list_may_leave_hosts_of_the_cluster_out() {
    for asks_admin in [false, true] {
        let fleet = start_servers(3).await;
        let listed = json!({"discovery": {
            "admin_cluster": if asks_admin { "prometheus_stats" } else { "" },
            "static": {"greeter": &fleet.addresses()[1..]},
        }});
        let cluster = Cluster::new("greeter", fleet.addresses());
        let lab = Lab::with(fleet, proxy([main_listener(listed)], [cluster])).await;
        lab.settle().await;
        lab.wait_gauge("endpoints_known", 2).await;
        assert_eq!(lab.spread(8).await, [0, 4, 4]);
    }
}

#[tokio::test]
async fn the_admin_interface_tells_who_is_there() {
    let lab = Lab::start(3, json!({})).await;
    lab.settle().await;
    lab.wait_gauge("endpoints_known", 3).await;
    lab.wait_gauge("endpoints_eligible", 3).await;
    assert_eq!(lab.exact_spread(12).await, [4, 4, 4]);
    assert_eq!(lab.counts().await.sum("errors", &[]), 0);
}

#[tokio::test]
async fn unary_calls_that_wait_for_their_answer_spread_as_exactly_as_streams() {
    let lab = Lab::start(3, json!({})).await;
    lab.settle().await;
    let mut waiting = tokio::task::JoinSet::new();
    for index in 0..9 {
        let mut client = lab.clients[index % 4].clone();
        let message = HelloRequest { ending: Ending::Hang.into(), ..HelloRequest::default() };
        waiting.spawn(async move { client.say_hello(message).await });
        eventually("the call has arrived", async || {
            let counts = in_flight(&lab.fleet).await;
            if counts.iter().sum::<u32>() as usize > index {
                Ok(())
            } else {
                Err(format!("{counts:?}"))
            }
        })
        .await;
    }
    assert_eq!(in_flight(&lab.fleet).await, [3, 3, 3]);
    waiting.shutdown().await;
    nothing_is_outstanding(&lab.envoy).await;
}

async fn in_flight(fleet: &Fleet) -> Vec<u32> {
    fleet.all_stats().await.unwrap().iter().map(|stats| stats.in_flight).collect()
}

#[tokio::test]
async fn a_host_that_joins_gets_its_share_and_one_that_leaves_gets_nothing() {
    let fleet = start_servers(3).await;
    let cluster = Cluster::new("greeter", fleet.addresses()[..2].to_vec()).from_file();
    let mut lab = Lab::with(fleet, proxy([main_listener(json!({}))], [cluster])).await;
    lab.settle().await;
    let before = lab.hold(6).await;
    assert_eq!(lab.in_order(&before.shares()), [3, 3, 0]);

    let all = lab.fleet.addresses();
    assert_eq!(lab.envoy.set_endpoints("greeter", all.clone()).await.unwrap(), Change::Accepted);
    lab.wait_gauge("endpoints_eligible", 3).await;
    lab.wait_served_only_by(&[2]).await;
    let after = lab.hold(3).await;
    assert_eq!(lab.in_order(&after.shares()), [0, 0, 3], "the newcomer catches up first");
    drop((before, after));
    nothing_is_outstanding(&lab.envoy).await;

    lab.envoy.set_endpoints("greeter", all[1..].to_vec()).await.unwrap();
    lab.wait_gauge("endpoints_known", 2).await;
    lab.settle().await;
    assert_eq!(lab.spread(8).await, [0, 4, 4]);
}

#[tokio::test]
async fn endpoints_may_have_ipv6_addresses() {
    let listen = "[::1]:0".parse().unwrap();
    let servers = [(); 3].map(|()| (listen, ServerOptions::default()));
    let fleet = Fleet::start_on(servers).await.unwrap();
    assert!(fleet.addresses().iter().all(std::net::SocketAddr::is_ipv6));
    let cluster = Cluster::new("greeter", fleet.addresses());
    let lab = Lab::with(fleet, proxy([main_listener(json!({}))], [cluster])).await;
    lab.settle().await;
    assert_eq!(lab.exact_spread(9).await, [3, 3, 3]);
}

#[tokio::test]
async fn weights_divide_the_work() {
    let fleet = start_servers(2).await;
    let weighted = |index, weight| Endpoint { weight: Some(weight), ..fleet.address(index).into() };
    let cluster = Cluster::new("greeter", [weighted(0, 1), weighted(1, 3)]);
    let lab = Lab::with(fleet, proxy([main_listener(json!({}))], [cluster])).await;
    lab.settle().await;
    assert_eq!(lab.spread(8).await, [2, 6]);
}

#[tokio::test]
async fn beyond_the_scan_limit_samples_still_spread_the_load() {
    let lab = Lab::start(12, json!({"picker": {"scan_limit": 4, "samples": 4, "idle": 2}})).await;
    lab.settle().await;
    let shares = lab.spread(48).await;
    // A random choice would leave some of the twelve with none or one, and others with eight.
    assert!(shares.iter().all(|calls| (2..=6).contains(calls)), "{shares:?}");
}

#[tokio::test]
async fn listeners_of_one_envoy_count_together() {
    let fleet = start_servers(3).await;
    let other = Listener::http("other", "greeter").wasm(filter(json!({})));
    let cluster = Cluster::new("greeter", fleet.addresses());
    let config = proxy([main_listener(json!({})), other], [cluster]);
    let envoy = Envoy::start(&config, &Options::default()).await.unwrap();
    let mut clients = crate::lab::connect(&envoy, "main").await;
    clients.extend(crate::lab::connect(&envoy, "other").await);
    settle(&envoy, &clients).await;
    let held = hold(&clients, 12).await;
    assert!(held.shares().values().all(|calls| *calls == 4), "{:?}", held.shares());
    drop(held);
    nothing_is_outstanding(&envoy).await;
}
