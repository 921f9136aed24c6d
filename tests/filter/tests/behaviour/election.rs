//! One VM reads the admin interface for all; any can.

use leastload_filter_tests::lab::{
    CLUSTER, HOSTS, TICK, answered, asked_for, assert_idle, sidecar, ticks, warm,
};
use leastload_testhost::{HostCall, Proxy, Thread, Trace};
use serde_json::json;

/// Threads that asked the admin interface.
fn askers(trace: &Trace) -> Vec<Thread> {
    let mut threads: Vec<Thread> = trace
        .callbacks()
        .iter()
        .filter(|record| record.calls.iter().any(|call| call.call == HostCall::HttpCall))
        .map(|record| record.thread)
        .collect();
    threads.sort();
    threads.dedup();
    threads
}

/// Who asked during so many ticks.
fn askers_in(proxy: &Proxy, count: u32) -> Vec<Thread> {
    proxy.take_trace();
    ticks(proxy, count);
    askers(&proxy.take_trace())
}

#[test]
fn the_main_threads_vm_asks_and_no_other() {
    let proxy = warm(sidecar(json!({})).workers(8));
    assert_eq!(askers_in(&proxy, 80), [Thread::Main]);
}

#[test]
fn when_the_reader_dies_another_takes_over_within_three_intervals() {
    let proxy = warm(sidecar(json!({})).workers(4));
    proxy.main().crash();
    proxy.edit_cluster(CLUSTER, |cluster| cluster.remove(HOSTS[0]));
    let asked = askers_in(&proxy, 12);
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(matches!(asked[0], Thread::Worker(_)));
    for worker in 0..4 {
        assert!(!asked_for(&proxy, worker, 20).contains(&Some(HOSTS[0].to_owned())));
    }
}

#[test]
fn readers_may_die_one_after_the_other() {
    let proxy = warm(sidecar(json!({})).workers(4));
    proxy.main().crash();
    for dead in 0..3 {
        let asked = askers_in(&proxy, 16);
        let [Thread::Worker(reader)] = asked[..] else { panic!("one reader: {asked:?}") };
        assert!(proxy.worker(reader).is_alive());
        proxy.worker(reader).crash();
        let alive = proxy.workers().iter().filter(|worker| worker.is_alive()).count();
        assert_eq!(alive, 3 - dead);
    }
    assert_eq!(askers_in(&proxy, 16).len(), 1, "the last one reads for itself");
}

#[test]
fn a_worker_that_serves_requests_yields_to_one_that_does_not() {
    let proxy = sidecar(json!({})).workers(3).start();
    proxy.main().crash();
    ticks(&proxy, 8);
    // Whoever leads now gives it up at its first request.
    (0..2).for_each(|worker| drop(answered(&proxy, worker)));
    ticks(&proxy, 8);
    assert_eq!(askers_in(&proxy, 16), [Thread::Worker(2)], "the only one without requests");
}

#[test]
fn a_reader_that_starts_serving_goes_on_until_an_idle_one_takes_over() {
    let proxy = warm(sidecar(json!({})).workers(1));
    proxy.main().crash();
    assert_eq!(askers_in(&proxy, 16), [Thread::Worker(0)], "a busy one is better than none");
    assert_eq!(asked_for(&proxy, 0, 3).iter().flatten().count(), 3);
    assert_idle_but_main(&proxy);
}

fn assert_idle_but_main(proxy: &Proxy) {
    proxy.main().restart();
    assert_idle(proxy);
}

#[test]
fn an_answer_to_a_vm_that_lost_the_lease_is_ignored() {
    let proxy = warm(sidecar(json!({})).workers(2));
    proxy.admin(leastload_testhost::AdminMode::Held);
    while proxy.http_calls().is_empty() {
        ticks(&proxy, 1);
    }
    let late = proxy.http_calls()[0].clone();
    assert_eq!(late.thread, Thread::Main);
    proxy.main().restart();
    late.respond(200, r#"{"cluster_statuses":[{"name":"backend"}]}"#);
    proxy.advance(TICK);
    assert_eq!(asked_for(&proxy, 0, 3).iter().flatten().count(), 3, "membership stays");
}
