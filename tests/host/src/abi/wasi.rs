//! The WASI subset that Envoy gives: no files, no arguments, logs for output.

use wasmtime::{Caller, Linker};

use super::env::{Env, Outcome, Stop, wrapped};
use crate::names::HostCall;
use crate::types::{LogLevel, Status};
use crate::vm::Data;

type Host<'a> = Caller<'a, Data>;

const SUCCESS: u32 = 0;
const BAD_FILE: u32 = 8;
const FAULT: u32 = 21;
const INVALID: u32 = 28;
const NO_ENTRY: u32 = 44;
const NO_SYSTEM_CALL: u32 = 52;
const NOT_SUPPORTED: u32 = 58;
/// Most random bytes at once.
const MOST_RANDOM: u32 = 64 * 1024;

/// A WASI function: 0 or an errno.
fn wasi(
    caller: Host<'_>,
    call: HostCall,
    describe: impl FnOnce(&mut Env<'_>) -> String,
    body: impl FnOnce(&mut Env<'_>) -> Outcome<u32>,
) -> wasmtime::Result<u32> {
    wrapped(caller, call, describe, |env| {
        let errno = match body(env) {
            Ok(errno) => errno,
            Err(Stop::Status(_)) => FAULT,
            Err(Stop::Trap(error)) => return Err(error),
        };
        let status = if errno == SUCCESS { Status::Ok } else { Status::InternalFailure };
        Ok((errno, status))
    })
}

fn nothing(_: &mut Env<'_>) -> String {
    String::new()
}

pub(super) fn link(linker: &mut Linker<Data>, module: &str) -> wasmtime::Result<()> {
    files(linker, module)?;
    environment(linker, module)?;
    time_and_chance(linker, module)
}

fn files(linker: &mut Linker<Data>, module: &str) -> wasmtime::Result<()> {
    linker.func_wrap(module, "fd_write", |c: Host<'_>, fd: u32, iovs: u32, n: u32, to: u32| {
        wasi(c, HostCall::WasiFdWrite, |_| fd.to_string(), |e| write(e, fd, iovs, n, to))
    })?;
    linker.func_wrap(module, "fd_read", |c: Host<'_>, _: u32, _: u32, _: u32, _: u32| {
        wasi(c, HostCall::WasiFdRead, nothing, |_| Ok(NO_SYSTEM_CALL))
    })?;
    linker.func_wrap(module, "fd_seek", |c: Host<'_>, _: u32, _: i64, _: u32, _: u32| {
        wasi(c, HostCall::WasiFdSeek, nothing, |_| Ok(SUCCESS))
    })?;
    linker.func_wrap(module, "fd_close", |c: Host<'_>, _: u32| {
        wasi(c, HostCall::WasiFdClose, nothing, |_| Ok(SUCCESS))
    })?;
    linker.func_wrap(module, "fd_fdstat_get", |c: Host<'_>, fd: u32, to: u32| {
        wasi(
            c,
            HostCall::WasiFdStatGet,
            |_| fd.to_string(),
            |e| {
                if !(1..=2).contains(&fd) {
                    return Ok(BAD_FILE);
                }
                let mut stat = [0; 24];
                // The right to write.
                stat[8] = 64;
                e.write(to, &stat)?;
                Ok(SUCCESS)
            },
        )
    })?;
    linker.func_wrap(module, "fd_fdstat_set_flags", |c: Host<'_>, _: u32, _: u32| {
        wasi(c, HostCall::WasiFdStatSetFlags, nothing, |_| Ok(NO_SYSTEM_CALL))
    })?;
    linker.func_wrap(module, "fd_prestat_get", |c: Host<'_>, _: u32, _: u32| {
        wasi(c, HostCall::WasiPrestatGet, nothing, |_| Ok(BAD_FILE))
    })?;
    linker.func_wrap(module, "fd_prestat_dir_name", |c: Host<'_>, _: u32, _: u32, _: u32| {
        wasi(c, HostCall::WasiPrestatDirName, nothing, |_| Ok(NO_SYSTEM_CALL))
    })?;
    linker.func_wrap(
        module,
        "path_open",
        |c: Host<'_>,
         _: u32,
         _: u32,
         path: u32,
         size: u32,
         _: u32,
         _: i64,
         _: i64,
         _: u32,
         _: u32| {
            wasi(c, HostCall::WasiPathOpen, |e| e.shown(path, size), |_| Ok(NO_ENTRY))
        },
    )?;
    Ok(())
}

/// Standard output is logged as information, standard error as an error.
fn write(env: &mut Env<'_>, fd: u32, iovs: u32, count: u32, written_at: u32) -> Outcome<u32> {
    let level = match fd {
        1 => LogLevel::Info,
        2 => LogLevel::Error,
        _ => return Ok(BAD_FILE),
    };
    let mut all = Vec::new();
    for index in 0..count {
        let iov = env.bytes(iovs.wrapping_add(index.wrapping_mul(8)), 8)?;
        let number = |at: usize| {
            iov.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_le_bytes)
        };
        all.extend(env.bytes(number(0), number(4))?);
    }
    let written = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let text = String::from_utf8_lossy(&all);
    if written > 0 {
        let line = text.strip_suffix('\n').unwrap_or(&text);
        env.proxy.log(env.vm.thread, level, line);
    }
    env.write_u32(written_at, written)?;
    Ok(SUCCESS)
}

fn environment(linker: &mut Linker<Data>, module: &str) -> wasmtime::Result<()> {
    linker.func_wrap(module, "environ_sizes_get", |c: Host<'_>, count: u32, size: u32| {
        wasi(c, HostCall::WasiEnvironSizesGet, nothing, |e| {
            let env = &e.proxy.settings.env;
            let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
            let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
            let (number, bytes) = (length(env.len()), length(bytes));
            e.write_u32(count, number)?;
            e.write_u32(size, bytes)?;
            Ok(SUCCESS)
        })
    })?;
    linker.func_wrap(module, "environ_get", |c: Host<'_>, pointers: u32, buffer: u32| {
        wasi(c, HostCall::WasiEnvironGet, nothing, |e| {
            let (mut pointer, mut at) = (pointers, buffer);
            for (name, value) in e.proxy.settings.env.clone() {
                let text = format!("{name}={value}\0");
                e.write_u32(pointer, at)?;
                e.write(at, text.as_bytes())?;
                pointer = pointer.wrapping_add(4);
                at = at.wrapping_add(u32::try_from(text.len()).unwrap_or(u32::MAX));
            }
            Ok(SUCCESS)
        })
    })?;
    linker.func_wrap(module, "args_sizes_get", |c: Host<'_>, count: u32, size: u32| {
        wasi(c, HostCall::WasiArgsSizesGet, nothing, |e| {
            e.write_u32(count, 0)?;
            e.write_u32(size, 0)?;
            Ok(SUCCESS)
        })
    })?;
    linker.func_wrap(module, "args_get", |c: Host<'_>, _: u32, _: u32| {
        wasi(c, HostCall::WasiArgsGet, nothing, |_| Ok(SUCCESS))
    })?;
    linker.func_wrap(
        module,
        "proc_exit",
        |mut c: Host<'_>, code: u32| -> wasmtime::Result<()> {
            let _ = &mut c;
            wasi(c, HostCall::WasiProcExit, |_| code.to_string(), |_| {
                Err(wasmtime::Error::msg(format!("the module called proc_exit({code})")).into())
            })
            .map(|_| ())
        },
    )?;
    Ok(())
}

fn time_and_chance(linker: &mut Linker<Data>, module: &str) -> wasmtime::Result<()> {
    linker.func_wrap(module, "clock_time_get", |c: Host<'_>, clock: u32, _: i64, to: u32| {
        wasi(
            c,
            HostCall::WasiClockTimeGet,
            |_| clock.to_string(),
            |e| {
                let now = match clock {
                    0 => e.proxy.clock.wall(),
                    1 => e.proxy.clock.monotonic(),
                    _ => return Ok(NOT_SUPPORTED),
                };
                e.write_u64(to, now)?;
                Ok(SUCCESS)
            },
        )
    })?;
    linker.func_wrap(module, "random_get", |c: Host<'_>, to: u32, size: u32| {
        wasi(
            c,
            HostCall::WasiRandomGet,
            |_| size.to_string(),
            |e| {
                if size > MOST_RANDOM {
                    return Ok(INVALID);
                }
                let bytes = e.proxy.random.bytes(size as usize);
                e.write(to, &bytes)?;
                Ok(SUCCESS)
            },
        )
    })?;
    linker.func_wrap(module, "sched_yield", |c: Host<'_>| {
        wasi(c, HostCall::WasiSchedYield, nothing, |_| Ok(SUCCESS))
    })?;
    linker.func_wrap(
        module,
        "poll_oneoff",
        |c: Host<'_>, _: u32, _: u32, _: u32, events: u32| {
            wasi(c, HostCall::WasiPollOneoff, nothing, |e| {
                e.write_u32(events, 0)?;
                Ok(SUCCESS)
            })
        },
    )?;
    Ok(())
}
