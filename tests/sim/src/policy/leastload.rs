//! Ours: leastload's own core at one proxy, driven as the module drives it. A balancer for each
//! worker and one on the main thread, over one store and one set of gauges; what core leaves to
//! Envoy goes to Envoy's `LEAST_REQUEST`, as in the configurations that we ship.

mod config;

use std::collections::HashMap;
use std::mem;

use leastload_core::balancer::{Ask as CoreAsk, Balancer, Call, ClusterId, Ending, Verdict};
use leastload_core::config::{ClusterSettings, Config, Mechanism};
use leastload_core::memory::Memory;
use leastload_core::twin::TwinTuning;
use leastload_core::work::Work;
use serde_json::{Value, json};

pub(super) use self::config::LeastloadConfig;
use super::least_request::LeastRequest;
use super::{Ask, Ended, Env, Member, Needs, Outcome, Pick, Policy, RequestId, ServerId, Stamp};
use crate::scenario::{Scenario, Source};

/// Name of the one cluster.
const CLUSTER: &str = "simulated";
/// What a host takes in an admin answer of Envoy's, in bytes: core asks less often for long answers.
const HOST_BYTES: u64 = 800;
const MS: u64 = 1_000_000;
const US: u64 = 1_000;

impl LeastloadConfig {
    /// The configuration in force; whoever is there at the start is in it where the scenario says so.
    fn parsed(&self, scenario: &Scenario) -> Config {
        let mut config = Value::from(self.config.clone());
        if scenario.membership.source == Source::Static {
            let present = scenario
                .servers
                .iter()
                .flat_map(|group| (0..group.count).map(move |_| group.present));
            let there = (0..).zip(present).filter(|(_, present)| *present);
            let names: Vec<String> = there.map(|(server, _)| endpoint(server)).collect();
            config["discovery"]["static"] = json!({CLUSTER: names});
        }
        // The scenario was checked: a faulty configuration never comes here.
        Config::parse(config.to_string().as_bytes()).unwrap_or_default()
    }

    pub(super) fn build(&self, scenario: &Scenario, seed: u64) -> Leastload {
        let config = self.parsed(scenario);
        let paths = scenario.traffic.methods.iter().map(|method| config.methods.cost(&method.name));
        let servers: u32 = scenario.servers.iter().map(|group| group.count).sum();
        let names: Vec<String> = (0..servers).map(endpoint).collect();
        let vms = u64::from(scenario.proxies.workers) + 1;
        Leastload {
            settings: config.cluster(CLUSTER),
            costs: paths.collect(),
            period: config.discovery.tick_ms() * MS,
            answers: scenario.membership.source == Source::Admin,
            // The scenario was checked.
            twin: self.twin(&config).unwrap_or_default(),
            config,
            proxy: Memory::default(),
            vms: (0..vms)
                .map(|vm| {
                    let mut balancer = Balancer::new(seed.wrapping_add(vm), 0);
                    // The scenario was checked.
                    balancer.tuning = self.tuned().unwrap_or_default();
                    Vm { balancer, id: None }
                })
                .collect(),
            envoy: LeastRequest::default(),
            members: Vec::new(),
            answer: String::new(),
            listed: vec![false; names.len()],
            ids: names.iter().cloned().zip(0..).collect(),
            names,
            calls: Vec::new(),
            turn: 0,
            workers: HashMap::new(),
            begun: false,
        }
    }
}

/// How Envoy prints a server.
fn endpoint(server: ServerId) -> String {
    let [_, b, c, d] = server.to_be_bytes();
    format!("10.{b}.{c}.{d}:50051")
}

/// One of Envoy's threads.
struct Vm {
    balancer: Balancer,
    /// The cluster, once a request came.
    id: Option<ClusterId>,
}

/// A request as the filter sees it.
struct Open {
    call: Call,
    /// The endpoint that the override names.
    asked: Option<ServerId>,
    /// Endpoints that it names and Envoy has not come to, the next one last.
    named: Vec<ServerId>,
    attempts: u64,
    /// Which of the requests of that number it is.
    turn: u32,
    cost: Work,
}

impl Open {
    /// Whom the override names.
    fn name(&mut self, balancer: &Balancer, ids: &HashMap<String, ServerId>) {
        let hosts = balancer.override_hosts(&self.call).filter_map(|name| ids.get(name).copied());
        self.named = hosts.collect();
        self.named.reverse();
        self.asked = self.named.last().copied();
    }
}

/// leastload at one proxy.
pub(crate) struct Leastload {
    config: Config,
    settings: ClusterSettings,
    /// By method; where the scenario names none, every request costs 1.
    costs: Vec<Work>,
    /// Between two ticks of a VM, in ns.
    period: u64,
    /// Whether the admin interface does.
    answers: bool,
    proxy: Memory,
    /// How the twins learn that the servers have.
    twin: TwinTuning,
    /// By worker; the last is the main thread's.
    vms: Vec<Vm>,
    envoy: LeastRequest,
    members: Vec<Member>,
    /// What the admin interface says of them.
    answer: String,
    /// By server: whether it is a member.
    listed: Vec<bool>,
    names: Vec<String>,
    ids: HashMap<String, ServerId>,
    /// By request.
    calls: Vec<Option<Open>>,
    turn: u32,
    /// By token of a question: the worker that asks.
    workers: HashMap<u64, u16>,
    begun: bool,
}

impl Leastload {
    /// The admin interface's answer.
    fn answer(&self) -> String {
        let host = |member: &Member| {
            let name = &self.names[member.server as usize];
            let (address, port) = name.rsplit_once(':').unwrap_or((name, "0"));
            json!({
                "address": {"socket_address": {
                    "address": address, "port_value": port.parse::<u16>().unwrap_or(0)
                }},
                "health_status": {"eds_health_status": "HEALTHY"},
                "weight": member.weight,
            })
        };
        let hosts: Vec<Value> = self.members.iter().map(host).collect();
        let admin = self.config.discovery.admin_cluster.as_deref().unwrap_or_default();
        json!({"cluster_statuses": [
            {"name": CLUSTER, "host_statuses": hosts}, {"name": admin, "host_statuses": []}
        ]})
        .to_string()
    }

    fn open(&mut self, request: RequestId) -> &mut Option<Open> {
        let index = request as usize;
        if index >= self.calls.len() {
            self.calls.resize_with(index + 1, || None);
        }
        &mut self.calls[index]
    }

    /// The filter sees a request.
    fn begin(&mut self, now: u64, ask: &Ask<'_>) -> Open {
        let Self { config, settings, proxy, vms, ids, .. } = self;
        let vm = &mut vms[usize::from(ask.worker)];
        let cost = self.costs.get(usize::from(ask.method)).copied().unwrap_or(Work::ONE);
        let id = match vm.id {
            Some(id) => id,
            None => *vm.id.insert(
                #[allow(clippy::expect_used)]
                vm.balancer.cluster(proxy, CLUSTER, settings).expect("there is one cluster"),
            ),
        };
        vm.balancer.set_time(now / US);
        let call = vm.balancer.start(proxy, id, CoreAsk { config, settings, cost });
        self.turn += 1;
        let mut open =
            Open { call, asked: None, named: Vec::new(), attempts: 0, turn: self.turn, cost };
        open.name(&vm.balancer, ids);
        open
    }

    /// A request that waits goes on: all have answered, or it has waited long enough.
    fn settle(&mut self, env: &mut Env<'_>, request: RequestId, worker: u16) {
        let Self { config, settings, proxy, vms, ids, calls, .. } = self;
        let Some(Some(open)) = calls.get_mut(request as usize) else { return };
        let balancer = &mut vms[usize::from(worker)].balancer;
        balancer.set_time(env.now / US);
        balancer.settle(proxy, &mut open.call, CoreAsk { config, settings, cost: open.cost });
        open.name(balancer, ids);
        let pick = self.send(env, request, worker);
        env.resume(request, pick);
    }

    /// A request leaves for whom the override names, or whom Envoy chooses.
    fn send(&mut self, env: &mut Env<'_>, request: RequestId, worker: u16) -> Pick {
        let Self { calls, listed, .. } = self;
        let Some(Some(open)) = calls.get_mut(request as usize) else { return Pick::Nobody };
        open.attempts += 1;
        // stateful_session names one and has no say in retries. override_host takes the next of its
        // list that is there (`override_host/load_balancer.cc`, `getEndpoint`).
        let member = loop {
            match open.named.pop() {
                Some(server) if !listed[server as usize] => {}
                member => break member,
            }
        };
        let Some(server) = member.or_else(|| self.envoy.choose(env, worker)) else {
            return Pick::Nobody;
        };
        self.envoy.sent(server);
        Pick::Server(server)
    }

    /// The filter sees the end of a request. `at`: who served it, where Envoy chose anybody.
    fn end(&mut self, worker: u16, open: Open, at: Option<ServerId>, outcome: Outcome) {
        let Open { mut call, asked, attempts, .. } = open;
        let balancer = &mut self.vms[usize::from(worker)].balancer;
        let name = at.map(|server| self.names[server as usize].as_str());
        if outcome != Outcome::GivenUp
            && let Some(name) = name
        {
            let session = self.config.steering.mechanism == Mechanism::StatefulSession;
            if session && asked.is_some() && asked != at {
                call.contradict();
            }
            if call.wants_address() {
                balancer.served(&self.proxy, &mut call, name, || attempts);
            }
        }
        let ending = match outcome {
            Outcome::Answered => Ending::Answered,
            Outcome::Failed => Ending::Failed,
            Outcome::GivenUp => Ending::Undecided,
        };
        // As the module: after an answer nobody asks who gave it.
        let at = name.filter(|_| outcome != Outcome::Answered);
        balancer.end(&self.proxy, call, ending, at);
    }
}

impl Policy for Leastload {
    fn members(&mut self, env: &mut Env<'_>, members: &[Member]) {
        self.members = members.to_vec();
        self.listed.fill(false);
        for member in members {
            self.listed[member.server as usize] = true;
        }
        self.envoy.members(env, members);
        if self.answers {
            self.answer = self.answer();
        }
        if !mem::replace(&mut self.begun, true) {
            for vm in 0..self.vms.len() {
                // Threads start their timers when they start, not together.
                let phase = env.rng.u64(..self.period);
                env.timer(env.now + phase, vm as u64);
            }
        }
    }

    fn pick(&mut self, env: &mut Env<'_>, ask: &Ask<'_>) -> Pick {
        let index = ask.request;
        let retried = self.open(index).is_some();
        if !retried {
            let open = self.begin(env.now, ask);
            *self.open(index) = Some(open);
        }
        let Some(Some(open)) = self.calls.get_mut(index as usize) else { return Pick::Nobody };
        if open.call.verdict() != Verdict::Asking {
            return self.send(env, index, ask.worker);
        }
        let vm = &self.vms[usize::from(ask.worker)];
        let token = u64::from(open.turn) << 32 | u64::from(index);
        for (_, name) in vm.balancer.questions(&open.call) {
            if let Some(server) = self.ids.get(name) {
                env.probe(*server, token);
            }
        }
        let wish = CoreAsk { config: &self.config, settings: &self.settings, cost: open.cost };
        let longest = vm.balancer.longest_wait_us(open.call.cluster(), wish) * US;
        env.timer(env.now + longest, token);
        self.workers.insert(token, ask.worker);
        Pick::Wait
    }

    fn ended(&mut self, env: &mut Env<'_>, ended: &Ended<'_>) {
        self.envoy.finished(ended.server);
        let Self { vms, calls, names, proxy, .. } = self;
        let balancer = &mut vms[usize::from(ended.worker)].balancer;
        balancer.set_time(env.now / US);
        if let Some(load) = ended.stamp.and_then(|stamp| stamp.load)
            && let Some(Some(open)) = calls.get(ended.request as usize)
            && open.call.wants_stamp()
            && let Some(slot) = balancer.slot_of(open.call.cluster(), &names[ended.server as usize])
        {
            let carried = balancer.counts_on(&open.call, slot);
            balancer.heard(proxy, open.call.cluster(), slot, &load, carried);
        }
        if ended.last
            && let Some(open) = self.open(ended.request).take()
        {
            self.end(ended.worker, open, Some(ended.server), ended.outcome);
        }
    }

    fn abandoned(&mut self, env: &mut Env<'_>, ask: &Ask<'_>) {
        self.vms[usize::from(ask.worker)].balancer.set_time(env.now / US);
        if let Some(open) = self.open(ask.request).take() {
            self.end(ask.worker, open, None, Outcome::GivenUp);
        }
    }

    fn needs(&self) -> Needs {
        Needs { stamps: true, twin: Some(self.twin), ..Needs::default() }
    }

    #[allow(clippy::cast_possible_truncation)]
    fn probed(&mut self, env: &mut Env<'_>, server: ServerId, token: u64, stamp: Option<&Stamp>) {
        let Some(&worker) = self.workers.get(&token) else { return };
        let Self { config, settings, vms, names, proxy, .. } = self;
        let vm = &mut vms[usize::from(worker)];
        vm.balancer.set_time(env.now / US);
        let Some(id) = vm.id else { return };
        let Some(slot) = vm.balancer.slot_of(id, &names[server as usize]) else { return };
        let load = stamp.and_then(|stamp| stamp.load);
        match load {
            Some(load) => vm.balancer.heard(proxy, id, slot, &load, Work::ZERO),
            None => vm.balancer.unheard(id, slot),
        }
        let request = token as u32;
        if let Some(Some(open)) = self.calls.get_mut(request as usize)
            && u64::from(open.turn) == token >> 32
            && open.call.verdict() == Verdict::Asking
            && let ask = (CoreAsk { config, settings, cost: open.cost })
            && vm.balancer.answered(proxy, &mut open.call, ask, slot, load.is_some())
        {
            self.settle(env, request, worker);
        }
    }

    /// A VM ticks, or a request has waited long enough.
    #[allow(clippy::cast_possible_truncation)]
    fn timer(&mut self, env: &mut Env<'_>, vm: u64) {
        if vm >> 32 > 0 {
            let Some(worker) = self.workers.remove(&vm) else { return };
            let request = vm as u32;
            if let Some(Some(open)) = self.calls.get(request as usize)
                && u64::from(open.turn) == vm >> 32
                && open.call.verdict() == Verdict::Asking
            {
                self.settle(env, request, worker);
            }
            return;
        }
        env.timer(env.now + self.period, vm);
        let balancer = &mut self.vms[vm as usize].balancer;
        if balancer.tick(&self.proxy, &self.config, env.now / MS).is_none() {
            return;
        }
        if !self.answers {
            balancer.admin_failed(&self.proxy, &self.config);
            return;
        }
        let length = HOST_BYTES * self.members.len() as u64;
        let Self { proxy, vms, config, answer, .. } = self;
        let balancer = &mut vms[vm as usize].balancer;
        // Well formed: nothing is wrong with it.
        let _ = balancer.admin_answered(proxy, config, answer.as_bytes(), length);
    }
}

#[cfg(test)]
mod tests;
