//! Shared data and queues.

use wasmtime::{Caller, Linker};

use super::env::host;
use crate::inner::Post;
use crate::names::HostCall;
use crate::store::queues::Listener;
use crate::types::Status;
use crate::vm::Data;

type Host<'a> = Caller<'a, Data>;

pub(super) fn link(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    data(linker)?;
    queues(linker)
}

fn data(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_shared_data",
        |c: Host<'_>, key: u32, key_size: u32, at: u32, size: u32, cas_at: u32| {
            host(
                c,
                HostCall::GetSharedData,
                |e| e.shown(key, key_size),
                |e| {
                    let key = e.bytes(key, key_size)?;
                    let found = e.proxy.shared.borrow().get(&e.vm.vm_id, &key).cloned();
                    let (value, cas) = found.ok_or(Status::NotFound)?;
                    e.give(&value, at, size)?;
                    e.write_u32(cas_at, cas)
                },
            )
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_shared_data",
        |c: Host<'_>, key: u32, key_size: u32, value: u32, size: u32, cas: u32| {
            let describe =
                |e: &mut super::env::Env<'_>| format!("{}, cas {cas}", e.shown(key, key_size));
            host(c, HostCall::SetSharedData, describe, |e| {
                let (key, value) = (e.bytes(key, key_size)?, e.bytes(value, size)?);
                match e.proxy.shared.borrow_mut().set(&e.vm.vm_id, &key, &value, cas) {
                    Status::Ok => Ok(()),
                    refused => Err(refused.into()),
                }
            })
        },
    )?;
    Ok(())
}

fn queues(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_register_shared_queue",
        |c: Host<'_>, name: u32, size: u32, token_at: u32| {
            host(
                c,
                HostCall::RegisterSharedQueue,
                |e| e.shown(name, size),
                |e| {
                    let name = e.bytes(name, size)?;
                    let listener = Listener { vm: e.vm.serial, context: e.acting_root() };
                    let token = e.proxy.queues.borrow_mut().register(&e.vm.vm_id, &name, listener);
                    e.write_u32(token_at, token)
                },
            )
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_resolve_shared_queue",
        |c: Host<'_>, vm: u32, vm_size: u32, name: u32, size: u32, token_at: u32| {
            let describe = |e: &mut super::env::Env<'_>| {
                format!("{}, {}", e.shown(vm, vm_size), e.shown(name, size))
            };
            host(c, HostCall::ResolveSharedQueue, describe, |e| {
                let (vm_id, name) = (e.text(vm, vm_size)?, e.bytes(name, size)?);
                let vm_id = if vm_id.is_empty() { e.vm.vm_id.clone() } else { vm_id };
                let token = e.proxy.queues.borrow().resolve(&vm_id, &name);
                e.write_u32(token_at, token.ok_or(Status::NotFound)?)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_dequeue_shared_queue",
        |c: Host<'_>, token: u32, at: u32, size: u32| {
            host(
                c,
                HostCall::DequeueSharedQueue,
                |_| token.to_string(),
                |e| {
                    let found = e.proxy.queues.borrow_mut().dequeue(token);
                    let item = found.ok_or(Status::NotFound)?.ok_or(Status::Empty)?;
                    e.give(&item, at, size)
                },
            )
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_enqueue_shared_queue",
        |c: Host<'_>, token: u32, at: u32, size: u32| {
            host(
                c,
                HostCall::EnqueueSharedQueue,
                |_| token.to_string(),
                |e| {
                    let item = e.bytes(at, size)?;
                    let told = e.proxy.queues.borrow_mut().enqueue(token, &item);
                    let listener = told.ok_or(Status::NotFound)?;
                    e.proxy.posts.borrow_mut().push_back(Post::QueueReady(listener, token));
                    Ok(())
                },
            )
        },
    )?;
    Ok(())
}
