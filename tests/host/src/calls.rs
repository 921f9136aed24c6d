//! Calls that filters make.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::context::Answer;
use crate::headers::Headers;
use crate::inner::{Inner, Post};
use crate::names::Callback;
use crate::types::{Status, Thread};
use crate::vm::Vm;

/// An HTTP call of a filter (`dispatch_http_call`).
#[derive(Clone)]
pub struct HttpCall {
    /// Where it came from.
    pub thread: Thread,
    /// The cluster it goes to.
    pub cluster: String,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Headers,
    /// Timeout in milliseconds; 0 for none.
    pub timeout_ms: u32,
    /// Its token in the VM.
    pub token: u32,
    pub(crate) handle: Handle,
}

/// How a call is found again.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) proxy: std::rc::Weak<Inner>,
    pub(crate) id: u64,
    pub(crate) vm: u32,
    pub(crate) root: u32,
}

/// What became of an HTTP call.
pub(crate) enum Outcome {
    Answered(Answer),
    Reset,
    TimedOut,
    Refused,
    ServerReset,
    NoHost,
}

impl Outcome {
    /// What the filter is told; `None` for a callback without headers.
    fn answer(self) -> Option<Answer> {
        match self {
            Self::Answered(answer) => Some(answer),
            Self::Reset => None,
            Self::TimedOut => Some(made_up("504", "upstream request timeout")),
            Self::NoHost => Some(made_up("503", "no healthy upstream")),
            Self::ServerReset => Some(made_up(
                "503",
                "upstream connect error or disconnect/reset before headers. \
                 reset reason: remote reset",
            )),
            Self::Refused => Some(made_up(
                "503",
                "upstream connect error or disconnect/reset before headers. \
                 reset reason: remote connection failure",
            )),
        }
    }
}

fn made_up(status: &str, body: &str) -> Answer {
    let headers = Headers::from([
        (":status", status),
        ("content-length", &body.len().to_string()),
        ("content-type", "text/plain"),
    ]);
    Answer { headers, body: body.into(), trailers: None }
}

impl HttpCall {
    /// It is answered. Nothing happens where it is over already, or its VM is.
    pub fn respond(&self, status: u32, body: impl AsRef<[u8]>) {
        self.respond_with([(":status", status.to_string())], body, ());
    }

    /// It is answered with these headers, which include `:status`.
    pub fn respond_with(
        &self,
        headers: impl Into<Headers>,
        body: impl AsRef<[u8]>,
        trailers: impl Into<Headers>,
    ) {
        let trailers = Some(trailers.into()).filter(|trailers: &Headers| !trailers.is_empty());
        let answer = Answer { headers: headers.into(), body: body.as_ref().to_vec(), trailers };
        self.end(Outcome::Answered(answer));
    }

    /// The server resets it: a callback with 503, which Envoy makes up.
    pub fn reset(&self) {
        self.end(Outcome::ServerReset);
    }

    /// It fails without any answer: a callback without headers. Envoy does so where it gives a call
    /// up itself; whatever happens upstream is told as an answer with 503 or 504.
    pub fn fail(&self) {
        self.end(Outcome::Reset);
    }

    /// It times out: a callback with 504, which Envoy makes up.
    pub fn time_out(&self) {
        self.end(Outcome::TimedOut);
    }

    /// No connection: a callback with 503, which Envoy makes up.
    pub fn refuse(&self) {
        self.end(Outcome::Refused);
    }

    fn end(&self, outcome: Outcome) {
        if let Some(proxy) = self.handle.proxy.upgrade() {
            proxy.answer_http(self.handle.id, outcome);
        }
    }
}

struct Pending {
    call: HttpCall,
    timeout: Option<u64>,
    automatic: Option<u64>,
}

/// Calls that wait for an answer, in order.
#[derive(Default)]
pub(crate) struct Outgoing {
    http: RefCell<Vec<Pending>>,
    pub(crate) grpc: RefCell<Vec<crate::grpc::GrpcCall>>,
    next: Cell<u64>,
}

impl Outgoing {
    pub(crate) fn next_id(&self) -> u64 {
        self.next.set(self.next.get() + 1);
        self.next.get()
    }

    pub(crate) fn http_calls(&self) -> Vec<HttpCall> {
        self.http.borrow().iter().map(|pending| pending.call.clone()).collect()
    }

    pub(crate) fn timeouts(&self) -> Vec<(u64, u64)> {
        let http = self.http.borrow();
        let due = http.iter().filter_map(|p| p.timeout.map(|time| (time, p.call.handle.id)));
        due.collect()
    }

    pub(crate) fn automatic(&self) -> Vec<(u64, u64)> {
        let http = self.http.borrow();
        let due = http.iter().filter_map(|p| p.automatic.map(|time| (time, p.call.handle.id)));
        due.collect()
    }

    pub(crate) fn find(&self, id: u64) -> Option<HttpCall> {
        let http = self.http.borrow();
        http.iter().find(|p| p.call.handle.id == id).map(|pending| pending.call.clone())
    }

    fn take(&self, id: u64) -> Option<HttpCall> {
        let mut http = self.http.borrow_mut();
        let at = http.iter().position(|pending| pending.call.handle.id == id)?;
        Some(http.remove(at).call)
    }

    /// The calls of a VM that is gone.
    pub(crate) fn forget(&self, vm: u32) {
        self.http.borrow_mut().retain(|pending| pending.call.handle.vm != vm);
        self.grpc.borrow_mut().retain(|call| call.handle.vm != vm);
    }

    /// The calls of a root context that is deleted.
    pub(crate) fn forget_root(&self, vm: u32, root: u32) {
        let is_of = |handle: &Handle| (handle.vm, handle.root) == (vm, root);
        self.http.borrow_mut().retain(|pending| !is_of(&pending.call.handle));
        self.grpc.borrow_mut().retain(|call| !is_of(&call.handle));
    }
}

/// A call as the filter asked for it.
pub(crate) struct Asked {
    pub(crate) cluster: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Headers,
    pub(crate) timeout_ms: u32,
}

impl Inner {
    /// A filter makes an HTTP call: its token.
    pub(crate) fn http_call(
        self: &Rc<Self>,
        vm: &Rc<Vm>,
        root: u32,
        mut asked: Asked,
    ) -> Result<u32, Status> {
        let is_admin = self.settings.admin_cluster.as_deref() == Some(asked.cluster.as_str());
        let hosts = self.clusters.borrow().get(&asked.cluster).map(|cluster| cluster.hosts.len());
        let needed = [":path", ":method", ":authority"];
        let is_complete = needed.iter().all(|name| asked.headers.contains(name));
        if !(is_admin || hosts.is_some()) || !is_complete || asked.timeout_ms > i32::MAX as u32 {
            return Err(Status::BadArgument);
        }
        if !asked.body.is_empty() {
            asked.headers.set("content-length", asked.body.len().to_string());
        }
        let token = vm.state.borrow_mut().token(0);
        let id = self.outgoing.next_id();
        let handle = Handle { proxy: Rc::downgrade(self), id, vm: vm.serial, root };
        let now = self.clock.now();
        let timeout_ms = asked.timeout_ms;
        let call = HttpCall {
            thread: vm.thread,
            cluster: asked.cluster,
            headers: asked.headers,
            body: asked.body,
            trailers: asked.trailers,
            timeout_ms,
            token,
            handle,
        };
        let timeout = (timeout_ms > 0).then(|| now + u64::from(timeout_ms) * 1_000_000);
        let automatic = is_admin.then_some(now + crate::envoy::admin::LATENCY);
        self.outgoing.http.borrow_mut().push(Pending { call, timeout, automatic });
        if !is_admin && hosts == Some(0) {
            self.posts.borrow_mut().push_back(Post::HttpAnswer(id, Outcome::NoHost));
        }
        Ok(token)
    }

    /// A call has its outcome: the callback runs, after the one under way if there is one.
    pub(crate) fn answer_http(self: &Rc<Self>, id: u64, outcome: Outcome) {
        let Some(vm) = self.outgoing.find(id).and_then(|call| self.vm(call.handle.vm)) else {
            self.outgoing.take(id);
            return;
        };
        if vm.is_running() {
            self.posts.borrow_mut().push_back(Post::HttpAnswer(id, outcome));
            return;
        }
        let Some(call) = self.outgoing.take(id) else { return };
        let answer = outcome.answer();
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let sizes = answer.as_ref().map_or([0; 3], |answer| {
            let trailers = answer.trailers.as_ref().map_or(0, Headers::len);
            [count(answer.headers.len()), count(answer.body.len()), count(trailers)]
        });
        let root = call.handle.root;
        {
            let mut state = vm.state.borrow_mut();
            let Some(context) = state.root_mut(root) else { return };
            if answer.is_none() {
                context.status = (Status::BrokenConnection as u32, "reset".to_owned());
            }
            context.answer = answer;
        }
        let arguments = [call.token, sizes[0], sizes[1], sizes[2]];
        let _ = vm.call(self, root, Callback::OnHttpCallResponse, &arguments);
        if let Some(context) = vm.state.borrow_mut().root_mut(root) {
            context.answer = None;
            context.status.1.clear();
        }
    }

    /// The admin interface answers, if it does so by itself.
    pub(crate) fn answer_automatically(self: &Rc<Self>, id: u64) {
        let mut http = self.outgoing.http.borrow_mut();
        let Some(pending) = http.iter_mut().find(|pending| pending.call.handle.id == id) else {
            return;
        };
        pending.automatic = None;
        let path = pending.call.headers.get(":path").unwrap_or_default().to_owned();
        drop(http);
        if let Some(outcome) = self.admin_answer(&path) {
            self.answer_http(id, outcome);
        }
    }
}
