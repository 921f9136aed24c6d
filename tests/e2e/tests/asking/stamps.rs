//! Stamps travel from the filter beside a server to the one before it, and no further.

use leastload_e2e::{counts::nothing_is_outstanding, held::Held, wait::eventually};
use leastload_fleet::proto::helloworld::{Ending, HelloRequest};
use serde_json::json;
use tokio::task::JoinSet;

use crate::lab::{ASK, Plan, call, connect, sum};

/// Names of ours in a response.
const OURS: [&str; 4] =
    ["endpoint-load-metrics", "endpoint-load-metrics-bin", "x-leastload-self", ASK];

#[tokio::test]
async fn a_stamp_travels_and_is_taken_out() {
    for format in ["bin", "text", "json"] {
        let mut plan = Plan::new(2);
        plan.outbound = json!({"probe": {"mode": "off"}, "estimate": {"speed": false}});
        plan.inbound = json!({"probe": {"allow": "any"}, "report": {"format": format}});
        let lab = plan.start().await;
        let reply = call(&lab.client).await.unwrap();
        for name in OURS {
            assert!(!reply.metadata().contains_key(name), "{format}: {:?}", reply.metadata());
        }
        let seen = reply.into_inner().metadata;
        assert!(!seen.contains_key(ASK), "{format}: the server sees {seen:?}");
        // Another client, which our proxy knows nothing of, keeps one server busy.
        let direct = connect(&lab.twins, "twin-0").await;
        let mut held = Vec::new();
        for _ in 0..20 {
            held.push(Held::start(&direct).await.unwrap());
        }
        // Until each has reported once.
        lab.served_by(0, 6).await;
        let served = lab.served_by(0, 40).await;
        assert!(served <= 8, "{format}: the busy server served {served} of 40");
        drop(held);
        nothing_is_outstanding(&lab.twins).await;
        nothing_is_outstanding(&lab.envoy).await;
    }
}

#[tokio::test]
async fn where_every_response_is_stamped_ours_is_taken_out_of_each() {
    let mut plan = Plan::new(1);
    plan.outbound = json!({"probe": {"mode": "off"}});
    let report = json!({"stamp": "all", "format": "text"});
    plan.inbound = json!({"probe": {"allow": "any"}, "report": report});
    let lab = plan.start().await;
    // Few of many at a time ask for one. What is for anybody stays in the others.
    eventually("there are stamps that nobody asked for", async || {
        let mut calls = JoinSet::new();
        for _ in 0..20 {
            let mut client = lab.client.clone();
            let message = HelloRequest { work_ms: Some(50.0), ..HelloRequest::default() };
            calls.spawn(async move { client.say_hello(message).await.unwrap() });
        }
        let mut unasked = 0;
        for reply in calls.join_all().await {
            if let Some(report) = reply.metadata().get(OURS[0]) {
                let report = report.to_str().unwrap();
                assert!(report.contains("rps_fractional="), "{report}");
                assert!(!report.contains("named_metrics"), "{report}");
                unasked += 1;
            }
        }
        if unasked > 0 { Ok(()) } else { Err(unasked) }
    })
    .await;
    nothing_is_outstanding(&lab.envoy).await;
}

#[tokio::test]
async fn responses_that_fail_are_stamped_too() {
    let mut plan = Plan::new(1);
    plan.inbound = json!({"probe": {"allow": "any"}, "report": {"format": "text"}});
    let lab = plan.start().await;
    let mut direct = connect(&lab.twins, "twin-0").await;
    let endings = [Ending::Default, Ending::ErrorAfterHeaders, Ending::ErrorAfterMessages];
    for ending in endings {
        let message = HelloRequest { ending: ending.into(), fail: 9, ..HelloRequest::default() };
        let mut request = tonic::Request::new(message.clone());
        request.metadata_mut().insert(ASK, "stamp".parse().unwrap());
        let status = direct.say_hello(request).await.unwrap_err();
        let stamp = status
            .metadata()
            .get("endpoint-load-metrics")
            .unwrap_or_else(|| panic!("{ending:?}: {status:?}"));
        assert!(stamp.to_str().unwrap().starts_with("TEXT named_metrics.rif=0"), "{stamp:?}");
        let status = lab.client.clone().say_hello(message).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        for name in OURS {
            assert!(!status.metadata().contains_key(name), "{ending:?}: {:?}", status.metadata());
        }
    }
}

#[tokio::test]
async fn only_who_asks_and_may_know_gets_one() {
    for (inbound, asks, stamped) in [
        (json!({"probe": {"allow": "any"}}), true, true),
        (json!({"probe": {"allow": "any"}}), false, false),
        (json!({"probe": {"allow": "any"}, "report": {"stamp": "all"}}), false, true),
        (json!({"probe": {"allow": "any"}, "report": {"stamp": "off"}}), true, false),
        (json!({}), true, false),
        (json!({"report": {"stamp": "all"}}), true, false),
    ] {
        let mut plan = Plan::new(1);
        plan.inbound = inbound.clone();
        plan.inbound["report"]["format"] = json!("text");
        let lab = plan.start().await;
        let mut direct = connect(&lab.twins, "twin-0").await;
        let mut request = tonic::Request::new(HelloRequest::default());
        if asks {
            request.metadata_mut().insert(ASK, "stamp".parse().unwrap());
        }
        let reply = direct.say_hello(request).await.unwrap();
        let got = reply.metadata().contains_key("endpoint-load-metrics");
        assert_eq!(got, stamped, "{inbound} asks: {asks}");
    }
}

#[tokio::test]
async fn what_a_twin_tells_is_in_its_metrics() {
    let lab = Plan::new(2).start().await;
    let of = [("cluster", "inbound|1||")];
    let figure = async |metric: &str| sum(&lab.twins, metric, &of).await;
    // Nothing for a second after the first answers.
    eventually("it knows how long requests take", async || {
        lab.served_by(0, 20).await;
        let known = [figure("twin_service_us").await, figure("twin_slots_milli").await];
        if known[0] > 0 && known[1] >= 1_000 { Ok(()) } else { Err(format!("{known:?}")) }
    })
    .await;
    assert_eq!((figure("twin_asks_milli").await, figure("twin_draining").await), (1_000, 0));
    assert_eq!(sum(&lab.envoy, "twin_service_us", &[]).await, 0, "the proxy before them has none");
    lab.twins.admin().post("/healthcheck/fail").await.unwrap();
    eventually("it says that it drains", async || {
        let draining = figure("twin_draining").await;
        if draining == 1 { Ok(()) } else { Err(draining) }
    })
    .await;
}
