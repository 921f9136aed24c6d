//! A VM that does not tick for long, and then goes on.

use core::time::Duration;

use leastload_filter_tests::lab::{
    CLUSTER, answer, answered, assert_idle, call, sidecar, ticks, warm,
};
use leastload_filter_tests::stats::work;
use leastload_testhost::{Call, Fault, HostCall, Proxy, Response};
use serde_json::json;

/// A call from a worker that stands still inside of it for so long, before this host call.
fn stalled_call(proxy: &Proxy, worker: usize, at: HostCall, with: &str, time: Duration) -> Call {
    let stall = Fault::at(at).worker(worker).with(with);
    proxy.fault(stall.then_before(move |proxy| proxy.advance(time)));
    call(proxy, worker)
}

#[test]
fn its_counts_return_when_it_goes_on() {
    // After a minute, what it knows of the cluster is too old: its call is left to Envoy, and counts
    // once it is answered.
    for (seconds, counted) in [(1, 7_000), (2, 7_000), (5, 7_000), (60, 6_000)] {
        let proxy = warm(sidecar(json!({})).workers(3));
        let others: Vec<Call> = (0..3).flat_map(|w| [call(&proxy, w), call(&proxy, w)]).collect();
        let time = Duration::from_secs(seconds);
        let stalled = stalled_call(&proxy, 1, HostCall::GetProperty, "cluster_name", time);
        ticks(&proxy, 14);
        assert_eq!(work(&proxy), counted, "{seconds} s");
        answer(others.iter().chain([&stalled]));
        ticks(&proxy, 14);
        assert_idle(&proxy);
    }
}

#[test]
fn while_it_stands_still_the_others_count_without_it() {
    let proxy = warm(sidecar(json!({})).workers(2));
    let mine = call(&proxy, 1);
    let seen = std::rc::Rc::new(std::cell::Cell::new(0));
    let saw = std::rc::Rc::clone(&seen);
    let stall = Fault::at(HostCall::GetProperty).worker(1).with("cluster_name");
    proxy.fault(stall.then_before(move |proxy| {
        ticks(proxy, 7);
        saw.set(work(proxy));
    }));
    let stalled = call(&proxy, 1);
    assert_eq!(seen.get(), 0, "it was taken for dead");
    ticks(&proxy, 14);
    assert_eq!(work(&proxy), 2_000, "and is not");
    answer([mine, stalled].iter());
    assert_idle(&proxy);
}

#[test]
fn wherever_in_a_request_it_stands_still() {
    for (at, with) in [
        (HostCall::GetHeaderMapValue, ""),
        (HostCall::GetMetric, ""),
        (HostCall::IncrementMetric, ""),
        (HostCall::ReplaceHeaderMapValue, ""),
    ] {
        let proxy = warm(sidecar(json!({})).workers(2));
        let other = call(&proxy, 0);
        let mine = call(&proxy, 1);
        let stalled = stalled_call(&proxy, 1, at, with, Duration::from_secs(4));
        mine.respond(Response::ok());
        ticks(&proxy, 14);
        assert_eq!(work(&proxy), 2_000, "{at}");
        answer([other, stalled].iter());
        ticks(&proxy, 14);
        assert_idle(&proxy);
    }
}

#[test]
fn it_stands_still_in_the_end_of_a_request() {
    let proxy = warm(sidecar(json!({})).workers(2));
    let (mine, other) = (call(&proxy, 1), call(&proxy, 1));
    let stall = Fault::at(HostCall::IncrementMetric).worker(1);
    proxy.fault(stall.then_before(|proxy| proxy.advance(Duration::from_secs(4))));
    mine.respond(Response::ok());
    ticks(&proxy, 14);
    assert_eq!(work(&proxy), 1_000);
    other.respond(Response::ok());
    ticks(&proxy, 14);
    assert_idle(&proxy);
}

#[test]
fn it_stands_still_in_a_tick_at_each_call_of_the_store() {
    for nth in 1..=8 {
        for before in [true, false] {
            let proxy = warm(sidecar(json!({})).workers(2));
            let held: Vec<Call> = (0..4).map(|n| call(&proxy, n % 2)).collect();
            let store = if before { HostCall::GetSharedData } else { HostCall::SetSharedData };
            let stall = Fault::at(store).worker(1).nth(nth);
            proxy.fault(stall.then_before(|proxy| proxy.advance(Duration::from_secs(3))));
            ticks(&proxy, 8);
            ticks(&proxy, 20);
            assert_eq!(work(&proxy), 4_000, "{store} {nth}");
            answer(&held);
            ticks(&proxy, 14);
            assert_idle(&proxy);
        }
    }
}

#[test]
fn a_coordinator_that_stands_still_is_replaced_and_comes_back() {
    let proxy = warm(sidecar(json!({})).workers(2));
    let held: Vec<Call> = (0..4).map(|n| call(&proxy, n % 2)).collect();
    let main = leastload_testhost::Thread::Main;
    let stall = Fault::at(HostCall::SetSharedData).thread(main).with("lease");
    proxy.fault(stall.then_before(|proxy| proxy.advance(Duration::from_secs(5))));
    proxy.edit_cluster(CLUSTER, |cluster| cluster.hosts.push("10.0.0.4:80".into()));
    ticks(&proxy, 40);
    assert_eq!(work(&proxy), 4_000);
    answer(&held);
    assert!(answered(&proxy, 0).asked().is_some());
    ticks(&proxy, 14);
    assert_idle(&proxy);
}
