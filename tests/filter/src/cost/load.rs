//! Runs one scenario: warm-up, many requests to see memory stand still, those that are counted, and
//! then nothing but ticks.

use core::time::Duration;

use leastload_testhost::{Call, Proxy, Trace, Worker};

use super::figures::{Figures, Key};
use super::scenario::{Scenario, Shape};

/// How often a VM ticks by default.
const TICK: Duration = Duration::from_millis(250);
/// Ticks until membership is known everywhere.
const SETTLING_TICKS: u32 = 6;
/// Ticks of an idle proxy.
const IDLE_TICKS: u32 = 8;
/// The same with thousands of endpoints, about which the admin interface is asked once in 8 s.
const LARGE_IDLE_TICKS: u32 = 48;
/// Requests of the warm-up: each worker sees well over 32 of them, which is what it needs to
/// believe `stateful_session`.
const WARM_UP: usize = 1_000;
/// Requests that follow, with few ticks among them.
const FURTHER: usize = 10_000;
const FURTHER_ROUND: usize = 2_000;
/// Requests that are counted, over all shapes, with more ticks among them.
const COUNTED: usize = 1_024;
const COUNTED_ROUND: usize = 256;
/// Requests from tick to tick where some are retried: the endpoints that failed are set aside for a
/// second, and never many of them at a time.
const RETRIED_ROUND: usize = 32;
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
    for worker in &load.workers {
        scenario.end(scenario.shape_of(0), &scenario.request(worker));
    }
    proxy.advance(TICK * SETTLING_TICKS);
    load.rounds(WARM_UP, WARM_UP);
    let warm = load.pages();
    for _ in 0..FURTHER / FURTHER_ROUND {
        load.rounds(FURTHER_ROUND, FURTHER_ROUND);
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
    proxy.advance(TICK * if scenario.endpoints > 1_000 { LARGE_IDLE_TICKS } else { IDLE_TICKS });
    figures.ticks(&proxy.take_trace(), "idle worker");
    figures
}

impl Load<'_> {
    /// The memory of the largest VM, in pages.
    fn pages(&self) -> usize {
        let vms = self.workers.iter().cloned().chain([self.proxy.main()]);
        vms.map(|vm| vm.memory()).max().unwrap_or(0) / PAGE
    }

    /// So many requests begin; before each, one ends where enough are under way.
    fn requests(&mut self, count: usize) {
        for _ in 0..count {
            if self.open.len() >= self.scenario.under_way() {
                self.end_one();
            }
            self.proxy.advance(self.scenario.apart());
            let worker = &self.workers[self.turn % self.workers.len()];
            // Each worker begins requests of every shape.
            let shape = self.scenario.shape_of(self.turn / self.workers.len());
            let call = self.scenario.request(worker);
            let key = call.stream().context().map(|context| (worker.vm(), context));
            self.open.push(Open { call, key, shape });
            self.turn += 1;
        }
    }

    /// So many requests, and a tick after so many of them.
    fn rounds(&mut self, count: usize, round: usize) {
        let round = if self.scenario.shape == Shape::Retry { RETRIED_ROUND } else { round };
        for _ in 0..count.div_ceil(round) {
            self.requests(round);
            self.proxy.advance(TICK);
        }
    }

    /// Ends one of the requests under way, in an order as good as random.
    fn end_one(&mut self) {
        let mixed = (self.turn as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        let index = usize::try_from(mixed).unwrap_or(0) % self.open.len();
        let Open { call, key, shape } = self.open.swap_remove(index);
        self.scenario.end(shape, &call);
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
        self.rounds(COUNTED.max(32 * self.scenario.shape.one_in()), COUNTED_ROUND);
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
