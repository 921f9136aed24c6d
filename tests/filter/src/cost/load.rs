//! Runs one scenario: warm-up, many requests to see memory stand still, those that are counted, and
//! then nothing but ticks.

use core::time::Duration;

use leastload_testhost::{Call, Proxy, Trace, Worker};

use super::figures::{Figures, Key};
use super::scenario::{Scenario, Shape};

/// How often a VM ticks by default.
const TICK: Duration = Duration::from_millis(250);
/// Ticks until membership is known everywhere, and until an idle proxy is looked at.
const SETTLING_TICKS: u32 = 6;
/// Requests of the warm-up: each worker sees well over 32 of them, which is what it needs to
/// believe `stateful_session`.
const WARM_UP: usize = 1_000;
/// Requests that follow, in rounds with a tick after each.
const FURTHER: usize = 10_000;
const ROUNDS: usize = 5;
/// Requests that are counted, over all shapes, and the ticks among them.
const COUNTED: usize = 1_024;
const COUNTED_TICKS: usize = 4;
/// Size of a page of linear memory in bytes.
const PAGE: usize = 65_536;

/// A request under way.
struct Open {
    call: Call,
    key: Option<Key>,
    shape: Shape,
}

struct Load<'a> {
    scenario: &'a Scenario,
    proxy: &'a Proxy,
    workers: Vec<Worker>,
    open: Vec<Open>,
    turn: usize,
    /// Requests of the scenario's shape that ended, and how many of them were steered.
    ended: Vec<Key>,
    steered: usize,
}

pub(super) fn run(scenario: &Scenario) -> Figures {
    let proxy = scenario.start();
    let mut load = Load {
        scenario,
        proxy: &proxy,
        workers: proxy.workers(),
        open: Vec::new(),
        turn: 0,
        ended: Vec::new(),
        steered: 0,
    };
    load.workers.iter().for_each(|worker| scenario.shape_of(0).end(&scenario.request(worker)));
    proxy.advance(TICK * SETTLING_TICKS);
    load.requests(WARM_UP);
    let warm = load.pages();
    for _ in 0..ROUNDS {
        load.requests(FURTHER / ROUNDS);
        load.tick();
        proxy.take_trace();
    }
    let grown = load.pages();
    let trace = load.counted();
    load.check();
    let mut figures = Figures::of(&trace, &load.ended);
    figures.pages = warm;
    figures.growth_pages = grown - warm;
    figures.ticks(&trace, "busy worker");
    while !load.open.is_empty() {
        load.end_one();
    }
    proxy.advance(TICK);
    proxy.take_trace();
    proxy.advance(TICK * SETTLING_TICKS);
    figures.ticks(&proxy.take_trace(), "idle worker");
    figures
}

impl Load<'_> {
    /// The memory of the largest VM, in pages.
    fn pages(&self) -> usize {
        let vms = self.workers.iter().cloned().chain([self.proxy.main()]);
        vms.map(|vm| vm.memory()).max().unwrap_or(0) / PAGE
    }

    fn tick(&self) {
        self.proxy.advance(TICK);
    }

    /// So many requests begin; before each, one ends where enough are under way.
    fn requests(&mut self, count: usize) {
        for _ in 0..count {
            if self.open.len() >= self.scenario.under_way() {
                self.end_one();
            }
            let worker = &self.workers[self.turn % self.workers.len()];
            // Each worker begins requests of every shape.
            let shape = self.scenario.shape_of(self.turn / self.workers.len());
            let call = self.scenario.request(worker);
            let key = call.stream().context().map(|context| (worker.vm(), context));
            self.open.push(Open { call, key, shape });
            self.turn += 1;
        }
    }

    /// Ends one of the requests under way, in an order as good as random.
    fn end_one(&mut self) {
        let mixed = (self.turn as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        let index = usize::try_from(mixed).unwrap_or(0) % self.open.len();
        let Open { call, key, shape } = self.open.swap_remove(index);
        shape.end(&call);
        if shape == self.scenario.shape {
            self.ended.extend(key);
            self.steered += usize::from(call.asked().is_some());
        }
    }

    /// The requests that are counted are those that begin and end in this trace.
    fn counted(&mut self) -> Trace {
        self.proxy.take_trace();
        self.ended.clear();
        self.steered = 0;
        // As many of a rare shape as still take little time.
        let requests = COUNTED.max(32 * self.scenario.shape.one_in());
        let rounds = COUNTED_TICKS * (requests / COUNTED);
        for _ in 0..rounds {
            self.requests(requests / rounds);
            self.tick();
        }
        self.proxy.take_trace()
    }

    /// Whether the scenario was what it is called.
    fn check(&self) {
        for vm in self.workers.iter().chain([&self.proxy.main()]) {
            assert!(vm.is_alive(), "{}: a VM died: {:?}", self.scenario, self.proxy.logs());
        }
        assert_eq!(self.proxy.logs(), [], "{}", self.scenario);
        let steered = 100 * self.steered / self.ended.len().max(1);
        let wanted = self.scenario.arm.steered();
        assert!(wanted.contains(&steered), "{}: {steered} % were steered", self.scenario);
    }
}
