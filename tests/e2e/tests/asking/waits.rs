//! A request waits no longer than its deadline, and nothing of it stays where its client leaves.

use leastload_e2e::{counts::nothing_is_outstanding, held::Open, wait::eventually};
use serde_json::json;
use tokio::net::TcpListener;

use crate::lab::{HOLE, Lab, Plan, call, said, sum};

/// Probes go to somebody who never answers: the kernel takes connections, and nobody reads.
async fn unanswered(deadline: &str) -> (Lab, TcpListener) {
    let hole = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut plan = Plan::new(2);
    plan.hole = Some(hole.local_addr().unwrap());
    plan.held = vec![4, 4];
    plan.outbound = json!({"probe": {
        "mode": "always", "cluster": HOLE, "deadline": deadline, "budget": 100_000,
    }});
    (plan.start().await, hole)
}

/// A request of this worker waits, now or a moment ago.
async fn waits(lab: &Lab) -> i64 {
    sum(&lab.envoy, "probe_waits", &[]).await
}

#[tokio::test]
async fn a_server_that_never_answers_is_not_waited_for() {
    let (lab, _hole) = unanswered("5ms").await;
    let deadline = [("result", "deadline")];
    let before = sum(&lab.envoy, "probe_waits", &deadline).await;
    let steered = sum(&lab.envoy, "picks", &[("result", "override")]).await;
    let mut calls = Vec::new();
    for _ in 0..50 {
        let client = lab.client.clone();
        calls.push(tokio::spawn(async move { call(&client).await.map(|_| ()) }));
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let waited = sum(&lab.envoy, "probe_waits", &deadline).await - before;
    assert!(waited > 0, "{}", said(&lab.envoy).await);
    assert_eq!(sum(&lab.envoy, "picks", &[("result", "override")]).await - steered, 50);
    assert_eq!(waits(&lab).await, sum(&lab.envoy, "probe_waits", &deadline).await);
    nothing_is_outstanding(&lab.envoy).await;
}

#[tokio::test]
async fn a_client_may_leave_while_its_request_waits() {
    let (lab, _hole) = unanswered("1s").await;
    let ended = [("result", "ended")];
    eventually("some clients leave in time", async || {
        let mut waiting = Vec::new();
        for _ in 0..10 {
            waiting.push(Open::start(&lab.client));
        }
        // They are with the filter, and have not been decided.
        eventually("the requests arrived", async || {
            let active = lab.envoy.admin().stats("http.main.downstream_rq_active").await.unwrap();
            let active: i64 = active.values().sum();
            if active >= 10 { Ok(()) } else { Err(active) }
        })
        .await;
        drop(waiting);
        nothing_is_outstanding(&lab.envoy).await;
        let ended = sum(&lab.envoy, "probe_waits", &ended).await;
        if ended > 0 { Ok(()) } else { Err(ended) }
    })
    .await;
    // Nobody is woken who is gone, and the others are.
    for _ in 0..3 {
        call(&lab.client).await.unwrap();
    }
    let crashes = lab.envoy.admin().stats("wasm.*(crash|fail)").await.unwrap();
    assert!(crashes.values().all(|crashes| *crashes == 0), "{crashes:?}");
    nothing_is_outstanding(&lab.envoy).await;
}
