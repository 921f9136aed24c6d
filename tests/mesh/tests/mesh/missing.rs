//! A part is missing, or there twice: calls go on, and the operator is told.

use std::{collections::BTreeSet, fs};

use base64::{Engine as _, prelude::BASE64_STANDARD as STANDARD};
use leastload_e2e::wait::eventually;
use leastload_mesh::{
    install::Install,
    lab::Lab,
    pod::Pod,
    registry::{REGISTRY, image, push},
    traffic::one_call,
};
use serde_json::json;

use crate::stage::{Stage, steers_no_more};

tests! {
    the_plugin_without_what_obeys_it,
    what_obeys_without_the_plugin,
    a_selector_that_selects_nobody,
    a_twin_that_is_missing,
    both_twice,
    two_versions_at_once,
    a_sidecar_without_the_override_policy,
}

/// Calls go on, unsteered, and say that the pick is not honoured: by a metric and one line in the log.
async fn not_honoured(lab: &Lab, stage: &Stage) {
    let traffic = stage.traffic(2);
    eventually("the module notices that nobody obeys", async || {
        let counts = stage.client.counts().await;
        let refused = counts.sum("overrides_refused", &[("reason", "ignored")]);
        if counts.picks("not_honoured") > 0 && refused > 0 { Ok(()) } else { Err(counts) }
    })
    .await;
    traffic.goes_on(100).await;
    traffic.stop_without_failure().await;
    let log = stage.client.log(&lab.tools);
    let told: Vec<_> = log.lines().filter(|line| line.contains("leastload:")).collect();
    assert_eq!(told.len(), 1, "one line tells it: {told:?}");
    assert!(told[0].contains(&stage.cluster()), "{}", told[0]);
}

async fn the_plugin_without_what_obeys_it(lab: &Lab) {
    let stage = Stage::new(lab, "alone", 2).await;
    without_session(Install::of(lab, "base")).apply(lab, stage.namespace);
    not_honoured(lab, &stage).await;
}

fn without_session(install: Install) -> Install {
    // An EnvoyFilter without a patch does nothing.
    install.patched(
        "EnvoyFilter",
        json!([{"op": "replace", "path": "/spec/configPatches", "value": []}]),
    )
}

/// And an application that names a host itself is not obeyed.
async fn what_obeys_without_the_plugin(lab: &Lab) {
    let stage = Stage::new(lab, "obeying", 2).await;
    let base = Install::of(lab, "base");
    base.apply(lab, stage.namespace);
    let traffic = stage.traffic(2);
    stage.steered().await;
    lab.kube().must(&["delete", "wasmplugin", "-n", stage.namespace, "leastload"]);
    steers_no_more(&stage.client).await;
    traffic.goes_on(100).await;
    traffic.stop_without_failure().await;

    let wanted = STANDARD.encode(stage.servers[0].endpoint());
    let mut served = BTreeSet::new();
    for _ in 0..20 {
        let (address, host, wanted) = (stage.address.clone(), stage.host(), wanted.clone());
        let call = async move { one_call(&address, &host, &[("x-leastload-host", wanted)]).await };
        let reply = stage.client.network.run(call).await.expect("the call ends well").into_inner();
        assert_eq!(reply.metadata.get("x-leastload-host"), None);
        served.insert(reply.served_by);
    }
    assert_eq!(served.len(), 2, "a header from the application was obeyed");
}

async fn a_selector_that_selects_nobody(lab: &Lab) {
    let stage = Stage::new(lab, "selector", 2).await;
    let nobody = json!([{"op": "replace", "path": "/spec/selector/matchLabels", "value": {"app": "nobody"}}]);
    Install::of(lab, "base").patched("WasmPlugin", nobody).apply(lab, stage.namespace);
    let traffic = stage.traffic(2);
    traffic.goes_on(200).await;
    traffic.stop_without_failure().await;
    // The metric that tells it is the one that is missing.
    assert_eq!(stage.client.stat("leastload_picks").await, 0);
}

async fn a_twin_that_is_missing(lab: &Lab) {
    let stage = Stage::new(lab, "twinless", 2).await;
    // Even where the operator insists on asking.
    let always = json!({"role": "outbound", "probe": {"mode": "always"}});
    Install::of(lab, "base").configured(&always).apply(lab, stage.namespace);
    let traffic = stage.traffic(2);
    stage.steered().await;
    eventually("nobody answers", async || {
        let silent = stage.client.counts().await.sum("probes", &[("result", "silent")]);
        if silent > 0 { Ok(()) } else { Err(silent) }
    })
    .await;
    traffic.goes_on(200).await;
    traffic.stop_without_failure().await;
}

async fn both_twice(lab: &Lab) {
    let stage = Stage::new(lab, "twice", 2).await;
    let base = Install::of(lab, "base");
    base.apply(lab, stage.namespace);
    base.suffixed("-second").apply(lab, stage.namespace);
    balanced_by_two(&stage).await;
}

/// Calls go on, steered, to both servers.
async fn balanced_by_two(stage: &Stage) {
    let traffic = stage.traffic(4);
    two_are_loaded(&stage.client).await;
    stage.steered().await;
    traffic.goes_on(300).await;
    let seen = traffic.stop_without_failure().await;
    assert_eq!(seen.served.len(), 2, "{:?}", seen.served.keys());
}

async fn two_are_loaded(client: &Pod) {
    eventually("the filter chain has two plugins", async || {
        let dump = client.ask("/config_dump?resource=ecds_filters").await;
        let plugins = dump.matches("EcdsFilterConfig").count();
        if plugins >= 2 { Ok(()) } else { Err(dump.chars().take(2000).collect::<String>()) }
    })
    .await;
}

async fn two_versions_at_once(lab: &Lab) {
    let stage = Stage::new(lab, "versions", 2).await;
    let base = Install::of(lab, "base");
    base.apply(lab, stage.namespace);
    // The same module with a custom section at its end: other bytes, another digest.
    let mut module = fs::read(lab.tools.dist("leastload.wasm")).expect("the module is there");
    module.extend([0, 6, 5, b'o', b't', b'h', b'e', b'r']);
    let file = lab.tools.file("other.wasm");
    fs::write(&file, module).expect("written");
    let sha256 = push(&lab.tools, &image(&lab.tools, &file, "other"), "leastload:other");
    let url = format!("oci://{REGISTRY}/leastload:other");
    let other = Install { url, sha256, ..base };
    other.suffixed("-second").apply(lab, stage.namespace);
    balanced_by_two(&stage).await;
}

/// As one that is older than the policy: nothing reads the header.
async fn a_sidecar_without_the_override_policy(lab: &Lab) {
    let stage = Stage::new(lab, "policyless", 2).await;
    let policy = json!({"role": "outbound", "override": {"mechanism": "override_host"}});
    without_session(Install::of(lab, "base").configured(&policy)).apply(lab, stage.namespace);
    not_honoured(lab, &stage).await;
}
