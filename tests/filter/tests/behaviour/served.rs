//! The count is where the request really is, and who is believed about that.

use leastload_filter_tests::lab::{
    CLUSTER, HEADER, HOSTS, address_reads, answer, answered, assert_idle, call, hold_others, plain,
    serve, sidecar, warm, with_override_host,
};
use leastload_filter_tests::stats::{refused, work_at};
use leastload_testhost::{Call, Failure, Health, Proxy, Response};
use serde_json::json;

const BEGUN: [(&str, &str); 1] = [(":status", "200")];

/// Work at each of [`HOSTS`], in requests.
fn at_hosts(proxy: &Proxy) -> [i64; 3] {
    [0, 1, 2].map(|slot| work_at(proxy, CLUSTER, slot) / 1000)
}

fn finish(call: &Call) {
    call.response_trailers([("grpc-status", "0")]);
}

#[test]
fn a_count_follows_the_request_to_the_host_that_serves() {
    let proxy = warm(sidecar(json!({})));
    let held = hold_others(&proxy, 0, HOSTS[0]);
    proxy.edit_cluster(CLUSTER, |cluster| cluster.set_health(HOSTS[0], Health::UNHEALTHY));
    let moved = call(&proxy, 0);
    assert_eq!(moved.asked().as_deref(), Some(HOSTS[0]));
    assert_eq!(at_hosts(&proxy), [1, 1, 1], "as asked for");
    moved.response_headers(BEGUN, false);
    let mut real = [0, 1, 1];
    let at = HOSTS.iter().position(|host| moved.chosen().as_deref() == Some(*host));
    real[at.expect("one of the hosts")] += 1;
    assert_eq!(at_hosts(&proxy), real, "as it is");
    finish(&moved);
    answer(&held);
    assert_idle(&proxy);
}

#[test]
fn a_count_follows_a_retry() {
    let proxy = warm(with_override_host(json!({})));
    let call = call(&proxy, 0);
    let first = call.chosen();
    call.fail(Failure::Connect);
    let second = call.chosen();
    assert_ne!(first, second);
    call.response_headers(BEGUN, false);
    let at = HOSTS.iter().position(|host| second.as_deref() == Some(*host)).expect("a host");
    assert_eq!(work_at(&proxy, CLUSTER, at), 1000);
    finish(&call);
    assert_eq!(refused(&proxy, CLUSTER, "retry"), 1);
    assert_idle(&proxy);
}

#[test]
fn a_request_that_a_stranger_serves_counts_nowhere() {
    let proxy = warm(with_override_host(json!({})));
    let call = call(&proxy, 0);
    call.stream().set_property(&["upstream", "address"], "192.0.2.1:80");
    call.response_headers(BEGUN, false);
    assert_eq!(at_hosts(&proxy), [0, 0, 0]);
    finish(&call);
    assert_idle(&proxy);
}

#[test]
fn the_session_filters_silence_is_believed_after_32_proofs() {
    let proxy = warm(sidecar(json!({})));
    address_reads(&proxy);
    for proof in 0..32 {
        answered(&proxy, 0);
        assert_eq!(address_reads(&proxy), 1, "proof {proof}");
    }
    serve(&proxy, 0, 320);
    let reads = address_reads(&proxy);
    assert!((8..=40).contains(&reads), "about one in 16 is checked: {reads} of 320");
}

#[test]
fn each_worker_wants_its_own_proof() {
    let proxy = warm(sidecar(json!({})).workers(2));
    serve(&proxy, 0, 40);
    address_reads(&proxy);
    serve(&proxy, 1, 32);
    assert_eq!(address_reads(&proxy), 32);
}

#[test]
fn what_the_session_filter_says_is_read_however_much_it_is_believed() {
    let proxy = warm(sidecar(json!({})));
    serve(&proxy, 0, 40);
    let held = hold_others(&proxy, 0, HOSTS[0]);
    proxy.edit_cluster(CLUSTER, |cluster| cluster.set_health(HOSTS[0], Health::EJECTED));
    address_reads(&proxy);
    let moved = call(&proxy, 0);
    moved.response_headers(BEGUN, false);
    assert_eq!(address_reads(&proxy), 1, "the response names another host");
    assert_eq!(at_hosts(&proxy)[0], 0);
    finish(&moved);
    answer(&held);
    serve(&proxy, 0, 32);
    assert!(address_reads(&proxy) < 20, "a filter that says so goes on being believed");
    assert_idle(&proxy);
}

#[test]
fn another_host_without_a_word_ends_the_belief() {
    let proxy = warm(sidecar(json!({})));
    serve(&proxy, 0, 40);
    // As if the session filter had gone: another host serves, and the response does not say so.
    let doubted = (0..400).any(|_| {
        address_reads(&proxy);
        let call = call(&proxy, 0);
        let other = HOSTS.iter().find(|host| call.asked().as_deref() != Some(**host));
        call.stream().set_property(&["upstream", "address"], *other.expect("three hosts"));
        call.respond(Response::ok());
        address_reads(&proxy) == 1
    });
    assert!(doubted, "one in 16 is checked");
    assert_eq!(refused(&proxy, CLUSTER, "ignored"), 1);
    serve(&proxy, 0, 32);
    assert_eq!(address_reads(&proxy), 32, "all is to be proven anew");
    assert_idle(&proxy);
}

#[test]
fn without_session_filter_nothing_is_ever_believed() {
    let proxy = warm(plain(json!({})));
    let mut asked = 0;
    for _ in 0..100 {
        address_reads(&proxy);
        let call = answered(&proxy, 0);
        asked += usize::from(call.headers().contains(HEADER));
        assert_eq!(address_reads(&proxy), 1);
        proxy.advance(leastload_filter_tests::lab::TICK * 8);
    }
    assert!(asked > 10, "{asked}");
    assert_idle(&proxy);
}

#[test]
fn the_policy_never_tells_so_every_address_is_read() {
    let proxy = warm(with_override_host(json!({})));
    address_reads(&proxy);
    serve(&proxy, 0, 100);
    assert_eq!(address_reads(&proxy), 100);
}
