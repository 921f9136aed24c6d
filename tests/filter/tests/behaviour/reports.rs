//! Load reports on responses: used, and ours taken out.

use core::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use leastload_filter_tests::lab::{
    CLUSTER, HOSTS, METHOD, assert_idle, call, plain, sidecar, warm,
};
use leastload_filter_tests::stats::dropped;
use leastload_testhost::{Headers, Proxy, Response};
use serde_json::{Value, json};

const ASK: &str = "x-leastload-ask";
const TEXT: &str = "endpoint-load-metrics";
const BIN: &str = "endpoint-load-metrics-bin";

fn proxy(mut config: Value) -> Proxy {
    // No request waits for answers here.
    config["probe"]["mode"] = json!("off");
    warm(plain(config))
}

/// `named_metrics {key: name value: value}` of the protocol buffer.
fn metric(name: &str, value: f64) -> Vec<u8> {
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
    let mut entry = vec![0x0a, length(name.as_bytes())];
    entry.extend(name.as_bytes());
    entry.push(0x11);
    entry.extend(value.to_le_bytes());
    let mut field = vec![0x42, length(&entry)];
    field.extend(entry);
    field
}

fn binary(metrics: &[(&str, f64)]) -> String {
    let bytes: Vec<u8> = metrics.iter().flat_map(|(name, value)| metric(name, *value)).collect();
    STANDARD_NO_PAD.encode(bytes)
}

/// What of a report in the trailers the client gets.
fn trailer(proxy: &Proxy, name: &str, value: &str) -> Option<String> {
    let call = call(proxy, 0);
    call.respond(Response::ok().trailer(name, value));
    let trailers = call.response().trailers.unwrap();
    assert_eq!(trailers.get("grpc-status"), Some("0"));
    trailers.get(name).map(str::to_owned)
}

#[test]
fn a_twins_is_taken_out() {
    let proxy = proxy(json!({}));
    assert_eq!(trailer(&proxy, BIN, &binary(&[("rif", 3.0), ("svc", 9.0), ("cap", 4.0)])), None);
    assert_eq!(trailer(&proxy, BIN, &binary(&[("rif", 0.0)])), None);
    assert_eq!(trailer(&proxy, TEXT, "TEXT named_metrics.rif=3,named_metrics.drain=1"), None);
    assert_eq!(trailer(&proxy, TEXT, r#"JSON {"named_metrics":{"rif":3,"asks":0.5}}"#), None);
    assert_eq!(trailer(&proxy, TEXT, &format!("BIN {}", binary(&[("rif", 3.0)]))), None);
    assert_idle(&proxy);
}

#[test]
fn one_stamp_of_a_server_is_asked_for_in_a_tenth_of_its_time_of_service() {
    let proxy = of_one_server();
    // A server that says that it stamps every response.
    let stamp = binary(&[("rif", 3.0), ("svc", 100.0), ("cap", 4.0), ("all", 1.0)]);
    let asks = || {
        let (asks, left) = stamped(&proxy, &stamp);
        assert_eq!(left, None, "asked for or not");
        asks
    };
    assert_eq!([asks(), asks(), asks()], [true, true, false], "the first report comes late");
    proxy.advance(Duration::from_millis(9));
    assert!(!asks());
    proxy.advance(Duration::from_millis(1));
    assert_eq!([asks(), asks()], [true, false]);
    assert_idle(&proxy);
}

/// A proxy before one server, which nobody asks.
fn of_one_server() -> Proxy {
    warm(sidecar(json!({
        "probe": {"mode": "off"},
        "discovery": {"static": {CLUSTER: [HOSTS[0]]}},
    })))
}

/// Whether a request asks for a stamp, and what of it the client gets.
fn stamped(proxy: &Proxy, stamp: &str) -> (bool, Option<String>) {
    // What a client says is no matter.
    let call = proxy.worker(0).grpc(METHOD).header(ASK, "load").to_cluster(CLUSTER);
    let asks = call.headers().get(ASK).map(|ask| assert_eq!(ask, "stamp")).is_some();
    call.respond(Response::ok().trailer(BIN, stamp));
    (asks, call.response().trailers.unwrap().get(BIN).map(str::to_owned))
}

/// A server that has just begun to stamp is asked twice, for its first report comes late. The third
/// response has a stamp that nobody asked for: somebody else's, which stays.
fn assert_asked_twice(proxy: &Proxy) {
    let stamp = binary(&[("rif", 3.0), ("svc", 100.0), ("cap", 4.0)]);
    let took = [(); 3].map(|()| stamped(proxy, &stamp));
    assert_eq!(took, [(true, None), (true, None), (false, Some(stamp))]);
}

#[test]
fn what_nobody_asked_for_is_looked_for_only_where_it_may_come() {
    let proxy = of_one_server();
    assert_asked_twice(&proxy);
    assert_idle(&proxy);
}

#[test]
fn who_has_no_twin_is_asked_now_and_then() {
    let proxy = of_one_server();
    let asks = || {
        let call = call(&proxy, 0);
        let asks = call.headers().get(ASK).is_some();
        call.respond(Response::ok());
        asks
    };
    // Three answers show that it has none; the first was the warm-up's.
    assert_eq!((0..1_000).filter(|_| asks()).count(), 2);
    proxy.advance(Duration::from_millis(250));
    assert_eq!([asks(), asks()], [true, false]);
    // Once it has one, the next response says so.
    proxy.advance(Duration::from_millis(250));
    assert_asked_twice(&proxy);
    assert_idle(&proxy);
}

#[test]
fn an_applications_stays() {
    let proxy = proxy(json!({}));
    for (name, value) in [
        (BIN, &*binary(&[("queue", 3.0)])),
        (TEXT, "TEXT cpu_utilization=0.5,named_metrics.queue=3"),
        (TEXT, r#"JSON {"utilization":{"disk":0.3}}"#),
        (TEXT, "something else"),
        (BIN, "%%%"),
        (TEXT, ""),
    ] {
        assert_eq!(trailer(&proxy, name, value).as_deref(), Some(value));
    }
}

#[test]
fn of_a_merged_one_the_applications_part_stays() {
    let proxy = proxy(json!({}));
    let merged = binary(&[("queue", 3.0), ("rif", 1.0), ("svc", 2.0)]);
    assert_eq!(trailer(&proxy, BIN, &merged), Some(binary(&[("queue", 3.0)])));
    let merged = "TEXT cpu_utilization=0.5,named_metrics.rif=1";
    assert_eq!(trailer(&proxy, TEXT, merged).as_deref(), Some("TEXT cpu_utilization=0.5"));
}

#[test]
fn both_forms_at_once() {
    let proxy = proxy(json!({}));
    let call = call(&proxy, 0);
    let (ours, theirs) = (binary(&[("rif", 3.0)]), "TEXT eps=1");
    call.respond(Response::ok().trailer(TEXT, theirs).trailer(BIN, &ours));
    let trailers = call.response().trailers.unwrap();
    assert_eq!((trailers.get(TEXT), trailers.get(BIN)), (Some(theirs), None));
}

#[test]
fn in_headers_that_end_the_response_too() {
    let proxy = proxy(json!({}));
    let call = call(&proxy, 0);
    call.respond(Response::trailers_only(5).header(BIN, &binary(&[("rif", 3.0)])));
    assert_eq!(call.response().headers.unwrap().get(BIN), None);
    assert_eq!(call.grpc_status(), Some(5));
    assert_idle(&proxy);
}

#[test]
fn and_of_plain_http() {
    let proxy = proxy(json!({"traffic": "all"}));
    let call = proxy.worker(0).http("GET", "/").to_cluster(CLUSTER);
    assert_eq!(call.headers().get(ASK), Some("stamp"));
    let response = Response::http(200).header(TEXT, "TEXT named_metrics.rif=3").body("hello");
    call.respond(response);
    let headers = call.response().headers.unwrap();
    assert_eq!((headers.get(TEXT), headers.get(":status")), (None, Some("200")));
    assert_eq!(call.response().body, b"hello");
    assert_idle(&proxy);
}

#[test]
fn the_initial_headers_of_a_grpc_response_are_the_applications() {
    let proxy = proxy(json!({}));
    let call = call(&proxy, 0);
    call.respond(Response::ok().header(TEXT, "TEXT cpu_utilization=0.5"));
    assert_eq!(call.response().headers.unwrap().get(TEXT), Some("TEXT cpu_utilization=0.5"));
}

#[test]
fn what_is_not_taken_is_counted() {
    let proxy = proxy(json!({}));
    let report = |value: &str| trailer(&proxy, TEXT, value);
    report(&format!("TEXT {}", "x".repeat(5_000)));
    assert_eq!(dropped(&proxy, "too_long"), 1);
    report("nonsense");
    report("JSON {");
    assert_eq!(dropped(&proxy, "malformed"), 2);
    report("TEXT named_metrics.rif=nan");
    report("TEXT named_metrics.rif=2,eps=-1");
    assert_eq!(dropped(&proxy, "values"), 2);
    report("TEXT named_metrics.rif=1e30");
    assert_eq!(dropped(&proxy, "excess"), 1);
    let many: Vec<String> = (0..300).map(|n| format!("named_metrics.m{n}=1")).collect();
    report(&format!("TEXT {}", many.join(",")));
    assert_eq!(dropped(&proxy, "too_long") + dropped(&proxy, "values"), 4);
    assert_idle(&proxy);
}

#[test]
fn a_clients_own_question_is_replaced() {
    let proxy = proxy(json!({}));
    for own in ["load", "stamp", "", "\u{ff}"] {
        let request = proxy.worker(0).grpc(METHOD).header(ASK, own).header("X-Leastload-Ask", own);
        let call = request.to_cluster(CLUSTER);
        assert_eq!(call.headers().all(ASK), ["stamp"]);
        call.respond(Response::ok());
    }
    // What is not balanced is not stamped either, and takes no question along.
    let request = proxy.worker(0).http("GET", "/").header(ASK, "load");
    let call = request.to_cluster(CLUSTER);
    assert!(!call.headers().contains(ASK));
    call.respond(Response::http(200));
    assert_idle(&proxy);
}

#[test]
fn the_questions_header_may_have_another_name() {
    let proxy = proxy(json!({"probe": {"header": "x-how-much"}}));
    let call = call(&proxy, 0);
    assert_eq!(call.headers().get("x-how-much"), Some("stamp"));
    assert!(!call.headers().contains(ASK));
    call.respond(Response::ok());
}

#[test]
fn a_gateway_lets_nothing_of_ours_in_or_out() {
    let names = ["x-leastload-self", TEXT, BIN];
    let dirty = |headers: &Headers| names.iter().any(|name| headers.contains(name));
    for config in [
        json!({"edge": true}),
        json!({"edge": true, "role": "inbound", "probe": {"allow": "any"}}),
        json!({"edge": true, "enabled": false}),
        json!({"edge": true, "estimate": {"reports": false}}),
        json!({"edge": true, "traffic": "all"}),
    ] {
        let proxy = warm(sidecar(config.clone()));
        for (reply, trailers) in [(Response::ok(), true), (Response::trailers_only(0), false)] {
            let mut request = proxy.worker(0).grpc(METHOD).header(ASK, "load");
            let mut reply = reply.header("x-leastload-ask", "x").header("x-leastload-host", "x");
            for name in names {
                request = request.header(name, "TEXT cpu_utilization=0.5");
                reply = reply.header(name, "TEXT cpu_utilization=0.5");
                if trailers {
                    reply = reply.trailer(name, "TEXT named_metrics.queue=1");
                }
            }
            let call = request.to_cluster(CLUSTER);
            assert!(!dirty(&call.headers()), "{config}: {:?}", call.headers());
            assert_ne!(call.headers().get(ASK), Some("load"), "{config}");
            call.respond(reply);
            let got = call.response();
            let headers = got.headers.unwrap();
            assert!(!dirty(&headers) && !headers.contains(ASK), "{config}: {headers:?}");
            assert!(!headers.contains("x-leastload-host"), "{config}: {headers:?}");
            assert!(!got.trailers.is_some_and(|trailers| dirty(&trailers)), "{config}");
            assert_eq!(call.grpc_status(), Some(0));
        }
        assert_idle(&proxy);
    }
}
