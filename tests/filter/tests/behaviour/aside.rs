//! Hosts set aside after failures, and their trials.

use leastload_filter_tests::lab::{
    CLUSTER, HEADER, HOSTS, answer, assert_idle, call, hold_others, sidecar, spread, ticks, warm,
};
use leastload_filter_tests::stats::picks;
use leastload_testhost::{Call, Failure, Proxy, Response};
use serde_json::json;

type Ending = (&'static str, fn(&Call));

/// A proxy on which one call to the first host ended so.
fn after(end: impl Fn(&Call)) -> Proxy {
    let proxy = warm(sidecar(json!({})));
    fail_first(&proxy, end);
    proxy
}

/// Lets one call to the first host end so, while others are idle.
fn fail_first(proxy: &Proxy, end: impl Fn(&Call)) {
    let held = hold_others(proxy, 0, HOSTS[0]);
    let call = call(proxy, 0);
    assert_eq!(call.asked().as_deref(), Some(HOSTS[0]));
    end(&call);
    answer(&held);
}

/// Whether six calls at a time use the first host.
fn is_used(proxy: &Proxy) -> bool {
    spread(proxy, 0, 6).contains(&HOSTS[0].to_owned())
}

#[test]
fn failures_of_the_host_set_it_aside_for_a_second() {
    let failures: [Ending; 4] = [
        ("no connection", |call| call.fail(Failure::Connect)),
        ("connection lost", |call| call.fail(Failure::ConnectionLost)),
        ("reset", |call| call.fail(Failure::Reset)),
        ("UNAVAILABLE", |call| call.respond(Response::trailers_only(14))),
    ];
    for (name, end) in failures {
        let proxy = after(end);
        assert!(!is_used(&proxy), "{name}");
        ticks(&proxy, 3);
        assert!(!is_used(&proxy), "{name}");
        ticks(&proxy, 2);
        assert!(is_used(&proxy), "{name}");
        assert_idle(&proxy);
    }
}

#[test]
fn what_is_not_the_hosts_fault_does_not() {
    let innocent: [Ending; 9] = [
        ("ok", |call| call.respond(Response::ok())),
        ("an application's error", |call| call.respond(Response::trailers_only(13))),
        ("an application's UNAVAILABLE", |call| call.respond(Response::status(14))),
        ("not gRPC", |call| call.respond(Response::http(503))),
        ("circuit breaker", |call| call.fail(Failure::Overflow)),
        ("deadline", |call| call.fail(Failure::Timeout)),
        ("idle", |call| call.fail(Failure::IdleTimeout)),
        ("cancel", Call::reset),
        ("disconnect", Call::disconnect),
    ];
    for (name, end) in innocent {
        assert!(is_used(&after(end)), "{name}");
    }
}

#[test]
fn a_trial_is_one_request_and_success_clears_the_host() {
    let proxy = after(|call| call.fail(Failure::Connect));
    ticks(&proxy, 5);
    let calls: Vec<Call> = (0..9).map(|_| call(&proxy, 0)).collect();
    let (trial, others): (Vec<_>, Vec<_>) =
        calls.into_iter().partition(|call| call.asked().as_deref() == Some(HOSTS[0]));
    assert_eq!((trial.len(), others.len()), (1, 8), "one trial at a time");
    trial[0].respond(Response::ok());
    let more: Vec<Call> = (0..4).map(|_| call(&proxy, 0)).collect();
    assert!(more.iter().all(|call| call.asked().as_deref() == Some(HOSTS[0])), "all clear");
    answer(others.iter().chain(&more));
    assert_idle(&proxy);
}

#[test]
fn a_trial_that_was_cancelled_is_made_again() {
    let proxy = after(|call| call.fail(Failure::Connect));
    ticks(&proxy, 5);
    for _ in 0..3 {
        let calls: Vec<Call> = (0..3).map(|_| call(&proxy, 0)).collect();
        let trials = calls.iter().filter(|call| call.asked().as_deref() == Some(HOSTS[0]));
        assert_eq!(trials.count(), 1);
        calls.iter().for_each(Call::reset);
    }
    assert_idle(&proxy);
}

#[test]
fn each_failed_trial_doubles_the_time_up_to_32_seconds() {
    let proxy = after(|call| call.fail(Failure::Connect));
    for seconds in [1, 2, 4, 8, 16, 32, 32] {
        ticks(&proxy, 4 * seconds - 1);
        assert!(!is_used(&proxy), "before {seconds} s");
        ticks(&proxy, 2);
        let calls: Vec<Call> = (0..3).map(|_| call(&proxy, 0)).collect();
        let (trial, others): (Vec<_>, Vec<_>) =
            calls.into_iter().partition(|call| call.asked().as_deref() == Some(HOSTS[0]));
        assert_eq!(trial.len(), 1, "after {seconds} s");
        trial[0].fail(Failure::Connect);
        answer(&others);
    }
    assert_idle(&proxy);
}

#[test]
fn with_every_host_aside_envoy_balances() {
    let proxy = warm(sidecar(json!({})));
    for _ in HOSTS {
        call(&proxy, 0).fail(Failure::Connect);
    }
    let left = call(&proxy, 0);
    assert!(!left.headers().contains(HEADER));
    assert_eq!(picks(&proxy, CLUSTER, "all_aside"), 1);
    left.respond(Response::ok());
    assert_idle(&proxy);
}

#[test]
fn a_request_that_envoy_sent_there_and_that_went_well_clears_a_host_whose_time_is_up() {
    let proxy = warm(sidecar(json!({})));
    for _ in HOSTS {
        call(&proxy, 0).fail(Failure::Connect);
    }
    ticks(&proxy, 5);
    spread(&proxy, 0, 3);
    assert_eq!(spread(&proxy, 0, 30).len(), 30, "all are back");
    assert_idle(&proxy);
}
