//! One VM: its store, and how the host calls into it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use wasmtime::{Func, Instance, Memory, Store, StoreLimits, StoreLimitsBuilder, TypedFunc, Val};

use crate::context::{Deferred, VmState};
use crate::engine::Compiled;
use crate::inner::Inner;
use crate::names::Callback;
use crate::types::{LogLevel, Thread};

/// Fuel given for each callback: more than any will use.
const FUEL: u64 = u64::MAX / 2;

/// What host functions find in the store.
pub(crate) struct Data {
    pub(crate) vm: Weak<Vm>,
    pub(crate) proxy: Weak<Inner>,
    pub(crate) memory: Option<Memory>,
    pub(crate) allocate: Option<TypedFunc<u32, u32>>,
    limits: StoreLimits,
}

#[expect(clippy::struct_field_names, reason = "Envoy calls it VM id")]
pub(crate) struct Vm {
    pub(crate) serial: u32,
    pub(crate) thread: Thread,
    pub(crate) vm_id: String,
    pub(crate) state: RefCell<VmState>,
    pub(crate) failed: Cell<bool>,
    /// It was replaced by a VM of another module, and ends with its last stream.
    pub(crate) retired: Cell<bool>,
    /// On the proxy's clock, in nanoseconds.
    pub(crate) started: u64,
    exports: HashMap<Callback, Func>,
    memory: Memory,
    store: RefCell<Store<Data>>,
    fuel: bool,
}

/// The VM is dead, or died in this callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dead;

impl Vm {
    /// Instantiates a module and runs `_initialize`.
    pub(crate) fn new(
        proxy: &Rc<Inner>,
        compiled: &Compiled,
        thread: Thread,
    ) -> Result<Rc<Self>, String> {
        let settings = &proxy.settings;
        let limits = match settings.memory_limit {
            Some(bytes) => StoreLimitsBuilder::new().memory_size(bytes).build(),
            None => StoreLimits::default(),
        };
        let data = Data {
            vm: Weak::new(),
            proxy: Rc::downgrade(proxy),
            memory: None,
            allocate: None,
            limits,
        };
        let mut store = Store::new(&compiled.engine, data);
        store.limiter(|data| &mut data.limits);
        if compiled.fuel {
            store.set_fuel(FUEL).map_err(|error| error.to_string())?;
        }
        let instance: Instance = compiled
            .linked
            .instantiate(&mut store)
            .map_err(|error| format!("it cannot be instantiated: {error:#}"))?;
        let memory = instance.get_memory(&mut store, "memory").ok_or("it exports no memory")?;
        let allocate = ["malloc", "proxy_on_memory_allocate"]
            .into_iter()
            .find_map(|name| instance.get_typed_func::<u32, u32>(&mut store, name).ok());
        let mut exports = HashMap::new();
        for callback in Callback::ALL {
            if let Some(function) = instance.get_func(&mut store, callback.name()) {
                exports.insert(*callback, function);
            }
        }
        let start = if exports.contains_key(&Callback::Initialize) {
            None
        } else {
            instance.get_func(&mut store, "_start")
        };
        exports.extend(start.map(|function| (Callback::Initialize, function)));
        store.data_mut().memory = Some(memory);
        store.data_mut().allocate = allocate;
        let vm = Rc::new(Self {
            serial: proxy.next_vm(),
            thread,
            vm_id: settings.vm_id.clone(),
            state: RefCell::new(VmState::new()),
            failed: Cell::new(false),
            retired: Cell::new(false),
            started: proxy.clock.now(),
            exports,
            memory,
            store: RefCell::new(store),
            fuel: compiled.fuel,
        });
        vm.store.borrow_mut().data_mut().vm = Rc::downgrade(&vm);
        vm.state.borrow_mut().initializing = true;
        let _ = vm.call(proxy, 0, Callback::Initialize, &[]);
        vm.state.borrow_mut().initializing = false;
        Ok(vm)
    }

    /// Runs a callback and then what it deferred. `None` where the module has no such callback, or
    /// where it returns nothing.
    pub(crate) fn call(
        self: &Rc<Self>,
        proxy: &Rc<Inner>,
        context: u32,
        callback: Callback,
        arguments: &[u32],
    ) -> Result<Option<u32>, Dead> {
        if self.failed.get() {
            return Err(Dead);
        }
        let Some(function) = self.exports.get(&callback) else { return Ok(None) };
        proxy.enter();
        let (current, effective) = {
            let mut state = self.state.borrow_mut();
            let before = (state.current.replace(context), state.effective);
            state.effective = 0;
            before
        };
        let record = proxy.recorder.begin(self, context, callback, arguments);
        let planned = proxy.faults.before_callback(proxy, self.thread, callback);
        let outcome = if self.failed.get() {
            Err("the VM died meanwhile".to_owned())
        } else if planned.traps {
            Err("a trap was planned here".to_owned())
        } else {
            self.run(*function, context, callback, arguments, record)
        };
        planned.after(proxy);
        {
            let mut state = self.state.borrow_mut();
            (state.current, state.effective) = (current, effective);
        }
        let result = match outcome {
            Ok(result) => {
                proxy.recorder.result(record, result);
                let stop = callback.is_of_stream() && self.state.borrow().stop_iteration;
                // What no callback returns stops everything.
                Ok(result.map(|result| if stop { u32::MAX } else { result }))
            }
            Err(reason) => {
                proxy.recorder.trap(record, &reason);
                self.die(proxy, &format!("{callback} failed: {reason}"));
                Err(Dead)
            }
        };
        self.after_call(proxy);
        proxy.leave();
        result
    }

    fn run(
        &self,
        function: Func,
        context: u32,
        callback: Callback,
        arguments: &[u32],
        record: Option<u64>,
    ) -> Result<Option<u32>, String> {
        let Ok(mut store) = self.store.try_borrow_mut() else {
            panic!("{} is inside a callback: it cannot run {callback} too", self.thread);
        };
        let own = (callback != Callback::Initialize).then_some(context);
        let arguments: Vec<Val> =
            own.iter().chain(arguments).map(|value| Val::I32(value.cast_signed())).collect();
        let count = function.ty(&*store).results().len();
        let mut results = [Val::I32(0)];
        let results = &mut results[..count.min(1)];
        if self.fuel {
            store.set_fuel(FUEL).map_err(|error| error.to_string())?;
        }
        let done = function.call(&mut *store, &arguments, results);
        if self.fuel
            && let (Some(record), Ok(left), Some(proxy)) =
                (record, store.get_fuel(), store.data().proxy.upgrade())
        {
            proxy.recorder.fuel(record, FUEL - left);
        }
        done.map_err(|error| error.root_cause().to_string())?;
        Ok(results.first().and_then(Val::i32).map(i32::cast_unsigned))
    }

    /// The VM is dead from now on; its contexts never hear of it.
    pub(crate) fn die(&self, proxy: &Inner, why: &str) {
        if !self.failed.replace(true) {
            proxy.log(self.thread, LogLevel::Critical, &format!("Wasm VM failed: {why}"));
        }
    }

    /// What callbacks deferred; it may run callbacks itself.
    fn after_call(self: &Rc<Self>, proxy: &Rc<Inner>) {
        let deferred = {
            let mut state = self.state.borrow_mut();
            if state.current.is_some() {
                return;
            }
            state.stop_iteration = false;
            std::mem::take(&mut state.deferred)
        };
        for action in deferred {
            match action {
                Deferred::Continue(core, side) => {
                    core.resume(proxy, side);
                    proxy.moved(core);
                }
                Deferred::Close(core) => {
                    core.close();
                    proxy.moved(core);
                }
                Deferred::LocalReply(core, reply) => {
                    core.local_reply(proxy, reply);
                    proxy.moved(core);
                }
                Deferred::Delete(root) => {
                    let _ = self.call(proxy, root, Callback::OnDelete, &[]);
                    proxy.remove_root(self, root);
                }
            }
        }
    }

    /// Bytes of linear memory; panics while the VM runs.
    pub(crate) fn memory(&self) -> usize {
        self.memory.data_size(&*self.store.borrow())
    }

    /// Whether it is inside a callback.
    pub(crate) fn is_running(&self) -> bool {
        self.state.borrow().current.is_some()
    }
}
