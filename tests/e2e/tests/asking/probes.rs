//! Probes reach the servers by each way there is, and their applications never see one.

use leastload_e2e::counts::nothing_is_outstanding;
use leastload_fleet::config::Mechanism;
use serde_json::{Value, json};

use crate::lab::{ASK, BY_ADDRESS, Lab, Plan, http1, said, sum};

async fn asked_by(path: &str, mechanism: Mechanism, cluster: &str) -> Lab {
    let mut plan = Plan::new(3);
    plan.mechanism = mechanism;
    // Long enough for the slowest machine: here all answers come.
    plan.outbound = json!({"probe": {
        "mode": "always", "cluster": cluster, "deadline": "1s", "fanout": 3, "budget": 100_000,
    }, "estimate": {"speed": false}});
    plan.held = vec![4, 20, 4];
    let lab = plan.start().await;
    let answered = [("kind", path), ("result", "answered")];
    let before = sum(&lab.envoy, "probes", &answered).await;
    let served = lab.served_by(1, 30).await;
    let answers = sum(&lab.envoy, "probes", &answered).await - before;
    assert!(answers >= 30, "{path}: {answers} answers; {}", said(&lab.envoy).await);
    assert!(served <= 5, "{path}: the busy server served {served} of 30");
    assert!(sum(&lab.envoy, "probe_waits", &[("result", "answered")]).await >= 30, "{path}");
    assert!(lab.envoy.log().contains(&format!("servers are asked by {path}")), "{path}");
    for server in 0..3 {
        assert_eq!(lab.seen_by(server, "leastload").await, 0, "{path}");
    }
    assert!(sum(&lab.twins, "probe_answers", &[("result", "given")]).await >= answers, "{path}");
    lab
}

#[tokio::test]
async fn through_the_cluster_by_its_override_host_policy() {
    asked_by("override_host", Mechanism::OverrideHost, "").await;
}

#[tokio::test]
async fn through_an_original_dst_cluster() {
    asked_by("original_dst", Mechanism::StatefulSession, BY_ADDRESS).await;
}

#[tokio::test]
async fn through_the_cluster_where_envoy_chooses() {
    asked_by("untargeted", Mechanism::StatefulSession, "").await;
}

#[tokio::test]
async fn and_so_where_the_other_cluster_is_missing() {
    let lab = asked_by("untargeted", Mechanism::StatefulSession, "no-such-cluster").await;
    assert!(sum(&lab.envoy, "probes", &[("kind", "original_dst"), ("result", "unsent")]).await > 0);
}

#[tokio::test]
async fn a_probe_is_answered_without_the_application() {
    // One that the application has, and would serve.
    const METHOD: &str = "/helloworld.Greeter/SayHello";
    async fn ask(inbound: Value) -> (String, u64, Lab) {
        let mut plan = Plan::new(1);
        plan.inbound = inbound;
        plan.inbound["report"]["format"] = json!("text");
        let lab = plan.start().await;
        lab.fleet.reset_stats().await.unwrap();
        let response = http1(&lab.twins, "twin-0", METHOD, &format!("{ASK}: load\r\n")).await;
        let seen = lab.seen_by(0, METHOD).await;
        (response.to_lowercase(), seen, lab)
    }
    let (response, seen, lab) = ask(json!({"probe": {"allow": "any"}})).await;
    assert!(response.starts_with("http/1.1 200"), "{response}");
    assert!(response.contains("endpoint-load-metrics: text named_metrics.rif=0"), "{response}");
    let own = lab.twins.listener("twin-0").unwrap();
    assert!(response.contains(&format!("x-leastload-self: {own}\r\n")), "{response}");
    assert!(response.contains("grpc-status: 0"), "{response}");
    assert_eq!(seen, 0);
    nothing_is_outstanding(&lab.twins).await;

    // Not for this peer: the application serves it as it would any request.
    let (response, seen, lab) = ask(json!({})).await;
    assert!(!response.contains("endpoint-load-metrics"), "{response}");
    assert!(!response.contains("x-leastload-self"), "{response}");
    assert_eq!(seen, 1);
    assert_eq!(sum(&lab.twins, "probe_answers", &[("result", "not_allowed")]).await, 1);
}
