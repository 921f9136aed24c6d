//! What the host keeps of one VM: its contexts, timers, handles of metrics and deferred actions.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::builder::Plugin;
use crate::headers::Headers;
use crate::store::metrics::Handles;
use crate::stream::core::Core;
use crate::types::Side;

/// A plugin configuration: a new one, also with the same text, has a new serial.
#[derive(Debug)]
pub(crate) struct PluginConfig {
    pub(crate) plugin: Plugin,
    pub(crate) serial: u32,
}

/// The answer to an HTTP call while its callback runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<Headers>,
}

/// How far a root context is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It serves new streams.
    Serving,
    /// Replaced; it ends with its last stream, and if `held`, not before the drain's end.
    Draining { held: bool },
    /// `on_done` returned false: the VM will call `proxy_done`.
    PendingDone,
}

#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) config: Rc<PluginConfig>,
    pub(crate) life: Life,
    /// Contexts of streams it has.
    pub(crate) streams: usize,
    /// `on_configure` runs: the plugin configuration is readable.
    pub(crate) configuring: bool,
    pub(crate) answer: Option<Answer>,
    pub(crate) grpc_initial: Option<Headers>,
    pub(crate) grpc_trailing: Option<Headers>,
    pub(crate) grpc_message: Option<Vec<u8>>,
    pub(crate) status: (u32, String),
}

impl Root {
    pub(crate) fn new(config: Rc<PluginConfig>) -> Self {
        Self {
            config,
            life: Life::Serving,
            streams: 0,
            configuring: false,
            answer: None,
            grpc_initial: None,
            grpc_trailing: None,
            grpc_message: None,
            status: (0, String::new()),
        }
    }
}

/// A context of a stream.
#[derive(Clone)]
pub(crate) struct StreamContext {
    pub(crate) root: u32,
    pub(crate) core: Rc<Core>,
}

pub(crate) enum Context {
    Root(Box<Root>),
    Stream(StreamContext),
}

/// What a host call asked for, and Envoy does after the callback.
pub(crate) enum Deferred {
    Continue(Rc<Core>, Side),
    Close(Rc<Core>),
    LocalReply(Rc<Core>, crate::stream::LocalReply),
    /// A root context that said it is done is deleted.
    Delete(u32),
}

/// A root context's timer, in nanoseconds of the proxy's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer {
    pub(crate) period: u64,
    pub(crate) due: u64,
}

#[derive(Default)]
pub(crate) struct VmState {
    pub(crate) contexts: BTreeMap<u32, Context>,
    pub(crate) next_context: u32,
    /// The context whose callback runs; `None` between callbacks.
    pub(crate) current: Option<u32>,
    /// What `set_effective_context` chose for the rest of the callback; 0 for none.
    pub(crate) effective: u32,
    pub(crate) timers: BTreeMap<u32, Timer>,
    pub(crate) deferred: Vec<Deferred>,
    /// A local reply stops the iteration, whatever the callback returns.
    pub(crate) stop_iteration: bool,
    pub(crate) handles: Handles,
    /// How many calls of each kind were made: HTTP, gRPC, gRPC streams.
    pub(crate) calls: [u32; 3],
    /// `_initialize` runs: few host calls are allowed.
    pub(crate) initializing: bool,
}

impl VmState {
    pub(crate) fn new() -> Self {
        Self { next_context: 1, ..Self::default() }
    }

    /// A token for a call of a kind: of the n-th (from 1), `4 * n + kind`.
    pub(crate) fn token(&mut self, kind: usize) -> u32 {
        self.calls[kind] += 1;
        self.calls[kind] * 4 + u32::try_from(kind).unwrap_or(0)
    }

    pub(crate) fn add(&mut self, context: Context) -> u32 {
        let id = self.next_context;
        self.next_context += 1;
        if let Context::Stream(stream) = &context
            && let Some(root) = self.root_mut(stream.root)
        {
            root.streams += 1;
        }
        self.contexts.insert(id, context);
        id
    }

    /// The context that host calls are about: the effective one, where it still exists.
    pub(crate) fn acting(&self) -> u32 {
        let current = self.current.unwrap_or(0);
        if self.effective != 0 && self.contexts.contains_key(&self.effective) {
            self.effective
        } else {
            current
        }
    }

    /// The root context of a context.
    pub(crate) fn root_of(&self, context: u32) -> u32 {
        match self.contexts.get(&context) {
            Some(Context::Stream(stream)) => stream.root,
            _ => context,
        }
    }

    pub(crate) fn root(&self, context: u32) -> Option<&Root> {
        match self.contexts.get(&context) {
            Some(Context::Root(root)) => Some(root),
            _ => None,
        }
    }

    pub(crate) fn root_mut(&mut self, context: u32) -> Option<&mut Root> {
        match self.contexts.get_mut(&context) {
            Some(Context::Root(root)) => Some(root),
            _ => None,
        }
    }

    pub(crate) fn stream(&self, context: u32) -> Option<&StreamContext> {
        match self.contexts.get(&context) {
            Some(Context::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    pub(crate) fn roots(&self) -> impl Iterator<Item = (u32, &Root)> {
        self.contexts.iter().filter_map(|(id, context)| match context {
            Context::Root(root) => Some((*id, root.as_ref())),
            Context::Stream(_) => None,
        })
    }
}
