//! Bodies and configurations.

use wasmtime::{Caller, Linker};

use super::env::{Env, Outcome, host};
use crate::names::HostCall;
use crate::types::{Side, Status};
use crate::vm::Data;

type Host<'a> = Caller<'a, Data>;

/// The buffers by their number in the ABI.
const NAMES: [&str; 9] = [
    "request body",
    "response body",
    "downstream data",
    "upstream data",
    "call body",
    "grpc message",
    "vm configuration",
    "plugin configuration",
    "call data",
];

fn name(kind: u32) -> &'static str {
    NAMES.get(kind as usize).copied().unwrap_or("?")
}

/// Envoy's `getBuffer`. A body that is not there is empty; other things are not found.
fn read<T>(env: &Env<'_>, kind: u32, with: impl FnOnce(&[u8]) -> T) -> Outcome<T> {
    let state = env.vm.state.borrow();
    let acting = state.acting();
    let root = state.root(state.root_of(acting));
    match name(kind) {
        "request body" | "response body" => {
            let Some(stream) = state.stream(acting) else { return Ok(with(&[])) };
            let core = stream.core.state.borrow();
            let side = core.side(if kind == 0 { Side::Request } else { Side::Response });
            let held = side.buffered.as_ref().filter(|_| side.buffering);
            Ok(with(side.body.as_ref().or(held).map_or(&[], Vec::as_slice)))
        }
        "call body" => {
            let answer = root.and_then(|root| root.answer.as_ref()).ok_or(Status::NotFound)?;
            Ok(with(&answer.body))
        }
        "grpc message" => {
            Ok(with(root.and_then(|root| root.grpc_message.as_ref()).map_or(&[], Vec::as_slice)))
        }
        "vm configuration" => Ok(with(env.proxy.settings.vm_config.as_bytes())),
        "plugin configuration" => {
            let root = root.filter(|root| root.configuring).ok_or(Status::NotFound)?;
            Ok(with(root.config.plugin.config.as_bytes()))
        }
        "?" => Err(Status::BadArgument.into()),
        _ => Ok(with(&[])),
    }
}

/// Envoy's `Buffer::copyFrom`: in place of the front, or at the end.
fn splice(body: &mut Vec<u8>, start: usize, length: usize, data: &[u8]) -> Outcome {
    if start == 0 {
        let length = length.min(body.len());
        body.splice(..length, data.iter().copied());
    } else if start >= body.len() {
        body.extend_from_slice(data);
    } else {
        return Err(Status::BadArgument.into());
    }
    Ok(())
}

fn write(env: &Env<'_>, kind: u32, start: u32, length: u32, data: &[u8]) -> Outcome {
    read(env, kind, |_| ())?;
    let state = env.vm.state.borrow();
    let stream = state.stream(state.acting()).filter(|_| kind < 2).ok_or(Status::BadArgument)?;
    let mut core = stream.core.state.borrow_mut();
    let side = core.side_mut(if kind == 0 { Side::Request } else { Side::Response });
    let buffering = side.buffering;
    let held = side.buffered.as_mut().filter(|_| buffering);
    let body = side.body.as_mut().or(held).ok_or(Status::BadArgument)?;
    splice(body, start as usize, length as usize, data)
}

pub(super) fn link(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_buffer_bytes",
        |c: Host<'_>, kind: u32, start: u32, length: u32, at: u32, size: u32| {
            let describe = |_: &mut Env<'_>| format!("{}, {start}, {length}", name(kind));
            host(c, HostCall::GetBufferBytes, describe, |e| {
                let piece = read(e, kind, |whole| {
                    let from = (start as usize).min(whole.len());
                    let to = from.saturating_add(length as usize).min(whole.len());
                    whole[from..to].to_vec()
                })?;
                e.give(&piece, at, size)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_buffer_status",
        |c: Host<'_>, kind: u32, length_at: u32, flags_at: u32| {
            host(
                c,
                HostCall::GetBufferStatus,
                |_| name(kind).to_owned(),
                |e| {
                    let length = read(e, kind, <[u8]>::len)?;
                    e.write_u32(length_at, u32::try_from(length).unwrap_or(u32::MAX))?;
                    e.write_u32(flags_at, 0)
                },
            )
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_buffer_bytes",
        |c: Host<'_>, kind: u32, start: u32, length: u32, data: u32, size: u32| {
            let describe = |_: &mut Env<'_>| format!("{}, {start}, {length}, {size}", name(kind));
            host(c, HostCall::SetBufferBytes, describe, |e| {
                let data = e.bytes(data, size)?;
                write(e, kind, start, length, &data)
            })
        },
    )?;
    Ok(())
}
