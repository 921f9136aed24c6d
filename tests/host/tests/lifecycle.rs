//! How VMs, root contexts and streams come and go, shown with the probe module.

use std::time::Duration;

use leastload_testhost::{Builder, Callback, Cluster, Plugin, Proxy, Response, Thread};
use serde_json::json;

fn probe(script: &serde_json::Value) -> Builder {
    Proxy::new(leastload_modules::probe()).config(script)
}

#[test]
fn every_thread_starts_after_the_canary() {
    let proxy = probe(&json!({})).workers(2).start();
    let trace = proxy.trace();
    let configured: Vec<_> = trace
        .callbacks()
        .iter()
        .filter(|record| record.callback == Callback::OnConfigure)
        .map(|record| record.thread)
        .collect();
    let expected = [Thread::Canary, Thread::Main, Thread::Worker(0), Thread::Worker(1)];
    assert_eq!(configured, expected);
    let one = trace.on_worker(1).names();
    assert_eq!(one, ["_initialize", "on_context_create", "on_vm_start", "on_configure"]);
}

#[test]
fn a_call_ends_with_log_done_delete() {
    let proxy = probe(&json!({})).cluster(Cluster::new("c").hosts(["10.0.0.1:80"])).start();
    proxy.take_trace();
    let call = proxy.worker(0).grpc("/s/m").to_cluster("c");
    assert_eq!(proxy.worker(0).contexts(), 1);
    call.respond(Response::ok());
    let names = proxy.trace().names();
    let expected = [
        "on_context_create",
        "on_request_headers",
        "on_request_body",
        "on_response_headers",
        "on_response_body",
        "on_response_trailers",
        "on_log",
        "on_done",
        "on_delete",
    ];
    assert_eq!(names, expected);
    assert_eq!(proxy.worker(0).contexts(), 0);
}

#[test]
fn a_client_gone_before_the_filter_leaves_a_log_alone() {
    let proxy = probe(&json!({})).start();
    proxy.take_trace();
    proxy.worker(0).grpc("/s/m").cancelled_before_filter();
    assert_eq!(proxy.trace().names(), ["on_context_create", "on_log", "on_done", "on_delete"]);
}

#[test]
fn ticks_come_in_order_of_time_and_thread() {
    let proxy = probe(&json!({"on_configure": [["set_tick", 100]]})).workers(2).start();
    proxy.take_trace();
    proxy.advance(Duration::from_millis(250));
    let trace = proxy.trace();
    let threads: Vec<_> = trace.callbacks().iter().map(|record| record.thread).collect();
    let round = [Thread::Main, Thread::Worker(0), Thread::Worker(1)];
    assert_eq!(threads, [round, round].concat());
    assert_eq!(proxy.now(), Duration::from_millis(250));
}

#[test]
fn a_new_configuration_drains_the_old_root_context() {
    let proxy = probe(&json!({})).cluster(Cluster::new("c").hosts(["10.0.0.1:80"])).start();
    let call = proxy.worker(0).http("GET", "/").to_cluster("c");
    let vm = proxy.worker(0).vm();
    assert!(proxy.configure(json!({"stream": {}})));
    assert_eq!((proxy.worker(0).roots(), proxy.main().roots()), (2, 1));
    call.respond(Response::http(200));
    assert_eq!((proxy.worker(0).roots(), proxy.worker(0).vm()), (1, vm));
}

#[test]
fn a_listener_update_keeps_the_old_root_context_until_the_drain_ends() {
    let proxy = probe(&json!({"on_configure": [["set_tick", 100]]})).start();
    assert!(proxy.configure_draining(json!({})));
    assert_eq!(proxy.worker(0).roots(), 2);
    proxy.take_trace();
    proxy.advance(Duration::from_millis(100));
    assert_eq!(proxy.trace().count_callbacks(Callback::OnTick), 2);
    proxy.end_drain();
    assert_eq!(proxy.worker(0).roots(), 1);
}

#[test]
fn a_new_module_starts_new_vms_and_old_streams_end_where_they_began() {
    let proxy = probe(&json!({})).cluster(Cluster::new("c").hosts(["10.0.0.1:80"])).start();
    let call = proxy.worker(0).http("GET", "/").to_cluster("c");
    let vm = proxy.worker(0).vm();
    assert!(proxy.load(leastload_modules::empty()));
    assert_ne!(proxy.worker(0).vm(), vm);
    proxy.take_trace();
    call.respond(Response::http(200));
    let trace = proxy.trace();
    assert!(trace.callbacks().iter().all(|record| record.vm == vm));
    let ended = ["on_response_headers", "on_log", "on_done", "on_delete", "on_done", "on_delete"];
    assert_eq!(trace.names(), ended);
    assert_eq!(proxy.worker(0).roots(), 1);
}

#[test]
fn two_plugins_have_a_root_context_each_in_one_vm() {
    let second = Plugin::new("second").root_id("r2").config(json!({}));
    let proxy = probe(&json!({})).plugin(second).start();
    assert_eq!(proxy.worker(0).roots(), 2);
    let stream = proxy.worker(0).plugin(1).stream();
    stream.request_headers([(":path", "/")], true);
    assert_eq!(stream.property(&["request", "path"]), Some(b"/".to_vec()));
}

#[test]
fn after_the_listener_is_gone_requests_pass() {
    let proxy = probe(&json!({})).cluster(Cluster::new("c").hosts(["10.0.0.1:80"])).start();
    proxy.shut_down();
    let call = proxy.worker(0).http("GET", "/").to_cluster("c");
    assert_eq!(call.chosen().as_deref(), Some("10.0.0.1:80"));
    assert!(proxy.load(leastload_modules::probe()));
    assert_eq!(proxy.worker(0).roots(), 1);
}

#[test]
fn a_call_waits_until_its_paused_request_resumes() {
    let headers = json!([[":method", "GET"], [":path", "/"], [":authority", "a"]]);
    let script = json!({"stream": {
        "on_request_headers": [["http_call", "c", "other", headers, "", [], 50], ["pause"]],
        "on_http_call_response": [["continue", "request"]]}});
    let proxy = probe(&script)
        .cluster(Cluster::new("c").hosts(["10.0.0.1:80"]))
        .cluster(Cluster::new("other").hosts(["10.0.0.9:80"]))
        .start();
    let answered = proxy.worker(0).grpc("/s/m").to_cluster("c");
    assert!(answered.is_paused());
    assert_eq!(answered.chosen(), None);
    proxy.http_calls()[0].respond(200, "yes");
    assert_eq!(answered.chosen().as_deref(), Some("10.0.0.1:80"));
    let timed_out = proxy.worker(0).grpc("/s/m").to_cluster("c");
    proxy.advance(Duration::from_millis(49));
    assert!(timed_out.is_paused());
    proxy.advance(Duration::from_millis(1));
    assert!(!timed_out.is_paused());
    assert!(proxy.http_calls().is_empty());
}

#[test]
fn a_proxy_dropped_with_calls_in_flight_ends_with_the_last_of_them() {
    let proxy = probe(&json!({})).cluster(Cluster::new("c").hosts(["10.0.0.1:80"])).start();
    let call = proxy.worker(0).grpc("/s/m").to_cluster("c");
    drop(proxy);
    call.respond(Response::ok());
    assert!(call.is_over());
}
