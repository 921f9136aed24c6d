//! What happened: every callback with the host calls in it.

use core::fmt::{self, Write as _};

pub use crate::names::{Callback, HostCall};
use crate::types::{Status, Thread};

/// One host call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// Which one.
    pub call: HostCall,
    /// Its key arguments as text.
    pub arguments: String,
    /// What it returned; of a WASI function, [`Status::Ok`] for 0 and [`Status::InternalFailure`]
    /// for anything else.
    pub status: Status,
    /// The host allocated in the VM to hand over a value.
    pub returned_value: bool,
    /// A fault decided the status.
    pub faulted: bool,
}

/// One callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackRecord {
    /// The thread it ran on.
    pub thread: Thread,
    /// Counts the VMs of a proxy, from 0.
    pub vm: u32,
    /// Number of the context within its VM.
    pub context: u32,
    /// Which one.
    pub callback: Callback,
    /// Its arguments after the context's number.
    pub arguments: Vec<u32>,
    /// The host calls in it, in order.
    pub calls: Vec<CallRecord>,
    /// What it returned, where it returns something.
    pub result: Option<u32>,
    /// The VM trapped in it, and why.
    pub trap: Option<String>,
    /// Instructions used, where fuel is counted.
    pub fuel: Option<u64>,
}

/// A record of callbacks in the order in which they began.
///
/// It prints itself as text, so that two runs can be compared byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace(Vec<CallbackRecord>);

impl Trace {
    pub(crate) fn new(callbacks: Vec<CallbackRecord>) -> Self {
        Self(callbacks)
    }

    /// Every callback.
    pub fn callbacks(&self) -> &[CallbackRecord] {
        &self.0
    }

    /// Every host call.
    pub fn calls(&self) -> impl Iterator<Item = &CallRecord> {
        self.0.iter().flat_map(|callback| &callback.calls)
    }

    /// How often a host call was made.
    pub fn count(&self, call: HostCall) -> usize {
        self.calls().filter(|record| record.call == call).count()
    }

    /// How often a callback ran.
    pub fn count_callbacks(&self, callback: Callback) -> usize {
        self.0.iter().filter(|record| record.callback == callback).count()
    }

    /// How many host calls handed over a value that the host allocated in the VM.
    pub fn value_returning(&self) -> usize {
        self.calls().filter(|record| record.returned_value).count()
    }

    /// How often each host call was made, without those that were not.
    pub fn counts(&self) -> Vec<(HostCall, usize)> {
        let counted = HostCall::ALL.iter().map(|call| (*call, self.count(*call)));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    /// Instructions of all callbacks, where fuel is counted.
    pub fn fuel(&self) -> u64 {
        self.0.iter().filter_map(|record| record.fuel).sum()
    }

    /// What satisfies a condition.
    #[must_use]
    pub fn filter(&self, keep: impl Fn(&CallbackRecord) -> bool) -> Self {
        Self(self.0.iter().filter(|record| keep(record)).cloned().collect())
    }

    /// What ran on a worker.
    #[must_use]
    pub fn on_worker(&self, index: usize) -> Self {
        self.filter(|record| record.thread == Thread::Worker(index))
    }

    /// The callbacks of one context of a VM.
    #[must_use]
    pub fn of_context(&self, vm: u32, context: u32) -> Self {
        self.filter(|record| record.vm == vm && record.context == context)
    }

    /// The names of the callbacks in order, without `proxy_`: easy to compare.
    pub fn names(&self) -> Vec<&'static str> {
        let names = self.0.iter().map(|record| record.callback.name());
        names.map(|name| name.strip_prefix("proxy_").unwrap_or(name)).collect()
    }
}

impl fmt::Display for CallRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}) -> {}", self.call, self.arguments, self.status)?;
        if self.returned_value {
            f.write_str(" [value]")?;
        }
        if self.faulted {
            f.write_str(" [fault]")?;
        }
        Ok(())
    }
}

impl fmt::Display for CallbackRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} vm {} context {} {}(", self.thread, self.vm, self.context, self.callback)?;
        for (index, argument) in self.arguments.iter().enumerate() {
            write!(f, "{}{argument}", if index == 0 { "" } else { ", " })?;
        }
        f.write_char(')')?;
        if let Some(result) = self.result {
            write!(f, " -> {result}")?;
        }
        if let Some(fuel) = self.fuel {
            write!(f, " fuel {fuel}")?;
        }
        if let Some(trap) = &self.trap {
            write!(f, " trap: {trap}")?;
        }
        for call in &self.calls {
            write!(f, "\n  {call}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|record| writeln!(f, "{record}"))
    }
}
