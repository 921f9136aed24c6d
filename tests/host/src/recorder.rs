//! Keeps the trace.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use crate::names::Callback;
use crate::trace::{CallRecord, CallbackRecord, Trace};
use crate::vm::Vm;

/// Callbacks are numbered from the start of the proxy; those before `base` were taken.
#[derive(Default)]
pub(crate) struct Recorder {
    off: Cell<bool>,
    base: Cell<u64>,
    records: RefCell<Vec<CallbackRecord>>,
    /// The callback under way in each VM.
    open: RefCell<HashMap<u32, u64>>,
}

impl Recorder {
    pub(crate) fn new(keep: bool) -> Self {
        Self { off: Cell::new(!keep), ..Self::default() }
    }

    pub(crate) fn is_on(&self) -> bool {
        !self.off.get()
    }

    pub(crate) fn begin(
        &self,
        vm: &Vm,
        context: u32,
        callback: Callback,
        arguments: &[u32],
    ) -> Option<u64> {
        if self.off.get() {
            return None;
        }
        let mut records = self.records.borrow_mut();
        let number = self.base.get() + records.len() as u64;
        records.push(CallbackRecord {
            thread: vm.thread,
            vm: vm.serial,
            context,
            callback,
            arguments: arguments.to_vec(),
            calls: Vec::new(),
            result: None,
            trap: None,
            fuel: None,
        });
        self.open.borrow_mut().insert(vm.serial, number);
        Some(number)
    }

    fn with(&self, number: Option<u64>, edit: impl FnOnce(&mut CallbackRecord)) {
        let Some(index) = number.and_then(|number| number.checked_sub(self.base.get())) else {
            return;
        };
        let mut records = self.records.borrow_mut();
        if let Some(record) = usize::try_from(index).ok().and_then(|at| records.get_mut(at)) {
            edit(record);
        }
    }

    pub(crate) fn call(&self, vm: &Vm, call: CallRecord) {
        let open = self.open.borrow().get(&vm.serial).copied();
        self.with(open, |record| record.calls.push(call));
    }

    pub(crate) fn result(&self, number: Option<u64>, result: Option<u32>) {
        self.with(number, |record| record.result = result);
    }

    pub(crate) fn trap(&self, number: Option<u64>, reason: &str) {
        self.with(number, |record| record.trap = Some(reason.to_owned()));
    }

    pub(crate) fn fuel(&self, number: u64, fuel: u64) {
        self.with(Some(number), |record| record.fuel = Some(fuel));
    }

    pub(crate) fn trace(&self) -> Trace {
        Trace::new(self.records.borrow().clone())
    }

    pub(crate) fn take(&self) -> Trace {
        let taken = std::mem::take(&mut *self.records.borrow_mut());
        self.base.set(self.base.get() + taken.len() as u64);
        Trace::new(taken)
    }
}
