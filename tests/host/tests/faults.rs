//! What goes wrong when the test says so, shown with the probe module.

use std::time::Duration;

use leastload_testhost::{
    Builder, Callback, FailurePolicy, Fault, HostCall, Proxy, Response, Status, Thread,
};
use serde_json::json;

fn probe(script: &serde_json::Value) -> Builder {
    Proxy::new(leastload_modules::probe()).config(script)
}

fn read_shared() -> serde_json::Value {
    json!({"on_tick": [["get_shared", "k", "v"], ["set_shared", "k", "new", "v"]],
           "on_configure": [["set_tick", 100]]})
}

#[test]
fn a_host_call_returns_what_is_planned_at_its_nth_time_only() {
    let proxy = probe(&read_shared()).workers(1).start();
    proxy.set_shared("k", "old", 0);
    let planned = Fault::at(HostCall::GetSharedData).worker(0).nth(2);
    proxy.fault(planned.returns(Status::InternalFailure));
    for _ in 0..3 {
        proxy.worker(0).tick();
    }
    let trace = proxy.trace().on_worker(0);
    let got: Vec<_> = trace.calls().filter(|call| call.call == HostCall::GetSharedData).collect();
    let statuses: Vec<_> = got.iter().map(|call| (call.status, call.faulted)).collect();
    assert_eq!(
        statuses,
        [(Status::Ok, false), (Status::InternalFailure, true), (Status::Ok, false)]
    );
}

#[test]
fn another_worker_runs_between_reading_and_writing() {
    let proxy = probe(&read_shared()).workers(2).start();
    proxy.set_shared("k", "old", 0);
    let between = Fault::at(HostCall::GetSharedData).worker(0);
    proxy.fault(between.then_after(|proxy| proxy.worker(1).tick()));
    proxy.worker(0).tick();
    let trace = proxy.trace();
    let writes: Vec<_> = trace
        .callbacks()
        .iter()
        .filter(|record| record.callback == Callback::OnTick)
        .flat_map(|record| record.calls.iter().map(|call| (record.thread, call)))
        .filter(|(_, call)| call.call == HostCall::SetSharedData)
        .map(|(thread, call)| (thread, call.status))
        .collect();
    let expected = [(Thread::Worker(0), Status::CasMismatch), (Thread::Worker(1), Status::Ok)];
    assert_eq!(writes, expected);
}

#[test]
fn a_worker_that_died_answers_503_for_good_and_the_others_go_on() {
    let proxy = probe(&json!({})).workers(2).start();
    let before = proxy.worker(0).http("GET", "/").without_route();
    assert_eq!(before.local_reply().map(|reply| reply.status), Some(404));
    proxy.fault(Fault::in_callback(Callback::OnRequestHeaders).worker(0).traps());
    for _ in 0..2 {
        let call = proxy.worker(0).http("GET", "/").without_route();
        assert_eq!(call.local_reply().map(|reply| reply.status), Some(503));
        assert!(call.is_over());
        proxy.advance(Duration::from_secs(2));
    }
    assert!(!proxy.worker(0).is_alive());
    let other = proxy.worker(1).http("GET", "/").without_route();
    assert_eq!(other.local_reply().map(|reply| reply.status), Some(404));
}

#[test]
fn fail_open_lets_requests_pass_a_dead_worker() {
    let proxy = probe(&json!({}))
        .failure_policy(FailurePolicy::FailOpen)
        .cluster(leastload_testhost::Cluster::new("c").hosts(["10.0.0.1:80"]))
        .start();
    let held = proxy.worker(0).http("GET", "/").to_cluster("c");
    proxy.worker(0).crash();
    let call = proxy.worker(0).http("GET", "/").to_cluster("c");
    for call in [held, call] {
        call.respond(Response::http(200));
        assert_eq!(call.response().headers.unwrap().get(":status"), Some("200"));
    }
    // The stream in flight never hears of its end.
    assert_eq!(proxy.trace().count_callbacks(Callback::OnLog), 0);
}

#[test]
fn fail_reload_starts_a_new_vm_a_second_after_the_last_start() {
    let proxy = probe(&json!({})).failure_policy(FailurePolicy::FailReload).start();
    let status = || {
        let call = proxy.worker(0).http("GET", "/").without_route();
        call.local_reply().map(|reply| reply.status)
    };
    let first = proxy.worker(0).vm();
    proxy.worker(0).crash();
    assert_eq!(status(), Some(503));
    proxy.advance(Duration::from_secs(1));
    assert_eq!(status(), Some(404));
    assert_ne!(proxy.worker(0).vm(), first);
}

#[test]
fn gauges_and_shared_data_outlive_a_crash() {
    let script = json!({"stream": {"on_request_headers": [
        ["define_metric", "m", "gauge", "g"], ["increment_metric", "m", 1],
        ["set_shared", "k", "v", 0]]}});
    let proxy = probe(&script).start();
    let call = proxy.worker(0).http("GET", "/").without_route();
    drop(call);
    proxy.worker(0).crash();
    proxy.worker(0).restart();
    drop(proxy.worker(0).http("GET", "/").without_route());
    assert_eq!(proxy.gauge("g"), 2);
    assert_eq!(proxy.shared("k").map(|(value, _)| value), Some(b"v".to_vec()));
}

#[test]
fn a_crash_while_paused_leaves_the_request_hanging() {
    let script = json!({"stream": {"on_request_headers": [["pause"]]}});
    let proxy = probe(&script).start();
    let call = proxy.worker(0).http("POST", "/").without_route();
    assert!(call.is_paused());
    proxy.worker(0).crash();
    proxy.advance(Duration::from_mins(1));
    assert!(call.is_paused());
    assert!(!call.is_over());
}

#[test]
fn memory_beyond_the_limit_is_not_given() {
    let bytes = 4 << 20;
    let script = json!({"stream": {"on_request_headers": [["get_header", "request", "x"]]}});
    let proxy = probe(&script).memory_limit(bytes).start();
    let small = proxy.worker(0).http("GET", "/").header("x", "small").without_route();
    assert_eq!(small.local_reply().map(|reply| reply.status), Some(404));
    let huge = "x".repeat(2 * bytes);
    let call = proxy.worker(0).http("GET", "/").header("x", &huge).without_route();
    assert_eq!(call.local_reply().map(|reply| reply.status), Some(503));
    assert!(!proxy.worker(0).is_alive());
    assert!(proxy.worker(0).memory() <= bytes);
}

#[test]
fn fuel_is_counted_for_each_callback_and_is_the_same_each_time() {
    let run = || {
        let proxy = probe(&json!({})).fuel(true).start();
        drop(proxy.worker(0).http("GET", "/").without_route());
        let trace = proxy.take_trace();
        assert!(trace.callbacks().iter().all(|record| record.fuel.is_some_and(|fuel| fuel > 0)));
        trace.fuel()
    };
    let first = run();
    assert!(first > 100);
    assert_eq!(run(), first);
}

#[test]
fn a_configuration_refused_at_the_start_answers_500() {
    let script = json!({"on_configure": [["return", 0]]});
    let proxy = probe(&script).start();
    let call = proxy.worker(0).http("GET", "/").without_route();
    assert_eq!(call.local_reply().map(|reply| reply.status), Some(500));
    // Repaired, it serves.
    assert!(proxy.configure(json!({})));
    let call = proxy.worker(0).http("GET", "/").without_route();
    assert_eq!(call.local_reply().map(|reply| reply.status), Some(404));
}

#[test]
fn a_configuration_refused_later_leaves_the_old_one() {
    let proxy = probe(&json!({"on_tick": [["log", "info", "the old one"]]})).start();
    assert!(!proxy.configure(json!({"on_configure": [["return", 0]]})));
    assert_eq!(proxy.worker(0).roots(), 1);
    proxy.worker(0).tick();
    let call = proxy.worker(0).http("GET", "/").without_route();
    assert_eq!(call.local_reply().map(|reply| reply.status), Some(404));
}
