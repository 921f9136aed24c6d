//! `istio/README.md`, word by word: its commands are read from the page and run as they stand.
//! `istioctl`, which asks pods by a kubelet, is left out: what it shows is read from the proxy instead.

use std::{fs, time::Duration};

use leastload_e2e::wait::eventually;
use leastload_mesh::{
    kubelet::Kubelet,
    lab::Lab,
    pod::{PORT, Pod},
    traffic::{Traffic, cluster, host, keep_calling},
    user::User,
};

use crate::stage::{steered, steers_no_more};

tests! {
    from_a_mesh_to_balanced_and_back,
}

async fn from_a_mesh_to_balanced_and_back(lab: &Lab) {
    let user = User::new(lab);
    let page = fs::read_to_string(lab.tools.repository.join("istio/README.md")).expect("the page");
    let mut steps = commands(section(&page, "Ten minutes")).into_iter();
    let mut next = |what: &str| {
        let step = steps.next().unwrap_or_default();
        assert!(step.contains(what), "the page has '{step}' where {what} was");
        user.run(&step)
    };
    let mut kubelet = Kubelet::new("sample");

    next("create namespace");
    next("label namespace");
    next("istio/sample");
    kubelet.reconcile(lab).await;
    assert_eq!(kubelet.pods().count(), 4, "two fast servers, a slow one and a client");

    next("patch deployment");
    next("overlays/twin");
    next("patch deployment");
    next("overlays/shadow");
    // The sample has the labels already: no pod is made anew.
    assert!(!kubelet.reconcile(lab).await);
    let client = kubelet.pods().find(|pod| pod.name().contains("client")).expect("a client");
    let traffic = calls(lab, client).await;
    // The first of them may all differ from what Envoy chose.
    eventually("shadow picks are counted", async || {
        let same = client.counts().await.sum("shadow_picks", &[("result", "same")]);
        if same > 0 { Ok(()) } else { Err(same) }
    })
    .await;
    assert!(next("stats?filter=leastload_shadow_picks").contains("leastload_result=.=same"));
    assert_eq!(client.counts().await.picks("override"), 0, "shadow steered");
    next("istio/base");
    steered(client).await;

    let verify = commands(section(&page, "Verify"));
    assert!(verify[0].starts_with("istioctl proxy-config ecds"), "{verify:?}");
    let modules = client.ask("/config_dump?resource=ecds_filters").await;
    assert!(modules.contains("filters.http.wasm.v3.Wasm"), "{modules}");
    let picks = user.run(&verify[1]);
    assert!(picks.contains("leastload_result=.=override;.;leastload_picks: "), "{picks}");
    user.run(&verify[2]);

    for step in commands(section(&page, "Roll back")) {
        user.run(&step);
    }
    steers_no_more(client).await;
    traffic.goes_on(50).await;
    traffic.stop_without_failure().await;
    let left = lab.kube().must(&["get", "wasmplugins,envoyfilters", "-n", "sample"]);
    assert_eq!(left, "");
    user.run("kubectl delete -k istio/sample");
}

/// Calls beside those of the sample's own client, to see that none fails.
async fn calls(lab: &Lab, client: &Pod) -> Traffic {
    let cluster = cluster("sample", "greeter");
    eventually("the client knows all servers", async || {
        let hosts = client.hosts(&cluster).await;
        if hosts.len() == 3 { Ok(()) } else { Err(hosts) }
    })
    .await;
    let service = lab.kube().at("/api/v1/namespaces/sample/services/greeter").unwrap_or_default();
    let address = format!("{}:{PORT}", service["spec"]["clusterIP"].as_str().unwrap_or_default());
    keep_calling(client, &address, &host("sample", "greeter"), 2, Duration::from_millis(5))
}

/// The part of the page below a heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = page.split_once(&format!("## {heading}\n")).expect("the page has this heading").1;
    start.split_once("\n## ").map_or(start, |(section, _)| section)
}

/// The commands of its shell blocks, comments left out, continued lines put together.
fn commands(section: &str) -> Vec<String> {
    let blocks = section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let text: String = blocks.collect::<String>().replace("\\\n", " ");
    let commands = text.lines().map(|line| line.split(" # ").next().unwrap_or(line).trim());
    commands.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}
