//! Properties that the proxy does not give.

use leastload_filter_tests::lab::{
    CLUSTER, HEADER, answer, answered, assert_idle, call, plain, serve, sidecar, ticks, warm,
    with_override_host,
};
use leastload_filter_tests::stats::{all_picks, picks, refused, work};
use leastload_testhost::{Call, Failure, Fault, HostCall, Proxy, Response, Status};
use serde_json::json;

/// From now on, a property whose path contains this is absent everywhere.
fn without(proxy: &Proxy, property: &str) {
    proxy.fault(Fault::at(HostCall::GetProperty).with(property).always().returns(Status::NotFound));
}

/// Some calls that end in different ways.
fn traffic(proxy: &Proxy) {
    for _ in 0..5 {
        answered(proxy, 0);
        call(proxy, 0).respond(Response::trailers_only(14));
        call(proxy, 0).fail(Failure::ConnectionLost);
        call(proxy, 0).reset();
        let begun = call(proxy, 0);
        begun.response_headers([(":status", "200")], false);
        begun.fail(Failure::Reset);
        ticks(proxy, 8);
    }
}

#[test]
fn whatever_is_absent_requests_pass_and_counts_end_at_zero() {
    for property in [
        "cluster_name",
        "listener_direction",
        "address",
        "request_attempt_count",
        "flags",
        "plugin_name",
        "plugin_root_id",
        "plugin_vm_id",
        "",
    ] {
        for proxy in [warm(sidecar(json!({}))), warm(with_override_host(json!({})))] {
            without(&proxy, property);
            let call = answered(&proxy, 0);
            assert_eq!(call.grpc_status(), Some(0), "{property}");
            traffic(&proxy);
            proxy.configure("{}");
            traffic(&proxy);
            assert_idle(&proxy);
        }
    }
}

#[test]
fn from_the_start_nothing_at_all_is_known() {
    let absent = Fault::at(HostCall::GetProperty).always().returns(Status::NotFound);
    let proxy = warm(sidecar(json!({})).fault(absent));
    traffic(&proxy);
    assert_eq!(all_picks(&proxy, CLUSTER), 0);
    assert_idle(&proxy);
}

#[test]
fn without_a_cluster_name_a_request_is_left_alone() {
    let proxy = warm(sidecar(json!({})));
    without(&proxy, "cluster_name");
    let before = all_picks(&proxy, CLUSTER);
    assert!(!answered(&proxy, 0).headers().contains(HEADER));
    assert_eq!(all_picks(&proxy, CLUSTER), before);
}

#[test]
fn without_an_address_the_count_stays_with_the_pick() {
    let proxy = warm(sidecar(json!({})));
    without(&proxy, "address");
    let call = call(&proxy, 0);
    call.response_headers([(":status", "200")], false);
    assert_eq!(work(&proxy), 1_000);
    call.response_trailers([("grpc-status", "0")]);
    assert_idle(&proxy);
}

#[test]
fn without_an_attempt_count_a_refusal_is_no_retry() {
    let proxy = warm(plain(json!({})));
    without(&proxy, "request_attempt_count");
    let calls: Vec<Call> = (0..12).map(|_| call(&proxy, 0)).collect();
    answer(&calls);
    assert!(refused(&proxy, CLUSTER, "ignored") > 0);
    assert_eq!(refused(&proxy, CLUSTER, "retry"), 0);
    assert_idle(&proxy);
}

#[test]
fn without_flags_a_call_that_was_answered_went_well() {
    let proxy = warm(sidecar(json!({})));
    without(&proxy, "flags");
    serve(&proxy, 0, 20);
    assert_eq!(picks(&proxy, CLUSTER, "all_aside"), 0);
    call(&proxy, 0).fail(Failure::Connect);
    assert!(answered(&proxy, 0).headers().contains(HEADER));
    assert_idle(&proxy);
}

#[test]
fn without_a_content_type_or_a_path_a_request_passes() {
    let proxy = warm(sidecar(json!({"methods": {"/a.B/*": {"cost": 2}}})));
    let stream = proxy.worker(0).stream();
    stream.set_property(&["xds", "cluster_name"], CLUSTER);
    stream.request_headers([("content-type", "application/grpc")], true);
    assert_eq!(work(&proxy), 1_000, "the mean");
    stream.finish();
    let nothing = proxy.worker(0).stream();
    nothing.request_headers((), true);
    assert!(nothing.upstream().headers.is_some());
    nothing.finish();
    assert_idle(&proxy);
}
