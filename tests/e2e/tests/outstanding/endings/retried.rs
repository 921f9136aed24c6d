//! Envoy sends the call again: its count is where it really is. And it sends a copy elsewhere: that
//! is not counted.

use leastload_e2e::{
    held::Held,
    lab::{CLUSTER, Lab, Plan},
    wait::{eventually, in_time},
};
use leastload_fleet::{
    config::{Cluster, EnvoyConfig, Mechanism, OVERRIDE_HEADER},
    fleet::Fleet,
    proto::helloworld::{Ending, HelloRequest},
    server::ServerOptions,
};
use serde_json::{Value, json};

#[tokio::test]
async fn after_a_connect_failure_by_stateful_session() {
    after_connect_failure(Mechanism::StatefulSession).await;
}

#[tokio::test]
async fn after_a_connect_failure_by_override_host() {
    after_connect_failure(Mechanism::OverrideHost).await;
}

#[tokio::test]
async fn after_a_lost_connection_by_stateful_session() {
    after_lost_connection(Mechanism::StatefulSession).await;
}

#[tokio::test]
async fn after_a_lost_connection_by_override_host() {
    after_lost_connection(Mechanism::OverrideHost).await;
}

async fn after_connect_failure(mechanism: Mechanism) {
    let policy = json!({"retry_on": "connect-failure,refused-stream,reset"});
    let (mut lab, busy) = with_one_busy(mechanism, policy).await;
    lab.servers.kill(other(&lab, &busy));
    moves_to_the_busy_one(&lab, busy).await;
}

async fn after_lost_connection(mechanism: Mechanism) {
    let (mut lab, busy) = with_one_busy(mechanism, json!({"retry_on": "reset"})).await;
    let slot = *lab.counts().await.work(CLUSTER).keys().next().unwrap();
    let doomed = other(&lab, &busy);
    lab.servers.freeze(doomed).unwrap();
    // Complete requests only are sent again, so this is one with many replies.
    let hang = HelloRequest { ending: Ending::HangAfterMessages.into(), ..HelloRequest::default() };
    let mut client = lab.clients[0].clone();
    let call = tokio::spawn(async move {
        let mut replies = client.say_hello_server_stream(hang).await.unwrap().into_inner();
        (replies.message().await.unwrap().unwrap(), replies)
    });
    lab.work_is(&[1_000, 1_000]).await;
    lab.servers.kill(doomed);
    let (reply, replies) = in_time("the call is sent again", call).await.unwrap();
    assert_eq!(reply.served_by, busy.server());
    work_by_slot_is(&lab, slot, 2_000).await;
    drop(replies);
    work_by_slot_is(&lab, slot, 1_000).await;
    busy.finish().await.unwrap();
    lab.nothing_is_outstanding().await;
}

async fn work_by_slot_is(lab: &Lab, slot: u32, milli: i64) {
    eventually(&format!("all work is {milli} at slot {slot}"), async || {
        let work = lab.counts().await.work(CLUSTER);
        if work == [(slot, milli)].into() { Ok(()) } else { Err(work) }
    })
    .await;
}

/// Two servers, one of which has a call: the next pick is the other.
async fn with_one_busy(mechanism: Mechanism, mut policy: Value) -> (Lab, Held) {
    policy["num_retries"] = json!(5);
    policy["retry_host_predicate"] = json!([{
        "name": "envoy.retry_host_predicates.previous_hosts",
        "typed_config": {"@type": "type.googleapis.com/\
            envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
    }]);
    policy["host_selection_retry_max_attempts"] = json!(5);
    let set = |config: &mut EnvoyConfig, _: &Fleet| {
        let listener = config.listeners.remove(0);
        let listener = listener.with_http(|http| http.routes[0].retry_policy = Some(policy));
        config.listeners.insert(0, listener);
    };
    let lab = Plan::new(2).mechanism(mechanism).start_with(set).await;
    let busy = Held::start(&lab.clients[0]).await.unwrap();
    lab.work_is(&[1_000]).await;
    (lab, busy)
}

fn other(lab: &Lab, busy: &Held) -> usize {
    let addresses = lab.servers.addresses();
    addresses.iter().position(|address| address.to_string() != busy.server()).unwrap()
}

async fn moves_to_the_busy_one(lab: &Lab, busy: Held) {
    let slot = *lab.counts().await.work(CLUSTER).keys().next().unwrap();
    let mut retried = Held::start(&lab.clients[0]).await.unwrap();
    assert_eq!(retried.server(), busy.server());
    // While it is under way, it counts where it is, and not where it was sent first.
    work_by_slot_is(lab, slot, 2_000).await;
    let refused = lab.counts().await.sum("overrides_refused", &[("reason", "retry")]);
    // `override_host` does as told: the second entry of its list is part of the override.
    assert!(refused <= 1, "{refused}");
    retried.talk().await.unwrap();
    retried.finish().await.unwrap();
    lab.work_is(&[1_000]).await;
    busy.finish().await.unwrap();
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn a_mirrored_request_counts_once_and_its_copy_names_no_host() {
    let mirror = Fleet::start_equal(1, &ServerOptions::default()).await.unwrap();
    let lab = Plan::new(2)
        .start_with(|config, _| {
            config.clusters.push(Cluster::new("mirror", mirror.addresses()));
            let listener = config.listeners.remove(0);
            let listener = listener.with_http(|http| http.routes[0].mirror = Some("mirror".into()));
            config.listeners.push(listener);
        })
        .await;
    let before = lab.counts().await.picks("override");
    mirror.reset_stats().await.unwrap();
    let held = Held::start(&lab.clients[0]).await.unwrap();
    lab.work_is(&[1_000]).await;
    let reply = lab.clients[1].clone().say_hello(HelloRequest::default()).await.unwrap();
    assert_ne!(reply.into_inner().served_by, mirror.address(0).to_string());
    let seen = eventually("the copy arrives", async || {
        let calls = mirror.stats(0).await.unwrap().last_calls;
        let unary = calls.iter().find(|call| call.path.ends_with("/SayHello"));
        unary.cloned().ok_or_else(|| format!("{calls:?}"))
    })
    .await;
    assert!(!seen.metadata.contains_key(OVERRIDE_HEADER), "{:?}", seen.metadata);
    lab.work_is(&[1_000]).await;
    held.finish().await.unwrap();
    in_time("the mirror's calls end", mirror.wait_idle(leastload_e2e::wait::PATIENCE))
        .await
        .unwrap();
    lab.nothing_is_outstanding().await;
    let counts = lab.counts().await;
    assert_eq!(counts.picks("override") - before, 2);
    assert_eq!(counts.sum("picks", &[("cluster", "mirror")]), 0);
}
