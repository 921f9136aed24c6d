//! Ambient mode: calls go through HBONE, so hosts are internal addresses,
//! `envoy://connect_originate/IP:PORT`: in waypoints, in ingress gateways, and in sidecars.
//!
//! There is no ztunnel here. What calls a waypoint is an ingress gateway, which does so by itself
//! where a Service asks for that. In the place of the servers' ztunnel, their sidecars take HBONE.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use leastload_e2e::wait::eventually;
use leastload_mesh::{
    install::Install,
    lab::Lab,
    pod::{PORT, Pod, PodSpec},
    proxy::Proxy,
    traffic::{Traffic, cluster, host, keep_calling, one_call},
};
use serde_json::json;

use crate::stage::{CLIENT, steered};

tests! {
    waypoints_balance_alone_and_side_by_side,
    gateways_and_sidecars_balance_hbone_hosts_among_others,
}

/// Where gateways listen.
const GATEWAY_PORT: u16 = 8090;
/// Where waypoints do.
const HBONE_PORT: u16 = 15008;
/// What istiod needs besides.
const ISTIOD: [(&str, &str); 2] = [
    ("PILOT_ENABLE_AMBIENT", "true"),
    // A stock Envoy lacks an extension in what waypoints have for other networks.
    ("AMBIENT_ENABLE_MULTI_NETWORK_WAYPOINT", "false"),
];
/// Load that keeps each of three servers at several calls.
const CALLERS: usize = 12;
/// Calls that shares are taken of.
const CALLS: usize = 1_200;
/// Of its fair share, what a server gets at most and at least. Who balances on what it knows alone
/// has little to err by among equal servers; a proxy that sent all to one would be at 3.
const SHARES: std::ops::RangeInclusive<f64> = 0.67..=1.5;

/// A waypoint balances the servers behind it. Of two, each balances on what it knows itself; so they
/// do, too, when the gateway before them balances the waypoints.
async fn waypoints_balance_alone_and_side_by_side(lab: &Lab) {
    if lab.tools.envoy_version.starts_with("1.36") {
        println!(
            "left out: istiod 1.31 writes tags of traces into waypoints that Envoy 1.36 refuses"
        );
        return;
    }
    let _ambient = Ambient::start(lab);
    let stage = Stage::new(lab, "ambient-way", [true; 3]).await;
    waypoint_resources(lab, stage.namespace);
    let first = waypoint(lab, stage.namespace, 0).await;
    let behind = format!("inbound-vip|{PORT}|http|{}", host(stage.namespace, "greeter"));
    knows(&first, &behind, stage.servers.iter().map(hbone)).await;
    let before = stage.cluster();
    knows(&stage.gateway, &before, [at_waypoint(&first)]).await;

    Install::of(lab, "overlays/waypoint").apply(lab, stage.namespace);
    let traffic = stage.traffic(CALLERS);
    steered(&first).await;
    let sent = sent_while(&traffic, &[&first], &behind).await;
    fair(&sent[0], stage.servers.len());
    stage.nobody_else_steers().await;

    let second = waypoint(lab, stage.namespace, 1).await;
    knows(&second, &behind, stage.servers.iter().map(hbone)).await;
    knows(&stage.gateway, &before, [&first, &second].map(at_waypoint)).await;
    steered(&second).await;
    let sent = sent_while(&traffic, &[&first, &second], &behind).await;
    for sent in &sent {
        fair(sent, stage.servers.len());
    }

    Install::of(lab, "overlays/gateway").apply(lab, stage.namespace);
    steered(&stage.gateway).await;
    let sent = sent_while(&traffic, &[&first, &second], &behind).await;
    for sent in &sent {
        fair(sent, stage.servers.len());
    }
    fair(&sum_of_each(&sent), 2);
    traffic.stop_without_failure().await;
    for pod in [&first, &second, &stage.gateway] {
        nothing_went_wrong(pod).await;
    }
}

/// One Service may have hosts of both kinds: pods that ambient mode has captured, and one with a
/// sidecar.
async fn gateways_and_sidecars_balance_hbone_hosts_among_others(lab: &Lab) {
    let _ambient = Ambient::start(lab);
    let stage = Stage::new(lab, "ambient-mix", [true, true, false]).await;
    let hosts = [hbone(&stage.servers[0]), hbone(&stage.servers[1]), stage.servers[2].endpoint()];
    let cluster = stage.cluster();
    knows(&stage.gateway, &cluster, hosts.clone()).await;

    Install::of(lab, "overlays/gateway").apply(lab, stage.namespace);
    let traffic = stage.traffic(CALLERS);
    steered(&stage.gateway).await;
    let sent = sent_while(&traffic, &[&stage.gateway], &cluster).await;
    fair(&sent[0], hosts.len());
    traffic.stop_without_failure().await;
    stage.nobody_else_steers().await;
    nothing_went_wrong(&stage.gateway).await;

    let client = PodSpec::client(stage.namespace, "client", "ambient-mix-sidecar");
    let client = lab.pod(client.label(CLIENT.0, CLIENT.1)).await;
    knows(&client, &cluster, hosts.clone()).await;
    Install::of(lab, "base").apply(lab, stage.namespace);
    let address = format!("{}:{PORT}", stage.address);
    let work = Duration::from_millis(30);
    let traffic = keep_calling(&client, &address, &stage.host(), CALLERS, work);
    steered(&client).await;
    let sent = sent_while(&traffic, &[&client], &cluster).await;
    fair(&sent[0], hosts.len());
    traffic.stop_without_failure().await;
    nothing_went_wrong(&client).await;
}

/// istiod in ambient mode; on drop it is as before.
struct Ambient<'a>(&'a Lab);

impl<'a> Ambient<'a> {
    fn start(lab: &'a Lab) -> Self {
        lab.restart_istiod(&ISTIOD);
        Self(lab)
    }
}

impl Drop for Ambient<'_> {
    fn drop(&mut self) {
        self.0.restart_istiod(&[]);
    }
}

/// Greeters, a gateway before them, and somebody outside.
struct Stage {
    namespace: &'static str,
    /// Of the Service.
    address: String,
    servers: Vec<Pod>,
    gateway: Pod,
    outside: Pod,
}

impl Stage {
    /// A greeter for each of `captured`, by whether ambient mode has captured it.
    async fn new(
        lab: &Lab,
        namespace: &'static str,
        captured: impl IntoIterator<Item = bool>,
    ) -> Self {
        lab.namespace(namespace);
        lab.kube().apply(namespace, include_str!("ambient/stock-envoy.yaml"));
        let address = lab.service(namespace, "greeter");
        let entrance = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
                "metadata": {"name": "entrance"}, "spec": {
                    "selector": {"entrance": namespace}, "servers": [{
                        "port": {"number": GATEWAY_PORT, "name": "grpc", "protocol": "GRPC"},
                        "hosts": ["*"]}]}},
            {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                "metadata": {"name": "entrance"}, "spec": {
                    "hosts": ["*"], "gateways": ["entrance"], "http": [{"route": [{"destination": {
                        "host": host(namespace, "greeter"), "port": {"number": PORT}}}]}]}},
        ]});
        lab.kube().apply(namespace, &entrance.to_string());
        let mut servers = Vec::new();
        for (index, ambient) in captured.into_iter().enumerate() {
            let spec = PodSpec::server(namespace, "greeter", &format!("{namespace}-{index}"));
            servers.push(lab.pod(PodSpec { ambient, ..spec }).await);
        }
        let gateway = PodSpec::client(namespace, "gateway", &format!("{namespace}-gateway"));
        let gateway = gateway.label("istio", "ingressgateway").label("entrance", namespace);
        let gateway = lab.pod(PodSpec { proxy: Some(Proxy::Router), ..gateway }).await;
        let outside = PodSpec::client(namespace, "outside", &format!("{namespace}-outside"));
        let outside = lab.pod(PodSpec { proxy: None, ..outside }).await;
        Self { namespace, address, servers, gateway, outside }
    }

    fn cluster(&self) -> String {
        cluster(self.namespace, "greeter")
    }

    fn host(&self) -> String {
        host(self.namespace, "greeter")
    }

    /// Callers outside, through the gateway.
    fn traffic(&self, callers: usize) -> Traffic {
        let address = format!("{}:{GATEWAY_PORT}", self.gateway.ip());
        let work = Duration::from_millis(30);
        keep_calling(&self.outside, &address, &self.host(), callers, work)
    }

    /// Who names a host in our header reaches others, too, and no server sees the header.
    async fn nobody_else_steers(&self) {
        let named = STANDARD.encode(hbone(&self.servers[0]));
        let mut served = BTreeSet::new();
        for _ in 0..20 {
            let (address, host) = (format!("{}:{GATEWAY_PORT}", self.gateway.ip()), self.host());
            let metadata = [("x-leastload-host", named.clone())];
            let call = async move { one_call(&address, &host, &metadata).await };
            let reply = self.outside.network.run(call).await.expect("it ends well");
            assert!(!reply.metadata().contains_key("x-leastload-host"), "{reply:?}");
            let reply = reply.into_inner();
            assert!(!reply.metadata.contains_key("x-leastload-host"), "{reply:?}");
            served.insert(reply.served_by);
        }
        assert!(served.len() > 1, "only {served:?} served");
    }
}

/// What `istioctl waypoint apply` makes, and what of it istiod would (that part of it needs the
/// injector's templates): a Gateway, and a Service that selects the waypoint's pods.
fn waypoint_resources(lab: &Lab, namespace: &str) {
    let resources = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"name": "waypoint"}, "spec": {
                "gatewayClassName": "istio-waypoint",
                "listeners": [{"name": "mesh", "port": HBONE_PORT, "protocol": "HBONE"}]}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "waypoint"}, "spec": {
            "selector": {"gateway.networking.k8s.io/gateway-name": "waypoint"},
            "ports": [{"name": "mesh", "port": HBONE_PORT, "appProtocol": "all"}]}},
    ]});
    lab.kube().apply(namespace, &resources.to_string());
    let labels = ["istio.io/use-waypoint=waypoint", "istio.io/ingress-use-waypoint=true"];
    lab.kube()
        .must(&[["label", "service", "greeter", "-n", namespace].as_slice(), &labels].concat());
}

/// One replica of it.
async fn waypoint(lab: &Lab, namespace: &str, index: usize) -> Pod {
    let spec = PodSpec::client(namespace, "waypoint", &format!("{namespace}-wp-{index}"));
    let spec = spec
        .label("gateway.networking.k8s.io/gateway-name", "waypoint")
        .label("gateway.istio.io/managed", "istio.io-mesh-controller");
    lab.pod(PodSpec { proxy: Some(Proxy::Waypoint), ..spec }).await
}

/// What Envoy calls a captured pod.
fn hbone(pod: &Pod) -> String {
    format!("envoy://connect_originate/{}", pod.endpoint())
}

/// What a gateway calls a waypoint.
fn at_waypoint(pod: &Pod) -> String {
    format!("envoy://connect_originate/{}:{HBONE_PORT}", pod.ip())
}

/// Waits until `pod` has these hosts.
async fn knows(pod: &Pod, cluster: &str, hosts: impl IntoIterator<Item = String>) {
    let wanted: BTreeSet<_> = hosts.into_iter().collect();
    eventually(&format!("{} has {wanted:?}", pod.name()), async || {
        let hosts: BTreeSet<_> = pod.hosts(cluster).await.into_iter().collect();
        if hosts == wanted { Ok(()) } else { Err(hosts) }
    })
    .await;
}

/// Requests that each of `pods` sends to each host of `cluster` while [`CALLS`] calls go on.
async fn sent_while(
    traffic: &Traffic,
    pods: &[&Pod],
    cluster: &str,
) -> Vec<BTreeMap<String, usize>> {
    let mut before = Vec::new();
    for pod in pods {
        before.push((pod.counts().await.picks("override"), sent(pod, cluster).await));
    }
    traffic.goes_on(CALLS).await;
    let mut all = Vec::new();
    for (pod, (picks, before)) in pods.iter().zip(&before) {
        let now = sent(pod, cluster).await;
        let picks = pod.counts().await.picks("override") - picks;
        let sent: BTreeMap<_, _> =
            now.iter().map(|(host, n)| (host.clone(), n - before[host])).collect();
        println!("{} sent {sent:?}, of which {picks} as it picked", pod.name());
        // Those that began in between two readings are few.
        assert!(picks as f64 > 0.9 * sent.values().sum::<usize>() as f64);
        all.push(sent);
    }
    all
}

async fn sent(pod: &Pod, cluster: &str) -> BTreeMap<String, usize> {
    let clusters = pod.ask("/clusters").await;
    let lines = clusters.lines().filter_map(|line| {
        let (host, count) =
            line.strip_prefix(cluster)?.strip_prefix("::")?.split_once("::rq_total::")?;
        Some((host.to_owned(), count.parse().expect("a number")))
    });
    lines.collect()
}

/// What each waypoint got.
fn sum_of_each(sent: &[BTreeMap<String, usize>]) -> BTreeMap<String, usize> {
    let sums = sent.iter().map(|sent| sent.values().sum()).enumerate();
    sums.map(|(index, sum)| (format!("waypoint {index}"), sum)).collect()
}

/// Each of so many has its share.
fn fair(sent: &BTreeMap<String, usize>, among: usize) {
    let all: usize = sent.values().sum();
    let fair = all as f64 / among as f64;
    let shares = sent.values().map(|n| *n as f64 / fair);
    assert!(sent.len() == among && shares.clone().all(|share| SHARES.contains(&share)), "{sent:?}");
}

/// Nothing is counted any more, no pick was refused, and the module met no fault.
async fn nothing_went_wrong(pod: &Pod) {
    eventually(&format!("{} counts nothing", pod.name()), async || {
        let counts = pod.counts().await;
        let wrong = counts.sum("overrides_refused", &[]) + counts.sum("errors", &[]);
        if wrong == 0 && counts.not_zero().is_empty() { Ok(()) } else { Err(format!("{counts:?}")) }
    })
    .await;
}
