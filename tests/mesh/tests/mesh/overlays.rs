//! What each folder of `istio/overlays` is for, seen in a sidecar.

use leastload_e2e::wait::eventually;
use leastload_mesh::{install::Install, lab::Lab, pod::PodSpec};
use serde_json::json;

use crate::stage::{Stage, calls, steered};

tests! {
    percent_steers_some_calls_and_shadow_none,
    namespace_wide_needs_no_label,
    one_service_leaves_the_others_to_envoy,
    native_is_obeyed_by_istios_own_sessions,
}

async fn percent_steers_some_calls_and_shadow_none(lab: &Lab) {
    let stage = Stage::new(lab, "rollout", 2).await;
    let traffic = stage.traffic(2);
    Install::of(lab, "overlays/percent").apply(lab, stage.namespace);
    eventually("some calls are steered and some are not", async || {
        let counts = stage.client.counts().await;
        if counts.picks("override") > 20 && counts.picks("percent") > 20 {
            Ok(())
        } else {
            Err(counts)
        }
    })
    .await;
    Install::of(lab, "overlays/shadow").apply(lab, stage.namespace);
    eventually("calls are picked but not steered", async || {
        let counts = stage.client.counts().await;
        if counts.picks("shadow") > 20 { Ok(()) } else { Err(counts) }
    })
    .await;
    traffic.stop_without_failure().await;
}

async fn namespace_wide_needs_no_label(lab: &Lab) {
    let stage = Stage::new(lab, "wide", 2).await;
    let bare = lab.pod(PodSpec::client(stage.namespace, "client", "wide-bare")).await;
    Install::of(lab, "overlays/namespace-wide").apply(lab, stage.namespace);
    let traffic = calls(&stage, &bare);
    steered(&bare).await;
    traffic.stop_without_failure().await;
}

async fn one_service_leaves_the_others_to_envoy(lab: &Lab) {
    let stage = Stage::new(lab, "one", 2).await;
    let only = json!([
        {"op": "add", "path": "/spec/pluginConfig/clusters",
            "value": {"*": {"enabled": false}, "outbound|50051||other.one.svc.cluster.local": {"enabled": true}}}
    ]);
    let overlay = Install::of(lab, "overlays/one-service");
    overlay.clone().patched("WasmPlugin", only).apply(lab, stage.namespace);
    let traffic = stage.traffic(2);
    eventually("the service is another", async || {
        let counts = stage.client.counts().await;
        if counts.picks("disabled") > 20 { Ok(()) } else { Err(counts) }
    })
    .await;
    assert_eq!(stage.client.counts().await.picks("override"), 0);
    let name = stage.cluster();
    let this = json!([
        {"op": "add", "path": "/spec/pluginConfig/clusters",
            "value": {"*": {"enabled": false}, name: {"enabled": true}}}
    ]);
    overlay.patched("WasmPlugin", this).apply(lab, stage.namespace);
    stage.steered().await;
    traffic.stop_without_failure().await;
}

/// By a label on the Service instead of an `EnvoyFilter`.
async fn native_is_obeyed_by_istios_own_sessions(lab: &Lab) {
    let stage = Stage::new(lab, "native", 2).await;
    let label = "istio.io/persistent-session-header=x-leastload-host";
    lab.kube().must(&["label", "service", "-n", stage.namespace, "greeter", label]);
    Install::of(lab, "overlays/native").apply(lab, stage.namespace);
    let traffic = stage.traffic(2);
    stage.steered().await;
    traffic.goes_on(300).await;
    let seen = traffic.stop_without_failure().await;
    let counts = stage.client.counts().await;
    assert_eq!(counts.sum("overrides_refused", &[("reason", "ignored")]), 0, "{counts:?}");
    assert_eq!(seen.served.len(), 2);
}
