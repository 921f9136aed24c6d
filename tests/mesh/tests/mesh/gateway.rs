//! Ingress gateways: calls from outside are steered, and nobody outside steers or reads the load.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use leastload_e2e::wait::{eventually, in_time};
use leastload_mesh::{
    install::Install,
    lab::Lab,
    pod::{Pod, PodSpec},
    proxy::Proxy,
    traffic::{keep_calling, one_call},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::metadata::KeyRef;

use crate::stage::{Applied, SERVER, obeyed, refused, sample};

tests! {
    a_classic_gateway_steers_and_tells_nobody,
    a_gateway_of_the_gateway_api_steers_and_tells_nobody,
}

/// What neither side may see.
const OURS: [&str; 5] = [
    "x-leastload-host",
    "x-leastload-ask",
    "x-leastload-self",
    "endpoint-load-metrics",
    "endpoint-load-metrics-bin",
];
/// What outsiders call, as `istio/sample` has it.
const HOST: &str = "greeter.example.com";
/// As a proxy of ours asks, byte by byte.
const PROBE: &str = "POST /leastload.v1.Load/Ask HTTP/1.1\r\nhost: greeter.example.com\r\n\
                     connection: close\r\ncontent-type: application/grpc\r\nte: trailers\r\n\
                     x-leastload-ask: load\r\ncontent-length: 0\r\n\r\n";
/// Calls that try to reach one server.
const TRIES: usize = 60;

/// Greeters with twins in the mesh, a gateway, and somebody outside.
struct Edge {
    namespace: &'static str,
    servers: Vec<Pod>,
    gateway: Pod,
    outside: Pod,
    /// `ip:port` of the gateway.
    address: String,
}

impl Edge {
    async fn new(lab: &Lab, namespace: &'static str, label: (&str, &str)) -> Self {
        lab.namespace(namespace);
        lab.service(namespace, "greeter");
        // As the chart of a gateway makes it: no privileged port in the pod.
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "ingress"},
            "spec": {"selector": {"app": "ingress"},
                "ports": [{"name": "http2", "port": 80, "targetPort": 8080}]}});
        lab.kube().apply(namespace, &service.to_string());
        let starting = ["v1", "v1", "v2"].into_iter().enumerate().map(|(index, version)| {
            let spec = PodSpec::server(namespace, "greeter", &format!("{namespace}-{index}"));
            lab.starting(spec.label(SERVER.0, SERVER.1).label("version", version))
        });
        let starting: Vec<_> = starting.collect();
        let gateway = PodSpec::client(namespace, "ingress", &format!("{namespace}-gateway"));
        let gateway = PodSpec { proxy: Some(Proxy::Router), ..gateway.label(label.0, label.1) };
        let gateway = lab.starting(gateway);
        let outside = PodSpec::client(namespace, "outside", &format!("{namespace}-outside"));
        let outside = lab.pod(PodSpec { proxy: None, ..outside }).await;
        let gateway = gateway.ready().await;
        let servers = Pod::all_ready(starting).await;
        let address = format!("{}:8080", gateway.ip());
        Self { namespace, servers, gateway, outside, address }
    }

    /// A call from outside with these headers: who served it, and what of ours the server and the
    /// caller saw.
    async fn call(&self, headers: &[(&'static str, String)]) -> Result<Answer, tonic::Status> {
        let (address, headers) = (self.address.clone(), headers.to_vec());
        let call = async move { one_call(&address, HOST, &headers).await };
        let reply = self.outside.network.run(call).await?;
        let caller = reply.metadata().keys().map(|key| match key {
            KeyRef::Ascii(key) => key.as_str().to_owned(),
            KeyRef::Binary(key) => key.as_str().to_owned(),
        });
        let caller = caller.filter(|name| OURS.contains(&name.as_str())).collect();
        let reply = reply.into_inner();
        let server = reply.metadata.into_keys().filter(|name| OURS.contains(&name.as_str()));
        Ok(Answer { served_by: reply.served_by, caller, server: server.collect() })
    }

    /// What an outsider may try to reach the server with this endpoint, and to be told.
    fn tries(endpoint: &str) -> Vec<(&'static str, String)> {
        vec![
            ("x-leastload-host", STANDARD.encode(endpoint)),
            ("x-leastload-ask", "stamp".into()),
            ("x-leastload-self", endpoint.into()),
            ("endpoint-load-metrics", "TEXT named_metrics.rif=9".into()),
            ("endpoint-load-metrics-bin", "nine".into()),
        ]
    }

    /// Calls that each try to reach another server, in turn: how many did. Neither side sees anything
    /// of ours.
    async fn reached(&self) -> usize {
        let endpoints: Vec<_> = self.servers.iter().map(Pod::endpoint).collect();
        let mut reached = 0;
        for wanted in endpoints.iter().cycle().take(TRIES) {
            let answer = self.call(&Self::tries(wanted)).await.expect("a call ends well");
            assert!(answer.caller.is_empty(), "the caller sees {:?}", answer.caller);
            assert!(answer.server.is_empty(), "the server sees {:?}", answer.server);
            reached += usize::from(answer.served_by == *wanted);
        }
        reached
    }

    /// Whoever serves these calls, a third of them is wanted there.
    async fn nobody_is_reached_by_name(&self) {
        let reached = self.reached().await;
        assert!(reached <= TRIES * 2 / 3, "{reached} of {TRIES} calls went where they wanted");
    }

    /// A probe from outside: the whole response, in lower case.
    async fn probe(&self) -> String {
        let address = self.address.clone();
        let exchange = async move {
            let mut stream = TcpStream::connect(address).await.expect("the gateway accepts");
            stream.write_all(PROBE.as_bytes()).await.expect("the gateway reads");
            let mut response = Vec::new();
            stream.read_to_end(&mut response).await.expect("the gateway answers");
            String::from_utf8_lossy(&response).to_lowercase()
        };
        self.outside.network.run(in_time("the answer to a probe", exchange)).await
    }

    /// Before a gateway has our overlay, twins tell whom the gateway vouches for: anybody. So what
    /// follows proves something.
    async fn an_open_gateway_tells(&self) {
        let tries = Self::tries(&self.servers[0].endpoint());
        eventually("an open gateway lets headers in and reports out", async || {
            let answer = self.call(&tries).await;
            let seen = |answer: &Answer| !answer.caller.is_empty() && !answer.server.is_empty();
            let told = answer.as_ref().is_ok_and(seen);
            if told { Ok(()) } else { Err(answer) }
        })
        .await;
        eventually("an open gateway lets probes in", async || {
            let answer = self.probe().await;
            if answer.contains("endpoint-load-metrics") { Ok(()) } else { Err(answer) }
        })
        .await;
    }

    /// What both kinds of gateways have to do once they have the overlay.
    async fn steers_and_tells_nobody(&self) {
        let work = Duration::from_millis(2);
        let traffic = keep_calling(&self.outside, &self.address, HOST, 2, work);
        obeyed(&self.gateway, &traffic).await;
        let before = refused(&self.gateway).await;
        self.nobody_is_reached_by_name().await;
        let answer = self.call(&[]).await.expect("a call from outside ends well");
        assert!(answer.caller.is_empty() && answer.server.is_empty(), "{answer:?}");
        let answer = self.probe().await;
        assert!(answer.contains("grpc-status: 12"), "as for any unknown method: {answer}");
        assert!(OURS.iter().all(|name| !answer.contains(name)), "{answer}");
        traffic.stop_without_failure().await;
        assert_eq!(refused(&self.gateway).await, before, "Envoy obeyed somebody else");
        let counts = self.gateway.counts().await;
        assert_eq!(counts.sum("errors", &[]), 0, "{counts:?}");
    }
}

/// A call's answer, and what of ours either side saw of it.
#[derive(Debug)]
struct Answer {
    served_by: String,
    caller: Vec<String>,
    server: Vec<String>,
}

/// Twins that stamp every response: there is something to take out.
fn twins(lab: &Lab, namespace: &str) {
    let all = json!({"role": "inbound", "report": {"stamp": "all"}});
    Install::of(lab, "overlays/twin").configured(&all).apply(lab, namespace);
}

/// As shipped: Gateway, `VirtualService` and `DestinationRule` of the sample, the overlay in the root
/// namespace.
async fn a_classic_gateway_steers_and_tells_nobody(lab: &Lab) {
    let edge = Edge::new(lab, "classic", ("istio", "ingressgateway")).await;
    twins(lab, edge.namespace);
    let routes = sample(lab, "classic", edge.namespace);
    let _routes = Applied::new(lab, edge.namespace, routes);
    edge.an_open_gateway_tells().await;
    let install = Install::of(lab, "overlays/gateway");
    let root = "istio-system";
    let _install = Applied::new(lab, root, install.manifests(lab, root));
    edge.steers_and_tells_nobody().await;

    // The second guard holds where the plugin is not there, and no twin that drops headers, too, ...
    let kube = lab.kube();
    kube.must(&["delete", "-n", edge.namespace, "wasmplugin", "leastload-twin"]);
    for server in &edge.servers {
        eventually("the twin is gone", async || {
            let config = server.ask("/config_dump").await;
            if config.contains("leastload-twin") { Err(server.name()) } else { Ok(()) }
        })
        .await;
    }
    kube.must(&["delete", "-n", root, "wasmplugin", "leastload-gateway"]);
    eventually("the plugin is gone", async || {
        let before = edge.gateway.counts().await.sum("picks", &[]);
        edge.call(&[]).await.expect("a call from outside ends well");
        let after = edge.gateway.counts().await.sum("picks", &[]);
        if before == after { Ok(()) } else { Err(after) }
    })
    .await;
    edge.nobody_is_reached_by_name().await;
    // ... and is needed: without it, the filter that obeys us obeys strangers.
    let drop = r#"[{"op": "remove", "path": "/spec/configPatches/0"}]"#;
    let session = ["envoyfilter", "leastload-gateway-session", "--type=json", "-p", drop];
    kube.must(&[&["patch", "-n", root][..], &session].concat());
    let tries = Edge::tries(&edge.servers[0].endpoint());
    eventually("an open gateway obeys a stranger", async || {
        let mut served = BTreeMap::<_, usize>::new();
        for _ in 0..TRIES {
            let answer = edge.call(&tries).await.expect("a call from outside ends well");
            *served.entry(answer.served_by).or_default() += 1;
        }
        // A fifth of the calls is the other version's, where the first server is not.
        if served.contains_key(&edge.servers[1].endpoint()) { Err(served) } else { Ok(()) }
    })
    .await;
}

/// As shipped, but that nobody deploys the gateway here: it is named by its Service.
async fn a_gateway_of_the_gateway_api_steers_and_tells_nobody(lab: &Lab) {
    let label = ("gateway.networking.k8s.io/gateway-name", "greeter");
    let edge = Edge::new(lab, "gwapi", label).await;
    twins(lab, edge.namespace);
    let class = "gatewayClassName: istio\n";
    let address = format!(
        "{class}  addresses: [{{type: Hostname, value: ingress.{}.svc.cluster.local}}]\n",
        edge.namespace
    );
    let routes = sample(lab, "gateway-api", edge.namespace).replace(class, &address);
    assert!(routes.contains(&address), "the sample has changed: {routes}");
    let _routes = Applied::new(lab, edge.namespace, routes);
    edge.an_open_gateway_tells().await;
    let install = Install::of(lab, "overlays/gateway-api");
    let _install = Applied::new(lab, edge.namespace, install.manifests(lab, edge.namespace));
    edge.steers_and_tells_nobody().await;
}
