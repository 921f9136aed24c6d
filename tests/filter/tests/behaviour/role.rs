//! Which way a request goes, and whether it is balanced for that.

use leastload_filter_tests::lab::{METHOD, bare};
use leastload_filter_tests::stats::all_picks;
use leastload_testhost::{Cluster, Response};
use serde_json::{Value, json};

const INBOUND: i64 = 1;
const OUTBOUND: i64 = 2;
const UNSPECIFIED: i64 = 0;

/// Whether a request to `cluster` through a listener of this direction is looked at.
fn is_balanced(config: Value, cluster: &str, direction: i64) -> bool {
    let proxy = bare(config).cluster(Cluster::new(cluster).hosts(["10.0.0.1:80"])).start();
    let request = proxy.worker(0).grpc(METHOD);
    let call = request.property(&["xds", "listener_direction"], direction).to_cluster(cluster);
    call.respond(Response::ok());
    assert_eq!(call.grpc_status(), Some(0));
    all_picks(&proxy, cluster) > 0
}

#[test]
fn auto_follows_the_listener() {
    assert!(is_balanced(json!({}), "backend", OUTBOUND));
    assert!(is_balanced(json!({}), "backend", UNSPECIFIED), "a gateway says nothing");
    assert!(!is_balanced(json!({}), "backend", INBOUND));
}

#[test]
fn auto_follows_istios_names_first() {
    assert!(is_balanced(json!({}), "outbound|80||cart.shop", INBOUND));
    assert!(is_balanced(json!({}), "inbound-vip|80|http|cart.shop", INBOUND), "a waypoint");
    assert!(!is_balanced(json!({}), "inbound|80||", OUTBOUND));
    assert!(!is_balanced(json!({}), "inbound|80||", INBOUND), "a sidecar's own application");
}

#[test]
fn a_name_that_only_begins_like_istios_says_nothing() {
    assert!(is_balanced(json!({}), "inbound-cart", OUTBOUND));
    assert!(!is_balanced(json!({}), "outbound-cart", INBOUND));
    assert!(!is_balanced(json!({}), "encap", INBOUND));
}

#[test]
fn outbound_balances_everything_and_inbound_nothing() {
    for cluster in ["backend", "inbound|80||", "inbound-vip|80|http|cart", "outbound|80||cart"] {
        for direction in [INBOUND, OUTBOUND] {
            assert!(is_balanced(json!({"role": "outbound"}), cluster, direction), "{cluster}");
            assert!(!is_balanced(json!({"role": "inbound"}), cluster, direction), "{cluster}");
        }
    }
}

#[test]
fn a_listener_without_direction_is_outbound() {
    let proxy = bare(json!({})).cluster(Cluster::new("backend").hosts(["10.0.0.1:80"])).start();
    let stream = proxy.worker(0).stream();
    stream.set_property(&["xds", "cluster_name"], "backend");
    stream.remove_property(&["xds", "listener_direction"]);
    let headers = [(":path", METHOD), ("content-type", "application/grpc")];
    stream.request_headers(headers, true);
    stream.finish();
    assert_eq!(all_picks(&proxy, "backend"), 1);
}
