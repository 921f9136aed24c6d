//! Servers, an Envoy with the filter, and clients of all its workers.

use std::{collections::BTreeMap, path::PathBuf};

use leastload_fleet::{
    config::{Cluster, EnvoyConfig, Listener, Mechanism, Wasm, merge},
    envoy::{Envoy, Options},
    fleet::Fleet,
    proto::helloworld::HelloRequest,
    server::ServerOptions,
};
use serde_json::{Value, json};

use crate::{
    counts::{self, Counts},
    held::{Client, Held},
    wait::eventually,
};

/// The cluster of the servers.
pub const CLUSTER: &str = "greeter";
/// The listener with the filter.
pub const LISTENER: &str = "main";
/// Connections for each worker: Envoy hands them to the workers in turn.
const CLIENTS_PER_WORKER: usize = 2;

/// What to start.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Equal servers.
    pub servers: usize,
    /// Envoy's workers.
    pub workers: u32,
    /// How a pick is carried out.
    pub mechanism: Mechanism,
    /// Path of the module.
    pub module: PathBuf,
    /// The filter's configuration; the override's mechanism is added.
    pub configuration: Value,
    /// Further arguments of Envoy.
    pub arguments: Vec<String>,
}

impl Plan {
    /// So many servers behind two workers of the release module.
    pub fn new(servers: usize) -> Self {
        Self {
            servers,
            workers: 2,
            mechanism: Mechanism::StatefulSession,
            module: leastload_modules::release(),
            configuration: json!({}),
            // A listener that changed says goodbye on more and more of its connections in the course
            // of this time, and clients that then connect anew just when its socket changes hands
            // see a reset, whatever the filter does: so not within the time of a test.
            arguments: vec!["--drain-time-s".into(), "1000000".into()],
        }
    }

    /// Sets the number of workers.
    #[must_use]
    pub fn workers(self, workers: u32) -> Self {
        Self { workers, ..self }
    }

    /// Sets the mechanism.
    #[must_use]
    pub fn mechanism(self, mechanism: Mechanism) -> Self {
        Self { mechanism, ..self }
    }

    /// Sets the filter's configuration.
    #[must_use]
    pub fn configuration(self, configuration: Value) -> Self {
        Self { configuration, ..self }
    }

    /// Takes the module with faults on demand.
    #[must_use]
    pub fn faults(self) -> Self {
        Self { module: leastload_modules::with_faults(), ..self }
    }

    /// The filter as planned.
    pub fn wasm(&self) -> Wasm {
        let mut configuration = match self.mechanism {
            Mechanism::OverrideHost => json!({"override": {"mechanism": "override_host"}}),
            _ => json!({}),
        };
        merge(&mut configuration, &self.configuration);
        Wasm::new(&self.module).configuration(configuration)
    }

    /// Starts all, and waits until every worker steers.
    pub async fn start(self) -> Lab {
        self.start_with(|_, _| {}).await
    }

    /// The same with changes to Envoy's configuration: listener `main`, cluster `greeter`.
    pub async fn start_with(self, change: impl FnOnce(&mut EnvoyConfig, &Fleet)) -> Lab {
        let lab = self.start_cold(change).await;
        lab.settle().await;
        lab
    }

    /// The same without a call having been made.
    pub async fn start_cold(self, change: impl FnOnce(&mut EnvoyConfig, &Fleet)) -> Lab {
        let servers = Fleet::start_equal(self.servers, &ServerOptions::default()).await;
        let servers = servers.expect("the servers start");
        let mut config = EnvoyConfig::new(
            [Listener::http(LISTENER, CLUSTER).wasm(self.wasm())],
            [Cluster::new(CLUSTER, servers.addresses())],
        )
        .mechanism(self.mechanism);
        change(&mut config, &servers);
        let options = Options { arguments: self.arguments.clone(), ..Options::default() };
        let envoy = Envoy::start(&config, &options.workers(self.workers)).await;
        let envoy = envoy.expect("Envoy starts");
        let mut lab = Lab { servers, envoy, clients: Vec::new(), plan: self };
        lab.connect().await;
        lab
    }
}

/// Servers, Envoy and clients.
#[derive(Debug)]
pub struct Lab {
    /// The servers of [`CLUSTER`].
    pub servers: Fleet,
    /// The Envoy.
    pub envoy: Envoy,
    /// Clients, two on each worker: that of `clients[i]` is `i % workers`.
    pub clients: Vec<Client>,
    /// What was started.
    pub plan: Plan,
}

impl Lab {
    /// Connects the clients, anew where they were: worker by worker, twice.
    pub async fn connect(&mut self) {
        /// Envoy gives the next connection to the worker that has the fewest: old ones that still
        /// end may stand in the way of as many new ones.
        const MOST: usize = 100;
        self.clients.clear();
        let workers = self.plan.workers as usize;
        let mut by_worker = vec![Vec::new(); workers];
        let mut accepted = self.accepted().await;
        for _ in 0..MOST {
            if by_worker.iter().all(|clients| clients.len() >= CLIENTS_PER_WORKER) {
                break;
            }
            let client = self.client().await;
            let worker = eventually("Envoy accepts the connection", async || {
                let now = self.accepted().await;
                let new = now.iter().find(|(worker, n)| accepted.get(*worker) != Some(*n));
                let worker = new.map(|(worker, _)| *worker);
                accepted.clone_from(&now);
                worker.ok_or(now)
            })
            .await;
            by_worker[worker].push(client);
        }
        self.clients = (0..CLIENTS_PER_WORKER)
            .flat_map(|nth| by_worker.iter().map(move |clients| clients[nth].clone()))
            .collect();
    }

    /// Connections that each worker has accepted so far, on whatever listener.
    async fn accepted(&self) -> BTreeMap<usize, i64> {
        let regex = "^listener\\..*\\.worker_[0-9]+\\.downstream_cx_total$";
        let stats = self.envoy.admin().stats(regex).await.expect("the admin interface answers");
        let mut accepted = BTreeMap::new();
        for (name, connections) in stats {
            let worker = name.rsplit_once("worker_").and_then(|(_, rest)| rest.split('.').next());
            let worker = worker.and_then(|worker| worker.parse().ok()).expect("a worker's number");
            *accepted.entry(worker).or_default() += connections;
        }
        accepted
    }

    /// One more client, on a connection of its own.
    pub async fn client(&self) -> Client {
        let uri = self.envoy.uri(LISTENER).expect("the listener is there");
        Client::connect(uri).await.expect("Envoy accepts")
    }

    /// Waits until a round of calls over all clients is steered without exception, and is no
    /// longer counted.
    pub async fn settle(&self) {
        self.every_worker_steers().await;
        self.nothing_is_outstanding().await;
    }

    /// The same while these calls are under way.
    pub async fn settle_with(&self, held: &[Held], slots: &Slots) {
        self.every_worker_steers().await;
        self.counted_exactly(slots, &held.iter().collect::<Vec<_>>()).await;
    }

    async fn every_worker_steers(&self) {
        eventually("every worker steers", async || {
            let before = self.counts().await.picks("override");
            for client in &self.clients {
                let reply = client.clone().say_hello(HelloRequest::default()).await;
                reply.map_err(|status| status.to_string())?;
            }
            let steered = self.counts().await.picks("override") - before;
            if usize::try_from(steered) == Ok(self.clients.len()) {
                Ok(())
            } else {
                Err(format!("{steered} of {} were steered", self.clients.len()))
            }
        })
        .await;
    }

    /// Holds `calls` calls, each begun when the one before was answered, going round `clients`.
    pub async fn hold(&self, clients: &[Client], calls: usize) -> Vec<Held> {
        let mut held = Vec::new();
        for client in clients.iter().cycle().take(calls) {
            held.push(Held::start(client).await.expect("a call is answered"));
        }
        held
    }

    /// The filter's counts now.
    pub async fn counts(&self) -> Counts {
        Counts::read(&self.envoy).await
    }

    /// Waits until every count of work is 0.
    pub async fn nothing_is_outstanding(&self) {
        counts::nothing_is_outstanding(&self.envoy).await;
    }

    /// Waits until endpoints have exactly these amounts of work, in whatever order.
    pub async fn work_is(&self, amounts: &[i64]) {
        counts::work_is(&self.envoy, CLUSTER, amounts).await;
    }

    /// Which slot the filter counts each server in: told by a call held on each. Only while
    /// nothing else goes on.
    pub async fn slots(&self) -> Slots {
        self.nothing_is_outstanding().await;
        let mut slots = BTreeMap::new();
        let (mut held, mut before) = (Vec::new(), BTreeMap::new());
        for client in self.clients.iter().cycle().take(self.servers.len()) {
            let call = Held::start(client).await.expect("a call is answered");
            let now = self.counts().await.work(CLUSTER);
            let new: Vec<u32> =
                now.keys().filter(|slot| !before.contains_key(*slot)).copied().collect();
            assert_eq!(new.len(), 1, "one more server is busy: {before:?}, then {now:?}");
            slots.insert(call.server().to_owned(), new[0]);
            before = now;
            held.push(call);
        }
        for call in held {
            call.finish().await.expect("a call ends well");
        }
        self.nothing_is_outstanding().await;
        Slots(slots)
    }

    /// Waits until the work at each server is exactly that of these calls, 1,000 each, and no other
    /// is counted.
    pub async fn counted_exactly(&self, slots: &Slots, held: &[&Held]) {
        let wanted = slots.work(held);
        eventually(&format!("the work by slot is {wanted:?}"), async || {
            let work = self.counts().await.work(CLUSTER);
            if work == wanted { Ok(()) } else { Err(work) }
        })
        .await;
    }
}

/// Slots by server.
#[derive(Clone, Debug)]
pub struct Slots(BTreeMap<String, u32>);

impl Slots {
    /// Slot of a server.
    pub fn of(&self, server: &str) -> u32 {
        self.0[server]
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = u32> {
        self.0.values().copied()
    }

    /// The work that these calls are.
    pub fn work(&self, held: &[&Held]) -> BTreeMap<u32, i64> {
        let mut work = BTreeMap::new();
        for call in held {
            *work.entry(self.of(call.server())).or_insert(0) += 1_000;
        }
        work
    }
}
