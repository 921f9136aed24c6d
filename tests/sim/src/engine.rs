//! The simulation: events in the order of their virtual times.

mod arrivals;
mod fleet;
mod latency;
mod membership;
mod probes;
mod queue;
mod requests;
mod server;
mod timeline;
mod twin;
mod work;

use std::io::Write;
use std::rc::Rc;

use fastrand::Rng;
use slab::Slab;

use crate::measure::{Figures, Meter};
use crate::policy::{Action, Env, Member, Needs, Policy, Rule, Truth};
use crate::random::{is_among, stream, unit_exponential};
use crate::scenario::{Arrivals, Scenario};

use arrivals::Source;
pub(crate) use arrivals::rate;
use fleet::Fleet;
use membership::Newcomers;
use probes::Probe;
use queue::{Lane, Queue, What};
use requests::Request;
use server::Job;
use timeline::Change;

/// A proxy: its policy, and the latest list of servers that it heard of.
struct Proxy {
    policy: Box<dyn Policy>,
    heard: u32,
}

/// A policy's timer.
#[derive(Clone, Copy)]
struct Timer {
    proxy: u32,
    token: u64,
}

/// A run under way.
pub(crate) struct Simulation<'a> {
    scenario: &'a Scenario,
    now: u64,
    queue: Queue,
    source: Source<'a>,
    proxies: Vec<Proxy>,
    fleet: Fleet,
    truth: Vec<Truth>,
    needs: Needs,
    requests: Slab<Request>,
    /// Requests ever begun.
    numbers: u32,
    probes: Slab<Probe>,
    timers: Slab<Timer>,
    /// What the policy just asked for.
    actions: Vec<Action>,
    choices: Rng,
    network: Rng,
    /// What happens whoever balances: neighbours, and when news arrives.
    world: Rng,
    /// What depends on where requests and probes go: failures and losses.
    chances: Rng,
    changes: Vec<Change>,
    /// The control plane's lists of servers, by version.
    lists: Vec<Rc<[Member]>>,
    /// Jobs in the one central queue, first come first served.
    central: std::collections::VecDeque<Job>,
    newcomers: Newcomers,
    meter: Meter,
    /// Work done and possible by each server when measuring began.
    work: Vec<(f64, f64)>,
    trace: Option<&'a mut (dyn Write + 'a)>,
}

/// Runs a scenario under one policy.
///
/// `trace` gets a JSON line for each sample: the time in s and what each server has in flight.
///
/// # Panics
/// Where the run breaks a law it must keep: the simulator is wrong then.
pub fn run<'a>(
    scenario: &'a Scenario,
    rule: &Rule,
    seed: u64,
    trace: Option<&'a mut (dyn Write + 'a)>,
) -> Figures {
    let mut simulation = Simulation::new(scenario, rule, seed, trace);
    simulation.start();
    simulation.run();
    simulation.finish()
}

impl<'a> Simulation<'a> {
    fn new(
        scenario: &'a Scenario,
        rule: &Rule,
        seed: u64,
        trace: Option<&'a mut (dyn Write + 'a)>,
    ) -> Self {
        let mut fleet = Fleet::new(scenario);
        let count = scenario.proxies.count;
        let fallback = Rule::fallback();
        let proxies: Vec<Proxy> = (0..count)
            .map(|proxy| {
                let seed = stream(seed, 100 + u64::from(proxy)).u64(..);
                // Evenly spread, in case the traffic is not.
                let is_ours = is_among(proxy, scenario.proxies.filter_percent);
                let rule = if is_ours { rule } else { &fallback };
                Proxy { policy: rule.build(scenario, seed), heard: 0 }
            })
            .collect();
        let needs = proxies.iter().map(|proxy| proxy.policy.needs()).fold(
            Needs::default(),
            |all, needs| Needs {
                stamps: all.stamps || needs.stamps,
                latency_at_rif: all.latency_at_rif || needs.latency_at_rif,
                twin: all.twin.or(needs.twin),
            },
        );
        let servers = fleet.hosts.len();
        for twin in fleet.hosts.iter_mut().filter_map(|host| host.twin.as_mut()) {
            twin.tuning = needs.twin.unwrap_or_default();
        }
        Self {
            scenario,
            now: 0,
            queue: Queue::default(),
            source: Source::new(scenario, seed),
            proxies,
            truth: fleet.truth(),
            fleet,
            needs,
            requests: Slab::new(),
            numbers: 0,
            probes: Slab::new(),
            timers: Slab::new(),
            actions: Vec::new(),
            choices: stream(seed, 4),
            network: stream(seed, 5),
            world: stream(seed, 6),
            chances: stream(seed, 7),
            changes: timeline::changes(scenario),
            lists: Vec::new(),
            central: std::collections::VecDeque::new(),
            newcomers: Newcomers::default(),
            meter: Meter::new(scenario, servers),
            work: vec![(0.0, 0.0); servers],
            trace,
        }
    }

    /// Everything that is going to happen by itself.
    #[allow(clippy::cast_possible_truncation)]
    fn start(&mut self) {
        self.publish();
        for proxy in 0..self.proxies.len() {
            self.news(proxy as u32, 1);
        }
        for index in 0..self.changes.len() {
            self.queue.push(self.changes[index].at, What::Change { index: index as u32 });
        }
        for server in 0..self.fleet.hosts.len() {
            if self.fleet.hosts[server].antagonist.is_some() {
                self.antagonist(server as u32, true);
            }
        }
        self.queue.push(self.scenario.warm_up.ns(), What::Sample);
        if let Arrivals::Closed { clients, .. } = self.scenario.traffic.arrivals {
            for _ in 0..clients {
                let at = self.source.think();
                self.queue.push(at, What::Thought);
            }
        } else {
            self.next_arrival();
        }
    }

    fn run(&mut self) {
        let end = self.scenario.duration.ns() + self.scenario.drain.ns();
        while let Some((at, what)) = self.queue.pop() {
            // What still stirs after the last request is nobody's business, but for attempts that
            // were given up.
            let idle = self.requests.is_empty();
            if at > end && !idle {
                break;
            }
            let over = at > self.scenario.duration.ns() && idle;
            let attempts = matches!(
                what,
                What::Deliver { .. } | What::Withdraw { .. } | What::Complete { .. }
            );
            if over && !attempts {
                continue;
            }
            debug_assert!(at >= self.now, "time runs backwards");
            self.now = at;
            self.handle(what);
        }
    }

    fn handle(&mut self, what: What) {
        match what {
            What::Arrival => {
                self.arrival();
                self.next_arrival();
            }
            What::Thought => self.arrival(),
            What::Deliver { server, attempt } => self.deliver(server, attempt),
            What::Complete { server } => self.complete(server),
            What::Answer(attempt) => self.answer(attempt),
            What::Retry(attempt) => self.retry(attempt),
            What::Deadline(attempt) => self.give_up(attempt, true),
            What::Cancel(attempt) => self.give_up(attempt, false),
            What::Withdraw { server, attempt } => self.withdraw(server, attempt),
            What::Message(attempt) => self.message(attempt),
            What::Probe { key } => self.probe(key),
            What::Probed { key } => self.probed(key),
            What::Timer { key } => {
                let Timer { proxy, token } = self.timers.remove(key as usize);
                self.policy(proxy, |policy, env| policy.timer(env, token));
            }
            What::Change { index } => self.change(index),
            What::News { proxy, version } => self.news(proxy, version),
            What::Antagonist { server } => self.antagonist(server, false),
            What::Warmer { server } => self.warmer(server),
            What::Sample => self.sample(),
        }
    }

    fn next_arrival(&mut self) {
        if let Some(at) = self.source.next_time() {
            self.queue.push_lane(Lane::Arrival, at, What::Arrival);
        }
    }

    /// Lets a proxy's policy act, and then does what it asked for.
    fn policy<T>(&mut self, proxy: u32, act: impl FnOnce(&mut dyn Policy, &mut Env<'_>) -> T) -> T {
        let mut env = Env {
            now: self.now,
            rng: &mut self.choices,
            truth: &self.truth,
            actions: &mut self.actions,
        };
        let result = act(self.proxies[proxy as usize].policy.as_mut(), &mut env);
        if !self.actions.is_empty() {
            let mut actions = std::mem::take(&mut self.actions);
            for action in actions.drain(..) {
                self.act(proxy, action);
            }
            // Keeps its room, unless acting made the policy act again.
            if self.actions.is_empty() {
                self.actions = actions;
            }
        }
        result
    }

    #[allow(clippy::cast_possible_truncation)]
    fn act(&mut self, proxy: u32, action: Action) {
        match action {
            Action::Probe { server, token } => self.send_probe(proxy, server, token),
            Action::Timer { at, token } => {
                let key = self.timers.insert(Timer { proxy, token }) as u32;
                self.queue.push(at.max(self.now), What::Timer { key });
            }
            Action::Resume { request, pick } => self.resume(request, pick),
        }
    }

    /// One way between a proxy and a server, in ns.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn delay(&mut self) -> u64 {
        let network = &self.scenario.network;
        let jitter = network.jitter.as_f64();
        let jitter =
            if jitter > 0.0 { (jitter * unit_exponential(&mut self.network)) as u64 } else { 0 };
        network.delay.ns() + jitter
    }

    /// True in `percent` of 100 cases.
    fn chance(&mut self, percent: f64) -> bool {
        percent > 0.0 && self.chances.f64() * 100.0 < percent
    }

    /// Looks at what is in flight.
    fn sample(&mut self) {
        let now = self.now;
        if now == self.scenario.warm_up.ns() {
            self.work = self.fleet.work(now);
        }
        let until = self.scenario.duration.ns();
        if now >= until {
            let before = std::mem::take(&mut self.work);
            let after = self.fleet.work(now);
            let during = after.into_iter().zip(before).map(|(a, b)| (a.0 - b.0, a.1 - b.1));
            self.work = during.collect();
            return;
        }
        let there = self.fleet.hosts.iter().enumerate().filter(|(_, host)| host.work.is_up());
        self.meter.sample(there.map(|(server, host)| (server, host.in_flight)));
        if let Some(trace) = &mut self.trace {
            let in_flight: Vec<u32> = self.fleet.hosts.iter().map(|host| host.in_flight).collect();
            #[allow(clippy::cast_precision_loss)]
            let line = serde_json::json!({"t_s": now as f64 / 1e9, "in_flight": in_flight});
            // A reader that has seen enough is no error.
            let _ = writeln!(trace, "{line}");
        }
        let step =
            self.scenario.reports.period.ns() / u64::from(crate::measure::SAMPLES_PER_PERIOD);
        self.queue.push((now + step).min(until), What::Sample);
    }

    /// Ends what is still under way, checks the laws, and sums up.
    fn finish(mut self) -> Figures {
        let all_ended = self.requests.is_empty();
        self.abandon_all();
        let at_servers = self.truth.iter().map(|truth| u64::from(truth.outstanding)).sum();
        self.meter.check(if all_ended { at_servers } else { 0 });
        let joined = self.newcomers.summary();
        self.meter.figures(&self.work, joined)
    }
}

#[cfg(test)]
mod tests;
