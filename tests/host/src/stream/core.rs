//! What the host keeps of a stream.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use crate::context::{Context, StreamContext};
use crate::envoy::call::Router;
use crate::headers::Headers;
use crate::inner::{Inner, Serving};
use crate::names::Callback;
use crate::stream::{LocalReply, Passed};
use crate::types::Side;
use crate::value::Value;
use crate::vm::{Dead, Vm};

/// Whether data moves on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Iteration {
    #[default]
    Continue,
    /// Stopped at the headers: nothing is shown to the filter until it resumes.
    StopAll,
    /// Stopped at data or trailers: the filter sees what comes.
    StopSingle,
}

/// One direction of a stream.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct SideState {
    /// The map that arrived, as the filter left it.
    pub(crate) headers: Option<Headers>,
    pub(crate) trailers: Option<Headers>,
    /// The filter may use the map now.
    pub(crate) headers_open: bool,
    pub(crate) trailers_open: bool,
    /// The body that the filter may use now.
    pub(crate) body: Option<Vec<u8>>,
    /// What is held back.
    pub(crate) buffered: Option<Vec<u8>>,
    /// The last data callback asked to buffer: the next one sees all of it.
    pub(crate) buffering: bool,
    /// The last callback had it.
    pub(crate) end_of_stream: bool,
    /// The end arrived at the filter.
    pub(crate) received_end: bool,
    pub(crate) iteration: Iteration,
    pub(crate) headers_passed: bool,
    /// Trailers arrived while all was stopped: the filter did not see them yet.
    pub(crate) trailers_waiting: bool,
    /// The filter made the trailers itself, in the last callback of the body.
    pub(crate) trailers_added: bool,
    pub(crate) passed: Passed,
}

/// The parts that change.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[expect(clippy::struct_field_names, reason = "Envoy calls it filter state")]
pub(crate) struct State {
    sides: [SideState; 2],
    pub(crate) properties: BTreeMap<Vec<String>, Option<Value>>,
    /// What the filter set (`set_property`), by the bytes of the path.
    pub(crate) filter_state: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) local_reply: Option<LocalReply>,
    /// The status of the response as it arrived; in the log, as it went to the client.
    pub(crate) response_code: Option<i64>,
    /// Bytes of bodies that arrived, by side.
    pub(crate) received: [u64; 2],
    /// The access log runs: other maps are readable.
    pub(crate) logging: bool,
    pub(crate) logged: bool,
    pub(crate) destroyed: bool,
    pub(crate) closed: bool,
    /// The VM died while it had this stream, and Envoy answered.
    pub(crate) failed: bool,
}

impl State {
    pub(crate) fn side(&self, side: Side) -> &SideState {
        &self.sides[side as usize]
    }

    pub(crate) fn side_mut(&mut self, side: Side) -> &mut SideState {
        &mut self.sides[side as usize]
    }
}

/// Who runs the filter for a stream.
#[derive(Clone, Default)]
pub(crate) enum Filter {
    /// Nobody was needed yet.
    #[default]
    None,
    Vm(Weak<Vm>, u32),
    /// The VM is dead, and the policy lets requests pass.
    Bypassed,
    /// The VM is dead, and the policy does not.
    Refusing(u32),
}

pub(crate) struct Core {
    pub(crate) worker: usize,
    /// Index of the plugin whose filter it passes.
    pub(crate) plugin: usize,
    pub(crate) filter: RefCell<Filter>,
    pub(crate) state: RefCell<State>,
    /// The call around it, which is told when something moved.
    pub(crate) router: RefCell<Weak<Router>>,
}

impl Core {
    pub(crate) fn new(worker: usize, plugin: usize) -> Rc<Self> {
        Rc::new(Self {
            worker,
            plugin,
            filter: RefCell::default(),
            state: RefCell::default(),
            router: RefCell::default(),
        })
    }

    pub(crate) fn context(&self) -> Option<u32> {
        match *self.filter.borrow() {
            Filter::Vm(_, context) => Some(context),
            _ => None,
        }
    }

    pub(crate) fn vm(&self) -> Option<Rc<Vm>> {
        match &*self.filter.borrow() {
            Filter::Vm(vm, _) => vm.upgrade(),
            _ => None,
        }
    }

    /// Gives the stream a context, if it has none yet.
    pub(crate) fn attach(self: &Rc<Self>, proxy: &Rc<Inner>) {
        if !matches!(*self.filter.borrow(), Filter::None) {
            return;
        }
        let filter = match proxy.serving(self.worker, self.plugin) {
            Serving::Vm(vm, root) => {
                let core = Rc::clone(self);
                let context = StreamContext { root, core };
                let id = vm.state.borrow_mut().add(Context::Stream(context));
                *self.filter.borrow_mut() = Filter::Vm(Rc::downgrade(&vm), id);
                let _ = vm.call(proxy, id, Callback::OnContextCreate, &[root]);
                return;
            }
            Serving::Bypass => Filter::Bypassed,
            Serving::Refuse(status) => Filter::Refusing(status),
        };
        *self.filter.borrow_mut() = filter;
    }

    /// Runs a callback of the stream: `Ok(None)` where the filter does not care, `Err` where its VM
    /// is dead and Envoy answered in its stead.
    pub(crate) fn call(
        self: &Rc<Self>,
        proxy: &Rc<Inner>,
        callback: Callback,
        arguments: &[u32],
    ) -> Result<Option<u32>, Dead> {
        let filter = self.filter.borrow().clone();
        match filter {
            Filter::None | Filter::Bypassed => Ok(None),
            Filter::Refusing(status) => {
                self.fail(status);
                Err(Dead)
            }
            Filter::Vm(vm, context) => {
                let vm = vm.upgrade();
                let was_dead = vm.as_ref().is_none_or(|vm| vm.failed.get());
                let called =
                    vm.map_or(Err(Dead), |vm| vm.call(proxy, context, callback, arguments));
                if called.is_ok() {
                    return called;
                }
                // The request that kills the VM is answered 503 whatever the policy.
                if was_dead && proxy.fails_open() {
                    return Ok(None);
                }
                self.fail(503);
                Err(Dead)
            }
        }
    }

    /// The filter resets the stream.
    pub(crate) fn close(&self) {
        self.state.borrow_mut().closed = true;
    }

    /// Nothing more goes through the filter: it is answered, reset or gone.
    pub(crate) fn is_cut(&self) -> bool {
        let state = self.state.borrow();
        state.closed || state.failed || state.destroyed
    }
}
