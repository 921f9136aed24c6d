//! A proxy, what is under way in it, and what must hold after every step.

use core::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use leastload_filter_tests::lab::{
    ADMIN, CLUSTER, HEADER, HOSTS, METHOD, TICK, sidecar, with_override_host,
};
use leastload_filter_tests::stats::{leftovers, work, work_gauges};
use leastload_testhost::{
    AdminMode, Call, Cluster, FailurePolicy, Fault, Host, HostCall, LogLevel, Proxy, Response,
    Status, Worker,
};
use serde_json::json;

use crate::action::{Action, Admin, Ending, Fault as Kinds, Kind};
use crate::model::Model;

/// Ticks after the last event until all counts are exact: 13 by docs/architecture.md, where a worker
/// and the coordinator die together, and 3 for a VM that starts with another phase.
const BOUND: u32 = 16;
/// Time is looked at in slices: the admin interface answers at the end of one.
const SLICE: Duration = Duration::from_millis(50);
/// Most bytes of linear memory of a VM.
const MEMORY: usize = 4_000_000;

/// What the host says of a VM that an action killed.
const PLANNED: &str = "the test killed it";

/// A call under way.
struct Open {
    call: Call,
    /// An override names a host.
    steered: bool,
    /// Its response began.
    begun: bool,
    /// The number of the VM that counts it, and whether that died.
    vm: u32,
    lost: bool,
}

pub(crate) struct World {
    proxy: Proxy,
    by_policy: bool,
    open: Vec<Open>,
    model: Model,
    admin: Admin,
    /// Ticks that a timer fired early, since time last passed.
    early: u32,
    /// When something last happened after which counts may be off for a while.
    shaken: Duration,
    /// Planned faults may still strike.
    faults: bool,
}

impl World {
    pub(crate) fn new(workers: usize, by_policy: bool, seed: u64) -> Self {
        let builder = if by_policy { with_override_host(json!({})) } else { sidecar(json!({})) };
        let cluster = Cluster::new(CLUSTER).hosts(HOSTS).retries(1);
        let cluster = if by_policy { cluster.override_host(HEADER) } else { cluster };
        let proxy = builder
            .cluster(cluster)
            .admin(ADMIN, AdminMode::Held)
            .failure_policy(FailurePolicy::FailReload)
            .workers(workers)
            .seed(seed)
            .start();
        let model = Model::new(HOSTS.map(Host::new).to_vec());
        Self {
            proxy,
            by_policy,
            open: Vec::new(),
            model,
            admin: Admin::Answers,
            early: 0,
            shaken: Duration::ZERO,
            faults: false,
        }
    }

    /// What happened, as text.
    pub(crate) fn trace(&self) -> String {
        self.proxy.trace().to_string()
    }

    pub(crate) fn step(&mut self, action: &Action) {
        match *action {
            Action::Request { worker, kind } => self.request(worker, kind),
            Action::Begin(call) => self.begin(call),
            Action::End(call, ending) => self.finish(call, ending),
            Action::Advance(ms) => self.advance(Duration::from_millis(ms)),
            Action::Tick(thread) => self.tick(thread),
            Action::Join(host) => self.join(host),
            Action::Leave(host) => self.edit(host, |hosts, at| drop(hosts.remove(at))),
            Action::Health(host, health) => self.edit(host, |hosts, at| hosts[at].health = health),
            Action::Priority(host, to) => self.edit(host, |hosts, at| hosts[at].priority = to),
            Action::Weight(host, weight) => self.edit(host, |hosts, at| hosts[at].weight = weight),
            Action::Admin(admin) => self.admin = admin,
            Action::Crash(thread) => {
                self.lose(thread);
                self.thread(thread).crash();
            }
            Action::Restart(thread) => {
                self.lose(thread);
                self.thread(thread).restart();
            }
            Action::Configure(which) => self.configure(which),
            Action::Upgrade => {
                assert!(self.proxy.load(leastload_modules::release()));
                self.shake();
            }
            Action::Fail(kind, nth) => self.plan(kind, nth),
        }
        self.check(action);
    }

    /// Everything ends, the bound passes, and nothing is left.
    pub(crate) fn end(mut self) {
        self.proxy.clear_faults();
        self.admin = Admin::Answers;
        for open in self.open.drain(..) {
            open.call.respond(Response::ok());
            let headers = open.call.response().headers;
            assert!(headers.is_none_or(|headers| !headers.contains(HEADER)), "reached a client");
        }
        let workers = self.proxy.workers().len();
        (0..=workers)
            .filter(|n| !self.thread(*n).is_alive())
            .for_each(|n| self.thread(n).restart());
        self.advance(TICK * BOUND);
        assert_eq!(leftovers(&self.proxy), [], "work is left");
        for worker in self.proxy.workers() {
            assert_eq!(worker.contexts(), 0, "contexts of {}", worker.thread());
            assert_eq!(worker.roots(), 1, "roots of {}", worker.thread());
            assert!(worker.memory() < MEMORY, "{} bytes", worker.memory());
        }
    }

    fn now(&self) -> Duration {
        self.proxy.now()
    }

    fn shake(&mut self) {
        self.shaken = self.now();
    }

    /// A worker, or the main thread.
    fn thread(&self, index: usize) -> Worker {
        let workers = self.proxy.workers();
        match index % (workers.len() + 1) {
            at if at < workers.len() => workers[at].clone(),
            _ => self.proxy.main(),
        }
    }

    /// The VM of a thread goes, and what it counts with it.
    fn lose(&mut self, thread: usize) {
        let vm = self.thread(thread).vm();
        self.open.iter_mut().filter(|open| open.vm == vm).for_each(|open| open.lost = true);
        self.shake();
    }

    fn request(&mut self, worker: usize, kind: Kind) {
        let worker = self.proxy.worker(worker % self.proxy.workers().len());
        let was_alive = worker.is_alive();
        if !was_alive {
            self.shake();
        }
        let call = match kind {
            Kind::Grpc => worker.grpc(METHOD).to_cluster(CLUSTER),
            Kind::Spoofed => {
                worker.grpc(METHOD).header(HEADER, "203.0.113.9:1").to_cluster(CLUSTER)
            }
            Kind::Plain => worker.http("GET", "/").header(HEADER, "x").to_cluster(CLUSTER),
            Kind::NoRoute => return drop(worker.grpc(METHOD).without_route()),
        };
        if call.is_over() || call.local_reply().is_some() {
            let excused = !was_alive || !self.model.can_serve();
            assert!(excused, "Envoy alone would have served it: {:?}", call.local_reply());
            return;
        }
        let named = self.named(&call);
        assert!(matches!(kind, Kind::Grpc | Kind::Spoofed) || named.is_empty());
        for host in &named {
            assert!(self.model.allows(host, self.now()), "{host} is not eligible: {named:?}");
        }
        if named.is_empty()
            && let Some(host) = call.chosen()
        {
            self.model.served(&host);
        }
        let vm = worker.vm();
        self.open.push(Open { call, steered: !named.is_empty(), begun: false, vm, lost: false });
    }

    /// The hosts that the override names.
    fn named(&self, call: &Call) -> Vec<String> {
        let headers = call.headers();
        let values = headers.all(HEADER);
        assert!(values.len() <= 1, "{values:?}");
        let Some(value) = values.first() else { return Vec::new() };
        if self.by_policy {
            return value.split(',').map(str::to_owned).collect();
        }
        let host = STANDARD.decode(value).expect("base64");
        vec![String::from_utf8(host).expect("a host")]
    }

    fn begin(&mut self, call: usize) {
        let Some(at) = call.checked_rem(self.open.len()) else { return };
        let open = &mut self.open[at];
        if !open.begun {
            open.begun = true;
            open.call.response_headers([(":status", "200"), (HEADER, "spoofed")], false);
        }
    }

    fn finish(&mut self, call: usize, ending: Ending) {
        let Some(at) = call.checked_rem(self.open.len()) else { return };
        let Open { call, begun, .. } = &self.open[at];
        match ending {
            Ending::Cancelled => call.reset(),
            Ending::Disconnected => call.disconnect(),
            Ending::Fails(failure) => call.fail(failure),
            _ if *begun => call.response_trailers([("grpc-status", "0")]),
            Ending::Ok => call.respond(Response::ok()),
            Ending::Error => call.respond(Response::status(13)),
            Ending::TrailersOnly(status) => call.respond(Response::trailers_only(status)),
            Ending::Spoofed => call.respond(Response::ok().header(HEADER, "spoofed")),
        }
        if self.open[at].call.is_over() {
            let over = self.open.swap_remove(at);
            let headers = over.call.response().headers;
            assert!(headers.is_none_or(|headers| !headers.contains(HEADER)), "reached a client");
        }
    }

    fn advance(&mut self, time: Duration) {
        let until = self.now() + time;
        while self.now() < until {
            self.proxy.advance(SLICE.min(until.saturating_sub(self.now())));
            self.answer();
        }
        if time >= TICK {
            self.early = 0;
        }
    }

    fn answer(&mut self) {
        if self.admin == Admin::Silent {
            self.model.failed();
            return;
        }
        for call in self.proxy.http_calls() {
            match self.admin {
                Admin::Answers => {
                    call.respond(200, self.proxy.admin_clusters(None));
                    self.model.answered(self.now());
                    continue;
                }
                Admin::Refuses => call.refuse(),
                Admin::Resets => call.fail(),
                Admin::TimesOut => call.time_out(),
                Admin::Nonsense => call.respond(200, "{\"cluster_statuses\":[{\"name\":"),
                Admin::Silent => {}
            }
            self.model.failed();
        }
    }

    /// Seldom enough that nobody is taken for dead.
    fn tick(&mut self, thread: usize) {
        self.early += 1;
        if self.early <= 2 {
            self.thread(thread).tick();
        }
    }

    fn join(&mut self, host: u8) {
        let address = format!("10.0.0.{host}:80");
        if self.model.hosts.iter().all(|host| host.address != address) {
            self.model.hosts.push(Host::new(address));
            self.publish();
        }
    }

    fn edit(&mut self, host: usize, edit: impl FnOnce(&mut Vec<Host>, usize)) {
        let Some(at) = host.checked_rem(self.model.hosts.len()) else { return };
        edit(&mut self.model.hosts, at);
        self.publish();
    }

    fn publish(&self) {
        let hosts = self.model.hosts.clone();
        self.proxy.edit_cluster(CLUSTER, |cluster| cluster.hosts = hosts);
    }

    fn configure(&self, which: usize) {
        let mut config = match which {
            0 => json!({}),
            1 => json!({"override": {"spares": 0}}),
            2 => json!({"rollout": {"percent": 50}}),
            3 => json!({"rollout": {"mode": "shadow"}}),
            4 => json!({"enabled": false}),
            5 => json!({"picker": {"scan_limit": 1, "samples": 2}}),
            _ => json!({"no_such_thing": true}),
        };
        if self.by_policy {
            config["override"]["mechanism"] = json!("override_host");
        }
        assert!(self.proxy.configure(config), "a configuration is never refused");
    }

    fn plan(&mut self, kind: Kinds, nth: u64) {
        let (call, status) = match kind {
            Kinds::PropertyMissing => (HostCall::GetProperty, Status::NotFound),
            Kinds::PropertyFails => (HostCall::GetProperty, Status::SerializationFailure),
            Kinds::LostRace => (HostCall::SetSharedData, Status::CasMismatch),
            Kinds::NoCluster => (HostCall::HttpCall, Status::BadArgument),
            Kinds::CallFails => (HostCall::HttpCall, Status::InternalFailure),
        };
        self.proxy.fault(Fault::at(call).nth(nth).returns(status));
        self.faults = true;
        self.model.failed();
    }

    fn check(&self, action: &Action) {
        let died = self
            .proxy
            .logs()
            .into_iter()
            .filter(|line| line.level == LogLevel::Critical && !line.text.contains(PLANNED));
        assert_eq!(died.collect::<Vec<_>>(), [], "{action:?}: a VM died");
        for (name, value) in work_gauges(&self.proxy) {
            assert!(value >= 0, "{action:?}: {name} is {value}");
        }
        // Nothing that needs time to heal happened within the bound.
        if !self.faults && self.now() >= self.shaken + TICK * BOUND {
            let living = || self.open.iter().filter(|open| !open.lost);
            let least = living().filter(|open| open.steered && !open.begun).count();
            let range = least * 1_000..=living().count() * 1_000;
            let work = usize::try_from(work(&self.proxy)).expect("not negative");
            assert!(range.contains(&work), "{action:?}: {work} is not in {range:?}");
        }
    }
}
