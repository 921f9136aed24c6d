//! The timer of a root context: it ticks at its period, and earlier where a request waits until then.

use std::cell::Cell;
use std::time::Duration;

use crate::host;
use crate::vm::Vm;
use crate::waiting::EARLY_US;

/// A root context's timer. Envoy starts it again after each tick.
#[derive(Default)]
pub(crate) struct Alarm {
    /// How often it is to tick when nobody waits.
    usual_ms: Cell<u64>,
    /// How often it does now.
    period_ms: Cell<u64>,
    /// When it ticks next.
    next_us: Cell<u64>,
}

impl Alarm {
    /// Ticks so often from now on.
    pub(crate) fn start(&self, vm: &Vm, usual_ms: u64) {
        self.usual_ms.set(usual_ms);
        self.set(vm.now_us(), usual_ms);
        if let Some(due_us) = vm.queue.earliest_us() {
            self.wake(vm, due_us);
        }
    }

    /// Ticks at `due_us` at the latest, as far as a timer of whole milliseconds can.
    pub(crate) fn wake(&self, vm: &Vm, due_us: u64) {
        // Within a millisecond is as near as it can be, and a moment of that is for the timer itself.
        if self.next_us.get() >= due_us.saturating_add(1_000 - EARLY_US) {
            let now_us = vm.now_us();
            self.set(now_us, wait_ms(due_us.saturating_sub(now_us)));
        }
    }

    /// Whether it may tick before its usual time.
    pub(crate) fn is_early(&self) -> bool {
        self.period_ms.get() != self.usual_ms.get()
    }

    /// Whether this request is the first after a while: then the next tick is due as soon as ever.
    pub(crate) fn quicken(&self, vm: &Vm) {
        let mut balancer = vm.balancer.borrow_mut();
        if balancer.take_woken() {
            let period_ms = balancer.period_ms();
            drop(balancer);
            self.wake(vm, vm.now_us() + period_ms * 1_000);
        }
    }

    /// It ticked, and what was to do is done. From now on it is to tick so often when nobody waits.
    pub(crate) fn ticked(&self, vm: &Vm, usual_ms: u64) {
        let now_us = vm.now_us();
        let mut wanted = usual_ms;
        let was_early = self.is_early();
        self.usual_ms.set(usual_ms);
        if was_early {
            // Those that wait must not put off what is to be done regularly.
            wanted = wanted.min(milliseconds(vm.until_tick_us(now_us, wanted * 1_000)));
        }
        if let Some(due_us) = vm.queue.earliest_us() {
            wanted = wanted.min(wait_ms(due_us.saturating_sub(now_us)));
        }
        if wanted == self.period_ms.get() {
            self.next_us.set(now_us + wanted * 1_000);
        } else {
            self.set(now_us, wanted);
        }
    }

    fn set(&self, now_us: u64, period_ms: u64) {
        self.period_ms.set(period_ms);
        self.next_us.set(now_us + period_ms * 1_000);
        host::set_tick_period(Duration::from_millis(period_ms));
    }
}

/// The timer for a request that is due in so long: it may go a little early, and so is late by less than
/// a millisecond.
fn wait_ms(us: u64) -> u64 {
    milliseconds(us.saturating_sub(EARLY_US))
}

/// Whole milliseconds, at least one: 0 would stop a timer.
fn milliseconds(us: u64) -> u64 {
    us.div_ceil(1_000).max(1)
}
