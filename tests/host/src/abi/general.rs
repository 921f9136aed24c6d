//! Logs, properties, contexts, streams.

use wasmtime::{Caller, Linker};

use super::env::{host, readable};
use crate::context::{Deferred, Life};
use crate::engine::Abi;
use crate::names::HostCall;
use crate::properties;
use crate::stream::LocalReply;
use crate::types::{LogLevel, Side, Status};
use crate::vm::Data;

type Host<'a> = Caller<'a, Data>;

/// Kinds of streams: HTTP requests and responses, and those of network filters.
const STREAM_TYPES: u32 = 4;

fn side(kind: u32) -> Option<Side> {
    [Side::Request, Side::Response].get(kind as usize).copied()
}

pub(super) fn link(linker: &mut Linker<Data>, abi: Abi) -> wasmtime::Result<()> {
    log(linker, abi)?;
    property(linker)?;
    context(linker)?;
    stream(linker)
}

fn log(linker: &mut Linker<Data>, abi: Abi) -> wasmtime::Result<()> {
    linker.func_wrap("env", "proxy_log", |c: Host<'_>, level: u32, text: u32, size: u32| {
        let describe = |e: &mut super::env::Env<'_>| format!("{level}, {}", e.shown(text, size));
        host(c, HostCall::Log, describe, |e| {
            let level = LogLevel::from_abi(level).ok_or(Status::BadArgument)?;
            let text = e.text(text, size)?;
            e.proxy.log(e.vm.thread, level, &text);
            Ok(())
        })
    })?;
    if abi == Abi::V0_2_1 {
        linker.func_wrap("env", "proxy_get_log_level", |c: Host<'_>, to: u32| {
            host(
                c,
                HostCall::GetLogLevel,
                |_| String::new(),
                |e| {
                    let level = e.proxy.settings.log_level;
                    e.write_u32(to, level as u32)
                },
            )
        })?;
    }
    linker.func_wrap("env", "proxy_get_status", |c: Host<'_>, code: u32, at: u32, size: u32| {
        host(
            c,
            HostCall::GetStatus,
            |_| String::new(),
            |e| {
                let root = e.acting_root();
                let status = e.vm.state.borrow().root(root).map(|root| root.status.clone());
                let (number, text) = status.unwrap_or_default();
                e.write_u32(code, number)?;
                e.give(text.as_bytes(), at, size)
            },
        )
    })?;
    linker.func_wrap(
        "env",
        "proxy_call_foreign_function",
        |c: Host<'_>, name: u32, size: u32, args: u32, args_size: u32, _: u32, _: u32| {
            host(
                c,
                HostCall::CallForeignFunction,
                |e| e.shown(name, size),
                |e| {
                    e.bytes(name, size)?;
                    e.bytes(args, args_size)?;
                    Err(Status::NotFound.into())
                },
            )
        },
    )?;
    linker.func_wrap("env", "proxy_get_current_time_nanoseconds", |c: Host<'_>, to: u32| {
        host(
            c,
            HostCall::GetCurrentTime,
            |_| String::new(),
            |e| {
                let now = e.proxy.clock.wall();
                e.write_u64(to, now)
            },
        )
    })?;
    Ok(())
}

fn property(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_property",
        |c: Host<'_>, path: u32, path_size: u32, at: u32, size: u32| {
            let describe = |e: &mut super::env::Env<'_>| {
                let path = e.text(path, path_size).unwrap_or_default();
                readable(&path.trim_end_matches('\0').replace('\0', "."))
            };
            host(c, HostCall::GetProperty, describe, |e| {
                let path = e.bytes(path, path_size)?;
                let value = properties::read(&e.proxy, &e.vm, e.acting(), &path)?;
                e.give(&value, at, size)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_property",
        |c: Host<'_>, path: u32, path_size: u32, value: u32, size: u32| {
            host(
                c,
                HostCall::SetProperty,
                |e| e.shown(path, path_size),
                |e| {
                    let (path, value) = (e.bytes(path, path_size)?, e.bytes(value, size)?);
                    let stream = e.vm.state.borrow().stream(e.acting()).cloned();
                    let core = stream.ok_or(Status::NotFound)?.core;
                    core.state.borrow_mut().filter_state.insert(path, value);
                    Ok(())
                },
            )
        },
    )?;
    Ok(())
}

fn context(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "proxy_set_effective_context", |c: Host<'_>, id: u32| {
        host(
            c,
            HostCall::SetEffectiveContext,
            |_| id.to_string(),
            |e| {
                let mut state = e.vm.state.borrow_mut();
                if id != 0 && !state.contexts.contains_key(&id) {
                    return Err(Status::BadArgument.into());
                }
                state.effective = id;
                Ok(())
            },
        )
    })?;
    linker.func_wrap("env", "proxy_done", |c: Host<'_>| {
        host(
            c,
            HostCall::Done,
            |_| String::new(),
            |e| {
                let root = e.acting_root();
                let mut state = e.vm.state.borrow_mut();
                let pending = state.root(root).is_some_and(|root| root.life == Life::PendingDone);
                if !pending {
                    return Err(Status::NotFound.into());
                }
                state.deferred.push(Deferred::Delete(root));
                Ok(())
            },
        )
    })?;
    linker.func_wrap("env", "proxy_set_tick_period_milliseconds", |c: Host<'_>, period: u32| {
        host(
            c,
            HostCall::SetTickPeriod,
            |_| period.to_string(),
            |e| {
                let root = e.acting_root();
                let period = u64::from(period) * 1_000_000;
                let due = e.proxy.clock.now() + period;
                let mut state = e.vm.state.borrow_mut();
                if period == 0 {
                    state.timers.remove(&root);
                } else {
                    state.timers.insert(root, crate::context::Timer { period, due });
                }
                Ok(())
            },
        )
    })?;
    Ok(())
}

fn stream(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "proxy_continue_stream", |c: Host<'_>, kind: u32| {
        host(
            c,
            HostCall::ContinueStream,
            |_| kind.to_string(),
            |e| {
                if kind >= STREAM_TYPES {
                    return Err(Status::BadArgument.into());
                }
                let stream = e.vm.state.borrow().stream(e.acting()).cloned();
                if let (Some(stream), Some(side)) = (stream, side(kind)) {
                    // Envoy takes away the request's maps, whichever side goes on.
                    let mut core = stream.core.state.borrow_mut();
                    let request = core.side_mut(Side::Request);
                    (request.headers_open, request.trailers_open) = (false, false);
                    drop(core);
                    let go = Deferred::Continue(stream.core, side);
                    e.vm.state.borrow_mut().deferred.push(go);
                }
                Ok(())
            },
        )
    })?;
    linker.func_wrap("env", "proxy_close_stream", |c: Host<'_>, kind: u32| {
        host(
            c,
            HostCall::CloseStream,
            |_| kind.to_string(),
            |e| {
                if kind >= STREAM_TYPES {
                    return Err(Status::BadArgument.into());
                }
                let stream = e.vm.state.borrow().stream(e.acting()).cloned();
                if let Some(stream) = stream.filter(|_| side(kind).is_some()) {
                    e.vm.state.borrow_mut().deferred.push(Deferred::Close(stream.core));
                }
                Ok(())
            },
        )
    })?;
    linker.func_wrap(
        "env",
        "proxy_send_local_response",
        |c: Host<'_>,
         status: u32,
         details: u32,
         details_size: u32,
         body: u32,
         body_size: u32,
         headers: u32,
         headers_size: u32,
         grpc: i32| {
            host(
                c,
                HostCall::SendLocalResponse,
                |_| format!("{status}, grpc {grpc}"),
                |e| {
                    let reply = LocalReply {
                        status,
                        body: e.bytes(body, body_size)?,
                        headers: e.headers(headers, headers_size)?,
                        grpc_status: (0..=16).contains(&grpc).then_some(grpc),
                        details: e.text(details, details_size)?,
                    };
                    let mut state = e.vm.state.borrow_mut();
                    state.stop_iteration = true;
                    if let Some(stream) = state.stream(state.acting()).cloned() {
                        state.deferred.push(Deferred::LocalReply(stream.core, reply));
                    }
                    Ok(())
                },
            )
        },
    )?;
    Ok(())
}
