//! One host call: the plan for it, its record, and the VM's memory.

use std::rc::Rc;

use wasmtime::{AsContext, AsContextMut, Caller};

use crate::headers::Headers;
use crate::inner::Inner;
use crate::names::HostCall;
use crate::trace::CallRecord;
use crate::types::Status;
use crate::vm::{Data, Vm};

use super::pairs;

/// Why a host call is not done.
pub(crate) enum Stop {
    Status(Status),
    Trap(wasmtime::Error),
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<wasmtime::Error> for Stop {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

pub(crate) type Outcome<T = ()> = Result<T, Stop>;

/// The VM that calls, and the proxy around it.
pub(crate) struct Env<'a> {
    caller: Caller<'a, Data>,
    pub(crate) vm: Rc<Vm>,
    pub(crate) proxy: Rc<Inner>,
    returned_value: bool,
}

/// Runs a host call: first what is planned for it, then the call itself, then its record.
/// `arguments` describes it and is asked for only where somebody looks.
pub(crate) fn host(
    caller: Caller<'_, Data>,
    call: HostCall,
    arguments: impl FnOnce(&mut Env<'_>) -> String,
    body: impl FnOnce(&mut Env<'_>) -> Outcome,
) -> wasmtime::Result<u32> {
    wrapped(caller, call, arguments, |env| {
        let status = match body(env) {
            Ok(()) => Status::Ok,
            Err(Stop::Status(status)) => status,
            Err(Stop::Trap(error)) => return Err(error),
        };
        Ok((status as u32, status))
    })
}

/// As [`host`], with a result of another kind; a planned status is returned as it is.
pub(crate) fn wrapped(
    caller: Caller<'_, Data>,
    call: HostCall,
    arguments: impl FnOnce(&mut Env<'_>) -> String,
    body: impl FnOnce(&mut Env<'_>) -> wasmtime::Result<(u32, Status)>,
) -> wasmtime::Result<u32> {
    let (vm, proxy) = (caller.data().vm.upgrade(), caller.data().proxy.upgrade());
    let (Some(vm), Some(proxy)) = (vm, proxy) else {
        return Err(wasmtime::Error::msg("the module calls the host while it is instantiated"));
    };
    let mut env = Env { caller, vm, proxy, returned_value: false };
    if env.vm.state.borrow().initializing && !is_allowed_early(call) {
        return Err(wasmtime::Error::msg(format!("restricted host call during start: {call}")));
    }
    let looked_at = env.proxy.recorder.is_on() || !env.proxy.faults.is_empty();
    let arguments = if looked_at { arguments(&mut env) } else { String::new() };
    let plan = env.proxy.faults.before_call(&env.proxy, env.vm.thread, call, &arguments);
    let done = if plan.traps || env.vm.failed.get() {
        Err(wasmtime::Error::msg(format!("a trap was planned at {call}")))
    } else if let Some(status) = plan.returns {
        Ok((status as u32, status))
    } else {
        body(&mut env)
    };
    plan.after(&env.proxy);
    let faulted = plan.traps || plan.returns.is_some();
    let status = done.as_ref().map_or(Status::InternalFailure, |(_, status)| *status);
    if env.proxy.recorder.is_on() {
        let returned_value = env.returned_value;
        let record = CallRecord { call, arguments, status, returned_value, faulted };
        env.proxy.recorder.call(&env.vm, record);
    }
    done.map(|(result, _)| result)
}

/// What `_initialize` may call.
fn is_allowed_early(call: HostCall) -> bool {
    matches!(
        call,
        HostCall::Log
            | HostCall::WasiFdWrite
            | HostCall::WasiArgsSizesGet
            | HostCall::WasiArgsGet
            | HostCall::WasiEnvironSizesGet
            | HostCall::WasiEnvironGet
            | HostCall::WasiClockTimeGet
            | HostCall::WasiRandomGet
            | HostCall::WasiPollOneoff
            | HostCall::WasiFdStatGet
            | HostCall::WasiFdStatSetFlags
            | HostCall::WasiPrestatGet
            | HostCall::WasiPrestatDirName
    )
}

impl Env<'_> {
    /// Bytes of the VM's memory.
    pub(crate) fn bytes(&self, pointer: u32, length: u32) -> Outcome<Vec<u8>> {
        let memory = self.caller.data().memory.ok_or(Status::InvalidMemoryAccess)?;
        let data = memory.data(self.caller.as_context());
        let (start, length) = (pointer as usize, length as usize);
        let bytes = data.get(start..start.saturating_add(length));
        bytes.map(<[u8]>::to_vec).ok_or(Stop::Status(Status::InvalidMemoryAccess))
    }

    /// Text of the VM's memory; bytes that are no UTF-8 are replaced.
    pub(crate) fn text(&self, pointer: u32, length: u32) -> Outcome<String> {
        self.bytes(pointer, length).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Text for the record, readable whatever it is.
    pub(crate) fn shown(&self, pointer: u32, length: u32) -> String {
        self.text(pointer, length).map_or_else(|_| "?".to_owned(), |text| readable(&text))
    }

    /// A header map of the VM's memory.
    pub(crate) fn headers(&self, pointer: u32, length: u32) -> Outcome<Headers> {
        let pairs = pairs::decode(&self.bytes(pointer, length)?);
        Ok(pairs
            .into_iter()
            .map(|(name, value)| (String::from_utf8_lossy(&name).into_owned(), value))
            .collect())
    }

    pub(crate) fn write(&mut self, pointer: u32, bytes: &[u8]) -> Outcome {
        let memory = self.caller.data().memory.ok_or(Status::InvalidMemoryAccess)?;
        let written = memory.write(self.caller.as_context_mut(), pointer as usize, bytes);
        written.map_err(|_| Stop::Status(Status::InvalidMemoryAccess))
    }

    pub(crate) fn write_u32(&mut self, pointer: u32, value: u32) -> Outcome {
        self.write(pointer, &value.to_le_bytes())
    }

    pub(crate) fn write_u64(&mut self, pointer: u32, value: u64) -> Outcome {
        self.write(pointer, &value.to_le_bytes())
    }

    /// Hands over a value: memory for it is allocated in the VM, unless it is empty.
    pub(crate) fn give(&mut self, value: &[u8], pointer_at: u32, length_at: u32) -> Outcome {
        let length = u32::try_from(value.len()).map_err(|_| Status::InvalidMemoryAccess)?;
        let mut pointer = 0;
        if length > 0 {
            let allocate = self.caller.data().allocate.clone();
            let allocate = allocate.ok_or(Status::InvalidMemoryAccess)?;
            pointer = allocate.call(&mut self.caller, length)?;
            if pointer == 0 {
                return Err(Status::InvalidMemoryAccess.into());
            }
            self.write(pointer, value)?;
            self.returned_value = true;
        }
        self.write_u32(pointer_at, pointer)?;
        self.write_u32(length_at, length)
    }

    /// The context that the call is about.
    pub(crate) fn acting(&self) -> u32 {
        self.vm.state.borrow().acting()
    }

    /// The root context of that one.
    pub(crate) fn acting_root(&self) -> u32 {
        let state = self.vm.state.borrow();
        state.root_of(state.acting())
    }
}

/// One line of text: control characters are escaped.
pub(crate) fn readable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = (!c.is_control()).then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}
