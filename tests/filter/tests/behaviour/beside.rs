//! The filter beside a server: it counts, stamps responses, and answers probes.

use leastload_filter_tests::lab::{ADMIN, METHOD, assert_idle, bare, ticks};
use leastload_filter_tests::stats::{answers, work_at};
use leastload_testhost::{
    AdminMode, Builder, Call, Cluster, Failure, Health, Proxy, Request, Response,
};
use serde_json::{Value, json};

const SERVER: &str = "inbound|50051||";
/// What the server is called where its requests are counted.
const TWIN: &str = "twin:inbound|50051||";
const ASK: &str = "x-leastload-ask";
const TEXT: &str = "endpoint-load-metrics";
const BIN: &str = "endpoint-load-metrics-bin";

fn builder(mut config: Value) -> Builder {
    if config.pointer("/report/format").is_none() {
        config["report"]["format"] = json!("text");
    }
    bare(config)
        .cluster(Cluster::new(SERVER).hosts(["127.0.0.1:50051"]))
        .property(&["xds", "listener_direction"], 1_i64)
        .property(&["destination", "address"], "10.0.0.5:50051")
}

fn beside(config: Value) -> Proxy {
    builder(config).start()
}

fn any() -> Value {
    json!({"probe": {"allow": "any"}})
}

fn asking(proxy: &Proxy, ask: &str) -> Request {
    proxy.worker(0).grpc(METHOD).header(ASK, ask)
}

/// What the client of a call gets as a stamp.
fn stamp(call: &Call, name: &str) -> Option<String> {
    let response = call.response();
    let trailers = response.trailers.unwrap_or_default();
    let found = [response.headers.unwrap(), trailers];
    found.iter().find_map(|headers| headers.get(name).map(str::to_owned))
}

#[test]
fn who_asks_gets_a_stamp() {
    for (ask, config, stamped) in [
        (Some("stamp"), any(), true),
        (None, any(), false),
        (Some("nonsense"), any(), false),
        (None, json!({"probe": {"allow": "any"}, "report": {"stamp": "all"}}), true),
        (Some("stamp"), json!({"probe": {"allow": "any"}, "report": {"stamp": "off"}}), false),
        (Some("stamp"), json!({}), false),
        (None, json!({"report": {"stamp": "all"}}), false),
    ] {
        let proxy = beside(config.clone());
        let request = proxy.worker(0).grpc(METHOD);
        let request = if let Some(ask) = ask { request.header(ASK, ask) } else { request };
        let call = request.to_cluster(SERVER);
        assert!(!call.headers().contains(ASK), "the application sees no question");
        call.respond(Response::ok());
        assert_eq!(stamp(&call, TEXT).is_some(), stamped, "{config} {ask:?}");
        assert_eq!(call.grpc_status(), Some(0));
        assert_idle(&proxy);
    }
}

#[test]
fn a_peer_that_authenticated_itself_may_know() {
    for (mtls, may) in [(true, true), (false, false)] {
        let proxy = beside(json!({}));
        let call = asking(&proxy, "stamp").property(&["connection", "mtls"], mtls);
        let call = call.to_cluster(SERVER);
        call.respond(Response::ok());
        assert_eq!(stamp(&call, TEXT).is_some(), may);
        let probe = asking(&proxy, "load").property(&["connection", "mtls"], mtls);
        let probe = probe.to_cluster(SERVER);
        assert_eq!(probe.local_reply().is_some(), may);
        probe.respond(Response::trailers_only(12));
        assert_eq!(answers(&proxy, "given"), u64::from(may));
        assert_eq!(answers(&proxy, "not_allowed"), u64::from(!may));
        assert_idle(&proxy);
    }
}

#[test]
fn a_stamp_tells_what_all_workers_have_but_the_request_itself() {
    let proxy = builder(any()).workers(2).start();
    let held: Vec<Call> =
        (0..5).map(|n| proxy.worker(n % 2).grpc(METHOD).to_cluster(SERVER)).collect();
    let call = asking(&proxy, "stamp").to_cluster(SERVER);
    assert_eq!(work_at(&proxy, TWIN, 0), 6_000);
    call.respond(Response::ok());
    let says_five = |stamp: &str| stamp.starts_with("TEXT named_metrics.rif=5");
    assert!(stamp(&call, TEXT).as_deref().is_some_and(says_five));
    assert_eq!(work_at(&proxy, TWIN, 0), 5_000);
    let probe = asking(&proxy, "load").to_cluster(SERVER);
    let reply = probe.local_reply().expect("an answer");
    assert!(reply.headers.get(TEXT).is_some_and(says_five));
    drop(held);
    assert_idle(&proxy);
}

#[test]
fn a_probe_goes_no_further() {
    let proxy = beside(any());
    let probe = asking(&proxy, "load").to_cluster(SERVER);
    assert_eq!(probe.attempts(), 0, "no host was chosen");
    let reply = probe.local_reply().expect("an answer");
    assert_eq!((reply.status, reply.grpc_status), (200, Some(0)));
    assert_eq!(reply.headers.get("x-leastload-self"), Some("10.0.0.5:50051"));
    assert_eq!(reply.headers.get(TEXT), Some("TEXT named_metrics.rif=0"));
    assert!(probe.is_over());
    assert_eq!(work_at(&proxy, TWIN, 0), 0);
    assert_idle(&proxy);
}

#[test]
fn the_stamp_is_where_the_response_ends() {
    let proxy = beside(any());
    let call = asking(&proxy, "stamp").to_cluster(SERVER);
    call.respond(Response::ok());
    assert!(call.response().trailers.unwrap().contains(TEXT));
    assert!(!call.response().headers.unwrap().contains(TEXT));
    let call = asking(&proxy, "stamp").to_cluster(SERVER);
    call.respond(Response::trailers_only(9));
    assert!(call.response().headers.unwrap().contains(TEXT));
    // Headers alone in meaning, but an empty piece of body ends them.
    let call = asking(&proxy, "stamp").to_cluster(SERVER);
    let headers = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "9")];
    call.response_headers(headers, false);
    call.response_body("", true);
    assert!(call.response().headers.unwrap().contains(TEXT));
    assert_idle(&proxy);
}

#[test]
fn other_traffic_is_counted_and_stamped_where_that_is_configured() {
    let config = json!({"probe": {"allow": "any"}, "traffic": "all"});
    let proxy = beside(config);
    let get = || proxy.worker(0).http("GET", "/").header(ASK, "stamp").to_cluster(SERVER);
    let (call, other) = (get(), get());
    assert_eq!(work_at(&proxy, TWIN, 0), 2_000);
    call.respond(Response::http(200).body("hello"));
    assert_eq!(stamp(&call, TEXT).as_deref(), Some("TEXT named_metrics.rif=1"));
    other.respond(Response::http(503));
    let grpc = asking(&proxy, "stamp").to_cluster(SERVER);
    grpc.respond(Response::ok());
    assert!(grpc.response().trailers.unwrap().contains(TEXT), "gRPC is told by the response");
    assert_idle(&proxy);

    let proxy = beside(any());
    let call = proxy.worker(0).http("GET", "/").header(ASK, "load").to_cluster(SERVER);
    assert!(!call.headers().contains(ASK));
    assert_eq!(work_at(&proxy, TWIN, 0), 0, "only gRPC is");
    call.respond(Response::http(200));
    assert_idle(&proxy);
}

#[test]
fn an_applications_report_is_merged() {
    let proxy = beside(any());
    let theirs = "TEXT cpu_utilization=0.5,named_metrics.queue=3";
    let call = asking(&proxy, "stamp").to_cluster(SERVER);
    call.respond(Response::ok().trailer(TEXT, theirs));
    let merged = "TEXT cpu_utilization=0.5,named_metrics.queue=3,named_metrics.rif=0";
    assert_eq!(stamp(&call, TEXT).as_deref(), Some(merged));
    for unreadable in ["nonsense", &format!("TEXT {}", "x".repeat(5_000))] {
        let call = asking(&proxy, "stamp").to_cluster(SERVER);
        call.respond(Response::ok().trailer(TEXT, unreadable));
        assert_eq!(stamp(&call, TEXT).as_deref(), Some(unreadable), "it is theirs");
    }
    // Beside one of another form, ours stands alone.
    let proxy = beside(json!({"probe": {"allow": "any"}, "report": {"format": "bin"}}));
    let call = asking(&proxy, "stamp").to_cluster(SERVER);
    call.respond(Response::ok().trailer(TEXT, theirs));
    assert_eq!(stamp(&call, TEXT).as_deref(), Some(theirs));
    assert!(stamp(&call, BIN).is_some_and(|ours| ours.len() < 40));
}

#[test]
fn however_a_request_ends_it_is_counted_no_longer() {
    let proxy = beside(any());
    let ends: [fn(&Call); 8] = [
        |call| call.respond(Response::ok()),
        |call| call.respond(Response::status(14)),
        |call| call.respond(Response::trailers_only(2)),
        |call| call.fail(Failure::Connect),
        |call| call.fail(Failure::Reset),
        |call| call.fail(Failure::Timeout),
        Call::reset,
        Call::disconnect,
    ];
    for (index, end) in ends.into_iter().enumerate() {
        let call = asking(&proxy, "stamp").to_cluster(SERVER);
        assert_eq!(work_at(&proxy, TWIN, 0), 1_000, "{index}");
        end(&call);
        assert_eq!(work_at(&proxy, TWIN, 0), 0, "{index}");
        assert_idle(&proxy);
    }
    drop(asking(&proxy, "stamp").to_cluster(SERVER));
    assert_idle(&proxy);
}

#[test]
fn it_learns_how_long_the_server_takes() {
    let proxy = beside(any());
    let mut last = String::new();
    for _ in 0..400 {
        let call = asking(&proxy, "stamp").to_cluster(SERVER);
        proxy.advance(core::time::Duration::from_millis(20));
        call.respond(Response::ok());
        last = stamp(&call, TEXT).unwrap();
    }
    ticks(&proxy, 1);
    let service = last.split("named_metrics.svc=").nth(1).expect("a time of service");
    let service: f64 = service.split(',').next().unwrap().parse().unwrap();
    assert!((15.0..25.0).contains(&service), "{last}");
}

#[test]
fn a_server_that_its_proxy_finds_unhealthy_drains_on_every_worker() {
    let admin = Cluster::new(ADMIN).hosts(["127.0.0.1:15000"]);
    let proxy = builder(any()).workers(3).cluster(admin).admin(ADMIN, AdminMode::Filtering).start();
    let drains = |worker: usize| {
        let probe = proxy.worker(worker).grpc(METHOD).header(ASK, "load").to_cluster(SERVER);
        let reply = probe.local_reply().expect("an answer");
        reply.headers.get(TEXT).unwrap().ends_with(",named_metrics.drain=1")
    };
    assert!(!drains(1));
    for (health, expected) in [
        (Health::HEALTHY, false),
        (Health::FAILED_CHECK, true),
        (Health::HEALTHY, false),
        (Health::UNHEALTHY, true),
    ] {
        proxy.edit_cluster(SERVER, |cluster| cluster.set_health("127.0.0.1:50051", health));
        ticks(&proxy, 8);
        for worker in 0..3 {
            assert_eq!(drains(worker), expected, "worker {worker}, {health:?}");
        }
    }
    // It says so in stamps too, and serves what comes in spite of it.
    let call = asking(&proxy, "stamp").to_cluster(SERVER);
    call.respond(Response::ok());
    assert!(stamp(&call, TEXT).is_some_and(|stamp| stamp.ends_with(",named_metrics.drain=1")));
    assert_eq!(call.grpc_status(), Some(0));
    // Nobody says it again: maybe it holds no longer.
    proxy.admin(AdminMode::Refused);
    ticks(&proxy, 110);
    assert!(drains(2));
    ticks(&proxy, 20);
    assert!(!drains(2));
    assert_idle(&proxy);
}

#[test]
fn an_unknown_question_is_the_applications_but_for_its_header() {
    let proxy = beside(any());
    for ask in ["", "Load", "load ", "\u{ff}"] {
        let call = asking(&proxy, ask).to_cluster(SERVER);
        assert!(call.local_reply().is_none(), "{ask:?}");
        assert!(!call.headers().contains(ASK));
        call.respond(Response::ok());
    }
    assert_idle(&proxy);
}

#[test]
fn waypoints_and_gateways_have_no_server_beside_them() {
    let proxy = bare(any()).property(&["xds", "listener_direction"], 1_i64);
    let proxy = proxy.cluster(Cluster::new("encap").hosts(["10.0.0.1:80"])).start();
    let call = asking(&proxy, "stamp").to_cluster("encap");
    assert!(!call.headers().contains(ASK));
    call.respond(Response::ok());
    assert_eq!(stamp(&call, TEXT), None);
    assert_idle(&proxy);
}
