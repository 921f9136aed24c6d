//! Endpoints of every form that Envoy prints.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use leastload_filter_tests::lab::{
    CLUSTER, HEADER, answered, assert_idle, call, serve, sidecar, spread, warm, with_override_host,
};
use leastload_filter_tests::stats::{picks, refused, work_at};
use leastload_testhost::{Call, Cluster, Host, Response};
use serde_json::json;

const FORMS: [&str; 6] = [
    "10.0.0.1:80",
    "[2001:db8::1]:50051",
    "/run/app/grpc.sock",
    "@abstract",
    "envoy://connect_originate/10.0.0.9:50051",
    "envoy://connect_originate/",
];

#[test]
fn every_form_is_asked_for_and_honoured_by_the_session_filter() {
    let proxy = warm(sidecar(json!({})).cluster(Cluster::new(CLUSTER).hosts(FORMS)));
    let calls: Vec<_> = FORMS.iter().map(|_| call(&proxy, 0)).collect();
    let mut asked: Vec<String> = calls.iter().filter_map(Call::asked).collect();
    asked.sort();
    let mut forms = FORMS;
    forms.sort_unstable();
    assert_eq!(asked, forms);
    assert_eq!([0, 1, 2, 3, 4, 5].map(|slot| work_at(&proxy, CLUSTER, slot)), [1000; 6]);
    for call in &calls {
        assert_eq!(call.chosen(), call.asked());
        let value = STANDARD.encode(call.chosen().unwrap_or_default());
        assert_eq!(call.headers().get(HEADER), Some(value.as_str()));
        call.respond(Response::ok());
    }
    assert_eq!(refused(&proxy, CLUSTER, "ignored"), 0);
    assert_idle(&proxy);
}

#[test]
fn every_form_is_asked_for_and_honoured_by_the_policy() {
    let cluster = Cluster::new(CLUSTER).hosts(FORMS).override_host(HEADER);
    let proxy = warm(with_override_host(json!({"override": {"spares": 0}})).cluster(cluster));
    for _ in 0..40 {
        let call = answered(&proxy, 0);
        assert_eq!(call.headers().get(HEADER), call.chosen().as_deref());
    }
    assert_eq!(picks(&proxy, CLUSTER, "override"), 40);
    assert_idle(&proxy);
}

#[test]
fn a_hosts_name_says_nothing_of_its_address() {
    let named = |last: u32| Host::new(format!("10.0.0.{last}:80")).hostname("cart.shop.example");
    let proxy = warm(sidecar(json!({})).cluster(Cluster::new(CLUSTER).hosts([named(1), named(2)])));
    assert_eq!(spread(&proxy, 0, 2), ["10.0.0.1:80", "10.0.0.2:80"]);
}

#[test]
fn a_host_whose_address_no_header_could_carry_is_left_to_envoy() {
    let odd = ["/run/with space.sock", "/run/with,comma.sock", "10.0.0.1:80"];
    let proxy = warm(sidecar(json!({})).cluster(Cluster::new(CLUSTER).hosts(odd)));
    assert_eq!(spread(&proxy, 0, 3), ["10.0.0.1:80"; 3]);
    assert_idle(&proxy);
}

#[test]
fn the_same_forms_can_be_learned() {
    let config = json!({"discovery": {"admin_cluster": "", "learn_percent": 0}});
    let proxy = warm(sidecar(config).cluster(Cluster::new(CLUSTER).hosts(FORMS)));
    serve(&proxy, 0, 80);
    let mut forms = FORMS;
    forms.sort_unstable();
    assert_eq!(spread(&proxy, 0, 6), forms);
    assert_idle(&proxy);
}
