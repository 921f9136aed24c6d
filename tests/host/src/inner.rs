//! What all handles of one proxy share.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use crate::builder::Settings;
use crate::calls::{Outcome, Outgoing};
use crate::clock::{Clock, Random};
use crate::context::PluginConfig;
use crate::engine::Compiled;
use crate::envoy::cluster::Cluster;
use crate::fault::Faults;
use crate::proxy::AdminMode;
use crate::recorder::Recorder;
use crate::store::metrics::Metrics;
use crate::store::queues::{Listener, Queues};
use crate::store::shared_data::SharedData;
use crate::stream::core::Core;
use crate::types::{FailurePolicy, LogLevel, LogLine, Thread};
use crate::vm::Vm;

/// Who serves a new stream.
pub(crate) enum Serving {
    /// A VM, with the root context to use.
    Vm(Rc<Vm>, u32),
    /// Nobody, and requests pass.
    Bypass,
    /// Nobody, and requests are answered with this HTTP status.
    Refuse(u32),
}

/// What waits until no VM is inside a callback.
pub(crate) enum Post {
    QueueReady(Listener, u32),
    HttpAnswer(u64, Outcome),
    /// A deferred action moved a stream.
    Moved(Rc<Core>),
}

pub(crate) struct Inner {
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) recorder: Recorder,
    pub(crate) faults: Faults,
    pub(crate) logs: RefCell<Vec<LogLine>>,
    pub(crate) shared: RefCell<SharedData>,
    pub(crate) queues: RefCell<Queues>,
    pub(crate) metrics: RefCell<Metrics>,
    pub(crate) clusters: RefCell<BTreeMap<String, Rc<Cluster>>>,
    /// How often each worker's round robin chose in a cluster.
    pub(crate) turns: RefCell<HashMap<(usize, String), usize>>,
    pub(crate) admin_mode: Cell<AdminMode>,
    pub(crate) compiled: RefCell<Compiled>,
    pub(crate) plugins: RefCell<Vec<Rc<PluginConfig>>>,
    /// The main thread's present VM, then those of the workers.
    pub(crate) threads: RefCell<Vec<Option<Rc<Vm>>>>,
    /// VMs of earlier modules that still have root contexts.
    pub(crate) old: RefCell<Vec<Rc<Vm>>>,
    /// The module refused its first configuration.
    pub(crate) refused: Cell<bool>,
    pub(crate) outgoing: Outgoing,
    pub(crate) posts: RefCell<VecDeque<Post>>,
    next_vm: Cell<u32>,
    next_plugin: Cell<u32>,
    depth: Cell<u32>,
}

impl Inner {
    pub(crate) fn new(mut settings: Settings, compiled: Compiled) -> Rc<Self> {
        let mut metrics = Metrics::default();
        metrics.drop_where(settings.drops.take());
        let faults = Faults::default();
        for fault in std::mem::take(&mut settings.faults) {
            faults.add(fault);
        }
        let clusters = std::mem::take(&mut settings.clusters);
        let clusters = clusters.into_iter().map(|cluster| (cluster.name.clone(), Rc::new(cluster)));
        let threads = vec![None; settings.workers + 1];
        Rc::new(Self {
            clock: Clock::default(),
            random: Random::new(settings.seed),
            recorder: Recorder::new(settings.tracing),
            faults,
            logs: RefCell::default(),
            shared: RefCell::default(),
            queues: RefCell::default(),
            metrics: RefCell::new(metrics),
            clusters: RefCell::new(clusters.collect()),
            turns: RefCell::default(),
            admin_mode: Cell::new(settings.admin_mode),
            compiled: RefCell::new(compiled),
            plugins: RefCell::default(),
            threads: RefCell::new(threads),
            old: RefCell::default(),
            refused: Cell::new(false),
            outgoing: Outgoing::default(),
            posts: RefCell::default(),
            next_vm: Cell::new(0),
            next_plugin: Cell::new(0),
            depth: Cell::new(0),
            settings,
        })
    }

    pub(crate) fn next_vm(&self) -> u32 {
        let serial = self.next_vm.get();
        self.next_vm.set(serial + 1);
        serial
    }

    pub(crate) fn next_plugin(&self) -> u32 {
        let serial = self.next_plugin.get();
        self.next_plugin.set(serial + 1);
        serial
    }

    pub(crate) fn log(&self, thread: Thread, level: LogLevel, text: &str) {
        self.logs.borrow_mut().push(LogLine { thread, level, text: text.to_owned() });
    }

    pub(crate) fn fails_open(&self) -> bool {
        self.settings.policy == FailurePolicy::FailOpen
    }

    /// Every VM that may run, in the order in which threads are served.
    pub(crate) fn vms(&self) -> Vec<Rc<Vm>> {
        let present = self.threads.borrow();
        let mut vms: Vec<_> =
            present.iter().flatten().chain(self.old.borrow().iter()).cloned().collect();
        vms.sort_by_key(|vm| (vm.thread, vm.serial));
        vms
    }

    pub(crate) fn vm(&self, serial: u32) -> Option<Rc<Vm>> {
        self.vms().into_iter().find(|vm| vm.serial == serial)
    }

    /// A stream moved without the test's doing.
    pub(crate) fn moved(&self, core: Rc<Core>) {
        self.posts.borrow_mut().push_back(Post::Moved(core));
    }

    /// A callback begins.
    pub(crate) fn enter(&self) {
        self.depth.set(self.depth.get() + 1);
    }

    /// A callback ended. After the outermost one, what was posted to threads is done.
    pub(crate) fn leave(self: &Rc<Self>) {
        let depth = self.depth.get() - 1;
        self.depth.set(depth);
        if depth > 0 {
            return;
        }
        loop {
            let Some(post) = self.posts.borrow_mut().pop_front() else { return };
            match post {
                Post::QueueReady(listener, token) => self.queue_ready(listener, token),
                Post::HttpAnswer(id, outcome) => self.answer_http(id, outcome),
                Post::Moved(core) => {
                    let router = core.router.borrow().upgrade();
                    if let Some(router) = router {
                        router.settle();
                    }
                }
            }
        }
    }

    fn queue_ready(self: &Rc<Self>, listener: Listener, token: u32) {
        let Some(vm) = self.vm(listener.vm) else { return };
        let is_there = vm.state.borrow().root(listener.context).is_some();
        if is_there {
            let callback = crate::names::Callback::OnQueueReady;
            let _ = vm.call(self, listener.context, callback, &[token]);
        }
    }
}
