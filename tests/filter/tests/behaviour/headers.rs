//! The override header stays inside the proxy, and nobody else sets it.

use leastload_filter_tests::lab::{
    CLUSTER, HEADER, HOSTS, METHOD, assert_idle, hold_others, plain, sidecar, warm,
    with_override_host,
};
use leastload_testhost::{Call, Health, Proxy, Request, Response, Side};
use serde_json::{Value, json};

/// What a client sends to reach a host of its choice, in both mechanisms' forms.
const SPOOFED: [&str; 4] = ["10.0.0.3:80", "MTAuMC4wLjM6ODA=", "", "\u{ff}x,y"];

fn spoof(request: Request, value: &str) -> Request {
    request.header(HEADER, value).header("X-Leastload-Host", value)
}

/// The override header after the filter, where a client sent one.
fn after(proxy: &Proxy, request: impl Fn(Request) -> Request) -> Vec<Option<String>> {
    let send = |value: &&str| {
        let call = spoof(request(proxy.worker(0).grpc(METHOD)), value).to_cluster(CLUSTER);
        let headers = call.headers();
        assert!(headers.all(HEADER).len() <= 1, "one at most");
        call.respond(Response::ok());
        headers.get(HEADER).map(str::to_owned)
    };
    SPOOFED.iter().map(send).collect()
}

#[test]
fn a_clients_own_is_replaced_by_ours() {
    let proxy = warm(sidecar(json!({})));
    let held = hold_others(&proxy, 0, HOSTS[0]);
    for value in SPOOFED {
        let call = spoof(proxy.worker(0).grpc(METHOD), value).to_cluster(CLUSTER);
        assert_eq!(call.asked().as_deref(), Some(HOSTS[0]), "{value:?}");
        assert_eq!(call.headers().all(HEADER).len(), 1);
        call.respond(Response::ok());
    }
    drop(held);
}

#[test]
fn a_clients_own_is_removed_wherever_nothing_is_steered() {
    let none = vec![None; SPOOFED.len()];
    let untouched = |request| request;
    for config in [
        json!({"enabled": false}),
        json!({"role": "inbound"}),
        json!({"rollout": {"percent": 0}}),
        json!({"rollout": {"mode": "shadow"}}),
        json!({"methods": {METHOD: {"cost": 0}}}),
        json!({"no_such_field": 1}),
        json!("not an object"),
        json!({"discovery": {"admin_cluster": ""}}),
        json!({"discovery": {"static": {CLUSTER: []}}}),
    ] {
        let proxy = warm(sidecar(config.clone()));
        assert_eq!(after(&proxy, untouched), none, "{config}");
        assert_idle(&proxy);
    }
}

#[test]
fn a_clients_own_is_removed_from_inbound_and_other_traffic() {
    let none = vec![None; SPOOFED.len()];
    let proxy = warm(sidecar(json!({})));
    let inbound = |request: Request| request.property(&["xds", "listener_direction"], 1_i64);
    let other =
        warm(sidecar(json!({})).cluster(leastload_testhost::Cluster::new("in").hosts(HOSTS)));
    let call = spoof(inbound(other.worker(0).grpc(METHOD)), SPOOFED[0]).to_cluster("in");
    assert!(!call.headers().contains(HEADER));
    let plain = proxy.worker(0).http("GET", "/").header(HEADER, SPOOFED[0]).to_cluster(CLUSTER);
    assert!(!plain.headers().contains(HEADER));
    assert_eq!(after(&warm(sidecar(json!({"role": "inbound"}))), inbound), none);
}

#[test]
fn a_clients_own_is_removed_without_a_route() {
    let proxy = warm(sidecar(json!({})));
    let stream = proxy.worker(0).stream();
    stream.request_headers([(":path", METHOD), (HEADER, SPOOFED[0])], true);
    assert!(!stream.is_paused(Side::Request));
    assert!(!stream.upstream().headers.unwrap_or_default().contains(HEADER));
}

/// The response's override header, where the host asked for refused and where it did not.
fn answers(config: Value, server_header: bool) -> Vec<bool> {
    let proxy = warm(sidecar(config));
    let calls: Vec<Call> = (0..6)
        .map(|n| {
            let health = if n % 2 == 0 { Health::UNHEALTHY } else { Health::HEALTHY };
            proxy.edit_cluster(CLUSTER, |cluster| cluster.set_health(HOSTS[n / 2], health));
            proxy.worker(0).grpc(METHOD).to_cluster(CLUSTER)
        })
        .collect();
    for call in &calls {
        let mut response = Response::ok();
        if server_header {
            response = response.header(HEADER, "10.9.9.9:80").header(HEADER, "again");
        }
        call.respond(response);
    }
    assert_idle(&proxy);
    calls.iter().map(|call| call.response().headers.unwrap_or_default().contains(HEADER)).collect()
}

#[test]
fn no_client_ever_sees_it() {
    for config in
        [json!({}), json!({"enabled": false}), json!({"role": "inbound"}), json!({"x": 1})]
    {
        for server_header in [false, true] {
            assert_eq!(answers(config.clone(), server_header), [false; 6], "{config}");
        }
    }
}

#[test]
fn a_servers_own_is_removed_from_trailers_only_answers_too() {
    for proxy in [warm(sidecar(json!({}))), warm(with_override_host(json!({})))] {
        let call = proxy.worker(0).grpc(METHOD).to_cluster(CLUSTER);
        call.respond(Response::trailers_only(14).header(HEADER, "x"));
        assert!(!call.response().headers.unwrap_or_default().contains(HEADER));
        assert_idle(&proxy);
    }
}

#[test]
fn other_headers_pass_untouched() {
    let proxy = warm(plain(json!({})).stateful_session(HEADER));
    let request = proxy.worker(0).grpc(METHOD).header("x-a", "1").header("x-a", "2");
    let call = request.to_cluster(CLUSTER);
    assert_eq!(call.headers().all("x-a"), ["1", "2"]);
    assert_eq!(call.headers().get(":path"), Some(METHOD));
    call.respond(Response::ok().header("x-b", "3").trailer("x-c", "4"));
    let response = call.response();
    assert_eq!(response.headers.unwrap_or_default().get("x-b"), Some("3"));
    assert_eq!(response.trailers.unwrap_or_default().get("x-c"), Some("4"));
}
