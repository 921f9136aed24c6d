//! The host functions of Proxy-Wasm 0.2.1 as they are: a status, and what was returned with it.
#![allow(unsafe_code, reason = "the SDK's own wrappers panic at statuses that tests want to see")]

use std::ptr::{null_mut, slice_from_raw_parts_mut};

/// 0 is success.
pub(crate) type Status = u32;

macro_rules! host {
    ($(fn $name:ident($($argument:ident: $kind:ty),*);)*) => {
        #[link(wasm_import_module = "env")]
        unsafe extern "C" { $(fn $name($($argument: $kind),*) -> Status;)* }
    };
}

type Out<T> = *mut T;
type Text = *const u8;

host! {
    fn proxy_log(level: u32, text: Text, size: usize);
    fn proxy_get_log_level(level: Out<u32>);
    fn proxy_get_current_time_nanoseconds(time: Out<u64>);
    fn proxy_set_tick_period_milliseconds(period: u32);
    fn proxy_get_status(code: Out<u32>, text: Out<*mut u8>, size: Out<usize>);
    fn proxy_get_buffer_bytes(kind: u32, start: u32, length: u32, out: Out<*mut u8>, size: Out<usize>);
    fn proxy_get_buffer_status(kind: u32, length: Out<u32>, flags: Out<u32>);
    fn proxy_set_buffer_bytes(kind: u32, start: u32, length: u32, data: Text, size: usize);
    fn proxy_get_header_map_pairs(map: u32, out: Out<*mut u8>, size: Out<usize>);
    fn proxy_set_header_map_pairs(map: u32, data: Text, size: usize);
    fn proxy_get_header_map_size(map: u32, size: Out<u32>);
    fn proxy_get_header_map_value(map: u32, key: Text, key_size: usize, out: Out<*mut u8>, size: Out<usize>);
    fn proxy_add_header_map_value(map: u32, key: Text, key_size: usize, value: Text, size: usize);
    fn proxy_replace_header_map_value(map: u32, key: Text, key_size: usize, value: Text, size: usize);
    fn proxy_remove_header_map_value(map: u32, key: Text, key_size: usize);
    fn proxy_get_property(path: Text, path_size: usize, out: Out<*mut u8>, size: Out<usize>);
    fn proxy_set_property(path: Text, path_size: usize, value: Text, size: usize);
    fn proxy_get_shared_data(key: Text, key_size: usize, out: Out<*mut u8>, size: Out<usize>, cas: Out<u32>);
    fn proxy_set_shared_data(key: Text, key_size: usize, value: Text, size: usize, cas: u32);
    fn proxy_register_shared_queue(name: Text, name_size: usize, queue: Out<u32>);
    fn proxy_resolve_shared_queue(vm: Text, vm_size: usize, name: Text, name_size: usize, queue: Out<u32>);
    fn proxy_dequeue_shared_queue(queue: u32, out: Out<*mut u8>, size: Out<usize>);
    fn proxy_enqueue_shared_queue(queue: u32, data: Text, size: usize);
    fn proxy_continue_stream(kind: u32);
    fn proxy_close_stream(kind: u32);
    fn proxy_send_local_response(code: u32, details: Text, details_size: usize, body: Text, body_size: usize, headers: Text, headers_size: usize, grpc_status: i32);
    fn proxy_http_call(cluster: Text, cluster_size: usize, headers: Text, headers_size: usize, body: Text, body_size: usize, trailers: Text, trailers_size: usize, timeout: u32, token: Out<u32>);
    fn proxy_grpc_call(service: Text, service_size: usize, name: Text, name_size: usize, method: Text, method_size: usize, metadata: Text, metadata_size: usize, message: Text, message_size: usize, timeout: u32, token: Out<u32>);
    fn proxy_grpc_stream(service: Text, service_size: usize, name: Text, name_size: usize, method: Text, method_size: usize, metadata: Text, metadata_size: usize, token: Out<u32>);
    fn proxy_grpc_send(token: u32, message: Text, size: usize, end: u32);
    fn proxy_grpc_close(token: u32);
    fn proxy_grpc_cancel(token: u32);
    fn proxy_set_effective_context(context: u32);
    fn proxy_done();
    fn proxy_call_foreign_function(name: Text, name_size: usize, data: Text, size: usize, out: Out<*mut u8>, out_size: Out<usize>);
    fn proxy_define_metric(kind: u32, name: Text, name_size: usize, metric: Out<u32>);
    fn proxy_increment_metric(metric: u32, offset: i64);
    fn proxy_record_metric(metric: u32, value: u64);
    fn proxy_get_metric(metric: u32, value: Out<u64>);
}

/// Bytes that the host wrote into memory it asked `proxy_on_memory_allocate` for.
fn taken(status: Status, out: *mut u8, size: usize) -> (Status, Option<Vec<u8>>) {
    if out.is_null() {
        return (status, None);
    }
    // SAFETY: it came from `allocate` with this size, and nobody else has it.
    let bytes = unsafe { Box::from_raw(slice_from_raw_parts_mut(out, size)) };
    (status, Some(bytes.into_vec()))
}

/// Memory for the host to write `size` bytes into.
pub(crate) fn allocate(size: usize) -> *mut u8 {
    let bytes: Box<[u8]> = vec![0; size].into_boxed_slice();
    Box::into_raw(bytes).cast()
}

/// What a panic ends in, without its words.
pub(crate) fn trap() -> ! {
    std::process::abort()
}

macro_rules! bytes_of {
    ($function:ident($($argument:expr),*)) => {{
        let (mut out, mut size) = (null_mut(), 0);
        // SAFETY: all pointers are to live values of the sizes given.
        let status = unsafe { $function($($argument,)* &raw mut out, &raw mut size) };
        taken(status, out, size)
    }};
}

macro_rules! number_of {
    ($function:ident($($argument:expr),*)) => {{
        let mut out = 0;
        // SAFETY: all pointers are to live values of the sizes given.
        let status = unsafe { $function($($argument,)* &raw mut out) };
        (status, out)
    }};
}

macro_rules! status_of {
    ($function:ident($($argument:expr),*)) => {
        // SAFETY: all pointers are to live values of the sizes given.
        unsafe { $function($($argument),*) }
    };
}

pub(crate) fn log(level: u32, text: &str) -> Status {
    status_of!(proxy_log(level, text.as_ptr(), text.len()))
}

pub(crate) fn get_log_level() -> (Status, u32) {
    number_of!(proxy_get_log_level())
}

pub(crate) fn get_current_time() -> (Status, u64) {
    number_of!(proxy_get_current_time_nanoseconds())
}

pub(crate) fn set_tick_period(milliseconds: u32) -> Status {
    status_of!(proxy_set_tick_period_milliseconds(milliseconds))
}

pub(crate) fn get_status() -> (Status, u32, Option<Vec<u8>>) {
    let mut code = 0;
    let (status, text) = bytes_of!(proxy_get_status(&raw mut code));
    (status, code, text)
}

pub(crate) fn get_buffer(kind: u32, start: u32, length: u32) -> (Status, Option<Vec<u8>>) {
    bytes_of!(proxy_get_buffer_bytes(kind, start, length))
}

pub(crate) fn get_buffer_status(kind: u32) -> (Status, u32) {
    let mut length = 0;
    let (status, _flags) = number_of!(proxy_get_buffer_status(kind, &raw mut length));
    (status, length)
}

pub(crate) fn set_buffer(kind: u32, start: u32, length: u32, data: &[u8]) -> Status {
    status_of!(proxy_set_buffer_bytes(kind, start, length, data.as_ptr(), data.len()))
}

pub(crate) fn get_pairs(map: u32) -> (Status, Option<Vec<u8>>) {
    bytes_of!(proxy_get_header_map_pairs(map))
}

pub(crate) fn set_pairs(map: u32, pairs: &[u8]) -> Status {
    status_of!(proxy_set_header_map_pairs(map, pairs.as_ptr(), pairs.len()))
}

pub(crate) fn get_map_size(map: u32) -> (Status, u32) {
    number_of!(proxy_get_header_map_size(map))
}

pub(crate) fn get_header(map: u32, key: &str) -> (Status, Option<Vec<u8>>) {
    bytes_of!(proxy_get_header_map_value(map, key.as_ptr(), key.len()))
}

pub(crate) fn add_header(map: u32, key: &str, value: &[u8]) -> Status {
    let (key, key_size) = (key.as_ptr(), key.len());
    status_of!(proxy_add_header_map_value(map, key, key_size, value.as_ptr(), value.len()))
}

pub(crate) fn replace_header(map: u32, key: &str, value: &[u8]) -> Status {
    let (key, key_size) = (key.as_ptr(), key.len());
    status_of!(proxy_replace_header_map_value(map, key, key_size, value.as_ptr(), value.len()))
}

pub(crate) fn remove_header(map: u32, key: &str) -> Status {
    status_of!(proxy_remove_header_map_value(map, key.as_ptr(), key.len()))
}

pub(crate) fn get_property(path: &[u8]) -> (Status, Option<Vec<u8>>) {
    bytes_of!(proxy_get_property(path.as_ptr(), path.len()))
}

pub(crate) fn set_property(path: &[u8], value: &[u8]) -> Status {
    status_of!(proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()))
}

pub(crate) fn get_shared(key: &str) -> (Status, Option<Vec<u8>>, u32) {
    let (mut out, mut size, mut cas) = (null_mut(), 0, 0);
    let (key, key_size) = (key.as_ptr(), key.len());
    let status =
        status_of!(proxy_get_shared_data(key, key_size, &raw mut out, &raw mut size, &raw mut cas));
    let (status, value) = taken(status, out, size);
    (status, value, cas)
}

pub(crate) fn set_shared(key: &str, value: &[u8], cas: u32) -> Status {
    let (key, key_size) = (key.as_ptr(), key.len());
    status_of!(proxy_set_shared_data(key, key_size, value.as_ptr(), value.len(), cas))
}

pub(crate) fn register_queue(name: &str) -> (Status, u32) {
    number_of!(proxy_register_shared_queue(name.as_ptr(), name.len()))
}

pub(crate) fn resolve_queue(vm: &str, name: &str) -> (Status, u32) {
    number_of!(proxy_resolve_shared_queue(vm.as_ptr(), vm.len(), name.as_ptr(), name.len()))
}

pub(crate) fn dequeue(queue: u32) -> (Status, Option<Vec<u8>>) {
    bytes_of!(proxy_dequeue_shared_queue(queue))
}

pub(crate) fn enqueue(queue: u32, data: &[u8]) -> Status {
    status_of!(proxy_enqueue_shared_queue(queue, data.as_ptr(), data.len()))
}

pub(crate) fn continue_stream(kind: u32) -> Status {
    status_of!(proxy_continue_stream(kind))
}

pub(crate) fn close_stream(kind: u32) -> Status {
    status_of!(proxy_close_stream(kind))
}

pub(crate) fn send_local_response(
    code: u32,
    details: &str,
    body: &[u8],
    headers: &[u8],
    grpc_status: i32,
) -> Status {
    status_of!(proxy_send_local_response(
        code,
        details.as_ptr(),
        details.len(),
        body.as_ptr(),
        body.len(),
        headers.as_ptr(),
        headers.len(),
        grpc_status
    ))
}

pub(crate) fn http_call(
    cluster: &[u8],
    headers: &[u8],
    body: &[u8],
    trailers: &[u8],
    timeout_ms: u32,
) -> (Status, u32) {
    number_of!(proxy_http_call(
        cluster.as_ptr(),
        cluster.len(),
        headers.as_ptr(),
        headers.len(),
        body.as_ptr(),
        body.len(),
        trailers.as_ptr(),
        trailers.len(),
        timeout_ms
    ))
}

pub(crate) fn grpc_call(
    service: &[u8],
    method: (&str, &str),
    metadata: &[u8],
    message: &[u8],
    timeout_ms: u32,
) -> (Status, u32) {
    number_of!(proxy_grpc_call(
        service.as_ptr(),
        service.len(),
        method.0.as_ptr(),
        method.0.len(),
        method.1.as_ptr(),
        method.1.len(),
        metadata.as_ptr(),
        metadata.len(),
        message.as_ptr(),
        message.len(),
        timeout_ms
    ))
}

pub(crate) fn grpc_stream(service: &[u8], method: (&str, &str), metadata: &[u8]) -> (Status, u32) {
    number_of!(proxy_grpc_stream(
        service.as_ptr(),
        service.len(),
        method.0.as_ptr(),
        method.0.len(),
        method.1.as_ptr(),
        method.1.len(),
        metadata.as_ptr(),
        metadata.len()
    ))
}

pub(crate) fn grpc_send(token: u32, message: &[u8], end: bool) -> Status {
    status_of!(proxy_grpc_send(token, message.as_ptr(), message.len(), u32::from(end)))
}

pub(crate) fn grpc_close(token: u32) -> Status {
    status_of!(proxy_grpc_close(token))
}

pub(crate) fn grpc_cancel(token: u32) -> Status {
    status_of!(proxy_grpc_cancel(token))
}

pub(crate) fn set_effective_context(context: u32) -> Status {
    status_of!(proxy_set_effective_context(context))
}

pub(crate) fn done() -> Status {
    status_of!(proxy_done())
}

pub(crate) fn call_foreign_function(name: &str, data: &[u8]) -> (Status, Option<Vec<u8>>) {
    bytes_of!(proxy_call_foreign_function(name.as_ptr(), name.len(), data.as_ptr(), data.len()))
}

pub(crate) fn define_metric(kind: u32, name: &str) -> (Status, u32) {
    number_of!(proxy_define_metric(kind, name.as_ptr(), name.len()))
}

pub(crate) fn increment_metric(metric: u32, offset: i64) -> Status {
    status_of!(proxy_increment_metric(metric, offset))
}

pub(crate) fn record_metric(metric: u32, value: u64) -> Status {
    status_of!(proxy_record_metric(metric, value))
}

pub(crate) fn get_metric(metric: u32) -> (Status, u64) {
    number_of!(proxy_get_metric(metric))
}
