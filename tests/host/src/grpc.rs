//! gRPC calls and streams that filters make.

use std::rc::Rc;

use crate::calls::Handle;
use crate::headers::Headers;
use crate::inner::Inner;
use crate::names::Callback;
use crate::types::{Status, Thread};
use crate::vm::Vm;

/// A gRPC call or stream of a filter.
#[derive(Clone)]
pub struct GrpcCall {
    /// Where it came from.
    pub thread: Thread,
    /// The cluster it goes to.
    pub cluster: String,
    /// The service's full name.
    pub service: String,
    /// The method.
    pub method: String,
    /// Initial metadata.
    pub metadata: Headers,
    /// Messages sent so far: one for a unary call.
    pub messages: Vec<Vec<u8>>,
    /// The filter half-closed it.
    pub half_closed: bool,
    /// A stream, not a unary call.
    pub is_stream: bool,
    /// Timeout in milliseconds; 0 for none. It is the test's to let it pass.
    pub timeout_ms: u32,
    /// Its token in the VM.
    pub token: u32,
    pub(crate) handle: Handle,
}

impl GrpcCall {
    /// A message arrives; a unary call is over with it.
    pub fn message(&self, message: impl AsRef<[u8]>) {
        let message = message.as_ref().to_vec();
        let size = u32::try_from(message.len()).unwrap_or(u32::MAX);
        self.tell(Callback::OnGrpcReceive, size, !self.is_stream, |root| {
            root.grpc_message = Some(message);
        });
    }

    /// Initial metadata arrives (streams only).
    pub fn initial_metadata(&self, metadata: impl Into<Headers>) {
        let metadata: Headers = metadata.into();
        let count = u32::try_from(metadata.len()).unwrap_or(u32::MAX);
        self.tell(Callback::OnGrpcReceiveInitialMetadata, count, false, |root| {
            root.grpc_initial = Some(metadata);
        });
    }

    /// Trailing metadata arrives (streams only).
    pub fn trailing_metadata(&self, metadata: impl Into<Headers>) {
        let metadata: Headers = metadata.into();
        let count = u32::try_from(metadata.len()).unwrap_or(u32::MAX);
        self.tell(Callback::OnGrpcReceiveTrailingMetadata, count, false, |root| {
            root.grpc_trailing = Some(metadata);
        });
    }

    /// It ends with this status.
    pub fn close(&self, grpc_status: u32, message: &str) {
        let message = message.to_owned();
        self.tell(Callback::OnGrpcClose, grpc_status, true, |root| {
            root.status = (grpc_status, message);
        });
    }

    fn tell(
        &self,
        callback: Callback,
        argument: u32,
        last: bool,
        set: impl FnOnce(&mut crate::context::Root),
    ) {
        let Some(proxy) = self.handle.proxy.upgrade() else { return };
        let is_open = proxy.outgoing.grpc.borrow().iter().any(|c| c.handle.id == self.handle.id);
        let Some(vm) = proxy.vm(self.handle.vm).filter(|_| is_open) else { return };
        let root = self.handle.root;
        if let Some(context) = vm.state.borrow_mut().root_mut(root) {
            set(context);
        }
        let _ = vm.call(&proxy, root, callback, &[self.token, argument]);
        if let Some(context) = vm.state.borrow_mut().root_mut(root) {
            (context.grpc_initial, context.grpc_trailing) = (None, None);
            context.grpc_message = None;
            context.status.1.clear();
        }
        if last {
            proxy.outgoing.grpc.borrow_mut().retain(|c| c.handle.id != self.handle.id);
        }
    }
}

/// A call as the filter asked for it.
pub(crate) struct Asked {
    pub(crate) target: Vec<u8>,
    pub(crate) service: String,
    pub(crate) method: String,
    pub(crate) metadata: Headers,
    /// The message of a unary call.
    pub(crate) message: Option<Vec<u8>>,
    pub(crate) timeout_ms: u32,
}

/// The cluster in a serialised `GrpcService` with `envoy_grpc`: field 1 in field 1.
fn cluster_of(target: &[u8]) -> Option<&str> {
    let field = |bytes: &'_ [u8]| -> Option<usize> {
        (bytes.first() == Some(&0x0a) && *bytes.get(1)? < 0x80).then(|| usize::from(bytes[1]))
    };
    let outer = field(target)?;
    let inner = target.get(2..2 + outer)?;
    let name = field(inner)?;
    core::str::from_utf8(inner.get(2..2 + name)?).ok()
}

impl Inner {
    /// A filter makes a gRPC call or opens a stream: its token.
    pub(crate) fn grpc_call(
        self: &Rc<Self>,
        vm: &Rc<Vm>,
        root: u32,
        asked: Asked,
    ) -> Result<u32, Status> {
        let is_cluster = |name: &&str| self.clusters.borrow().contains_key(*name);
        let named = core::str::from_utf8(&asked.target).ok().filter(is_cluster);
        let cluster = match (named, cluster_of(&asked.target)) {
            (Some(name), _) => name,
            (None, Some(name)) if is_cluster(&name) => name,
            (None, Some(_)) => return Err(Status::InternalFailure),
            (None, None) => return Err(Status::ParseFailure),
        };
        let is_stream = asked.message.is_none();
        let token = vm.state.borrow_mut().token(if is_stream { 2 } else { 1 });
        let id = self.outgoing.next_id();
        let call = GrpcCall {
            thread: vm.thread,
            cluster: cluster.to_owned(),
            service: asked.service,
            method: asked.method,
            metadata: asked.metadata,
            half_closed: !is_stream,
            messages: asked.message.into_iter().collect(),
            is_stream,
            timeout_ms: asked.timeout_ms,
            token,
            handle: Handle { proxy: Rc::downgrade(self), id, vm: vm.serial, root },
        };
        self.outgoing.grpc.borrow_mut().push(call);
        Ok(token)
    }

    /// A filter sends on a stream.
    pub(crate) fn grpc_send(&self, vm: &Vm, token: u32, message: &[u8], end: bool) -> Status {
        // Tokens tell their kind: only 2 is a stream's.
        if token % 4 != 2 {
            return Status::BadArgument;
        }
        let mut open = self.outgoing.grpc.borrow_mut();
        let mine = open.iter_mut().find(|call| (call.handle.vm, call.token) == (vm.serial, token));
        let Some(call) = mine else { return Status::NotFound };
        // What follows the end is taken, and sent nowhere.
        if !call.half_closed {
            call.messages.push(message.to_vec());
        }
        call.half_closed |= end;
        Status::Ok
    }

    /// A filter cancels a call or a stream, or half-closes a stream.
    pub(crate) fn grpc_end(&self, vm: &Vm, token: u32, cancel: bool) -> Status {
        if !matches!(token % 4, 1 | 2) {
            return Status::BadArgument;
        }
        let mut open = self.outgoing.grpc.borrow_mut();
        let mine = |call: &GrpcCall| (call.handle.vm, call.token) == (vm.serial, token);
        let Some(at) = open.iter().position(mine) else { return Status::NotFound };
        if cancel || !open[at].is_stream {
            open.remove(at);
        } else {
            open[at].half_closed = true;
        }
        Status::Ok
    }
}
