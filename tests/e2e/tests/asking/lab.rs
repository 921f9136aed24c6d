//! Servers, the filter beside each of them in one Envoy, and the filter before them in another.

use std::net::SocketAddr;

use leastload_e2e::{
    counts::{Counts, nothing_is_outstanding},
    held::{Client, Held},
    wait::{PATIENCE, eventually},
};
use leastload_fleet::{
    config::{Cluster, EnvoyConfig, Listener, Mechanism, Wasm, merge},
    envoy::{Envoy, Options},
    fleet::Fleet,
    proto::helloworld::HelloRequest,
    server::ServerOptions,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::{Response, Status};

/// The cluster of the servers.
pub(crate) const CLUSTER: &str = "greeter";
/// The cluster through which an endpoint can be asked by its address.
pub(crate) const BY_ADDRESS: &str = "by_address";
/// A cluster that swallows probes.
pub(crate) const HOLE: &str = "hole";
/// What asks for a stamp or an answer.
pub(crate) const ASK: &str = "x-leastload-ask";

/// All of it.
pub(crate) struct Lab {
    pub(crate) fleet: Fleet,
    pub(crate) twins: Envoy,
    pub(crate) envoy: Envoy,
    pub(crate) client: Client,
    /// Calls of others.
    _held: Vec<Held>,
}

/// What to start.
pub(crate) struct Plan {
    pub(crate) servers: usize,
    pub(crate) mechanism: Mechanism,
    /// Configuration of the filter before the servers.
    pub(crate) outbound: Value,
    /// Configuration of the filter beside them.
    pub(crate) inbound: Value,
    /// Calls that others hold at each of them, from before the first of ours: what changes unseen is
    /// asked for.
    pub(crate) held: Vec<usize>,
    /// Active health checks that the filters' Envoy beside the servers makes of them.
    pub(crate) health_checks: Vec<Value>,
    /// Where the cluster [`HOLE`] leads to.
    pub(crate) hole: Option<SocketAddr>,
}

impl Plan {
    pub(crate) fn new(servers: usize) -> Self {
        Self {
            servers,
            mechanism: Mechanism::StatefulSession,
            outbound: json!({}),
            inbound: json!({"probe": {"allow": "any"}}),
            held: Vec::new(),
            health_checks: Vec::new(),
            hole: None,
        }
    }

    pub(crate) async fn start(self) -> Lab {
        let fleet = Fleet::start_equal(self.servers, &ServerOptions::default()).await.unwrap();
        let (mut listeners, mut clusters) = (Vec::new(), Vec::new());
        for (index, server) in fleet.addresses().into_iter().enumerate() {
            let name = format!("inbound|{index}||");
            let wasm = Wasm::new(leastload_modules::release()).configuration(self.inbound.clone());
            listeners.push(Listener::http(&format!("twin-{index}"), &name).wasm(wasm));
            let health_checks = self.health_checks.clone();
            clusters.push(Cluster { health_checks, ..Cluster::new(&name, [server]) });
        }
        let twins = EnvoyConfig::new(listeners, clusters);
        let twins = Envoy::start(&twins, &Options::default().workers(1)).await.unwrap();
        let addresses: Vec<SocketAddr> = (0..self.servers)
            .map(|index| twins.listener(&format!("twin-{index}")).unwrap())
            .collect();
        let mut configuration = json!({
            "override": {"mechanism": match self.mechanism {
                Mechanism::OverrideHost => "override_host",
                _ => "stateful_session",
            }},
            "discovery": {"interval": "400ms"},
        });
        merge(&mut configuration, &self.outbound);
        let mut held = Vec::new();
        for (index, calls) in self.held.iter().enumerate() {
            let direct = connect(&twins, &format!("twin-{index}")).await;
            for _ in 0..*calls {
                held.push(Held::start(&direct).await.unwrap());
            }
        }
        let envoy = before(&addresses, self.mechanism, configuration, self.hole).await;
        let client = connect(&envoy, "main").await;
        let lab = Lab { fleet, twins, envoy, client, _held: held };
        lab.settle().await;
        lab
    }
}

/// An Envoy of one worker with the filter.
async fn before(
    endpoints: &[SocketAddr],
    mechanism: Mechanism,
    configuration: Value,
    hole: Option<SocketAddr>,
) -> Envoy {
    let wasm = Wasm::new(leastload_modules::release()).configuration(configuration);
    let mut clusters =
        vec![Cluster::new(CLUSTER, endpoints.iter().copied()), Cluster::original_dst(BY_ADDRESS)];
    clusters.extend(hole.map(|hole| Cluster::new(HOLE, [hole])));
    let config = EnvoyConfig::new([Listener::http("main", CLUSTER).wasm(wasm)], clusters);
    let options = Options::default().workers(1);
    Envoy::start(&config.mechanism(mechanism), &options).await.unwrap()
}

pub(crate) async fn connect(envoy: &Envoy, listener: &str) -> Client {
    Client::connect(envoy.uri(listener).unwrap()).await.unwrap()
}

/// Sums a metric.
pub(crate) async fn sum(envoy: &Envoy, metric: &str, labels: &[(&str, &str)]) -> i64 {
    Counts::read(envoy).await.sum(metric, labels)
}

/// What the filter says, for whoever reads a failure.
pub(crate) async fn said(envoy: &Envoy) -> String {
    let log = envoy.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("leastload: ")).collect();
    format!("{}\n{:#?}", lines.join("\n"), Counts::read(envoy).await)
}

/// A unary call, which tells what its server received.
pub(crate) async fn call(
    client: &Client,
) -> Result<Response<leastload_fleet::proto::helloworld::HelloReply>, Status> {
    let message = HelloRequest { echo_metadata: true, ..HelloRequest::default() };
    client.clone().say_hello(message).await
}

/// Waits until calls are steered.
async fn settle(envoy: &Envoy, client: &Client) {
    eventually("calls are steered", async || {
        let before = sum(envoy, "picks", &[("result", "override")]).await;
        for _ in 0..4 {
            call(client).await.map_err(|status| status.to_string())?;
        }
        let steered = sum(envoy, "picks", &[("result", "override")]).await - before;
        if steered == 4 { Ok(()) } else { Err(format!("{steered} of 4; {}", said(envoy).await)) }
    })
    .await;
    nothing_is_outstanding(envoy).await;
}

impl Lab {
    async fn settle(&self) {
        settle(&self.envoy, &self.client).await;
    }

    /// How many of so many calls, one after the other, the server of this index serves.
    pub(crate) async fn served_by(&self, server: usize, calls: usize) -> usize {
        let address = self.fleet.address(server).to_string();
        let mut count = 0;
        for _ in 0..calls {
            let reply = call(&self.client).await.unwrap().into_inner();
            count += usize::from(reply.served_by == address);
        }
        count
    }

    /// Calls that the application of a server saw, of methods of that name.
    pub(crate) async fn seen_by(&self, server: usize, method: &str) -> u64 {
        let stats = self.fleet.stats(server).await.unwrap();
        stats.calls.iter().filter(|(path, _)| path.contains(method)).map(|(_, calls)| calls).sum()
    }
}

/// A raw HTTP/1 exchange: the whole response as text.
pub(crate) async fn http1(envoy: &Envoy, listener: &str, path: &str, headers: &str) -> String {
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: greeter\r\nconnection: close\r\nte: trailers\r\n\
         content-type: application/grpc\r\n{headers}content-length: 5\r\n\r\n\0\0\0\0\0"
    );
    let exchange = async {
        let mut stream = TcpStream::connect(envoy.listener(listener).unwrap()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).await.unwrap();
        String::from_utf8_lossy(&response).into_owned()
    };
    timeout(PATIENCE, exchange).await.expect("the connection ends with the response")
}
