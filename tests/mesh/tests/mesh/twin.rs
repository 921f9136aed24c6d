//! Beside the servers: load reports, and answers to who asks.

use leastload_e2e::wait::eventually;
use leastload_mesh::{
    install::Install,
    lab::Lab,
    pod::{Pod, PodSpec},
    traffic::one_call,
};
use tonic::metadata::{KeyAndValueRef, MetadataMap};

use crate::stage::{Stage, calls};

tests! {
    reports_reach_the_client_sidecar_through_mtls_and_no_other_client_sees_them,
}

async fn reports_reach_the_client_sidecar_through_mtls_and_no_other_client_sees_them(lab: &Lab) {
    let stage = Stage::new(lab, "twin", 2).await;
    let other = lab.pod(PodSpec::client(stage.namespace, "client", "twin-other")).await;
    Install::of(lab, "base").apply(lab, stage.namespace);
    Install::of(lab, "overlays/twin").apply(lab, stage.namespace);
    let traffic = stage.traffic(1);
    stage.steered().await;
    // A client asks only servers whose reports it has seen, and only where others are at work there: an
    // answer in time proves both.
    let others = calls(&stage, &other);
    eventually("an answer came in time", async || {
        let counts = stage.client.counts().await;
        let answered = counts.sum("probes", &[("result", "answered")]);
        if answered > 0 { Ok(()) } else { Err(counts) }
    })
    .await;
    others.stop_without_failure().await;
    let mut given = 0;
    for server in &stage.servers {
        given += server.counts().await.sum("probe_answers", &[("result", "given")]);
    }
    assert!(given > 0, "who answered, if no twin did?");
    for (who, client) in [("with the plugin", &stage.client), ("without it", &other)] {
        let names = names_seen(&stage, client).await;
        let ours = |name: &&String| name.contains("leastload") || name.contains("load-metrics");
        assert_eq!(names.iter().find(ours), None, "a client {who} saw {names:?}");
    }
    traffic.stop_without_failure().await;
}

/// Names of all headers and trailers of an answer, as the application gets them.
async fn names_seen(stage: &Stage, client: &Pod) -> Vec<String> {
    let (address, host) = (stage.address.clone(), stage.host());
    let call = async move { one_call(&address, &host, &[]).await };
    let reply = client.network.run(call).await.expect("the call ends well");
    names(reply.metadata())
}

fn names(metadata: &MetadataMap) -> Vec<String> {
    let name = |entry: KeyAndValueRef<'_>| match entry {
        KeyAndValueRef::Ascii(name, _) => name.to_string(),
        KeyAndValueRef::Binary(name, _) => name.to_string(),
    };
    metadata.iter().map(name).collect()
}
