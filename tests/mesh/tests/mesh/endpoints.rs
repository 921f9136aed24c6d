//! Pods come, go and change while calls run.

use std::{
    mem,
    time::{Duration, Instant},
};

use leastload_e2e::wait::eventually;
use leastload_mesh::{
    install::Install,
    lab::Lab,
    pod::{Pod, PodSpec},
    traffic::{Seen, Traffic, keep_calling},
};

use crate::stage::Stage;

tests! {
    a_new_pod_gets_its_share_and_a_leaving_one_loses_no_call,
    all_pods_are_replaced,
    a_pod_that_is_not_ready_gets_no_calls_until_it_is,
}

/// How soon a new endpoint has its share of the calls.
const SOON: Duration = Duration::from_secs(2);
/// Between the end of a pod's endpoint and the end of its process: what a preStop hook gives.
const GRACE: Duration = Duration::from_secs(3);

async fn a_new_pod_gets_its_share_and_a_leaving_one_loses_no_call(lab: &Lab) {
    let mut stage = Stage::new(lab, "scale", 2).await;
    Install::of(lab, "base").apply(lab, stage.namespace);
    // Long beside what the proxies take: their speed depends on the machine, this does not.
    let work = Duration::from_millis(40);
    let traffic = keep_calling(&stage.client, &stage.address, &stage.host(), 12, work);
    stage.steered().await;

    stage.add(lab, 2).await;
    stage.client_knows(3).await;
    let arrival = Instant::now();
    let new = stage.servers[2].endpoint();
    tokio::time::sleep(2 * SOON).await;
    let seen = traffic.seen();
    let share =
        |from: Duration, to: Duration| of_fair_share(&seen, &new, arrival + from, arrival + to);
    let settled = share(SOON, 2 * SOON);
    let first: Vec<f64> =
        (0..4u32).map(|half| share(SOON * half / 4, SOON * (half + 1) / 4)).collect();
    println!(
        "of its fair share the new pod had {first:.2?} in each half second, {settled:.2} after 2 s"
    );
    assert!((0.67..=1.5).contains(&settled), "{settled:.2} of its fair share after two seconds");
    assert!(share(Duration::ZERO, SOON) <= 1.5, "it was flooded: {first:.2?}");

    let leaving = stage.servers.remove(0);
    let gone = leaving.endpoint();
    leaving.leave(GRACE).await;
    stage.client_knows(2).await;
    let after = Instant::now();
    traffic.goes_on(200).await;
    let seen = traffic.stop_without_failure().await;
    assert_eq!(seen.since(&gone, after), 0, "calls to a pod that is gone");
}

/// Calls to `server` between two moments, by the mean of all that were called then.
fn of_fair_share(seen: &Seen, server: &str, from: Instant, to: Instant) -> f64 {
    let calls = |server: &str| (seen.since(server, from) - seen.since(server, to)) as f64;
    let all: f64 = seen.served.keys().map(|server| calls(server)).sum();
    calls(server) / (all / seen.served.len() as f64)
}

/// Beside a client without leastload, at the same time: what Istio alone loses is no fault of ours.
async fn all_pods_are_replaced(lab: &Lab) {
    let mut stage = Stage::new(lab, "rolling", 2).await;
    Install::of(lab, "base").apply(lab, stage.namespace);
    let other = lab.pod(PodSpec::client(stage.namespace, "client", "rolling-other")).await;
    let ours = stage.traffic(4);
    let theirs = keep_calling(&other, &stage.address, &stage.host(), 4, Duration::from_millis(2));
    stage.steered().await;
    let old = mem::take(&mut stage.servers);
    for (index, pod) in old.into_iter().enumerate() {
        stage.add(lab, 2 + index).await;
        stage.client_knows(3).await;
        pod.leave(GRACE).await;
        stage.client_knows(2).await;
    }
    ours.goes_on(200).await;
    let (ours, theirs) = (ours.stop().await, theirs.stop().await);
    println!(
        "failed calls while all pods were replaced: leastload {} of {}, Istio alone {} of {}",
        ours.failures.len(),
        ours.succeeded(),
        theirs.failures.len(),
        theirs.succeeded(),
    );
    assert!(ours.failures.len() <= theirs.failures.len(), "{:?}", ours.failures);
    assert_eq!(ours.served.len(), 4, "{:?}", ours.served.keys());
}

async fn a_pod_that_is_not_ready_gets_no_calls_until_it_is(lab: &Lab) {
    let stage = Stage::new(lab, "ready", 3).await;
    Install::of(lab, "base").apply(lab, stage.namespace);
    let traffic = stage.traffic(4);
    stage.steered().await;
    let pod = &stage.servers[1];
    pod.set_ready(false);
    stage.client_knows(2).await;
    eventually("no more calls to a pod that is not ready", async || {
        let from = Instant::now();
        traffic.goes_on(300).await;
        match traffic.seen().since(&pod.endpoint(), from) {
            0 => Ok(()),
            calls => Err(calls),
        }
    })
    .await;
    pod.set_ready(true);
    stage.client_knows(3).await;
    called_again(&traffic, pod).await;
    traffic.stop_without_failure().await;
}

async fn called_again(traffic: &Traffic, pod: &Pod) {
    let back = Instant::now();
    eventually("it is called again", async || {
        let calls = traffic.seen().since(&pod.endpoint(), back);
        if calls > 50 { Ok(()) } else { Err(calls) }
    })
    .await;
}
