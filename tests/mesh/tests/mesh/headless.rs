//! A headless Service: by default Istio leaves the choice to the client's own resolver.

use std::time::Duration;

use leastload_e2e::wait::eventually;
use leastload_mesh::{
    install::Install,
    lab::Lab,
    pod::PORT,
    traffic::{cluster, host, keep_calling},
};
use serde_json::json;

use crate::stage::Stage;

tests! {
    a_headless_service_is_left_alone_or_balanced_as_istiod_is_told,
}

async fn a_headless_service_is_left_alone_or_balanced_as_istiod_is_told(lab: &Lab) {
    let stage = Stage::new(lab, "headless", 2).await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "headless"}, "spec": {
        "clusterIP": "None", "selector": {"app": "greeter"},
        "ports": [{"name": "grpc", "port": PORT, "appProtocol": "grpc"}],
    }});
    // The ordinary Service has the same endpoints on the same port; without it there is no doubt whose
    // listener takes a connection to a pod.
    lab.kube().must(&["delete", "service", "-n", stage.namespace, "greeter"]);
    lab.kube().apply(stage.namespace, &service.to_string());
    Install::of(lab, "base").apply(lab, stage.namespace);
    let name = cluster(stage.namespace, "headless");

    // ORIGINAL_DST: the call goes where the client connected to, whoever that is.
    let (address, host) = (stage.servers[0].endpoint(), host(stage.namespace, "headless"));
    let traffic = keep_calling(&stage.client, &address, &host, 2, Duration::from_millis(2));
    eventually("picks are left to the connection", async || {
        let counts = stage.client.counts().await;
        let left = counts.sum("picks", &[("cluster", &name), ("result", "not_balanced")]);
        if left > 0 { Ok(()) } else { Err(counts) }
    })
    .await;
    traffic.goes_on(100).await;
    let seen = traffic.stop_without_failure().await;
    assert_eq!(seen.served.len(), 1, "{:?}", seen.served.keys());
    assert_eq!(stage.client.counts().await.sum("picks", &[("result", "override")]), 0);

    // With endpoints by EDS the sidecar balances, and so do we.
    lab.restart_istiod(&[("PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES", "true")]);
    let traffic = keep_calling(&stage.client, &address, &host, 2, Duration::from_millis(2));
    stage.steered().await;
    traffic.goes_on(200).await;
    let seen = traffic.stop_without_failure().await;
    assert_eq!(seen.served.len(), 2, "{:?}", seen.served.keys());
    lab.restart_istiod(&[]);
}
