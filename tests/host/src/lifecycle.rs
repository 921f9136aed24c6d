//! How VMs and root contexts come and go.

use std::rc::Rc;

use crate::builder::Plugin;
use crate::context::{Context, Life, PluginConfig, Root};
use crate::engine::Compiled;
use crate::inner::{Inner, Serving};
use crate::names::Callback;
use crate::types::{FailurePolicy, Thread};
use crate::vm::Vm;

/// Envoy reloads a VM that died if it started at least so many nanoseconds ago.
const RELOAD_AFTER: u64 = 1_000_000_000;

fn length(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

impl Inner {
    pub(crate) fn config_of(&self, plugin: &Plugin) -> Rc<PluginConfig> {
        Rc::new(PluginConfig { plugin: plugin.clone(), serial: self.next_plugin() })
    }

    /// The first start: the canary, then every thread.
    pub(crate) fn start(self: &Rc<Self>) -> Result<(), String> {
        let plugins: Vec<_> =
            self.settings.plugins.iter().map(|plugin| self.config_of(plugin)).collect();
        self.plugins.borrow_mut().clone_from(&plugins);
        let compiled = self.compiled.borrow().clone();
        if !self.canary(&compiled, &plugins)? {
            self.refused.set(true);
            return Ok(());
        }
        for index in 0..=self.settings.workers {
            let vm = self.boot(&compiled, thread(index), &plugins)?;
            self.threads.borrow_mut()[index] = Some(vm);
        }
        Ok(())
    }

    /// Whether a throwaway VM accepts the configurations.
    fn canary(
        self: &Rc<Self>,
        compiled: &Compiled,
        plugins: &[Rc<PluginConfig>],
    ) -> Result<bool, String> {
        if !self.settings.canary {
            return Ok(true);
        }
        let vm = Vm::new(self, compiled, Thread::Canary)?;
        let accepted = plugins.iter().all(|plugin| self.start_root(&vm, plugin));
        vm.failed.set(true);
        self.outgoing.forget(vm.serial);
        Ok(accepted)
    }

    /// A new VM with every plugin started. Where one fails the VM is as good as dead.
    fn boot(
        self: &Rc<Self>,
        compiled: &Compiled,
        thread: Thread,
        plugins: &[Rc<PluginConfig>],
    ) -> Result<Rc<Vm>, String> {
        let vm = Vm::new(self, compiled, thread)?;
        for plugin in plugins {
            if !self.start_root(&vm, plugin) && !vm.failed.get() {
                vm.die(self, "it refused its configuration");
            }
        }
        Ok(vm)
    }

    /// A root context: created, VM started, configured.
    fn start_root(self: &Rc<Self>, vm: &Rc<Vm>, config: &Rc<PluginConfig>) -> bool {
        let root = Context::Root(Box::new(Root::new(Rc::clone(config))));
        let id = vm.state.borrow_mut().add(root);
        let vm_config = length(&self.settings.vm_config);
        let agreed = |called: Result<Option<u32>, _>| called.is_ok_and(|result| result != Some(0));
        let created = vm.call(self, id, Callback::OnContextCreate, &[0]).is_ok();
        if !created || !agreed(vm.call(self, id, Callback::OnVmStart, &[vm_config])) {
            return false;
        }
        let configuring = |on: bool| {
            if let Some(root) = vm.state.borrow_mut().root_mut(id) {
                root.configuring = on;
            }
        };
        configuring(true);
        let size = length(&config.plugin.config);
        let accepted = agreed(vm.call(self, id, Callback::OnConfigure, &[size]));
        configuring(false);
        accepted
    }

    /// Who serves a new stream of a worker.
    pub(crate) fn serving(self: &Rc<Self>, worker: usize, plugin: usize) -> Serving {
        if self.refused.get() {
            return Serving::Refuse(500);
        }
        let Some(vm) = self.threads.borrow()[worker + 1].clone() else { return Serving::Bypass };
        let vm = if vm.failed.get() {
            match self.settings.policy {
                FailurePolicy::FailOpen => return Serving::Bypass,
                FailurePolicy::FailClosed => return Serving::Refuse(503),
                FailurePolicy::FailReload => {
                    if self.clock.now() - vm.started < RELOAD_AFTER {
                        return Serving::Refuse(503);
                    }
                    let vm = self.replace(worker + 1);
                    if vm.failed.get() {
                        return Serving::Refuse(503);
                    }
                    vm
                }
            }
        } else {
            vm
        };
        let serial = self.plugins.borrow()[plugin].serial;
        let root = vm
            .state
            .borrow()
            .roots()
            .find(|(_, root)| root.config.serial == serial)
            .map(|(id, _)| id);
        root.map_or(Serving::Refuse(503), |root| Serving::Vm(vm, root))
    }

    /// A new VM in place of a thread's present one, which never runs again.
    pub(crate) fn replace(self: &Rc<Self>, index: usize) -> Rc<Vm> {
        if let Some(vm) = self.threads.borrow()[index].as_ref() {
            vm.failed.set(true);
            self.outgoing.forget(vm.serial);
        }
        let (compiled, plugins) = (self.compiled.borrow().clone(), self.plugins.borrow().clone());
        let vm = self.boot(&compiled, thread(index), &plugins).unwrap_or_else(|error| {
            panic!("the module starts no more: {error}");
        });
        self.threads.borrow_mut()[index] = Some(Rc::clone(&vm));
        vm
    }

    /// A new configuration of one plugin in the same VMs.
    pub(crate) fn reconfigure(self: &Rc<Self>, plugin: usize, config: &str, held: bool) -> bool {
        let before = Rc::clone(&self.plugins.borrow()[plugin]);
        let new = self.config_of(&before.plugin.clone().config(config));
        let compiled = self.compiled.borrow().clone();
        let accepted = self.canary(&compiled, std::slice::from_ref(&new));
        if !accepted.unwrap_or_else(|error| panic!("the module starts no more: {error}")) {
            return false;
        }
        self.plugins.borrow_mut()[plugin] = Rc::clone(&new);
        if self.refused.replace(false) {
            for index in 0..=self.settings.workers {
                self.replace(index);
            }
            return true;
        }
        for index in 0..=self.settings.workers {
            let Some(vm) = self.threads.borrow()[index].clone() else { continue };
            if vm.failed.get() {
                self.replace(index);
                continue;
            }
            if !self.start_root(&vm, &new) && !vm.failed.get() {
                vm.die(self, "it refused its configuration");
            }
            self.drain(&vm, held, |root| root.config.serial == before.serial);
        }
        true
    }

    /// A new module: new VMs.
    pub(crate) fn reload(self: &Rc<Self>, compiled: &Compiled) -> bool {
        let before = self.plugins.borrow().clone();
        let plugins: Vec<_> = before.iter().map(|config| self.config_of(&config.plugin)).collect();
        let accepted = self.canary(compiled, &plugins);
        if !accepted.unwrap_or_else(|error| panic!("the module does not start: {error}")) {
            return false;
        }
        *self.compiled.borrow_mut() = compiled.clone();
        self.plugins.borrow_mut().clone_from(&plugins);
        self.refused.set(false);
        for index in 0..=self.settings.workers {
            let vm = self
                .boot(compiled, thread(index), &plugins)
                .unwrap_or_else(|error| panic!("the module does not start: {error}"));
            let old = self.threads.borrow_mut()[index].replace(vm);
            self.retire(old);
        }
        true
    }

    /// The listener goes: every root context ends with its last stream.
    pub(crate) fn shut_down(self: &Rc<Self>) {
        for index in 0..=self.settings.workers {
            let old = self.threads.borrow_mut()[index].take();
            self.retire(old);
        }
    }

    fn retire(self: &Rc<Self>, vm: Option<Rc<Vm>>) {
        let Some(vm) = vm else { return };
        if vm.failed.get() {
            return;
        }
        vm.retired.set(true);
        self.old.borrow_mut().push(Rc::clone(&vm));
        self.drain(&vm, false, |_| true);
    }

    fn drain(self: &Rc<Self>, vm: &Rc<Vm>, held: bool, which: impl Fn(&Root) -> bool) {
        let roots: Vec<u32> = {
            let state = vm.state.borrow();
            let serving = |root: &Root| root.life == Life::Serving && which(root);
            state.roots().filter(|(_, root)| serving(root)).map(|(id, _)| id).collect()
        };
        for id in roots {
            if let Some(root) = vm.state.borrow_mut().root_mut(id) {
                root.life = Life::Draining { held };
            }
            self.end_root_if_idle(vm, id);
        }
    }

    /// The drain's time is over.
    pub(crate) fn end_drain(self: &Rc<Self>) {
        for vm in self.vms() {
            let roots: Vec<u32> = vm.state.borrow().roots().map(|(id, _)| id).collect();
            for id in roots {
                if let Some(root) = vm.state.borrow_mut().root_mut(id)
                    && let Life::Draining { held } = &mut root.life
                {
                    *held = false;
                }
                self.end_root_if_idle(&vm, id);
            }
        }
    }

    /// A root context that drains and has no streams is done.
    pub(crate) fn end_root_if_idle(self: &Rc<Self>, vm: &Rc<Vm>, id: u32) {
        let idle =
            vm.state.borrow().root(id).is_some_and(|root| {
                root.life == Life::Draining { held: false } && root.streams == 0
            });
        if idle {
            if vm.call(self, id, Callback::OnDone, &[]) == Ok(Some(0)) {
                if let Some(root) = vm.state.borrow_mut().root_mut(id) {
                    root.life = Life::PendingDone;
                }
            } else {
                let _ = vm.call(self, id, Callback::OnDelete, &[]);
                self.remove_root(vm, id);
            }
        }
        self.drop_if_empty(vm);
    }

    /// A root context is deleted: its timer and its calls go with it.
    pub(crate) fn remove_root(&self, vm: &Rc<Vm>, id: u32) {
        {
            let mut state = vm.state.borrow_mut();
            state.contexts.remove(&id);
            state.timers.remove(&id);
        }
        self.outgoing.forget_root(vm.serial, id);
        self.drop_if_empty(vm);
    }

    fn drop_if_empty(&self, vm: &Rc<Vm>) {
        let empty = vm.failed.get() || vm.state.borrow().roots().next().is_none();
        if vm.retired.get() && empty {
            self.old.borrow_mut().retain(|old| old.serial != vm.serial);
        }
    }
}

/// The thread of an index: the main thread comes first.
pub(crate) fn thread(index: usize) -> Thread {
    index.checked_sub(1).map_or(Thread::Main, Thread::Worker)
}
