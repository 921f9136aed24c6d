//! Scenarios in a real Envoy: one process for all of them, one worker.

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr, time::Duration};

use leastload_fleet::{
    config::{Cluster, EnvoyConfig, Listener, Route, Wasm},
    envoy::{Change, Envoy, Options},
};
use serde_json::json;
use tokio::{
    net::TcpSocket,
    time::{Instant, sleep},
};

use crate::{
    log::Log,
    peers::{Arrived, Client, Server},
    scenario::{MAIN, Plugin, Scenario},
    step::{Act, Received, Step, request, response},
    trace::{Line, Names},
};

/// How long anything may take on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at what is waited for.
const PAUSE: Duration = Duration::from_millis(2);

/// An Envoy with a listener for each plugin, and the server of its clusters.
#[derive(Debug)]
pub struct Bench {
    envoy: Envoy,
    log: RefCell<Log>,
    server: Server,
    /// Bound and not listening: connections to it are refused.
    refused: TcpSocket,
}

impl Bench {
    /// Starts an Envoy of this release with all that these scenarios need.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(scenarios: &[Scenario], version: &str) -> Self {
        let server = Server::start().await;
        let refused = TcpSocket::new_v4().expect("a socket");
        refused.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let nobody = refused.local_addr().expect("its address");
        let own = scenarios.iter().filter_map(|s| Some((s.name.as_str(), s.plugin.clone()?)));
        let plugins = [(MAIN, Plugin::default())].into_iter().chain(own);
        let listeners: Vec<Listener> =
            plugins.map(|(name, plugin)| listener(name, &plugin)).collect();
        let config = EnvoyConfig::new(
            listeners,
            [Cluster::new("upstream", [server.address]), Cluster::new("refused", [nobody])],
        );
        let options = Options {
            component_log_level: Some("wasm:trace".into()),
            ..Options::version(version).workers(1)
        };
        let envoy = Envoy::start(&config, &options).await.expect("Envoy starts");
        let log = RefCell::new(Log::new(envoy.folder()));
        Self { envoy, log, server, refused }
    }

    /// Runs one scenario; its trace, which ends with what it waited for in vain.
    ///
    /// # Panics
    /// When a step is none, or Envoy is gone.
    pub async fn run(&mut self, scenario: &Scenario) -> Vec<String> {
        let from = if scenario.plugin.is_some() { 0 } else { self.lines(0).len() };
        let listener = self.envoy.listener(scenario.plugin_name()).expect("its listener");
        let taken = BTreeMap::new();
        let mut run =
            Run { bench: self, scenario, from, listener, client: None, taken, configured: 0 };
        let mut waited = Ok(());
        for step in &scenario.steps {
            if waited.is_ok() {
                waited = run.step(Step::parse(step, &scenario.name)).await;
            }
        }
        if waited.is_ok() {
            waited = run.settle().await;
        }
        let mut trace = run.trace();
        trace.extend(waited.err().map(|wanted| format!("never: {wanted}")));
        trace
    }

    /// What probes have logged so far, from one line on.
    fn lines(&self, from: usize) -> Vec<Line> {
        self.log.borrow_mut().lines().get(from..).unwrap_or_default().to_vec()
    }
}

fn listener(name: &str, plugin: &Plugin) -> Listener {
    let wasm = wasm(name, plugin);
    let route = Route { retry_policy: plugin.retry.clone(), ..Route::new("/", "upstream") };
    let refused = Route::new("/to-refused", "refused");
    Listener::routes(name, [refused, route])
        .wasm(wasm)
        .with_http(|http| http.extra = json!({"generate_request_id": false}))
}

fn wasm(name: &str, plugin: &Plugin) -> Wasm {
    Wasm {
        name: name.into(),
        root_id: name.into(),
        vm_id: plugin.vm_id.clone().unwrap_or_else(|| name.into()),
        failure_policy: plugin.failure_policy.clone(),
        from_file: !plugin.changes.is_empty(),
        ..Wasm::new(leastload_modules::probe()).configuration(plugin.configuration())
    }
}

/// Nothing, or what was waited for in vain.
type Waited = Result<(), String>;

struct Run<'a> {
    bench: &'a mut Bench,
    scenario: &'a Scenario,
    from: usize,
    listener: SocketAddr,
    client: Option<Client>,
    taken: BTreeMap<String, Vec<Arrived>>,
    configured: usize,
}

impl Run<'_> {
    async fn step(&mut self, step: Step) -> Waited {
        match step {
            Step::Client(act) => self.client(act).await,
            Step::Upstream(path, act) => self.upstream(&path, act).await,
            Step::Wait { main, line } => self.wait(main, &line).await,
            Step::Configure => {
                self.configure().await;
                Ok(())
            }
        }
    }

    async fn client(&mut self, act: Act) -> Waited {
        if self.client.is_none() {
            self.client = Some(Client::connect(self.listener).await);
        }
        let client = self.client.as_mut().expect("it is connected");
        match act {
            Act::Receives(wanted) => {
                let seen = client.seen.clone();
                return self.until("the client receives it", |_| seen.now().has(wanted)).await;
            }
            Act::Headers { headers, end } => {
                let path = format!("/{}", self.scenario.name);
                let script = self.scenario.script.to_string();
                let headers = request(&path, &script, &headers);
                client.act(&Act::Headers { headers, end }).await;
            }
            act => client.act(&act).await,
        }
        Ok(())
    }

    async fn upstream(&mut self, path: &str, act: Act) -> Waited {
        let known = self.taken.get(path).map_or(0, Vec::len);
        if known == 0 || act == Act::Next {
            let deadline = Instant::now() + PATIENCE;
            let arrived = loop {
                if let Some(arrived) = self.bench.server.take(path) {
                    break arrived;
                }
                if Instant::now() > deadline {
                    return Err(format!("a request {path}"));
                }
                sleep(PAUSE).await;
            };
            self.taken.entry(path.to_owned()).or_default().push(arrived);
        }
        let Some(arrived) = self.taken.get_mut(path).and_then(|taken| taken.last_mut()) else {
            return Ok(());
        };
        match act {
            Act::Next => {}
            Act::Receives(wanted) => {
                let seen = arrived.seen.clone();
                return self.until("the upstream receives it", |_| seen.now().has(wanted)).await;
            }
            Act::Headers { headers, end } => {
                arrived.act(&Act::Headers { headers: response(&headers), end });
            }
            act => arrived.act(&act),
        }
        Ok(())
    }

    async fn wait(&self, main: bool, wanted: &str) -> Waited {
        self.until(wanted, |lines| lines.iter().any(|line| line.starts(main, wanted))).await
    }

    async fn configure(&mut self) {
        let mut plugin = self.scenario.plugin();
        plugin.configuration = plugin.changes[self.configured].clone();
        self.configured += 1;
        let wasm = wasm(self.scenario.plugin_name(), &plugin);
        let change = self.bench.envoy.set_wasm(&wasm).await.expect("Envoy judges it");
        assert!(matches!(change, Change::Accepted | Change::Rejected));
    }

    /// Waits until all is over.
    async fn settle(&self) -> Waited {
        if !self.scenario.crashes {
            self.until("every stream is deleted", Line::streams_are_gone).await?;
        }
        if let Some(client) = self.client.as_ref().filter(|client| !client.gave_up) {
            let seen = client.seen.clone();
            self.until("the end of the answer", |_| seen.now().has(Received::End)).await?;
        }
        for arrived in self.taken.values().flatten() {
            let seen = arrived.seen.clone();
            self.until("the end of a request", |_| seen.now().has(Received::End)).await?;
        }
        Ok(())
    }

    fn trace(&self) -> Vec<String> {
        let mut names = Names::default();
        names.address(self.bench.server.address.to_string(), "upstream");
        names.address(self.bench.server.address.port().to_string(), "port");
        names.address(self.listener.to_string(), "listener");
        let refused = self.bench.refused.local_addr().expect("its address");
        names.address(refused.to_string(), "refused");
        let mut trace = names.trace(&self.lines(), self.scenario.main_thread);
        if let Some(client) = &self.client {
            let mut message = client.seen.now();
            // What it did itself it did not receive.
            message.ending.take_if(|_| client.gave_up);
            trace.extend(message.lines("client"));
        }
        for (path, arrived) in &self.taken {
            let called = path.ends_with("/call") || path.ends_with("/call2");
            let who = if called { "callout" } else { "upstream" };
            trace.extend(arrived.iter().flat_map(|arrived| arrived.seen.now().lines(who)));
        }
        trace
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = self.bench.lines(self.from);
        lines.retain(|line| line.label == self.scenario.plugin_name());
        lines
    }

    async fn until(&self, what: &str, holds: impl Fn(&[Line]) -> bool) -> Waited {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.lines()) {
            if Instant::now() > deadline {
                return Err(what.to_owned());
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }
}
