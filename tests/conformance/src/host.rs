//! Scenarios in `leastload-testhost`.

use std::{collections::BTreeMap, time::Duration};

use leastload_testhost::{
    Call, Cluster, Failure, FailurePolicy, Headers, LogLevel, Passed, Plugin, Proxy, Thread,
};

use crate::{
    callout::Callout,
    scenario::{MAIN, Scenario},
    seen::Message,
    step::{Act, Received, Step, framed, request, response},
    trace::{Line, Names, line},
};

/// The only host of the cluster `upstream`.
const UPSTREAM: &str = "192.0.2.1:1001";
/// The only host of the cluster `refused`, which nobody can reach.
const REFUSED: &str = "192.0.2.1:1002";
/// Where requests come in.
const LISTENER: &str = "192.0.2.1:1000";
/// How much of the proxy's time may pass until what is waited for comes.
const PATIENCE: Duration = Duration::from_secs(10);

/// A proxy for all scenarios that bring no plugin.
pub struct Bench {
    main: Proxy,
}

impl Bench {
    /// Starts it.
    #[expect(clippy::new_without_default, reason = "it is no value, it runs")]
    pub fn new() -> Self {
        let scenario = Scenario::named(MAIN);
        Self { main: proxy(&scenario) }
    }

    /// Runs one scenario; its trace, which ends with what it waited for in vain.
    ///
    /// # Panics
    /// When a step is none.
    pub fn run(&self, scenario: &Scenario) -> Vec<String> {
        let proxy = match scenario.plugin {
            Some(_) => proxy(scenario),
            None => self.main.clone(),
        };
        let from = if scenario.plugin.is_some() { 0 } else { proxy.logs().len() };
        let mut run = Run {
            scenario,
            proxy,
            from,
            call: None,
            gave_up: false,
            attempts: 0,
            callouts: BTreeMap::new(),
            configured: 0,
        };
        let mut waited = Ok(());
        for step in &scenario.steps {
            if waited.is_ok() {
                waited = run.step(Step::parse(step, &scenario.name));
                run.refuse();
            }
        }
        if waited.is_ok() {
            waited = run.settle();
        }
        let mut trace = run.trace();
        trace.extend(waited.err().map(|wanted| format!("never: {wanted}")));
        trace
    }
}

fn proxy(scenario: &Scenario) -> Proxy {
    let (name, plugin) = (scenario.plugin_name(), scenario.plugin());
    let retries = plugin.retry.as_ref().and_then(|retry| retry["num_retries"].as_u64());
    let retries = u32::try_from(retries.unwrap_or(0)).expect("few retries");
    let policy = match plugin.failure_policy.as_deref() {
        Some("FAIL_OPEN") => FailurePolicy::FailOpen,
        Some("FAIL_RELOAD") => FailurePolicy::FailReload,
        _ => FailurePolicy::FailClosed,
    };
    Proxy::new(leastload_modules::probe())
        .first_plugin(Plugin::new(name).root_id(name).config(plugin.configuration()))
        .vm_id(plugin.vm_id.as_deref().unwrap_or(name))
        .failure_policy(policy)
        .log_level(LogLevel::Trace)
        .cluster(Cluster::new("upstream").hosts([UPSTREAM]).retries(retries))
        .cluster(Cluster::new("refused").hosts([REFUSED]))
        // What the configuration of the real one says.
        .property(&["xds", "node", "id"], "leastload-test")
        .property(&["xds", "route_name"], "")
        .property(&["xds", "listener_direction"], 0_i64)
        .property(&["connection", "mtls"], false)
        .property(&["connection", "requested_server_name"], "")
        .property(&["destination", "address"], LISTENER)
        .property(&["request", "protocol"], "HTTP/2")
        .start()
}

type Waited = Result<(), String>;

struct Run<'a> {
    scenario: &'a Scenario,
    proxy: Proxy,
    from: usize,
    call: Option<Call>,
    gave_up: bool,
    /// Requests that steps turned to.
    attempts: usize,
    callouts: BTreeMap<String, Vec<Callout>>,
    configured: usize,
}

impl Run<'_> {
    fn step(&mut self, step: Step) -> Waited {
        match step {
            Step::Client(act) => self.client(act),
            Step::Upstream(path, act) if path == format!("/{}", self.scenario.name) => {
                self.upstream(act)
            }
            Step::Upstream(path, act) => self.callout(&path, &act),
            Step::Wait { main, line } => {
                self.until(&line, |run| run.lines().iter().any(|known| known.starts(main, &line)))
            }
            Step::Configure => {
                let plugin = self.scenario.plugin();
                self.proxy.configure(&plugin.changes[self.configured]);
                self.configured += 1;
                Ok(())
            }
        }
    }

    fn client(&mut self, act: Act) -> Waited {
        if let Act::Headers { headers, end } = act {
            self.open(&headers, end);
            return Ok(());
        }
        let call = self.call.as_ref().expect("the client sent headers first");
        self.gave_up |= matches!(act, Act::Reset(_) | Act::Disconnect);
        match act {
            Act::Data { data, end } => call.send_body(data, end),
            Act::Message { message, end } => call.send_body(framed(&message), end),
            Act::Trailers(trailers) => call.send_trailers(trailers),
            Act::Reset(_) => call.reset(),
            Act::Disconnect => call.disconnect(),
            Act::Receives(wanted) => {
                return self.until("the client receives it", |run| run.received().has(wanted));
            }
            act => panic!("not a client's: {act:?}"),
        }
        Ok(())
    }

    fn open(&mut self, headers: &[(String, String)], end: bool) {
        let path = format!("/{}", self.scenario.name);
        let cluster = if path.starts_with("/to-refused") { "refused" } else { "upstream" };
        let script = self.scenario.script.to_string();
        let mut call = self.proxy.worker(0).http("POST", &path);
        for (name, value) in request(&path, &script, headers) {
            call = if name.starts_with(':') {
                call.set_header(&name, Some(&value))
            } else {
                call.header(&name, &value)
            };
        }
        let call = if end { call } else { call.streaming() };
        self.call = Some(call.to_cluster(cluster));
    }

    fn upstream(&mut self, act: Act) -> Waited {
        let wanted = self.attempts.max(1) + usize::from(act == Act::Next);
        self.until("a request to the upstream", |run| run.arrived() >= wanted)?;
        self.attempts = wanted;
        let call = self.call.as_ref().expect("the client sent headers first");
        match act {
            Act::Headers { headers, end } => call.response_headers(response(&headers), end),
            Act::Data { data, end } => call.response_body(data, end),
            Act::Message { message, end } => call.response_body(framed(&message), end),
            Act::Trailers(trailers) => call.response_trailers(trailers),
            Act::Reset(_) => call.fail(Failure::Reset),
            Act::Disconnect => call.fail(Failure::ConnectionLost),
            Act::Next => {}
            Act::Receives(wanted) => {
                return self.until("the upstream receives it", |run| run.sent().has(wanted));
            }
        }
        Ok(())
    }

    /// Requests of this scenario that have reached the upstream.
    fn arrived(&self) -> usize {
        let call = self.call.as_ref().filter(|call| call.chosen().is_some());
        call.map_or(0, |call| call.attempts() as usize)
    }

    fn callout(&mut self, path: &str, act: &Act) -> Waited {
        let known = self.callouts.get(path).map_or(0, Vec::len);
        if known == 0 || *act == Act::Next {
            let find = |run: &Self| {
                let taken = run.callouts.get(path).map(Vec::as_slice).unwrap_or_default();
                Callout::find(&run.proxy, path, taken)
            };
            self.until(&format!("a request {path}"), |run| find(run).is_some())?;
            let found = find(self).into_iter();
            self.callouts.entry(path.to_owned()).or_default().extend(found);
        }
        let callout = self.callouts.get_mut(path).and_then(|all| all.last_mut());
        let callout = callout.expect("it is there");
        match act {
            Act::Receives(wanted) if !callout.seen().has(*wanted) => {
                Err("the callout receives it".into())
            }
            act => {
                callout.act(act);
                Ok(())
            }
        }
    }

    /// Fails what goes to the cluster that nobody can reach.
    fn refuse(&self) {
        let calls = self.proxy.http_calls().into_iter();
        calls.filter(|call| call.cluster == "refused").for_each(|call| call.refuse());
        let routed = |call: &&Call| call.chosen().as_deref() == Some(REFUSED) && !call.is_over();
        if let Some(call) = self.call.as_ref().filter(routed) {
            call.fail(Failure::Connect);
        }
    }

    fn settle(&self) -> Waited {
        if !self.scenario.crashes {
            self.until("every stream is deleted", |run| Line::streams_are_gone(&run.lines()))?;
        }
        if self.call.is_some() && !self.gave_up {
            self.until("the end of the answer", |run| run.received().has(Received::End))?;
        }
        Ok(())
    }

    /// Lets time pass until it holds.
    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Waited {
        let end = self.proxy.now() + PATIENCE;
        while !holds(self) {
            if self.proxy.now() > end {
                return Err(what.to_owned());
            }
            self.proxy.advance(Duration::from_millis(1));
            self.refuse();
        }
        Ok(())
    }

    fn lines(&self) -> Vec<Line> {
        let logs = self.proxy.logs();
        let said = logs.iter().skip(self.from).filter_map(|said| {
            let level = match said.level {
                LogLevel::Trace => "trace",
                LogLevel::Debug => "debug",
                LogLevel::Info => "info",
                LogLevel::Warn => "warning",
                LogLevel::Error => "error",
                LogLevel::Critical => "critical",
            };
            line(!matches!(said.thread, Thread::Worker(_)), level, &said.text)
        });
        said.collect()
    }

    /// What the client has.
    fn received(&self) -> Message {
        let Some(call) = &self.call else { return Message::default() };
        message(call.response(), call.is_over())
    }

    /// What the upstream has.
    fn sent(&self) -> Message {
        let Some(call) = &self.call else { return Message::default() };
        message(call.stream().upstream(), call.is_over())
    }

    fn trace(&mut self) -> Vec<String> {
        let mut names = Names::default();
        names.address(UPSTREAM, "upstream");
        names.address(REFUSED, "refused");
        names.address(LISTENER, "listener");
        let mut trace = names.trace(&self.lines(), self.scenario.main_thread);
        if self.call.is_some() {
            let mut received = self.received();
            received.ending.take_if(|_| self.gave_up);
            trace.extend(received.lines("client"));
        }
        for _ in 0..self.attempts {
            let mut sent = self.sent();
            sent.headers.retain(|(name, _)| name != ":scheme");
            trace.extend(sent.lines("upstream"));
        }
        for callouts in self.callouts.values_mut() {
            trace.extend(callouts.iter_mut().flat_map(|callout| callout.seen().lines("callout")));
        }
        trace
    }
}

pub(crate) fn list(headers: &Headers) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    headers.iter().map(|(name, value)| (name.to_owned(), text(value))).collect()
}

fn message(passed: Passed, over: bool) -> Message {
    let ending = if passed.ended { Some("end") } else { over.then_some("reset") };
    Message {
        headers: passed.headers.as_ref().map(list).unwrap_or_default(),
        body: passed.body,
        trailers: passed.trailers.as_ref().map(list).unwrap_or_default(),
        ending: ending.map(str::to_owned),
    }
}
