//! The engine's laws, in small runs whose figures can be worked out by hand.

mod arrivals;
mod laws;
mod reports;
mod requests;
mod servers;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use serde_json::{Value, json};

use super::{Simulation, run};
use crate::measure::Figures;
use crate::policy::{Ask, Ended, Env, Member, Needs, Outcome, Pick, Policy, Rule, ServerId, Stamp};
use crate::scenario::{Scenario, read};
use crate::span::SECOND;

const MS: u64 = 1_000_000;

/// Puts changes into a document, object by object; what is one of several kinds is replaced.
fn merge(into: &mut Value, changes: Value) {
    match (into, changes) {
        (Value::Object(fields), Value::Object(changes)) => {
            for (name, change) in changes {
                if ["arrivals", "service"].contains(&name.as_str()) {
                    fields.insert(name, change);
                } else {
                    merge(fields.entry(name).or_insert(Value::Null), change);
                }
            }
        }
        (into, changes) => *into = changes,
    }
}

/// One client without pause, one server that takes 10 ms, 1 ms each way, for 10 s; changed.
fn scenario(changes: Value) -> Scenario {
    let mut document = json!({
        "name": "engine",
        "about": "One client, one server.",
        "warm_up": "0s",
        "duration": "10s",
        "proxies": {"count": 1},
        "servers": [{"count": 1}],
        "traffic": {"service": {"constant": {"value": "10ms"}}},
        "network": {"delay": "1ms"},
        "policies": ["random"],
    });
    let open = changes["traffic"].get("load").or(changes["traffic"].get("rate")).is_some();
    if !open {
        document["traffic"]["arrivals"] = json!({"closed": {"clients": 1, "think": "0s"}});
    }
    merge(&mut document, changes);
    let document = read(&document.to_string(), Path::new(".")).unwrap();
    document.variants[0].scenario.clone()
}

/// The scenario's first policy in it.
fn figures(changes: Value) -> Figures {
    let scenario = scenario(changes);
    run(&scenario, &scenario.policies[0].rule, 1, None)
}

/// What a policy was told.
#[derive(Clone, Debug)]
struct Told {
    at: u64,
    server: ServerId,
    method: u16,
    outcome: Outcome,
    latency_ns: u64,
    stamp: Option<Stamp>,
}

/// What a policy was asked: when, at which worker, after how many failures, and the
/// servers' true speeds then.
#[derive(Clone, Debug)]
struct Asked {
    at: u64,
    worker: u16,
    failed: Vec<ServerId>,
    speeds: Vec<f64>,
}

#[derive(Default)]
struct Log {
    asked: Vec<Asked>,
    told: Vec<Told>,
    /// When which proxy heard of how many members.
    members: Vec<(u64, usize, usize)>,
    /// Answers to probes: when, from whom.
    probed: Vec<(u64, ServerId, Option<Stamp>)>,
    /// Requests that ended at no server.
    abandoned: usize,
}

/// Picks in turn, asks whom it picked for its load, and writes everything down.
struct Recorder {
    log: Rc<RefCell<Log>>,
    proxy: usize,
    members: Vec<Member>,
    next: usize,
}

impl Policy for Recorder {
    fn members(&mut self, env: &mut Env<'_>, members: &[Member]) {
        self.members = members.to_vec();
        self.log.borrow_mut().members.push((env.now, self.proxy, members.len()));
    }

    fn pick(&mut self, env: &mut Env<'_>, ask: &Ask<'_>) -> Pick {
        self.log.borrow_mut().asked.push(Asked {
            at: env.now,
            worker: ask.worker,
            failed: ask.failed.to_vec(),
            speeds: env.truth.iter().map(|truth| truth.speed).collect(),
        });
        if self.members.is_empty() {
            return Pick::Nobody;
        }
        self.next = (self.next + 1) % self.members.len();
        let server = self.members[self.next].server;
        env.probe(server, 7);
        Pick::Server(server)
    }

    fn ended(&mut self, env: &mut Env<'_>, ended: &Ended<'_>) {
        self.log.borrow_mut().told.push(Told {
            at: env.now,
            server: ended.server,
            method: ended.method,
            outcome: ended.outcome,
            latency_ns: ended.latency_ns,
            stamp: ended.stamp.copied(),
        });
    }

    fn abandoned(&mut self, _: &mut Env<'_>, _: &Ask<'_>) {
        self.log.borrow_mut().abandoned += 1;
    }

    fn probed(&mut self, env: &mut Env<'_>, server: ServerId, token: u64, stamp: Option<&Stamp>) {
        assert_eq!(token, 7);
        self.log.borrow_mut().probed.push((env.now, server, stamp.copied()));
    }
}

/// Runs with a recorder at every proxy.
fn recorded(changes: Value) -> (Log, Figures) {
    let scenario = scenario(changes);
    let log = Rc::new(RefCell::new(Log::default()));
    let mut simulation = Simulation::new(&scenario, &scenario.policies[0].rule, 1, None);
    for (proxy, there) in simulation.proxies.iter_mut().enumerate() {
        let log = Rc::clone(&log);
        there.policy = Box::new(Recorder { log, proxy, members: Vec::new(), next: 0 });
    }
    simulation.needs = Needs { stamps: true, ..Needs::default() };
    simulation.start();
    simulation.run();
    let figures = simulation.finish();
    (Rc::try_unwrap(log).ok().unwrap().into_inner(), figures)
}

/// Runs the scenario's first policy: work done and possible by each server, in ns, and the figures.
fn worked(changes: Value) -> (Vec<(f64, f64)>, Figures) {
    let scenario = scenario(changes);
    worked_under(&scenario, &scenario.policies[0].rule)
}

fn worked_under(scenario: &Scenario, rule: &Rule) -> (Vec<(f64, f64)>, Figures) {
    let mut simulation = Simulation::new(scenario, rule, 1, None);
    simulation.start();
    simulation.run();
    let now = simulation.now;
    let work = simulation.fleet.work(now);
    (work, simulation.finish())
}

/// A count is as expected, give or take four standard deviations of a Poisson variable.
#[allow(clippy::cast_precision_loss)]
fn about(count: usize, expected: f64) {
    let off = (count as f64 - expected).abs();
    assert!(off <= 4.0 * expected.sqrt(), "{count} instead of about {expected}");
}

/// A figure is as expected, to the three digits of histograms.
fn equals(figure: f64, expected: f64) {
    assert!((figure / expected - 1.0).abs() < 0.001_1, "{figure} instead of {expected}");
}
