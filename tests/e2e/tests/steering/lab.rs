//! What most of these tests stand on: servers, an Envoy with the filter, clients of it.

use std::collections::BTreeMap;

use leastload_e2e::{
    counts::Counts,
    held::{Client, Held},
    raw,
};
pub(crate) use leastload_e2e::{counts::nothing_is_outstanding, wait::eventually};
use leastload_fleet::{
    config::{Cluster, EnvoyConfig, Listener, Mechanism, Wasm, grpc_health_check, merge},
    envoy::{Envoy, Options},
    fleet::Fleet,
    proto::helloworld::{HelloReply, HelloRequest},
    server::ServerOptions,
};
use serde_json::{Value, json};

/// Both ways in which Envoy is told of a pick.
pub(crate) const MECHANISMS: [(Mechanism, &str); 2] =
    [(Mechanism::StatefulSession, "stateful_session"), (Mechanism::OverrideHost, "override_host")];

/// Calls by the server that served them.
pub(crate) type Shares = BTreeMap<String, usize>;

/// Servers behind an Envoy whose listener `main` has the filter.
pub(crate) struct Lab {
    pub(crate) envoy: Envoy,
    pub(crate) fleet: Fleet,
    pub(crate) clients: Vec<Client>,
}

impl Lab {
    /// `servers` equal servers in the cluster `greeter`; `stateful_session`, two workers.
    pub(crate) async fn start(servers: usize, configuration: Value) -> Self {
        let fleet = start_servers(servers).await;
        let cluster = Cluster::new("greeter", fleet.addresses());
        Self::with(fleet, proxy([main_listener(configuration)], [cluster])).await
    }

    /// An Envoy of two workers.
    pub(crate) async fn with(fleet: Fleet, config: EnvoyConfig) -> Self {
        Self::run(fleet, config, &Options::default()).await
    }

    /// An Envoy of one worker, so that Envoy's own round robin is exact, too.
    pub(crate) async fn with_one_worker(fleet: Fleet, config: EnvoyConfig) -> Self {
        Self::run(fleet, config, &Options::default().workers(1)).await
    }

    pub(crate) async fn run(fleet: Fleet, config: EnvoyConfig, options: &Options) -> Self {
        let envoy = Envoy::start(&config, options).await.unwrap();
        let clients = connect(&envoy, "main").await;
        Self { envoy, fleet, clients }
    }

    /// Waits until every worker steers whatever comes.
    pub(crate) async fn settle(&self) {
        settle(&self.envoy, &self.clients).await;
    }

    /// Holds `calls` calls, one after the other.
    pub(crate) async fn hold(&self, calls: usize) -> HeldCalls {
        hold(&self.clients, calls).await
    }

    /// The shares of the servers, in order.
    pub(crate) fn in_order(&self, shares: &Shares) -> Vec<usize> {
        self.fleet
            .addresses()
            .iter()
            .map(|address| shares.get(&address.to_string()).copied().unwrap_or(0))
            .collect()
    }

    /// The shares of `calls` held calls, in the order of the servers; they have ended afterwards,
    /// and nothing is counted.
    pub(crate) async fn spread(&self, calls: usize) -> Vec<usize> {
        let held = self.hold(calls).await;
        self.ended(held).await
    }

    async fn ended(&self, held: HeldCalls) -> Vec<usize> {
        let shares = self.in_order(&held.shares());
        drop(held);
        nothing_is_outstanding(&self.envoy).await;
        shares
    }

    /// The same of as many calls as make the shares equal, each of which went to the least loaded.
    pub(crate) async fn exact_spread(&self, calls: usize) -> Vec<usize> {
        let held = self.hold(calls).await;
        held.each_went_to_the_least();
        self.ended(held).await
    }

    /// Metrics of the filter.
    pub(crate) async fn counts(&self) -> Counts {
        Counts::read(&self.envoy).await
    }

    /// How many requests to `cluster` had the result.
    pub(crate) async fn picks(&self, cluster: &str, result: &str) -> i64 {
        self.counts().await.sum("picks", &[("cluster", cluster), ("result", result)])
    }

    /// Waits until a gauge of the cluster `greeter` says so.
    pub(crate) async fn wait_gauge(&self, metric: &str, wanted: i64) {
        eventually(&format!("{metric} is {wanted}"), async || {
            let counts = self.counts().await;
            let is = counts.sum(metric, &[("cluster", "greeter")]);
            if is == wanted { Ok(()) } else { Err(format!("it is {is}; {counts:?}")) }
        })
        .await;
    }

    /// Waits until a round of calls is steered without exception, to each of `servers`, by their
    /// indices, and to no other.
    pub(crate) async fn wait_served_only_by(&self, servers: &[usize]) {
        let wanted: Vec<_> = servers.iter().map(|i| self.fleet.address(*i).to_string()).collect();
        // A worker that still has the view of before may hit the wanted ones by chance: with one of
        // two servers in both views, twenty calls of its own do so once in a million.
        let round = 20 * wanted.len();
        eventually(&format!("only {wanted:?} serve"), async || {
            let before = self.counts().await.picks("override");
            let shares = call_all(&self.clients, round).await;
            let steered = self.counts().await.picks("override") - before;
            let right = shares.keys().all(|server| wanted.contains(server))
                && shares.len() == wanted.len()
                && usize::try_from(steered).is_ok_and(|steered| steered >= round);
            if right { Ok(()) } else { Err((shares, steered)) }
        })
        .await;
    }
}

pub(crate) async fn start_servers(count: usize) -> Fleet {
    Fleet::start_equal(count, &ServerOptions::default()).await.unwrap()
}

/// A health check that a dead server fails at once, and a slow machine does not.
pub(crate) fn patient_health_check(interval: &str) -> Value {
    let mut check = grpc_health_check(interval);
    check["timeout"] = json!("30s");
    check
}

/// `configuration` with a membership that is read more often.
pub(crate) fn quick(configuration: &Value) -> Value {
    let mut quick = json!({"discovery": {"interval": "400ms"}});
    merge(&mut quick, configuration);
    quick
}

/// `configuration` for the mechanism of this name.
pub(crate) fn configured(mechanism: &str, mut configuration: Value) -> Value {
    configuration["override"] = json!({"mechanism": mechanism});
    configuration
}

/// The filter with this configuration, made [`quick`]; JSON text is taken as it is.
pub(crate) fn filter(configuration: Value) -> Wasm {
    let configuration = match configuration {
        Value::Object(_) => quick(&configuration),
        text => text,
    };
    Wasm::new(leastload_modules::release()).configuration(configuration)
}

/// A listener with the filter, to the cluster `greeter`.
pub(crate) fn main_listener(configuration: Value) -> Listener {
    Listener::http("main", "greeter").wasm(filter(configuration))
}

/// An Envoy that obeys by `stateful_session`.
pub(crate) fn proxy(
    listeners: impl IntoIterator<Item = Listener>,
    clusters: impl IntoIterator<Item = Cluster>,
) -> EnvoyConfig {
    EnvoyConfig::new(listeners, clusters).mechanism(Mechanism::StatefulSession)
}

/// Four connections: they go round the workers.
pub(crate) async fn connect(envoy: &Envoy, listener: &str) -> Vec<Client> {
    let uri = envoy.uri(listener).unwrap();
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::connect(uri.clone()).await.unwrap());
    }
    clients
}

/// One unary call that ends well.
pub(crate) async fn call(client: &Client) -> HelloReply {
    call_with(client, &[]).await
}

/// One unary call with this metadata, which the reply tells as the server received it.
pub(crate) async fn call_with(client: &Client, metadata: &[(&'static str, &str)]) -> HelloReply {
    let message = HelloRequest { echo_metadata: true, ..HelloRequest::default() };
    let mut request = tonic::Request::new(message);
    for (name, value) in metadata {
        request.metadata_mut().append(*name, value.parse().unwrap());
    }
    let response = client.clone().say_hello(request).await.unwrap();
    for (name, _) in metadata {
        assert!(!response.metadata().contains_key(*name), "the client sees {name}");
    }
    response.into_inner()
}

/// `calls` unary calls, one after the other, going round the clients.
pub(crate) async fn call_all(clients: &[Client], calls: usize) -> Shares {
    let mut shares = Shares::new();
    for client in clients.iter().cycle().take(calls) {
        *shares.entry(call(client).await.served_by).or_default() += 1;
    }
    shares
}

/// Calls that were answered and go on; dropping them cancels them.
pub(crate) struct HeldCalls(Vec<Held>);

impl HeldCalls {
    pub(crate) fn shares(&self) -> Shares {
        let mut shares = Shares::new();
        for call in &self.0 {
            *shares.entry(call.server().to_owned()).or_default() += 1;
        }
        shares
    }

    /// Fails unless each call went where the fewest of those before it were held, whichever worker
    /// took it. The workers take turns, so none can know by its own counts alone.
    pub(crate) fn each_went_to_the_least(&self) {
        let mut shares: Shares = self.shares().into_keys().map(|server| (server, 0)).collect();
        for (index, call) in self.0.iter().enumerate() {
            let least = shares.values().min().copied();
            let before = shares.get_mut(call.server()).unwrap();
            assert_eq!(Some(*before), least, "call {index} of {:?}", self.0);
            *before += 1;
        }
    }
}

/// Holds calls, each begun when the one before is counted: what is steered by exact counts spreads
/// exactly.
pub(crate) async fn hold(clients: &[Client], calls: usize) -> HeldCalls {
    let mut held = Vec::new();
    for client in clients.iter().cycle().take(calls) {
        held.push(Held::start(client).await.unwrap());
    }
    HeldCalls(held)
}

/// Waits until a round of calls over all of `clients` is steered without exception.
pub(crate) async fn settle(envoy: &Envoy, clients: &[Client]) {
    eventually("every worker steers", async || {
        let before = Counts::read(envoy).await;
        let round = 2 * clients.len();
        call_all(clients, round).await;
        let after = Counts::read(envoy).await;
        let steered = |counts: &Counts| counts.picks("override");
        if usize::try_from(steered(&after) - steered(&before)) == Ok(round) {
            Ok(())
        } else {
            Err(format!("{after:?}"))
        }
    })
    .await;
    nothing_is_outstanding(envoy).await;
}

/// A raw HTTP/1 exchange with the listener `main`.
pub(crate) async fn http1(envoy: &Envoy, request: &str) -> String {
    raw::http1(envoy, "main", request).await
}
