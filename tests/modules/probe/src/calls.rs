//! Actions that call somebody: HTTP and gRPC.

use crate::{
    abi,
    actions::Arguments,
    probe::{Run, name, own},
    text::{pack, status},
};

/// Does the action where it is one of these.
pub(crate) fn run(run: &Run, a: &Arguments, action: &str) -> Option<String> {
    let made = |grpc: bool, (code, token): (u32, u32)| {
        name(a.text(0), token);
        if code == 0 {
            own(grpc, token, run.context);
            format!("ok token:{token}")
        } else {
            status(code)
        }
    };
    Some(match action {
        // name, cluster, headers, body, trailers, timeout in ms
        "http_call" => {
            let trailers = pack(a.value(4));
            let headers = pack(a.value(2));
            made(false, abi::http_call(a.bytes(1), &headers, a.bytes(3), &trailers, a.bits(5)))
        }
        // name, cluster, service, method, metadata, message, timeout in ms
        "grpc_call" => {
            let (method, metadata) = ((a.text(2), a.text(3)), pack(a.value(4)));
            made(true, abi::grpc_call(a.bytes(1), method, &metadata, a.bytes(5), a.bits(6)))
        }
        // name, cluster, service, method, metadata
        "grpc_stream" => {
            let (method, metadata) = ((a.text(2), a.text(3)), pack(a.value(4)));
            made(true, abi::grpc_stream(a.bytes(1), method, &metadata))
        }
        "grpc_send" => status(abi::grpc_send(a.id(0), a.bytes(1), a.value(2) == true)),
        "grpc_close" => status(abi::grpc_close(a.id(0))),
        "grpc_cancel" => status(abi::grpc_cancel(a.id(0))),
        _ => return None,
    })
}
