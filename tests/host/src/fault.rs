//! What shall go wrong, and when.

use std::cell::RefCell;
use std::rc::Rc;

use crate::inner::Inner;
use crate::proxy::Proxy;
use crate::trace::{Callback, HostCall};
use crate::types::{Status, Thread};

/// A fault, or another event, planned for a host call or a callback.
///
/// ```
/// use leastload_testhost::{Callback, Fault, HostCall, Status};
///
/// // The second write to the shared store of worker 1 loses a race.
/// let lost = Fault::at(HostCall::SetSharedData).worker(1).nth(2).returns(Status::CasMismatch);
/// // Worker 0 dies in its next tick.
/// let dies = Fault::in_callback(Callback::OnTick).worker(0).traps();
/// // Between reading and writing of worker 0, worker 1 ticks.
/// let race = Fault::at(HostCall::GetSharedData)
///     .worker(0)
///     .then_after(|proxy| proxy.worker(1).tick());
/// ```
pub struct Fault {
    pub(crate) point: Point,
    pub(crate) thread: Option<Thread>,
    pub(crate) argument: Option<String>,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) seen: u64,
    pub(crate) effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    HostCall(HostCall),
    Callback(Callback),
}

/// What a hook runs: it gets the proxy, so that it need not (and must not) keep one.
pub(crate) type Hook = Box<dyn FnMut(&Proxy)>;

pub(crate) enum Effect {
    Nothing,
    Return(Status),
    Trap,
    Before(Hook),
    After(Hook),
}

impl Fault {
    /// At a host call, the first time unless told otherwise.
    pub fn at(call: HostCall) -> Self {
        Self::new(Point::HostCall(call))
    }

    /// At the beginning of a callback, the first time unless told otherwise.
    pub fn in_callback(callback: Callback) -> Self {
        Self::new(Point::Callback(callback))
    }

    fn new(point: Point) -> Self {
        let effect = Effect::Nothing;
        Self { point, thread: None, argument: None, first: 1, last: 1, seen: 0, effect }
    }

    /// Only on this worker (else on every thread).
    #[must_use]
    pub fn worker(mut self, index: usize) -> Self {
        self.thread = Some(Thread::Worker(index));
        self
    }

    /// Only on this thread.
    #[must_use]
    pub fn thread(mut self, thread: Thread) -> Self {
        self.thread = Some(thread);
        self
    }

    /// Only where the arguments, as the trace prints them, contain this text.
    #[must_use]
    pub fn with(mut self, argument: &str) -> Self {
        self.argument = Some(argument.to_owned());
        self
    }

    /// The n-th matching time, counted from 1 and from when the fault was planned.
    #[must_use]
    pub fn nth(mut self, n: u64) -> Self {
        (self.first, self.last) = (n, n);
        self
    }

    /// From the n-th matching time on, for good.
    #[must_use]
    pub fn from_nth(mut self, n: u64) -> Self {
        (self.first, self.last) = (n, u64::MAX);
        self
    }

    /// Every matching time.
    #[must_use]
    pub fn always(self) -> Self {
        self.from_nth(1)
    }

    /// The host call returns this and does nothing. With [`Status::Ok`] it does nothing either.
    #[must_use]
    pub fn returns(mut self, status: Status) -> Self {
        self.effect = Effect::Return(status);
        self
    }

    /// The VM traps.
    #[must_use]
    pub fn traps(mut self) -> Self {
        self.effect = Effect::Trap;
        self
    }

    /// Runs a closure just before. It may use every thread but those that are inside a callback.
    #[must_use]
    pub fn then_before(mut self, hook: impl FnMut(&Proxy) + 'static) -> Self {
        self.effect = Effect::Before(Box::new(hook));
        self
    }

    /// Runs a closure just after: the host call is done, the VM has not seen its result yet.
    /// It may use every thread but those that are inside a callback.
    #[must_use]
    pub fn then_after(mut self, hook: impl FnMut(&Proxy) + 'static) -> Self {
        self.effect = Effect::After(Box::new(hook));
        self
    }
}

/// The faults planned for a proxy.
#[derive(Default)]
pub(crate) struct Faults {
    planned: RefCell<Vec<Rc<RefCell<Fault>>>>,
}

/// What is to happen at one point.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) returns: Option<Status>,
    pub(crate) traps: bool,
    after: Vec<Rc<RefCell<Fault>>>,
}

impl Plan {
    /// The point is passed.
    pub(crate) fn after(&self, proxy: &Rc<Inner>) {
        for fault in &self.after {
            run_hook(fault, proxy);
        }
    }
}

/// The fault is not borrowed while its closure runs: that may pass points of its own.
fn run_hook(fault: &Rc<RefCell<Fault>>, proxy: &Rc<Inner>) {
    let effect = std::mem::replace(&mut fault.borrow_mut().effect, Effect::Nothing);
    match effect {
        Effect::Before(mut hook) => {
            hook(&Proxy::of(proxy));
            fault.borrow_mut().effect = Effect::Before(hook);
        }
        Effect::After(mut hook) => {
            hook(&Proxy::of(proxy));
            fault.borrow_mut().effect = Effect::After(hook);
        }
        other => fault.borrow_mut().effect = other,
    }
}

impl Faults {
    pub(crate) fn add(&self, fault: Fault) {
        self.planned.borrow_mut().push(Rc::new(RefCell::new(fault)));
    }

    pub(crate) fn clear(&self) {
        self.planned.borrow_mut().clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.planned.borrow().is_empty()
    }

    pub(crate) fn before_callback(
        &self,
        proxy: &Rc<Inner>,
        thread: Thread,
        callback: Callback,
    ) -> Plan {
        self.before(proxy, thread, Point::Callback(callback), "")
    }

    pub(crate) fn before_call(
        &self,
        proxy: &Rc<Inner>,
        thread: Thread,
        call: HostCall,
        arguments: &str,
    ) -> Plan {
        self.before(proxy, thread, Point::HostCall(call), arguments)
    }

    /// Counts, runs what comes before, and tells what is to happen.
    fn before(&self, proxy: &Rc<Inner>, thread: Thread, point: Point, arguments: &str) -> Plan {
        let mut plan = Plan::default();
        if self.is_empty() {
            return plan;
        }
        let planned = self.planned.borrow().clone();
        for fault in planned {
            if !fault.borrow_mut().strikes(thread, point, arguments) {
                continue;
            }
            let is_before = {
                let fault = fault.borrow();
                match &fault.effect {
                    Effect::Nothing | Effect::Before(_) | Effect::After(_) => {}
                    Effect::Return(status) => plan.returns = Some(*status),
                    Effect::Trap => plan.traps = true,
                }
                matches!(fault.effect, Effect::Before(_))
            };
            if is_before {
                run_hook(&fault, proxy);
            } else if matches!(fault.borrow().effect, Effect::After(_)) {
                plan.after.push(Rc::clone(&fault));
            }
        }
        plan
    }
}

impl Fault {
    fn strikes(&mut self, thread: Thread, point: Point, arguments: &str) -> bool {
        let matches = self.point == point
            && self.thread.is_none_or(|only| only == thread)
            && self.argument.as_ref().is_none_or(|part| arguments.contains(part.as_str()));
        if matches {
            self.seen += 1;
        }
        matches && (self.first..=self.last).contains(&self.seen)
    }
}
