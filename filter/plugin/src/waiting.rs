//! Requests that are paused until servers have told their load, or until they have waited long
//! enough.
//!
//! Envoy's own timeout of a call would not do as the limit: a call that it ends is a reset, and a
//! server closes a connection after many of them. So each VM keeps a list, and looks at it in every
//! callback that costs little and at a tick that is set for it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use leastload_core::balancer::{Ask, Call};
use leastload_core::work::Work;

use crate::host;
use crate::outbound::steer;
use crate::root::{Plugin, Route};
use crate::vm::Vm;

/// A request may go so many microseconds too early: its timer counts in milliseconds.
pub(crate) const EARLY_US: u64 = 400;

/// How a wait ended.
#[derive(Clone, Copy)]
pub(crate) enum Waited {
    /// All who were asked answered, or cannot, or one is good enough.
    Answered,
    /// Some did not in time.
    Deadline,
    /// The request itself ended.
    Ended,
}

impl Waited {
    /// How many there are.
    pub(crate) const COUNT: usize = Waited::Ended as usize + 1;

    /// As metrics name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Waited::Answered => "answered",
            Waited::Deadline => "deadline",
            Waited::Ended => "ended",
        }
    }
}

/// A request that waits, or has waited.
pub(crate) struct Waiting {
    context: u32,
    due_us: u64,
    plugin: Rc<Plugin>,
    route: Rc<Route>,
    cost: Work,
    /// Until the request's own context takes it back.
    call: RefCell<Option<Call>>,
    paused: Cell<bool>,
}

impl Waiting {
    /// The request of `context` begins to wait, paused in its headers.
    pub(crate) fn begin(
        vm: &Vm,
        context: u32,
        plugin: &Rc<Plugin>,
        route: &Rc<Route>,
        cost: Work,
        call: Call,
    ) -> Rc<Self> {
        let ask = Ask { config: &plugin.config, settings: &route.settings, cost };
        let due_us = vm.now_us() + vm.balancer.borrow().longest_wait_us(route.id, ask);
        let waiting = Rc::new(Self {
            context,
            due_us,
            plugin: Rc::clone(plugin),
            route: Rc::clone(route),
            cost,
            call: RefCell::new(Some(call)),
            paused: Cell::new(true),
        });
        vm.queue.push(Rc::clone(&waiting));
        plugin.alarm.wake(vm, due_us);
        waiting
    }

    /// Whether nothing is decided yet.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.get()
    }

    /// The question to `slot` is over; `reported`: by a report, or it was another that Envoy asked.
    /// The last one, or one that is good enough, sets the request going. The effective context must be
    /// its own.
    pub(crate) fn answered(&self, vm: &Vm, slot: u32, reported: bool) {
        let enough = self.call.borrow_mut().as_mut().is_some_and(|call| {
            let mut balancer = vm.balancer.borrow_mut();
            balancer.answered(&vm.envoy, call, self.ask(), slot, reported)
        });
        if enough && self.paused.get() {
            vm.queue.remove(self);
            self.go_on(vm, Waited::Answered);
        }
    }

    /// The request ends, or its context wants to know how it was decided.
    pub(crate) fn take_back(&self, vm: &Vm) -> Option<Call> {
        if self.paused.replace(false) {
            vm.queue.remove(self);
            self.count(vm, Waited::Ended);
        }
        self.call.take()
    }

    /// Decides on what is known, and lets the request go. The effective context must be its own.
    fn go_on(&self, vm: &Vm, waited: Waited) {
        if !self.paused.replace(false) {
            return;
        }
        if let Some(call) = self.call.borrow_mut().as_mut() {
            vm.balancer.borrow_mut().settle(&vm.envoy, call, self.ask());
            steer(vm, &self.plugin.config, &self.route, call);
        }
        self.count(vm, waited);
        host::resume_request();
    }

    fn ask(&self) -> Ask<'_> {
        Ask { config: &self.plugin.config, settings: &self.route.settings, cost: self.cost }
    }

    fn count(&self, vm: &Vm, waited: Waited) {
        vm.envoy.count_wait(self.route.id.index(), &self.route.cluster, waited);
    }
}

/// The requests of a VM that wait, the one first that is due first.
#[derive(Default)]
pub(crate) struct Queue(RefCell<Vec<Rc<Waiting>>>);

impl Queue {
    /// When the first is due.
    pub(crate) fn earliest_us(&self) -> Option<u64> {
        self.0.borrow().first().map(|waiting| waiting.due_us)
    }

    fn push(&self, waiting: Rc<Waiting>) {
        let mut all = self.0.borrow_mut();
        let at = all.partition_point(|other| other.due_us <= waiting.due_us);
        all.insert(at, waiting);
    }

    fn remove(&self, waiting: &Waiting) {
        self.0.borrow_mut().retain(|other| other.context != waiting.context);
    }

    fn pop_due(&self, now_us: u64) -> Option<Rc<Waiting>> {
        let mut all = self.0.borrow_mut();
        let due = all.first().is_some_and(|first| first.due_us <= now_us + EARLY_US);
        due.then(|| all.remove(0))
    }
}

impl Vm {
    /// Lets those go that have waited long enough. `own`: the context whose callback this is.
    pub(crate) fn sweep(&self, own: u32) {
        if self.queue.earliest_us().is_none() {
            return;
        }
        let now_us = self.tell_time();
        let mut elsewhere = false;
        while let Some(waiting) = self.queue.pop_due(now_us) {
            elsewhere = true;
            if host::speak_of(waiting.context) {
                waiting.go_on(self, Waited::Deadline);
            }
        }
        if elsewhere {
            host::speak_of(own);
        }
    }
}
