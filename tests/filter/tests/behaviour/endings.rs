//! Counts go up once and down once, however a request ends.

use leastload_filter_tests::lab::{
    CLUSTER, METHOD, ONE, TICK, assert_idle, call, sidecar, warm, with_override_host,
};
use leastload_filter_tests::stats::{all_picks, work};
use leastload_testhost::{Call, Failure, Proxy, Response, Stream};
use serde_json::json;

type Ending = (&'static str, fn(&Call));

const BEGUN: [(&str, &str); 2] = [(":status", "200"), ("content-type", "application/grpc")];

/// Every attempt fails so.
fn fail(call: &Call, failure: Failure) {
    while !call.is_over() {
        call.fail(failure);
    }
}

/// Every way in which a call can end.
const ENDINGS: [Ending; 20] = [
    ("trailers", |call| call.respond(Response::ok())),
    ("trailers with an error", |call| call.respond(Response::status(13))),
    ("trailers-only", |call| call.respond(Response::trailers_only(5))),
    ("trailers-only UNAVAILABLE", |call| call.respond(Response::trailers_only(14))),
    ("HTTP without trailers", |call| call.respond(Response::http(503).body("no"))),
    ("HTTP without body", |call| call.respond(Response::http(404))),
    ("cancel before an answer", Call::reset),
    ("cancel in the answer", |call| {
        call.response_headers(BEGUN, false);
        call.reset();
    }),
    ("disconnect before an answer", Call::disconnect),
    ("disconnect in the answer", |call| {
        call.response_headers(BEGUN, false);
        call.response_body("abc", false);
        call.disconnect();
    }),
    ("server resets", |call| fail(call, Failure::Reset)),
    ("server resets in the answer", |call| {
        call.response_headers(BEGUN, false);
        fail(call, Failure::Reset);
    }),
    ("no connection", |call| fail(call, Failure::Connect)),
    ("connection lost", |call| fail(call, Failure::ConnectionLost)),
    ("connection lost in the answer", |call| {
        call.response_headers(BEGUN, false);
        fail(call, Failure::ConnectionLost);
    }),
    ("circuit breaker", |call| fail(call, Failure::Overflow)),
    ("deadline", |call| fail(call, Failure::Timeout)),
    ("deadline in the answer", |call| {
        call.response_headers(BEGUN, false);
        fail(call, Failure::Timeout);
    }),
    ("idle", |call| fail(call, Failure::IdleTimeout)),
    ("a stream of messages", |call| {
        call.response_headers(BEGUN, false);
        (0..50).for_each(|_| call.response_body("message", false));
        call.response_trailers([("grpc-status", "0")]);
    }),
];

/// Runs every ending on every worker, one call each at a time, and looks at the counts.
fn each_ends_where_it_began(proxy: &Proxy) {
    let workers = proxy.workers().len();
    for (name, end) in ENDINGS {
        let calls: Vec<Call> = (0..workers).map(|worker| call(proxy, worker)).collect();
        let counted = i64::try_from(calls.iter().filter(|call| call.asked().is_some()).count());
        assert_eq!(work(proxy), counted.expect("few") * ONE, "{name}");
        calls.iter().for_each(end);
        assert!(calls.iter().all(Call::is_over), "{name}");
        drop(calls);
        assert_idle(proxy);
        proxy.advance(TICK * 6);
        assert_idle(proxy);
    }
}

#[test]
fn every_ending_on_one_worker() {
    each_ends_where_it_began(&warm(sidecar(json!({}))));
}

#[test]
fn every_ending_on_four_workers() {
    each_ends_where_it_began(&warm(sidecar(json!({})).workers(4)));
}

#[test]
fn every_ending_on_eight_workers_by_the_policy() {
    each_ends_where_it_began(&warm(with_override_host(json!({})).workers(8)));
}

#[test]
fn every_ending_where_membership_is_learned() {
    let config = json!({"discovery": {"admin_cluster": "", "learn_percent": 50}});
    each_ends_where_it_began(&warm(sidecar(config).workers(2)));
}

#[test]
fn every_ending_in_shadow_and_of_requests_left_to_envoy() {
    for rollout in [json!({"mode": "shadow"}), json!({"percent": 50}), json!({"percent": 0})] {
        let proxy = warm(sidecar(json!({"rollout": rollout})));
        for (name, end) in ENDINGS {
            let call = call(&proxy, 0);
            end(&call);
            assert_eq!(work(&proxy), 0, "{name}");
        }
        assert_idle(&proxy);
    }
}

#[test]
fn a_request_that_the_proxy_has_no_route_for() {
    let proxy = warm(sidecar(json!({})));
    let picks = all_picks(&proxy, CLUSTER);
    let call = proxy.worker(0).grpc(METHOD).without_route();
    assert!(call.is_over());
    assert_eq!(all_picks(&proxy, CLUSTER), picks);
    assert_idle(&proxy);
}

/// A stream to [`CLUSTER`] on which the request's headers have arrived.
fn stream(proxy: &Proxy) -> Stream {
    let stream = proxy.worker(0).stream();
    stream.set_property(&["xds", "cluster_name"], CLUSTER);
    stream.request_headers([(":path", METHOD), ("content-type", "application/grpc")], false);
    assert_eq!(work(proxy), ONE);
    stream
}

#[test]
fn another_filter_answers_in_the_servers_stead() {
    let proxy = warm(sidecar(json!({})));
    let stream = stream(&proxy);
    stream.response_headers([(":status", "403")], true);
    assert_eq!(work(&proxy), ONE, "it is over only with the log");
    stream.finish();
    assert_idle(&proxy);
}

#[test]
fn a_context_that_goes_without_a_log() {
    let proxy = warm(sidecar(json!({})));
    stream(&proxy).destroy();
    assert_idle(&proxy);
}

#[test]
fn a_log_long_before_the_end_of_the_context() {
    let proxy = warm(sidecar(json!({})));
    let stream = stream(&proxy);
    stream.log();
    assert_eq!(work(&proxy), 0);
    stream.destroy();
    assert_idle(&proxy);
}

#[test]
fn a_log_without_a_request() {
    // A client that goes away while an earlier filter paused the request.
    let proxy = warm(sidecar(json!({})));
    let stream = proxy.worker(0).stream();
    stream.log();
    stream.destroy();
    assert_idle(&proxy);
    let nothing = proxy.worker(0).stream();
    nothing.destroy();
    assert_idle(&proxy);
}

#[test]
fn retries_count_where_the_last_attempt_is() {
    let proxy = warm(with_override_host(json!({})));
    for failures in 1..=2 {
        let call = call(&proxy, 0);
        (0..failures).for_each(|_| call.fail(Failure::Connect));
        assert_eq!(call.attempts(), failures + 1);
        assert_eq!(work(&proxy), ONE, "one request, however many attempts");
        call.respond(Response::ok());
        assert_idle(&proxy);
        proxy.advance(TICK * 40);
    }
}

#[test]
fn a_request_whose_every_attempt_failed() {
    let proxy = warm(with_override_host(json!({})));
    let call = call(&proxy, 0);
    (0..3).for_each(|_| call.fail(Failure::Connect));
    assert!(call.is_over());
    assert_idle(&proxy);
}

#[test]
fn a_thousand_calls_in_every_order() {
    let proxy = warm(sidecar(json!({})).workers(4));
    let mut open: Vec<Call> = Vec::new();
    for n in 0..1000_usize {
        open.push(call(&proxy, n % 4));
        if n % 3 != 0 {
            let ended = open.swap_remove(n * 7919 % open.len());
            ENDINGS[n % ENDINGS.len()].1(&ended);
        }
        if n % 100 == 0 {
            proxy.advance(TICK);
        }
    }
    open.clear();
    assert_idle(&proxy);
}
