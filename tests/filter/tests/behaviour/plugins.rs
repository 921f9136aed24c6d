//! Several plugins in one VM, VM ids, and a proxy that drops our statistics.

use leastload_filter_tests::lab::{
    CLUSTER, HEADER, HOSTS, answer, answered, assert_idle, call, lines, sidecar, spread, ticks,
    warm,
};
use leastload_filter_tests::stats::{config_faults, errors, work};
use leastload_testhost::{Call, HostCall, LogLevel, Plugin, Response, Thread};
use serde_json::json;

#[test]
fn two_plugins_in_one_vm_tick_as_one() {
    let second = Plugin::new("second").root_id("other").config("{}");
    let proxy = warm(sidecar(json!({})).plugin(second));
    proxy.take_trace();
    let beats = |count| {
        ticks(&proxy, count);
        let trace = proxy.take_trace().filter(|record| record.thread == Thread::Main);
        let beats = trace.calls().filter(|call| {
            call.call == HostCall::SetSharedData && call.arguments.contains("leastload.1.lease")
        });
        beats.count()
    };
    assert_eq!(beats(30), 30);
    ticks(&proxy, 20);
    beats(0);
    assert_eq!(beats(80), 20, "idle");
    assert_eq!(spread(&proxy, 0, 3), HOSTS);
    assert_idle(&proxy);
}

#[test]
fn each_plugin_has_its_own_faults_and_its_own_last_good_configuration() {
    let second = Plugin::new("second").root_id("other").config("{");
    let proxy = warm(sidecar(json!({})).plugin(second));
    assert_eq!(config_faults(&proxy, "leastload"), 0);
    assert_eq!(config_faults(&proxy, "other"), 1);
    assert!(call(&proxy, 0).headers().contains(HEADER));
    let kept = proxy.shared_keys().into_iter().filter(|key| key.contains(".config."));
    assert_eq!(kept.collect::<Vec<_>>(), ["leastload.1.config.leastload/leastload"]);
}

#[test]
fn a_vm_id_stands_in_every_name() {
    let proxy = warm(sidecar(json!({})).vm_id("blue"));
    let held = call(&proxy, 0);
    let names: Vec<String> =
        proxy.counters().into_keys().chain(proxy.gauges().into_keys()).collect();
    assert!(!names.is_empty());
    assert!(names.iter().all(|name| name.starts_with("leastload_vm=.=blue;.;")), "{names:?}");
    assert_eq!(work(&proxy), 1_000);
    held.respond(Response::ok());
    assert_idle(&proxy);
}

#[test]
fn where_statistics_are_dropped_each_worker_balances_on_its_own() {
    let proxy = warm(sidecar(json!({})).workers(2).drop_stats(|name| name.contains("leastload")));
    let warnings = lines(&proxy, LogLevel::Warn);
    assert_eq!(warnings.len(), 2, "once by each worker: {warnings:?}");
    assert!(warnings[0].contains("each worker balances on its own counts alone"));
    assert_eq!(spread(&proxy, 0, 3), HOSTS);
    let held: Vec<Call> = (0..2).map(|_| call(&proxy, 0)).collect();
    let free = call(&proxy, 0).asked();
    assert!(held.iter().all(|call| call.asked() != free), "its own count holds");
    drop(held);
    ticks(&proxy, 40);
    assert_eq!(lines(&proxy, LogLevel::Warn).len(), 2);
    assert_eq!(errors(&proxy, "warning"), 0, "dropped too");
}

#[test]
fn a_listener_that_goes_takes_its_statistics_along_and_nothing_breaks() {
    let proxy = warm(sidecar(json!({})).workers(2));
    let held: Vec<Call> = (0..4).map(|n| call(&proxy, n % 2)).collect();
    proxy.forget_metrics();
    answer(&held);
    assert!(answered(&proxy, 0).asked().is_some());
    ticks(&proxy, 14);
    assert_idle(&proxy);
}

#[test]
fn a_vm_without_configuration_keeps_to_itself() {
    let proxy = sidecar(json!({})).config("{").workers(2).start();
    (0..2).for_each(|worker| drop(answered(&proxy, worker)));
    ticks(&proxy, 40);
    assert_eq!(proxy.http_calls().len(), 0);
    assert_eq!(proxy.shared_keys(), [""; 0]);
    assert_eq!(proxy.counters().keys().filter(|name| name.contains(CLUSTER)).count(), 0);
    assert_idle(&proxy);
}
