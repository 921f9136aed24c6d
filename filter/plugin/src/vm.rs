//! What all plugin configurations in one VM share: the balancer, because what is outstanding is a
//! fact of the proxy, whichever listener a request came by.

use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;
use std::time::{Duration, Instant};

use leastload_core::balancer::{AdminRequest, Balancer};
use leastload_core::config::Config;

use crate::metrics::Envoy;

thread_local! {
    static VM: Rc<Vm> = Rc::new(Vm::new());
}

pub(crate) struct Vm {
    pub(crate) envoy: Envoy,
    pub(crate) balancer: RefCell<Balancer>,
    /// The last good configuration: it says how membership is found.
    config: RefCell<Option<Rc<Config>>>,
    started: Instant,
    ticked: Cell<Option<Instant>>,
    roots: Cell<u32>,
}

impl Vm {
    fn new() -> Self {
        // The standard library seeds its hash maps from the proxy's random numbers.
        let seed = RandomState::new().build_hasher().finish();
        Self {
            envoy: Envoy::new(),
            balancer: RefCell::new(Balancer::new(seed, 0)),
            config: RefCell::new(None),
            started: Instant::now(),
            ticked: Cell::new(None),
            roots: Cell::new(0),
        }
    }

    /// The VM that this code runs in.
    pub(crate) fn current() -> Rc<Self> {
        VM.with(Rc::clone)
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

    /// Ticks once in a period, however many plugin configurations tick.
    pub(crate) fn tick(&self) -> Option<AdminRequest> {
        let config = self.config()?;
        let period = tick_period(&config);
        let now = Instant::now();
        // A quarter of tolerance: the timers of one plugin configuration are some milliseconds off.
        if self.ticked.get().is_some_and(|last| now.duration_since(last) < period * 3 / 4) {
            return None;
        }
        self.ticked.set(Some(now));
        let now_ms = u64::try_from(now.duration_since(self.started).as_millis()).unwrap_or(0);
        self.balancer.borrow_mut().tick(&self.envoy, &config, now_ms)
    }
}

/// How often a VM ticks: four times within the discovery interval, so that an election takes less
/// than three of them, and at least four times a second, so that a dead worker is noticed.
pub(crate) fn tick_period(config: &Config) -> Duration {
    Duration::from_millis((config.discovery.interval_ms / 4).clamp(25, 250))
}
