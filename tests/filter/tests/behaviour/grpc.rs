//! What counts as gRPC, and what each method costs.

use leastload_filter_tests::lab::{CLUSTER, HEADER, METHOD, ONE, assert_idle, sidecar, warm};
use leastload_filter_tests::stats::{all_picks, picks, work};
use leastload_testhost::{Proxy, Response};
use serde_json::{Value, json};

/// Whether a request of this content type is looked at.
fn is_looked_at(proxy: &Proxy, content_type: Option<&str>) -> bool {
    let before = all_picks(proxy, CLUSTER);
    let mut request = proxy.worker(0).http("POST", METHOD);
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    let call = request.to_cluster(CLUSTER);
    let is_steered = call.headers().contains(HEADER);
    call.respond(Response::http(200));
    let looked_at = all_picks(proxy, CLUSTER) > before;
    assert_eq!(is_steered, looked_at, "{content_type:?}");
    looked_at
}

#[test]
fn grpc_and_grpc_web_by_content_type() {
    let proxy = warm(sidecar(json!({})));
    for yes in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc+json",
        "application/grpc; charset=utf-8",
        "Application/GRPC",
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc-web-text",
        "application/grpc-web-text+proto",
    ] {
        assert!(is_looked_at(&proxy, Some(yes)), "{yes}");
    }
    assert_idle(&proxy);
}

#[test]
fn everything_else_is_left_alone() {
    let proxy = warm(sidecar(json!({})));
    for no in [
        "application/json",
        "text/html",
        "application/grpcfoo",
        "application/grpc-webs",
        "application/grp",
        "",
        "x/application/grpc",
    ] {
        assert!(!is_looked_at(&proxy, Some(no)), "{no}");
    }
    assert!(!is_looked_at(&proxy, None));
    assert_idle(&proxy);
}

#[test]
fn all_traffic_is_looked_at_where_the_configuration_says_so() {
    let proxy = warm(sidecar(json!({"traffic": "all"})));
    assert!(is_looked_at(&proxy, Some("application/json")));
    assert!(is_looked_at(&proxy, None));
}

/// What a request to `path` counts, and what the pick was counted as.
fn cost(methods: &Value, path: &str) -> (i64, &'static str) {
    let proxy = warm(sidecar(json!({"methods": methods})));
    let before = |result| picks(&proxy, CLUSTER, result);
    let steered = before("override");
    let excluded = before("excluded");
    let call = proxy.worker(0).grpc(path).to_cluster(CLUSTER);
    let cost = work(&proxy);
    call.respond(Response::ok());
    assert_idle(&proxy);
    match (before("override") - steered, before("excluded") - excluded) {
        (1, 0) => (cost, "override"),
        (0, 1) => (cost, "excluded"),
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn a_request_costs_what_its_method_or_its_service_says() {
    let methods = json!({
        "/shop.Catalog/*": {"cost": 2},
        "/shop.Catalog/Search": {"cost": 5.5},
        "/shop.Catalog/Watch": {"cost": 0},
        "/shop.Events/*": {"cost": 0},
    });
    for (path, expected) in [
        ("/shop.Catalog/Search", (5500, "override")),
        ("/shop.Catalog/List", (2000, "override")),
        ("/shop.Catalog/Watch", (0, "excluded")),
        ("/shop.Catalog/Watch?x=1", (0, "excluded")),
        ("/shop.Events/Any", (0, "excluded")),
        ("/shop.Cart/Get", (ONE, "override")),
        ("/not-a-method", (ONE, "override")),
        ("/", (ONE, "override")),
    ] {
        assert_eq!(cost(&methods, path), expected, "{path}");
    }
}

#[test]
fn the_dearer_call_weighs_more() {
    let proxy = warm(sidecar(json!({"methods": {"/a.B/Big": {"cost": 10}}})));
    let big = proxy.worker(0).grpc("/a.B/Big").to_cluster(CLUSTER);
    let small: Vec<_> = (0..18).map(|_| proxy.worker(0).grpc(METHOD).to_cluster(CLUSTER)).collect();
    assert!(small.iter().all(|call| call.asked() != big.asked()), "9 small ones each elsewhere");
    assert_eq!(work(&proxy), 28 * ONE);
}
