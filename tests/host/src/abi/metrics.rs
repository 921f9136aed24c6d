//! Metrics.

use wasmtime::{Caller, Linker};

use super::env::{Outcome, host};
use crate::names::HostCall;
use crate::store::metrics::Kind;
use crate::types::Status;
use crate::vm::Data;

type Host<'a> = Caller<'a, Data>;

fn outcome(status: Status) -> Outcome {
    if status == Status::Ok { Ok(()) } else { Err(status.into()) }
}

pub(super) fn link(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_define_metric",
        |c: Host<'_>, kind: u32, name: u32, size: u32, id_at: u32| {
            let describe = |e: &mut super::env::Env<'_>| {
                let kind = Kind::from_abi(kind).map_or("?", Kind::name);
                format!("{kind}, {}", e.shown(name, size))
            };
            host(c, HostCall::DefineMetric, describe, |e| {
                let name = e.text(name, size)?;
                let kind = Kind::from_abi(kind).ok_or(Status::BadArgument)?;
                let id = {
                    let metrics = &mut e.proxy.metrics.borrow_mut();
                    e.vm.state.borrow_mut().handles.define(metrics, kind, &name)
                };
                e.write_u32(id_at, id)
            })
        },
    )?;
    linker.func_wrap("env", "proxy_increment_metric", |c: Host<'_>, id: u32, by: i64| {
        let describe =
            |e: &mut super::env::Env<'_>| format!("{}, {by}", e.vm.state.borrow().handles.name(id));
        host(c, HostCall::IncrementMetric, describe, |e| {
            let metrics = &mut e.proxy.metrics.borrow_mut();
            outcome(e.vm.state.borrow().handles.increment(metrics, id, by))
        })
    })?;
    linker.func_wrap("env", "proxy_record_metric", |c: Host<'_>, id: u32, value: u64| {
        let describe = |e: &mut super::env::Env<'_>| {
            format!("{}, {value}", e.vm.state.borrow().handles.name(id))
        };
        host(c, HostCall::RecordMetric, describe, |e| {
            let metrics = &mut e.proxy.metrics.borrow_mut();
            outcome(e.vm.state.borrow().handles.record(metrics, id, value))
        })
    })?;
    linker.func_wrap("env", "proxy_get_metric", |c: Host<'_>, id: u32, to: u32| {
        let describe = |e: &mut super::env::Env<'_>| e.vm.state.borrow().handles.name(id);
        host(c, HostCall::GetMetric, describe, |e| {
            let read = e.vm.state.borrow().handles.get(&e.proxy.metrics.borrow(), id);
            e.write_u64(to, read?)
        })
    })?;
    Ok(())
}
