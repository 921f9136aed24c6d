//! What happens as time passes.

use std::rc::Rc;

use crate::calls::Outcome;
use crate::inner::Inner;
use crate::names::Callback;
use crate::vm::Vm;

/// Something due. At one time, ticks come before answers and answers before timeouts; ticks by
/// thread, the others in the order of the calls.
enum Due {
    Tick(Rc<Vm>, u32),
    Answer(u64),
    Timeout(u64),
}

impl Inner {
    /// Lets time pass until `target` (nanoseconds since the start).
    pub(crate) fn run_until(self: &Rc<Self>, target: u64) {
        while let Some((time, due)) = self.next_due().filter(|(time, _)| *time <= target) {
            self.clock.set(self.clock.now().max(time));
            match due {
                Due::Tick(vm, root) => self.tick(&vm, root),
                Due::Answer(id) => self.answer_automatically(id),
                Due::Timeout(id) => self.answer_http(id, Outcome::TimedOut),
            }
        }
        // A hook in a callback may have let more time pass.
        self.clock.set(self.clock.now().max(target));
    }

    fn next_due(&self) -> Option<(u64, Due)> {
        let mut first: Option<(u64, Due)> = None;
        let mut offer = |time: u64, due: Due| {
            if first.as_ref().is_none_or(|(earliest, _)| time < *earliest) {
                first = Some((time, due));
            }
        };
        for vm in self.vms() {
            // Inside a callback a thread does nothing else: its timers are late.
            if vm.failed.get() || vm.is_running() {
                continue;
            }
            for (root, timer) in &vm.state.borrow().timers {
                offer(timer.due, Due::Tick(Rc::clone(&vm), *root));
            }
        }
        for (time, id) in self.outgoing.automatic() {
            offer(time, Due::Answer(id));
        }
        for (time, id) in self.outgoing.timeouts() {
            offer(time, Due::Timeout(id));
        }
        first
    }

    /// One tick of a root context, and its timer is set again.
    fn tick(self: &Rc<Self>, vm: &Rc<Vm>, root: u32) {
        let _ = vm.call(self, root, Callback::OnTick, &[]);
        let now = self.clock.now();
        if let Some(timer) = vm.state.borrow_mut().timers.get_mut(&root) {
            timer.due = now + timer.period;
        }
    }

    /// Ticks of every root context of a VM that asked for them, out of turn.
    pub(crate) fn tick_all(self: &Rc<Self>, vm: &Rc<Vm>) {
        let roots: Vec<u32> = vm.state.borrow().timers.keys().copied().collect();
        for root in roots {
            let _ = vm.call(self, root, Callback::OnTick, &[]);
        }
    }
}
