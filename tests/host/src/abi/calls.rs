//! HTTP and gRPC calls of the filter.

use wasmtime::{Caller, Linker};

use super::env::{Outcome, host};
use crate::calls;
use crate::grpc;
use crate::names::HostCall;
use crate::types::Status;
use crate::vm::Data;

type Host<'a> = Caller<'a, Data>;

fn outcome(status: Status) -> Outcome {
    if status == Status::Ok { Ok(()) } else { Err(status.into()) }
}

pub(super) fn link(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    http(linker)?;
    grpc(linker)?;
    streams(linker)
}

fn http(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_http_call",
        |c: Host<'_>,
         cluster: u32,
         cluster_size: u32,
         headers: u32,
         headers_size: u32,
         body: u32,
         body_size: u32,
         trailers: u32,
         trailers_size: u32,
         timeout_ms: u32,
         token_at: u32| {
            host(
                c,
                HostCall::HttpCall,
                |e| e.shown(cluster, cluster_size),
                |e| {
                    let asked = calls::Asked {
                        cluster: e.text(cluster, cluster_size)?,
                        headers: e.headers(headers, headers_size)?,
                        body: e.bytes(body, body_size)?,
                        trailers: e.headers(trailers, trailers_size)?,
                        timeout_ms,
                    };
                    e.write_u32(token_at, 0)?;
                    let root = e.acting_root();
                    let token = e.proxy.http_call(&e.vm, root, asked)?;
                    e.write_u32(token_at, token)
                },
            )
        },
    )?;
    Ok(())
}

fn grpc(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_grpc_call",
        |c: Host<'_>,
         target: u32,
         target_size: u32,
         service: u32,
         service_size: u32,
         method: u32,
         method_size: u32,
         metadata: u32,
         metadata_size: u32,
         message: u32,
         message_size: u32,
         timeout_ms: u32,
         token_at: u32| {
            host(
                c,
                HostCall::GrpcCall,
                |e| e.shown(method, method_size),
                |e| {
                    let asked = grpc::Asked {
                        target: e.bytes(target, target_size)?,
                        service: e.text(service, service_size)?,
                        method: e.text(method, method_size)?,
                        metadata: e.headers(metadata, metadata_size)?,
                        message: Some(e.bytes(message, message_size)?),
                        timeout_ms,
                    };
                    let root = e.acting_root();
                    let token = e.proxy.grpc_call(&e.vm, root, asked)?;
                    e.write_u32(token_at, token)
                },
            )
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_grpc_stream",
        |c: Host<'_>,
         target: u32,
         target_size: u32,
         service: u32,
         service_size: u32,
         method: u32,
         method_size: u32,
         metadata: u32,
         metadata_size: u32,
         token_at: u32| {
            host(
                c,
                HostCall::GrpcStream,
                |e| e.shown(method, method_size),
                |e| {
                    let asked = grpc::Asked {
                        target: e.bytes(target, target_size)?,
                        service: e.text(service, service_size)?,
                        method: e.text(method, method_size)?,
                        metadata: e.headers(metadata, metadata_size)?,
                        message: None,
                        timeout_ms: 0,
                    };
                    let root = e.acting_root();
                    let token = e.proxy.grpc_call(&e.vm, root, asked)?;
                    e.write_u32(token_at, token)
                },
            )
        },
    )?;
    Ok(())
}

fn streams(linker: &mut Linker<Data>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_grpc_send",
        |c: Host<'_>, token: u32, message: u32, size: u32, end: u32| {
            host(
                c,
                HostCall::GrpcSend,
                |_| format!("{token}, {end}"),
                |e| {
                    let message = e.bytes(message, size)?;
                    outcome(e.proxy.grpc_send(&e.vm, token, &message, end != 0))
                },
            )
        },
    )?;
    linker.func_wrap("env", "proxy_grpc_cancel", |c: Host<'_>, token: u32| {
        host(
            c,
            HostCall::GrpcCancel,
            |_| token.to_string(),
            |e| outcome(e.proxy.grpc_end(&e.vm, token, true)),
        )
    })?;
    linker.func_wrap("env", "proxy_grpc_close", |c: Host<'_>, token: u32| {
        host(
            c,
            HostCall::GrpcClose,
            |_| token.to_string(),
            |e| outcome(e.proxy.grpc_end(&e.vm, token, false)),
        )
    })?;
    Ok(())
}
