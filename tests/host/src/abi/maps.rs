//! Header and trailer maps: which one is there depends on the callback.

use wasmtime::{Caller, Linker};

use super::env::{Env, Outcome, host};
use super::pairs;
use crate::headers::Headers;
use crate::names::HostCall;
use crate::types::{Side, Status};
use crate::vm::Data;

type Host<'a> = Caller<'a, Data>;

/// The maps by their number in the ABI.
const NAMES: [&str; 8] = [
    "request headers",
    "request trailers",
    "response headers",
    "response trailers",
    "grpc initial metadata",
    "grpc trailing metadata",
    "call headers",
    "call trailers",
];

fn name(kind: u32) -> &'static str {
    NAMES.get(kind as usize).copied().unwrap_or("?")
}

/// A map as a reader finds it.
enum Found<'a> {
    Map(&'a Headers),
    /// The access log runs, and there is none.
    NotLogged,
    /// It is not there in this phase.
    Absent,
}

fn of<'a>(map: Option<&'a Headers>, none: Found<'a>) -> Found<'a> {
    map.map_or(none, Found::Map)
}

/// Envoy's `getConstMap`.
fn read<T>(env: &Env<'_>, kind: u32, with: impl FnOnce(Found<'_>) -> T) -> Outcome<T> {
    if kind as usize >= NAMES.len() {
        return Err(Status::BadArgument.into());
    }
    let state = env.vm.state.borrow();
    let acting = state.acting();
    if kind >= 4 {
        let root = state.root(state.root_of(acting));
        let answer = root.and_then(|root| root.answer.as_ref());
        let map = match kind {
            4 => root.and_then(|root| root.grpc_initial.as_ref()),
            5 => root.and_then(|root| root.grpc_trailing.as_ref()),
            6 => answer.map(|answer| &answer.headers),
            _ => answer.and_then(|answer| answer.trailers.as_ref()),
        };
        return Ok(with(of(map, Found::Absent)));
    }
    let Some(stream) = state.stream(acting) else { return Ok(with(Found::Absent)) };
    let core = stream.core.state.borrow();
    let side = core.side(if kind < 2 { Side::Request } else { Side::Response });
    Ok(with(match (kind, core.logging) {
        (1, true) => Found::NotLogged,
        (0 | 2, true) => of(side.headers.as_ref(), Found::NotLogged),
        (_, true) => of(side.trailers.as_ref(), Found::NotLogged),
        (0 | 2, false) => of(side.headers.as_ref().filter(|_| side.headers_open), Found::Absent),
        (_, false) => of(side.trailers.as_ref().filter(|_| side.trailers_open), Found::Absent),
    }))
}

/// Envoy's `getMap`: `None` where it is not there, or not to be changed.
fn change<T>(env: &Env<'_>, kind: u32, with: impl FnOnce(Option<&mut Headers>) -> T) -> Outcome<T> {
    if kind as usize >= NAMES.len() {
        return Err(Status::BadArgument.into());
    }
    let state = env.vm.state.borrow();
    let stream = state.stream(state.acting()).filter(|_| kind < 4);
    let Some(stream) = stream else { return Ok(with(None)) };
    let mut core = stream.core.state.borrow_mut();
    let side = core.side_mut(if kind < 2 { Side::Request } else { Side::Response });
    if kind.is_multiple_of(2) {
        return Ok(with(side.headers.as_mut().filter(|_| side.headers_open)));
    }
    // In the last callback of a body that came without trailers, the filter may make some.
    if !side.trailers_open && side.trailers.is_none() && side.body.is_some() && side.end_of_stream {
        side.trailers = Some(Headers::new());
        side.trailers_added = true;
        side.trailers_open = true;
    }
    Ok(with(side.trailers.as_mut().filter(|_| side.trailers_open)))
}

/// Envoy takes `host` in a request's headers for `:authority`.
fn key_of(env: &Env<'_>, kind: u32, at: u32, size: u32) -> Outcome<String> {
    let name = env.text(at, size)?;
    let is_host = kind == 0 && name.eq_ignore_ascii_case("host");
    Ok(if is_host { ":authority".to_owned() } else { name })
}

fn changed(env: &Env<'_>, kind: u32, edit: impl FnOnce(&mut Headers)) -> Outcome {
    change(env, kind, |map| map.map(edit).ok_or(Status::BadArgument))?.map_err(Into::into)
}

pub(super) fn link(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    single(linker)?;
    whole(linker)
}

fn single(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_header_map_value",
        |c: Host<'_>, kind: u32, key: u32, key_size: u32, at: u32, size: u32| {
            let describe = |e: &mut Env<'_>| format!("{}, {}", name(kind), e.shown(key, key_size));
            host(c, HostCall::GetHeaderMapValue, describe, |e| {
                let key = key_of(e, kind, key, key_size)?;
                let value = read(e, kind, |map| match map {
                    Found::Map(map) => {
                        map.get_bytes(&key).map(<[u8]>::to_vec).ok_or(Status::NotFound)
                    }
                    Found::NotLogged => Err(Status::NotFound),
                    Found::Absent => Err(Status::BadArgument),
                })??;
                e.give(&value, at, size)
            })
        },
    )?;
    for (function, call) in [
        ("proxy_add_header_map_value", HostCall::AddHeaderMapValue),
        ("proxy_replace_header_map_value", HostCall::ReplaceHeaderMapValue),
    ] {
        linker.func_wrap(
            "env",
            function,
            move |c: Host<'_>, kind: u32, key: u32, key_size: u32, value: u32, size: u32| {
                let describe = |e: &mut Env<'_>| {
                    let (key, value) = (e.shown(key, key_size), e.shown(value, size));
                    format!("{}, {key}, {value}", name(kind))
                };
                host(c, call, describe, |e| {
                    let (key, value) = (key_of(e, kind, key, key_size)?, e.bytes(value, size)?);
                    changed(e, kind, |map| match call {
                        HostCall::AddHeaderMapValue => map.add(key, value),
                        _ => map.set(key, value),
                    })
                })
            },
        )?;
    }
    linker.func_wrap(
        "env",
        "proxy_remove_header_map_value",
        |c: Host<'_>, kind: u32, key: u32, key_size: u32| {
            let describe = |e: &mut Env<'_>| format!("{}, {}", name(kind), e.shown(key, key_size));
            host(c, HostCall::RemoveHeaderMapValue, describe, |e| {
                let key = key_of(e, kind, key, key_size)?;
                changed(e, kind, |map| map.remove(&key))
            })
        },
    )?;
    Ok(())
}

fn whole(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_header_map_pairs",
        |c: Host<'_>, kind: u32, at: u32, size: u32| {
            host(
                c,
                HostCall::GetHeaderMapPairs,
                |_| name(kind).to_owned(),
                |e| {
                    let bytes = read(e, kind, |map| match map {
                        Found::Map(map) if map.is_empty() => Vec::new(),
                        Found::Map(map) => {
                            let pair = |(name, value): (&str, &[u8])| {
                                (name.as_bytes().to_vec(), value.to_vec())
                            };
                            pairs::encode(&map.iter().map(pair).collect::<Vec<_>>())
                        }
                        Found::NotLogged | Found::Absent => Vec::new(),
                    })?;
                    e.give(&bytes, at, size)
                },
            )
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_header_map_pairs",
        |c: Host<'_>, kind: u32, at: u32, size: u32| {
            host(
                c,
                HostCall::SetHeaderMapPairs,
                |_| name(kind).to_owned(),
                |e| {
                    let headers = e.headers(at, size)?;
                    changed(e, kind, |map| *map = headers)
                },
            )
        },
    )?;
    linker.func_wrap("env", "proxy_get_header_map_size", |c: Host<'_>, kind: u32, to: u32| {
        host(
            c,
            HostCall::GetHeaderMapSize,
            |_| name(kind).to_owned(),
            |e| {
                let size = change(e, kind, |map| map.map(|map| map.byte_size()))?;
                let logging = {
                    let state = e.vm.state.borrow();
                    state.stream(state.acting()).is_some_and(|s| s.core.state.borrow().logging)
                };
                let size = size.or(logging.then_some(0)).ok_or(Status::BadArgument)?;
                e.write_u32(to, u32::try_from(size).unwrap_or(u32::MAX))
            },
        )
    })?;
    Ok(())
}
