//! A user's own `DestinationRule`s and `VirtualService`s, beside leastload.

use std::{
    fs,
    time::{Duration, Instant},
};

use leastload_e2e::wait::eventually;
use leastload_mesh::{
    install::Install,
    lab::Lab,
    pod::{Pod, PodSpec},
    traffic::{Traffic, subset},
};
use serde_json::{Value, json};

use crate::stage::{Applied, SERVER, Stage, obeyed, refused, sample};

tests! {
    weights_between_subsets_hold_and_each_is_steered,
    an_ejected_host_is_not_picked,
    failover_goes_by_priority_there_and_back,
    the_policy_override_host_steers,
    the_policy_conflicts_with_locality_settings,
}

/// Greeters with these labels on these nodes, and a client on the node `zone-a`.
async fn stage(lab: &Lab, namespace: &'static str, pods: &[(&str, &str)]) -> Stage {
    let starting = pods.iter().enumerate().map(|(index, (version, node))| {
        let spec = PodSpec::server(namespace, "greeter", &format!("{namespace}-{index}"));
        let spec = spec.label(SERVER.0, SERVER.1).label("version", version);
        lab.starting(PodSpec { node: (*node).into(), ..spec })
    });
    lab.namespace(namespace);
    let starting: Vec<_> = starting.collect();
    let mut stage = Stage::new(lab, namespace, 0).await;
    stage.servers = Pod::all_ready(starting).await;
    stage
}

/// A `DestinationRule` for the stage's Service.
fn rule(stage: &Stage, policy: &Value) -> String {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": "greeter"},
        "spec": {"host": stage.host(), "trafficPolicy": policy}})
    .to_string()
}

/// As the sample has it: a call's zone first.
fn zones() -> Value {
    let first = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"];
    json!({
        "outlierDetection": {"consecutive5xxErrors": 10},
        "loadBalancer": {"localityLbSetting": {"enabled": true, "failoverPriority": first}},
    })
}

/// Waits until calls go to all of these and to nobody else, and then for many more that must.
async fn only(traffic: &Traffic, pods: &[&Pod]) {
    let mut wanted: Vec<_> = pods.iter().map(|pod| pod.endpoint()).collect();
    wanted.sort();
    let served = async |calls| {
        let then = Instant::now();
        traffic.goes_on(calls).await;
        let seen = traffic.seen();
        let served = seen.served.keys().filter(|server| seen.since(server, then) > 0);
        served.cloned().collect::<Vec<_>>()
    };
    eventually(&format!("only {wanted:?} serve"), async || {
        let served = served(150).await;
        if served == wanted { Ok(()) } else { Err(served) }
    })
    .await;
    assert_eq!(served(300).await, wanted, "it did not last");
}

/// The sample's rules: four calls of five go to v1, each version is a cluster of its own.
async fn weights_between_subsets_hold_and_each_is_steered(lab: &Lab) {
    let pods = [("v1", "zone-a"), ("v1", "zone-a"), ("v2", "zone-a"), ("v2", "zone-a")];
    let stage = stage(lab, "subsets", &pods).await;
    // There is a Gateway among them, which would be other tests', too.
    let rules = sample(lab, "classic", stage.namespace);
    let _rules = Applied::new(lab, stage.namespace, rules);
    Install::of(lab, "base").apply(lab, stage.namespace);
    let traffic = stage.traffic(4);
    let picks = async |version: &str| {
        let cluster = subset(stage.namespace, "greeter", version);
        let labels = [("cluster", cluster.as_str()), ("result", "override")];
        stage.client.counts().await.sum("picks", &labels)
    };
    for version in ["v1", "v2"] {
        eventually(&format!("{version} is steered"), async || {
            let picks = picks(version).await;
            if picks > 20 { Ok(()) } else { Err(picks) }
        })
        .await;
    }
    obeyed(&stage.client, &traffic).await;
    let (then, refusals) = (Instant::now(), refused(&stage.client).await);
    traffic.goes_on(1000).await;
    let seen = traffic.seen();
    let served: Vec<_> =
        stage.servers.iter().map(|pod| seen.since(&pod.endpoint(), then)).collect();
    let all: usize = served.iter().sum();
    let share = |calls: usize| calls as f64 / all as f64;
    assert!((share(served[0] + served[1]) - 0.8).abs() < 0.06, "not four of five: {served:?}");
    let even = |a: usize, b: usize| (share(a) - share(b)).abs() < 0.1;
    assert!(even(served[0], served[1]) && even(served[2], served[3]), "not even: {served:?}");

    let weights = r#"[
        {"op": "replace", "path": "/spec/http/0/route/0/weight", "value": 0},
        {"op": "replace", "path": "/spec/http/0/route/1/weight", "value": 100}]"#;
    let patch = ["patch", "-n", stage.namespace, "virtualservice", "greeter", "--type=json", "-p"];
    lab.kube().must(&[&patch[..], &[weights]].concat());
    only(&traffic, &[&stage.servers[2], &stage.servers[3]]).await;
    let before = (picks("v1").await, picks("v2").await);
    traffic.goes_on(200).await;
    let after = (picks("v1").await, picks("v2").await);
    assert!(after.0 == before.0 && after.1 >= before.1 + 200, "{before:?} {after:?}");
    traffic.stop_without_failure().await;
    assert_eq!(refused(&stage.client).await, refusals, "picks from another subset");
}

/// A server that does not answer is ejected. From then on nothing is sent to it, although it is well
/// again, until Envoy takes it back.
async fn an_ejected_host_is_not_picked(lab: &Lab) {
    let mut stage = Stage::new(lab, "ejected", 3).await;
    let outliers = json!({"outlierDetection": {
        "consecutive5xxErrors": 3, "consecutiveGatewayErrors": 3, "interval": "1s",
        "baseEjectionTime": "10s", "maxEjectionPercent": 50}});
    lab.kube().apply(stage.namespace, &rule(&stage, &outliers));
    Install::of(lab, "base").apply(lab, stage.namespace);
    let traffic = stage.traffic(4);
    stage.steered().await;

    stage.servers[0].kill_server();
    stage.client_knows(2).await;
    stage.servers[0].revive_server(&lab.tools).await;
    eventually("the membership knows", async || {
        let counts = stage.client.counts().await;
        let known = counts.sum("endpoints_known", &[]);
        let eligible = counts.sum("endpoints_eligible", &[]);
        if (known, eligible) == (3, 2) { Ok(()) } else { Err((known, eligible)) }
    })
    .await;
    let before = refused(&stage.client).await;
    only(&traffic, &[&stage.servers[1], &stage.servers[2]]).await;
    let after = refused(&stage.client).await;
    let hosts = stage.client.hosts(&stage.cluster()).await;
    assert_eq!(hosts.len(), 2, "it was taken back too soon for this test");
    assert_eq!(after, before, "it was picked, and Envoy refused");
    assert_eq!(stage.servers[0].served().await.ended, 0, "it was called");

    only(&traffic, &stage.servers.iter().collect::<Vec<_>>()).await;
    traffic.stop_without_failure().await;
}

/// Two zones, of which the client's own serves as long as it can.
async fn failover_goes_by_priority_there_and_back(lab: &Lab) {
    let pods = [("v1", "zone-a"), ("v1", "zone-a"), ("v1", "zone-b"), ("v1", "zone-b")];
    let mut stage = stage(lab, "failover", &pods).await;
    lab.kube().apply(stage.namespace, &rule(&stage, &zones()));
    stage.client_knows(4).await;
    let traffic = stage.traffic(4);
    let [a, b, c, d] = &stage.servers[..] else { panic!("four were started") };
    only(&traffic, &[a, b]).await;
    Install::of(lab, "base").apply(lab, stage.namespace);
    obeyed(&stage.client, &traffic).await;
    only(&traffic, &[a, b]).await;

    // Envoy alone would send some calls to the other zone now; picks stay as long as one can serve.
    a.set_ready(false);
    only(&traffic, &[b]).await;
    b.set_ready(false);
    only(&traffic, &[c, d]).await;
    obeyed(&stage.client, &traffic).await;
    a.set_ready(true);
    b.set_ready(true);
    only(&traffic, &[a, b]).await;
    obeyed(&stage.client, &traffic).await;

    for pod in stage.servers.drain(..2) {
        pod.leave(Duration::from_secs(2)).await;
    }
    only(&traffic, &[&stage.servers[0], &stage.servers[1]]).await;
    obeyed(&stage.client, &traffic).await;
    traffic.stop_without_failure().await;
}

/// The overlay, for the stage's Service.
fn policy(lab: &Lab, stage: &Stage) -> String {
    let manifests = Install::of(lab, "overlays/override-host").manifests(lab, stage.namespace);
    manifests.replace("greeter.sample.svc.cluster.local", &stage.host())
}

async fn the_policy_override_host_steers(lab: &Lab) {
    let stage = Stage::new(lab, "policy", 3).await;
    lab.kube().apply(stage.namespace, &policy(lab, &stage));
    let traffic = stage.traffic(4);
    stage.steered().await;
    obeyed(&stage.client, &traffic).await;
    only(&traffic, &stage.servers.iter().collect::<Vec<_>>()).await;
    traffic.stop_without_failure().await;
    let config = stage.client.ask("/config_dump?resource=dynamic_active_clusters").await;
    assert!(config.contains("load_balancing_policies.override_host"), "the policy is there");
    let config = stage.client.ask("/config_dump?resource=dynamic_listeners").await;
    assert!(
        config.contains("leastload.pick") && !config.contains("HeaderBasedSessionState"),
        "the other mechanism is not"
    );
}

/// Envoy refuses the policy where Istio sets locality weights, and keeps the cluster that it has.
async fn the_policy_conflicts_with_locality_settings(lab: &Lab) {
    let mut stage = Stage::new(lab, "conflict", 2).await;
    let zones = rule(&stage, &zones());
    lab.kube().apply(stage.namespace, &zones);
    let traffic = stage.traffic(2);
    traffic.goes_on(20).await;
    assert_eq!(refusals(lab, &stage).await, (0, 0));

    // The policy comes where the settings are: nothing is steered, nothing fails, and all say so.
    lab.kube().apply(stage.namespace, &policy(lab, &stage));
    refuses(lab, &stage, (0, 0)).await;
    eventually("the module says that Envoy does not obey", async || {
        let counts = stage.client.counts().await;
        let ignored = counts.sum("overrides_refused", &[("reason", "ignored")]);
        if ignored > 0 { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
    traffic.goes_on(50).await;

    // Without the settings it is accepted, and obeyed.
    lab.kube().delete(stage.namespace, &zones);
    obeyed(&stage.client, &traffic).await;

    // The settings come where the policy is: the cluster stays as it was, and steering goes on.
    let before = refusals(lab, &stage).await;
    lab.kube().apply(stage.namespace, &zones);
    refuses(lab, &stage, before).await;
    obeyed(&stage.client, &traffic).await;
    traffic.stop_without_failure().await;

    // But who starts now has no cluster that it could keep.
    stage.client.restart_proxy(&lab.tools).await;
    let traffic = stage.traffic(1);
    eventually("calls fail in a proxy that starts with the conflict", async || {
        let seen = traffic.seen();
        if seen.failures.len() > 5 && seen.succeeded() == 0 { Ok(()) } else { Err(seen) }
    })
    .await;
    lab.kube().delete(stage.namespace, &zones);
    traffic.goes_on(20).await;
}

/// How often istiod said that the client's proxy refused something.
fn said(lab: &Lab, stage: &Stage) -> usize {
    let log = fs::read_to_string(lab.tools.file("pilot-discovery.log")).unwrap_or_default();
    let told = |line: &&str| {
        line.contains("ACK ERROR")
            && line.contains(stage.client.name())
            && line.contains("load_balancing_policy cannot be combined")
    };
    log.lines().filter(told).count()
}

/// How often the client's proxy refused clusters, and how often istiod said so: where an operator
/// would look.
async fn refusals(lab: &Lab, stage: &Stage) -> (i64, usize) {
    (stage.client.stat("cluster_manager.cds.update_rejected").await, said(lab, stage))
}

/// Waits until there are more.
async fn refuses(lab: &Lab, stage: &Stage, before: (i64, usize)) {
    eventually("the proxy refuses the cluster, and istiod says so", async || {
        let now = refusals(lab, stage).await;
        if now.0 > before.0 && now.1 > before.1 { Ok(()) } else { Err(now) }
    })
    .await;
}
