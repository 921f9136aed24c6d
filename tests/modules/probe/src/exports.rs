//! What the proxy calls.
#![allow(unsafe_code, reason = "the proxy finds these by their bare names")]

use crate::{abi, probe};

unsafe extern "C" {
    fn __wasm_call_ctors();
}

#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: made by the linker, and called once, first.
    unsafe { __wasm_call_ctors() };
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    abi::allocate(size)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
    probe::create(context, parent);
}

/// Callbacks: name, arguments, and what was said to the script's first result.
macro_rules! callbacks {
    ($($export:ident($($argument:ident),*) => $name:literal;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $export(context: u32 $(, $argument: u32)*) -> u32 {
            probe::callback(context, $name, &[$((stringify!($argument), $argument)),*])
        }
    )*};
}

callbacks! {
    proxy_on_request_headers(headers, end) => "on_request_headers";
    proxy_on_request_body(size, end) => "on_request_body";
    proxy_on_request_trailers(trailers) => "on_request_trailers";
    proxy_on_response_headers(headers, end) => "on_response_headers";
    proxy_on_response_body(size, end) => "on_response_body";
    proxy_on_response_trailers(trailers) => "on_response_trailers";
    proxy_on_vm_start(configuration) => "on_vm_start";
    proxy_on_configure(configuration) => "on_configure";
    proxy_on_done() => "on_done";
}

/// The same for callbacks without a result.
macro_rules! notices {
    ($($export:ident($($argument:ident),*) => $name:literal;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $export(context: u32 $(, $argument: u32)*) {
            probe::callback(context, $name, &[$((stringify!($argument), $argument)),*]);
        }
    )*};
}

notices! {
    proxy_on_tick() => "on_tick";
    proxy_on_queue_ready(queue) => "on_queue_ready";
    proxy_on_log() => "on_log";
    proxy_on_http_call_response(token, headers, size, trailers) => "on_http_call_response";
    proxy_on_grpc_receive_initial_metadata(token, headers) => "on_grpc_initial_metadata";
    proxy_on_grpc_receive(token, size) => "on_grpc_receive";
    proxy_on_grpc_receive_trailing_metadata(token, trailers) => "on_grpc_trailing_metadata";
    proxy_on_grpc_close(token, code) => "on_grpc_close";
    proxy_on_foreign_function(function, size) => "on_foreign_function";
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context: u32) {
    probe::delete(context);
}
