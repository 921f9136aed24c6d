//! A proxy without requests ticks and reads less often. docs/architecture.md states the bounds.

use core::time::Duration;

use leastload_filter_tests::lab::{
    CLUSTER, HOSTS, answer, answered, asked_for, assert_idle, call, sidecar, ticks, warm,
};
use leastload_filter_tests::stats::{leftovers, picks, work};
use leastload_testhost::{Call, Callback, HostCall, Proxy, Thread};
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

/// How often a thread ticked, and how often the admin interface was asked, in so many seconds.
fn meanwhile(proxy: &Proxy, thread: Thread, seconds: u32) -> (usize, usize) {
    proxy.take_trace();
    proxy.advance(SECOND * seconds);
    let trace = proxy.take_trace();
    let asked = trace.count(HostCall::HttpCall);
    let of_it = trace.filter(|record| record.thread == thread);
    (of_it.filter(|record| record.callback == Callback::OnTick).callbacks().len(), asked)
}

#[test]
fn it_is_a_quarter_of_the_work_until_the_first_request() {
    let proxy = warm(sidecar(json!({})).workers(2));
    assert_eq!(meanwhile(&proxy, Thread::Worker(0), 7).0, 28);
    proxy.advance(SECOND * 5);
    for thread in [Thread::Main, Thread::Worker(0), Thread::Worker(1)] {
        let (ticks, asked) = meanwhile(&proxy, thread, 60);
        assert!((60..=61).contains(&ticks), "{thread}: {ticks} ticks");
        assert!((12..=15).contains(&asked), "{asked} questions");
    }
    assert!(answered(&proxy, 1).asked().is_some());
    assert_eq!(meanwhile(&proxy, Thread::Worker(1), 1).0, 4, "at once");
    assert_eq!(meanwhile(&proxy, Thread::Main, 1).0, 4, "a second later");
    let (ticks, asked) = meanwhile(&proxy, Thread::Worker(0), 7);
    assert!(ticks == 28 && asked >= 5, "{ticks} {asked}");
    assert_idle(&proxy);
}

#[test]
fn whenever_the_first_request_comes_it_is_steered_by_a_list_that_holds() {
    for config in [json!({}), json!({"discovery": {"max_age": "2s"}})] {
        let proxy = warm(sidecar(config).workers(2));
        for n in 0..25_u32 {
            proxy.advance(SECOND * 12 + Duration::from_millis(210) * n);
            assert!(answered(&proxy, n as usize % 2).asked().is_some(), "{n}");
        }
        assert_eq!(picks(&proxy, CLUSTER, "stale_membership"), 0);
    }
}

#[test]
fn who_left_meanwhile_is_named_no_more_after_five_seconds_or_one_and_a_half_after_a_request() {
    let proxy = warm(sidecar(json!({})).workers(1));
    let gone = Some(HOSTS[0].to_owned());
    proxy.advance(SECOND * 30);
    proxy.edit_cluster(CLUSTER, |cluster| cluster.remove(HOSTS[0]));
    proxy.advance(SECOND * 5);
    assert!(!asked_for(&proxy, 0, 10).contains(&gone));
    proxy.edit_cluster(CLUSTER, |cluster| cluster.hosts.push(HOSTS[0].into()));
    proxy.advance(SECOND * 30);
    for wait_ms in (0..4_000).step_by(370) {
        proxy.edit_cluster(CLUSTER, |cluster| cluster.remove(HOSTS[0]));
        proxy.advance(Duration::from_millis(wait_ms));
        answered(&proxy, 0);
        ticks(&proxy, 6);
        assert!(!asked_for(&proxy, 0, 10).contains(&gone), "{wait_ms}");
        proxy.edit_cluster(CLUSTER, |cluster| cluster.hosts.push(HOSTS[0].into()));
        proxy.advance(SECOND * 30);
    }
}

#[test]
fn one_request_wakes_a_worker_and_the_next_ones_cost_nothing_more() {
    let proxy = warm(sidecar(json!({})).workers(1));
    proxy.advance(SECOND * 30);
    let timers = |proxy: &Proxy| {
        proxy.take_trace();
        answered(proxy, 0);
        let trace = proxy.take_trace().filter(|record| record.callback != Callback::OnTick);
        (trace.count(HostCall::SetTickPeriod), trace.count(HostCall::SetSharedData))
    };
    assert_eq!(timers(&proxy), (1, 2), "it beats, and says that there are requests");
    assert_eq!(timers(&proxy), (0, 0));
    ticks(&proxy, 8);
    assert_eq!(timers(&proxy), (0, 0));
}

/// Streams that stay open are no requests: it passes for idle, and whoever dies is buried still.
#[test]
fn what_a_worker_that_dies_had_open_is_given_back() {
    for also_main in [false, true] {
        let proxy = warm(sidecar(json!({})).workers(3));
        let stays: Vec<Call> = (0..2).map(|worker| call(&proxy, worker)).collect();
        let lost: Vec<Call> = (0..3).map(|_| call(&proxy, 2)).collect();
        proxy.advance(SECOND * 60);
        assert_eq!(work(&proxy), 5_000);
        proxy.worker(2).crash();
        if also_main {
            proxy.main().crash();
        }
        proxy.advance(SECOND * if also_main { 13 } else { 7 });
        assert_eq!(work(&proxy), 2_000);
        answer(&stays);
        drop(lost);
        assert_eq!(leftovers(&proxy), []);
    }
}

#[test]
fn the_same_one_reads_for_all_however_it_was_idle() {
    let proxy = warm(sidecar(json!({})).workers(3));
    proxy.take_trace();
    for n in 0..40_u32 {
        proxy.advance(SECOND * (7 + n % 5) + Duration::from_millis(90) * (n % 7));
        answered(&proxy, n as usize % 3);
        let trace = proxy.take_trace().filter(|record| record.thread != Thread::Main);
        assert_eq!(trace.count(HostCall::HttpCall), 0, "no worker took over");
    }
    assert_idle(&proxy);
}
