//! What a server's health service says reaches those who choose among servers, by way of the health
//! checks of the Envoy beside it.

use leastload_e2e::{counts::nothing_is_outstanding, wait::eventually};
use leastload_fleet::config::grpc_health_check;
use serde_json::json;

use crate::lab::{ASK, Lab, Plan, http1, said};

/// What the filter beside a server answers to a question.
async fn answer(lab: &Lab, server: usize) -> String {
    let twin = format!("twin-{server}");
    let answer =
        http1(&lab.twins, &twin, "/leastload.v1.Load/Ask", &format!("{ASK}: load\r\n")).await;
    answer.to_lowercase()
}

async fn says(lab: &Lab, server: usize, drains: bool) {
    eventually(&format!("server {server} says that it drains: {drains}"), async || {
        let answer = answer(lab, server).await;
        assert!(answer.contains("named_metrics.rif="), "{answer}");
        if answer.contains("named_metrics.drain=1") == drains { Ok(()) } else { Err(answer) }
    })
    .await;
}

#[tokio::test]
async fn a_server_that_does_not_serve_is_avoided_until_it_does() {
    let mut plan = Plan::new(3);
    let mut check = grpc_health_check("0.2s");
    // By default Envoy sends the cluster's name, which is no authority here.
    check["grpc_health_check"]["authority"] = json!("greeter");
    plan.health_checks = vec![check];
    plan.inbound = json!({
        "probe": {"allow": "any"},
        "report": {"format": "text"},
        "discovery": {"interval": "400ms"},
    });
    // The proxy learns it from what servers say in their responses, and from nobody else.
    plan.outbound = json!({"probe": {"mode": "off"}, "estimate": {"speed": false}});
    let lab = plan.start().await;
    says(&lab, 1, false).await;
    assert!(lab.served_by(1, 30).await > 0);
    lab.fleet.set_serving(1, false).await.unwrap();
    says(&lab, 1, true).await;
    for other in [0, 2] {
        says(&lab, other, false).await;
    }
    // Until a response of it was read; none of these calls fails, nor does a later one.
    eventually("calls avoid the server", async || {
        let served = lab.served_by(1, 30).await;
        if served == 0 { Ok(()) } else { Err(format!("{served}; {}", said(&lab.envoy).await)) }
    })
    .await;
    lab.fleet.set_serving(1, true).await.unwrap();
    says(&lab, 1, false).await;
    eventually("calls come again", async || {
        let served = lab.served_by(1, 30).await;
        if served > 0 { Ok(()) } else { Err(said(&lab.envoy).await) }
    })
    .await;
    nothing_is_outstanding(&lab.twins).await;
    nothing_is_outstanding(&lab.envoy).await;
}
