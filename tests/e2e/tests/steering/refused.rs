//! Where Envoy did not honour an override: every call is served, and the reason is counted.

use leastload_e2e::held::Open;
use leastload_fleet::config::{Cluster, Endpoint, Mechanism, Route};
use serde_json::json;

use crate::lab::{
    Lab, call_all, eventually, main_listener, nothing_is_outstanding, patient_health_check, proxy,
    start_servers,
};

async fn refused(lab: &Lab, reason: &str) -> i64 {
    lab.counts().await.sum("overrides_refused", &[("reason", reason)])
}

/// The filter without the one that reads the header; one worker.
async fn unheard() -> Lab {
    let fleet = start_servers(3).await;
    let cluster = Cluster::new("greeter", fleet.addresses());
    let config = proxy([main_listener(json!({}))], [cluster]).mechanism(Mechanism::None);
    Lab::with_one_worker(fleet, config).await
}

#[tokio::test]
async fn where_nothing_reads_the_header_all_calls_are_served_and_refusals_counted() {
    let lab = unheard().await;
    eventually("overrides are refused", async || {
        // Every call must succeed.
        call_all(&lab.clients, 12).await;
        let refused = refused(&lab, "ignored").await;
        if refused >= 6 { Ok(()) } else { Err(refused) }
    })
    .await;
    let held = lab.hold(9).await;
    assert_eq!(held.shares().values().sum::<usize>(), 9);
    drop(held);
    nothing_is_outstanding(&lab.envoy).await;
}

#[tokio::test]
async fn where_nothing_reads_the_header_the_filter_gives_up_and_warns_once() {
    let lab = unheard().await;
    eventually("the filter gives up", async || {
        call_all(&lab.clients, 200).await;
        let counts = lab.counts().await;
        if counts.picks("not_honoured") > 0 { Ok(()) } else { Err(counts) }
    })
    .await;
    let warnings = lab.envoy.log().matches("Envoy honours no override").count();
    assert_eq!(warnings, 1, "{}", lab.envoy.log());
}

#[tokio::test]
async fn a_host_that_envoy_found_unhealthy_a_moment_ago_is_ignored() {
    let fleet = start_servers(3).await;
    let mut cluster = Cluster::new("greeter", fleet.addresses());
    cluster.health_checks = vec![patient_health_check("0.1s")];
    let slow = json!({"discovery": {"interval": "1h"}});
    let mut lab = Lab::with(fleet, proxy([main_listener(slow)], [cluster])).await;
    lab.settle().await;
    lab.fleet.terminate(2);
    eventually("Envoy knows", async || {
        let hosts = lab.envoy.admin().hosts("greeter").await.unwrap();
        if hosts.iter().filter(|host| host.failed).count() == 1 { Ok(()) } else { Err(hosts) }
    })
    .await;
    eventually("an override is ignored", async || {
        let shares = lab.in_order(&call_all(&lab.clients, 12).await);
        assert_eq!(shares[2], 0, "every call is served, by the others");
        if refused(&lab, "ignored").await > 0 { Ok(()) } else { Err(shares) }
    })
    .await;
    // Set aside, the dead host does not attract the calls that find it idle.
    let before = refused(&lab, "ignored").await;
    let held = lab.hold(8).await;
    assert_eq!(lab.in_order(&held.shares())[2], 0);
    assert!(refused(&lab, "ignored").await - before <= 2 * 2, "two workers, a trial or two each");
    drop(held);
    nothing_is_outstanding(&lab.envoy).await;
}

#[tokio::test]
async fn a_retry_that_went_elsewhere_is_told_apart() {
    let fleet = start_servers(3).await;
    let cluster = Cluster::new("greeter", fleet.addresses());
    let listed = json!({"discovery": {
        "admin_cluster": "", "static": {"greeter": fleet.addresses()},
    }});
    let retry = json!({"retry_on": "connect-failure,reset", "num_retries": 3});
    let route = Route { retry_policy: Some(retry), ..Route::new("/", "greeter") };
    let listener = main_listener(listed).with_http(|http| http.routes = vec![route]);
    let mut lab = Lab::with(fleet, proxy([listener], [cluster])).await;
    lab.fleet.kill(2);
    eventually("a retry is counted", async || {
        // Every call must succeed.
        call_all(&lab.clients, 12).await;
        let refused = refused(&lab, "retry").await;
        if refused > 0 { Ok(()) } else { Err(refused) }
    })
    .await;
    assert_eq!(refused(&lab, "ignored").await, 0);
    nothing_is_outstanding(&lab.envoy).await;
}

/// Envoy knows that a host left, or is unhealthy, when the call comes; the filter learns of it
/// while the call is under way.
async fn refused_for(reason: &str, change: impl Fn(Endpoint) -> Option<Endpoint>) {
    let fleet = start_servers(3).await;
    let all: Vec<Endpoint> = fleet.addresses().into_iter().map(Endpoint::from).collect();
    let cluster = Cluster::new("greeter", all.clone()).from_file();
    let slow = json!({"discovery": {"interval": "2s", "max_age": "1h"}});
    let mut lab = Lab::with(fleet, proxy([main_listener(slow)], [cluster])).await;
    lab.settle().await;
    let mut changed = all[..2].to_vec();
    changed.extend(change(all[2].clone()));
    // The filter may happen to read the change before the calls come: then there is nothing to
    // refuse, and another round is due.
    for _ in 0..20 {
        lab.envoy.set_endpoints("greeter", changed.clone()).await.unwrap();
        let calls: Vec<Open> = lab.clients.iter().cycle().take(9).map(Open::start).collect();
        eventually("all have arrived", async || {
            let stats = lab.fleet.all_stats().await.unwrap();
            let here: u32 = stats.iter().map(|stats| stats.in_flight).sum();
            if here == 9 { Ok(()) } else { Err(here) }
        })
        .await;
        lab.wait_gauge("endpoints_eligible", 2).await;
        for call in calls {
            call.finish().await.unwrap();
        }
        if refused(&lab, reason).await > 0 {
            nothing_is_outstanding(&lab.envoy).await;
            return;
        }
        lab.envoy.set_endpoints("greeter", all.clone()).await.unwrap();
        lab.wait_gauge("endpoints_eligible", 3).await;
    }
    panic!("never refused for {reason}: {:?}", lab.counts().await);
}

#[tokio::test]
async fn a_host_that_left_meanwhile_is_told_apart() {
    refused_for("gone", |_| None).await;
}

#[tokio::test]
async fn a_host_that_became_unhealthy_meanwhile_is_told_apart() {
    refused_for("not_eligible", |host| Some(host.health("UNHEALTHY"))).await;
}
