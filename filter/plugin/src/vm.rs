//! What all plugin configurations in one VM share: the balancer, because what is outstanding is a
//! fact of the proxy, whichever listener a request came by.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;
use std::time::Instant;

use leastload_core::balancer::{AdminRequest, Balancer};
use leastload_core::config::Config;

use crate::metrics::Envoy;
use crate::waiting::Queue;

thread_local! {
    static VM: Rc<Vm> = Rc::new(Vm::new());
}

pub(crate) struct Vm {
    pub(crate) envoy: Envoy,
    pub(crate) balancer: RefCell<Balancer>,
    /// Requests that wait for answers.
    pub(crate) queue: Queue,
    /// The last good configuration: it says how membership is found.
    config: RefCell<Option<Rc<Config>>>,
    started: Instant,
    ticked_us: Cell<Option<u64>>,
    roots: Cell<u32>,
}

impl Vm {
    fn new() -> Self {
        // The standard library seeds its hash maps from the proxy's random numbers.
        let seed = RandomState::new().build_hasher().finish();
        Self {
            envoy: Envoy::new(),
            balancer: RefCell::new(Balancer::new(seed, 0)),
            queue: Queue::default(),
            config: RefCell::new(None),
            started: Instant::now(),
            ticked_us: Cell::new(None),
            roots: Cell::new(0),
        }
    }

    /// The VM that this code runs in.
    pub(crate) fn current() -> Rc<Self> {
        VM.with(Rc::clone)
    }

    /// The time, in microseconds; the balancer is told.
    pub(crate) fn tell_time(&self) -> u64 {
        let now_us = self.now_us();
        self.balancer.borrow_mut().set_time(now_us);
        now_us
    }

    /// The time, in microseconds since the VM started.
    pub(crate) fn now_us(&self) -> u64 {
        let elapsed = self.started.elapsed();
        elapsed.as_secs() * 1_000_000 + u64::from(elapsed.subsec_micros())
    }

    /// A plugin configuration begins.
    pub(crate) fn enter(&self) {
        self.roots.set(self.roots.get() + 1);
    }

    /// A plugin configuration ends; with the last one, the VM gives back its places.
    pub(crate) fn leave(&self) {
        self.roots.set(self.roots.get().saturating_sub(1));
        if self.roots.get() == 0 {
            self.balancer.borrow_mut().release(&self.envoy);
        }
    }

    /// A good configuration arrived.
    pub(crate) fn configure(&self, config: Rc<Config>) {
        *self.config.borrow_mut() = Some(config);
    }

    pub(crate) fn config(&self) -> Option<Rc<Config>> {
        self.config.borrow().clone()
    }

    /// Ticks once in a period, however many plugin configurations tick. `extra`: this tick may come
    /// earlier than the period says.
    pub(crate) fn tick(&self, extra: bool) -> Option<AdminRequest> {
        let config = self.config()?;
        let period_us = self.period_ms(&config) * 1_000;
        let now_us = self.tell_time();
        // A quarter of tolerance: the timers of one plugin configuration are some milliseconds off.
        let least_us = if extra { period_us } else { period_us * 3 / 4 };
        if self.ticked_us.get().is_some_and(|last| now_us - last < least_us) {
            return None;
        }
        self.ticked_us.set(Some(now_us));
        self.balancer.borrow_mut().tick(&self.envoy, &config, now_us / 1_000)
    }

    /// How often this VM ticks at present.
    pub(crate) fn period_ms(&self, config: &Config) -> u64 {
        if self.ticked_us.get().is_some() {
            self.balancer.borrow().period_ms()
        } else {
            config.discovery.tick_ms()
        }
    }

    /// Microseconds until the next tick is due, with a period of so many.
    pub(crate) fn until_tick_us(&self, now_us: u64, period_us: u64) -> u64 {
        self.ticked_us.get().map_or(0, |last| (last + period_us).saturating_sub(now_us))
    }
}
