//! Host calls that fail, each with every status that Envoy can really give, one at a time and
//! always: no VM dies, requests pass, counts end at zero.
//!
//! What Envoy can give, read in its `context.cc` and in `exports.cc` and `shared_data.cc` of
//! proxy-wasm-cpp-host, and what it cannot, for which this filter (its SDK panics on any other
//! status) therefore need not be ready:
//!
//! - `InvalidMemoryAccess`, of every call: only for a pointer outside the VM's memory, which safe
//!   Rust does not pass, or where the VM has no memory left for the value, of which it dies anyway.
//! - `BadArgument` of the header maps: only where the map is not there in this phase. The request's
//!   are read in its headers callback alone, the response's likewise, those of an answer only in a
//!   callback that says it has headers. (Everything else about the endings comes from properties.)
//! - `BadArgument` of metrics: only for a handle of another kind or a counter that is lowered.
//! - `NotFound` of metrics: only for handles that this VM did not define. It is tried all the same,
//!   always: counting is not possible then, but nothing else may break.
//! - `define_metric`, `set_tick_period_milliseconds`, `log`: never fail with sound arguments.
//! - `get_buffer_bytes`: `BadArgument` only where offset and length overflow.
//! - `get_shared_data`: `NotFound` only of a key that nobody wrote. It is tried of those that are
//!   there too: a worker that cannot read what it wrote must come to terms with it.

use leastload_filter_tests::lab::{
    CLUSTER, TICK, answer, answered, assert_alive, call, sidecar, ticks, with_override_host,
};
use leastload_filter_tests::stats::leftovers;
use leastload_testhost::{
    Builder, Call, Failure, Fault, Health, HostCall, Proxy, Response, Status,
};
use serde_json::json;

/// Each host call that the filter makes and that can fail, with every status it can fail with.
const FAULTS: [(HostCall, &[Status]); 9] = [
    (
        HostCall::GetProperty,
        &[Status::NotFound, Status::SerializationFailure, Status::InternalFailure],
    ),
    (HostCall::GetSharedData, &[Status::NotFound]),
    (HostCall::SetSharedData, &[Status::CasMismatch]),
    (HostCall::GetHeaderMapValue, &[Status::NotFound]),
    (HostCall::HttpCall, &[Status::BadArgument, Status::InternalFailure]),
    (HostCall::GetBufferBytes, &[Status::NotFound]),
    (HostCall::GetMetric, &[Status::NotFound]),
    (HostCall::IncrementMetric, &[Status::NotFound]),
    (HostCall::RecordMetric, &[Status::NotFound]),
];

/// A little of everything: requests that end in several ways on two workers, ticks, readings, a
/// change of membership, a refused override, a change of configuration.
fn live(proxy: &Proxy) {
    for worker in 0..2 {
        passes(&answered(proxy, worker));
    }
    ticks(proxy, 5);
    let held: Vec<Call> = (0..3).map(|n| call(proxy, n % 2)).collect();
    proxy.edit_cluster(CLUSTER, |cluster| cluster.hosts[0].health = Health::UNHEALTHY);
    let refused: Vec<Call> = (0..2).map(|n| call(proxy, n % 2)).collect();
    answer(&refused);
    refused.iter().for_each(passes);
    ticks(proxy, 5);
    assert!(proxy.configure(r#"{"override": {"spares": 1}}"#));
    held[0].respond(Response::trailers_only(14));
    held[1].fail(Failure::ConnectionLost);
    held[2].reset();
    passes(&answered(proxy, 1));
    ticks(proxy, 5);
    passes(&answered(proxy, 0));
}

fn passes(call: &Call) {
    assert_eq!(call.grpc_status(), Some(0), "the request is served");
}

fn builder(by_policy: bool) -> Builder {
    let builder = if by_policy { with_override_host(json!({})) } else { sidecar(json!({})) };
    builder.workers(2).canary(false)
}

/// Runs all of it with a fault, until the bound for counts has passed.
fn run(by_policy: bool, fault: Fault) -> Proxy {
    let proxy = builder(by_policy).fault(fault).start();
    live(&proxy);
    proxy.clear_faults();
    proxy.advance(TICK * 20);
    assert_alive(&proxy);
    proxy
}

/// How often each host call is made without faults.
fn how_often(by_policy: bool) -> impl Fn(HostCall) -> u64 {
    let proxy = builder(by_policy).start();
    live(&proxy);
    let trace = proxy.take_trace();
    move |call| trace.count(call) as u64
}

/// Whether a count can be right although this call fails once: one that changes a gauge is the
/// count.
fn counts(call: HostCall) -> bool {
    call != HostCall::IncrementMetric
}

fn every_call_fails_once(by_policy: bool) {
    let how_often = how_often(by_policy);
    for (call, statuses) in FAULTS {
        assert!(how_often(call) > 0, "{call} is not made");
        for status in statuses {
            for nth in 1..=how_often(call) {
                let proxy = run(by_policy, Fault::at(call).nth(nth).returns(*status));
                if counts(call) {
                    assert_eq!(leftovers(&proxy), [], "{call} {nth} {status}");
                }
            }
        }
    }
}

#[test]
fn every_call_fails_once_with_the_session_filter() {
    every_call_fails_once(false);
}

#[test]
fn every_call_fails_once_with_the_policy() {
    every_call_fails_once(true);
}

#[test]
fn every_kind_of_call_fails_always_or_from_the_middle_on() {
    for by_policy in [false, true] {
        let how_often = how_often(by_policy);
        for (call, statuses) in FAULTS {
            for status in statuses {
                run(by_policy, Fault::at(call).always().returns(*status));
                for part in 1..4 {
                    let nth = how_often(call) * part / 4 + 1;
                    run(by_policy, Fault::at(call).from_nth(nth).returns(*status));
                }
            }
        }
    }
}

#[test]
fn after_the_faults_all_is_as_before() {
    for (call, statuses) in FAULTS {
        // Handles of metrics and a store that never answered are not tried again.
        let is_for_good = matches!(call, HostCall::GetSharedData | HostCall::SetSharedData);
        for status in statuses {
            let proxy = run(false, Fault::at(call).always().returns(*status));
            if is_for_good {
                continue;
            }
            proxy.worker(0).restart();
            proxy.worker(1).restart();
            for worker in 0..2 {
                answered(&proxy, worker);
            }
            proxy.advance(TICK * 20);
            assert!(answered(&proxy, 0).asked().is_some(), "{call} {status}: it steers again");
        }
    }
}
