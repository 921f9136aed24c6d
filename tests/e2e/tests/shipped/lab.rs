//! Servers with shipped twins beside them, and what asks them.

use std::net::SocketAddr;

use leastload_e2e::{
    counts::Counts,
    held::{Client, Held},
    shipped::{Certificates, Shipped},
    wait::eventually,
};
use leastload_fleet::{
    config::{Cluster, EnvoyConfig, Listener},
    envoy::{Envoy, Options},
    fleet::Fleet,
    proto::helloworld::HelloRequest,
    server::ServerOptions,
};
use serde_json::json;
use tonic::Response;

/// One worker: what a test needs to know of clients, it then knows.
pub(crate) fn options() -> Options {
    Options { precise_timers: true, ..Options::default().workers(1) }
}

/// Servers, each with a twin.
pub(crate) struct Twins {
    pub(crate) certificates: Certificates,
    pub(crate) fleet: Fleet,
    pub(crate) envoys: Vec<Envoy>,
}

impl Twins {
    /// So many equal servers that answer at once.
    pub(crate) async fn start(servers: usize) -> Self {
        let servers = vec![ServerOptions::default(); servers];
        Self::start_with(&servers, |twin| twin).await
    }

    /// These servers, and twins with a change to their configuration.
    pub(crate) async fn start_with(
        servers: &[ServerOptions],
        change: impl Fn(Shipped) -> Shipped,
    ) -> Self {
        let certificates = Certificates::new();
        let fleet = Fleet::start(servers.iter().cloned()).await.unwrap();
        let mut envoys = Vec::new();
        for server in fleet.addresses() {
            let twin = Shipped::read("twin.yaml").servers(&[server]).certificates(&certificates);
            envoys.push(change(twin).start(&options()).await);
        }
        Self { certificates, fleet, envoys }
    }

    /// Where the twins listen.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.envoys.iter().map(|twin| twin.listener("inbound").unwrap()).collect()
    }

    /// A proxy without the filter, before these: a client of its own, of which no other knows. It
    /// shows its certificate if `mutual`.
    pub(crate) async fn plain(&self, servers: &[SocketAddr], mutual: bool) -> (Envoy, Client) {
        let cluster = Cluster::new("greeter", servers.iter().copied())
            .extra(json!({"transport_socket": self.certificates.upstream(mutual)}));
        let config = EnvoyConfig::new([Listener::http("main", "greeter")], [cluster]);
        let envoy = Envoy::start(&config, &options()).await.unwrap();
        let client = connect(&envoy, "main").await;
        (envoy, client)
    }

    /// Answers of all twins to probes.
    pub(crate) async fn answers(&self) -> i64 {
        let mut answers = 0;
        for twin in &self.envoys {
            answers += sum(twin, "probe_answers", &[("result", "given")]).await;
        }
        answers
    }
}

pub(crate) async fn connect(envoy: &Envoy, listener: &str) -> Client {
    Client::connect(envoy.uri(listener).unwrap()).await.unwrap()
}

/// Sums a metric.
pub(crate) async fn sum(envoy: &Envoy, metric: &str, labels: &[(&str, &str)]) -> i64 {
    Counts::read(envoy).await.sum(metric, labels)
}

/// One call with this metadata; the reply tells it as the server received it.
pub(crate) async fn call(
    client: &Client,
    metadata: &[(&'static str, &str)],
) -> Response<leastload_fleet::proto::helloworld::HelloReply> {
    let message = HelloRequest { echo_metadata: true, ..HelloRequest::default() };
    let mut request = tonic::Request::new(message);
    for (name, value) in metadata {
        request.metadata_mut().append(*name, value.parse().unwrap());
    }
    client.clone().say_hello(request).await.unwrap()
}

/// How many of so many calls, one after the other, this server serves.
pub(crate) async fn served_by(client: &Client, server: SocketAddr, calls: usize) -> usize {
    let server = server.to_string();
    let mut own = 0;
    for _ in 0..calls {
        own += usize::from(call(client, &[]).await.into_inner().served_by == server);
    }
    own
}

/// Calls that go on at a server behind its client's back.
pub(crate) async fn hold(client: &Client, calls: usize) -> Vec<Held> {
    let mut held = Vec::new();
    for _ in 0..calls {
        held.push(Held::start(client).await.unwrap());
    }
    held
}

/// Waits until a round of calls is steered without exception.
pub(crate) async fn steered(envoy: &Envoy, client: &Client) {
    eventually("every call is steered", async || {
        let steered = [("result", "override")];
        let before = sum(envoy, "picks", &steered).await;
        for _ in 0..6 {
            call(client, &[]).await;
        }
        let counts = Counts::read(envoy).await;
        if counts.sum("picks", &steered) - before == 6 { Ok(()) } else { Err(counts) }
    })
    .await;
}
