//! The plugin comes, changes and goes while calls run, and no call notices.

use leastload_e2e::wait::eventually;
use leastload_mesh::{
    install::Install,
    lab::Lab,
    net::HOST,
    pod::{Pod, PodSpec},
    registry::{REGISTRY, files, module_digest},
};
use serde_json::json;

use crate::stage::{CLIENT, Stage, calls, picks_rise, steered, steers_no_more};

tests! {
    a_change_of_configuration_loses_no_call,
    a_faulty_configuration_is_told_and_harms_nobody,
    an_image_that_cannot_be_had_leaves_calls_to_istio,
    the_image_may_be_named_by_digest,
    the_module_may_come_over_http_or_as_a_file,
    removal_returns_to_istio,
}

async fn faults_are(client: &Pod, faults: i64) {
    eventually(&format!("{faults} faults in the configuration"), async || {
        let now = client.counts().await.sum("config_faults", &[]);
        if now == faults { Ok(()) } else { Err(now) }
    })
    .await;
}

async fn a_change_of_configuration_loses_no_call(lab: &Lab) {
    let stage = Stage::new(lab, "change", 2).await;
    let base = Install::of(lab, "base");
    base.apply(lab, stage.namespace);
    let traffic = stage.traffic(2);
    stage.steered().await;
    base.clone().configured(&json!({"rollout": {"percent": 0}})).apply(lab, stage.namespace);
    picks_rise(&stage.client, "percent").await;
    steers_no_more(&stage.client).await;
    base.apply(lab, stage.namespace);
    stage.steered().await;
    traffic.stop_without_failure().await;
}

async fn a_faulty_configuration_is_told_and_harms_nobody(lab: &Lab) {
    let stage = Stage::new(lab, "faulty", 2).await;
    let base = Install::of(lab, "base");
    base.apply(lab, stage.namespace);
    let traffic = stage.traffic(2);
    stage.steered().await;

    let faulty = json!({"probe": {"deadlin": "10ms"}, "rollout": {"percent": 101}});
    base.clone().configured(&faulty).apply(lab, stage.namespace);
    faults_are(&stage.client, 2).await;
    // What was in force still is.
    stage.steered().await;
    let log = stage.client.log(&lab.tools);
    let told = log.lines().find(|line| line.contains("faulty configuration")).unwrap_or_default();
    assert!(told.contains("probe.deadlin") && told.contains("rollout.percent"), "{told}");

    // Who starts now has never had a good one: it leaves its calls to Envoy.
    let late = PodSpec::client(stage.namespace, "client", "faulty-late").label(CLIENT.0, CLIENT.1);
    let late = lab.pod(late).await;
    let theirs = calls(&stage, &late);
    theirs.goes_on(100).await;
    faults_are(&late, 2).await;
    assert_eq!(late.counts().await.picks("override"), 0);

    base.apply(lab, stage.namespace);
    faults_are(&late, 0).await;
    steered(&late).await;
    faults_are(&stage.client, 0).await;
    stage.steered().await;
    theirs.stop_without_failure().await;
    traffic.stop_without_failure().await;
}

async fn an_image_that_cannot_be_had_leaves_calls_to_istio(lab: &Lab) {
    let stage = Stage::new(lab, "image", 2).await;
    let base = Install::of(lab, "base");
    let nowhere = base.clone().from_url(&format!("oci://{REGISTRY}/nothing:here"));
    let other = Install { sha256: "0".repeat(64), ..base.clone() };
    let traffic = stage.traffic(2);
    for bad in [nowhere, other] {
        bad.apply(lab, stage.namespace);
        // Who starts now has nothing but the bad one.
        let late =
            PodSpec::client(stage.namespace, "client", "image-late").label(CLIENT.0, CLIENT.1);
        let late = lab.pod(late).await;
        let theirs = calls(&stage, &late);
        theirs.goes_on(50).await;
        traffic.goes_on(50).await;
        eventually("the agent says that it could not fetch the module", async || {
            let log = late.log(&lab.tools);
            if log.contains("wasm") && log.contains("error") { Ok(()) } else { Err(log) }
        })
        .await;
        assert_eq!(late.counts().await.picks("override"), 0, "nothing can have steered");
        base.apply(lab, stage.namespace);
        steered(&late).await;
        theirs.stop_without_failure().await;
    }
    stage.steered().await;
    traffic.stop_without_failure().await;
}

async fn the_image_may_be_named_by_digest(lab: &Lab) {
    let stage = Stage::new(lab, "digest", 2).await;
    let url = format!("oci://{REGISTRY}/leastload@sha256:{}", lab.registry.digest);
    Install::of(lab, "base").from_url(&url).apply(lab, stage.namespace);
    let traffic = stage.traffic(1);
    stage.steered().await;
    traffic.stop_without_failure().await;
}

async fn the_module_may_come_over_http_or_as_a_file(lab: &Lab) {
    let stage = Stage::new(lab, "http", 2).await;
    let base = Install::of(lab, "base");
    let traffic = stage.traffic(1);

    let _server = files(&lab.tools);
    let http = base.clone().from_url(&format!("http://{HOST}:8000/leastload.wasm"));
    Install { sha256: module_digest(&lab.tools), ..http }.apply(lab, stage.namespace);
    stage.steered().await;

    base.delete(lab, stage.namespace);
    steers_no_more(&stage.client).await;
    let module = lab.tools.dist("leastload.wasm");
    base.from_url(&format!("file://{}", module.display())).apply(lab, stage.namespace);
    stage.steered().await;
    traffic.stop_without_failure().await;
}

async fn removal_returns_to_istio(lab: &Lab) {
    let stage = Stage::new(lab, "removal", 2).await;
    let base = Install::of(lab, "base");
    let traffic = stage.traffic(2);
    for _ in 0..2 {
        base.apply(lab, stage.namespace);
        stage.steered().await;
        base.delete(lab, stage.namespace);
        steers_no_more(&stage.client).await;
        traffic.goes_on(50).await;
    }
    eventually("nothing of it is left in the proxy", async || {
        let dump = stage.client.ask("/config_dump").await;
        if dump.contains("leastload.headers") || dump.contains("leastload.wasm") {
            Err(())
        } else {
            Ok(())
        }
    })
    .await;
    traffic.stop_without_failure().await;
}
