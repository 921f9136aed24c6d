//! Requests that wait until servers have told their load.

use core::time::Duration;

use leastload_filter_tests::lab::{
    CLUSTER, HEADER, HOSTS, assert_alive, assert_idle, call, plain, sidecar, warm,
    with_override_host,
};
use leastload_filter_tests::stats::{picks, probes, waits};
use leastload_testhost::{
    Call, Callback, Cluster, Failure, Fault, HostCall, HttpCall, Proxy, Response, Status,
};
use serde_json::{Value, json};

const ASK: &str = "x-leastload-ask";
const REPORT: &str = "endpoint-load-metrics";
const MS: Duration = Duration::from_millis(1);

/// A report of so many requests in flight.
fn in_flight(count: u32) -> String {
    format!("TEXT named_metrics.rif={count}")
}

fn always() -> Value {
    json!({"probe": {"mode": "always", "budget": 100_000, "fanout": 3}})
}

/// Every server has told that it serves others, and some time went by: what they have now is asked.
fn doubtful(proxy: &Proxy) {
    for _ in 0..40 {
        let call = call(proxy, 0);
        for question in questions(proxy) {
            tell(&question, 4);
        }
        call.respond(Response::ok().trailer(REPORT, &in_flight(4)));
    }
    proxy.advance(Duration::from_secs(1));
    assert_idle(proxy);
}

/// Probes that no answer came to yet.
fn questions(proxy: &Proxy) -> Vec<HttpCall> {
    proxy.http_calls().into_iter().filter(|call| call.headers.contains(ASK)).collect()
}

/// A server's answer.
fn tell(question: &HttpCall, count: u32) {
    question.respond_with([(":status", "200"), (REPORT, &*in_flight(count))], "", ());
}

/// They all answer the same.
fn tell_all(questions: &[HttpCall], count: u32) {
    for question in questions {
        tell(question, count);
    }
}

/// Whom a probe asks.
fn target(question: &HttpCall) -> String {
    question.headers.get(HEADER).unwrap_or_default().to_owned()
}

fn asking() -> Proxy {
    let proxy = warm(with_override_host(always()));
    doubtful(&proxy);
    proxy
}

/// A call that waits, with its three questions.
fn waiting(proxy: &Proxy) -> (Call, Vec<HttpCall>) {
    let waiting = call(proxy, 0);
    assert!(waiting.is_paused());
    let questions = questions(proxy);
    assert_eq!(questions.len(), 3);
    (waiting, questions)
}

#[test]
fn it_goes_where_the_answers_say() {
    for idle in HOSTS {
        let proxy = asking();
        let (call, questions) = waiting(&proxy);
        for question in &questions {
            assert!(call.is_paused());
            assert_eq!(question.cluster, CLUSTER);
            assert_eq!(question.headers.get(ASK), Some("load"));
            assert_eq!(question.headers.get(":authority"), Some("test"), "as the request's own");
            tell(question, if target(question) == idle { 0 } else { 9 });
        }
        assert!(!call.is_paused());
        assert_eq!(call.asked().as_deref(), Some(idle));
        assert_eq!(call.headers().get(ASK), Some("stamp"));
        call.respond(Response::ok());
        assert!(probes(&proxy, CLUSTER, "override_host", "answered") >= 3);
        assert_idle(&proxy);
    }
}

#[test]
fn an_answer_counts_for_whoever_gave_it() {
    let proxy = asking();
    let (call, questions) = waiting(&proxy);
    // Envoy sent each of them to the next host.
    for question in &questions {
        let at = HOSTS.iter().position(|host| *host == target(question)).unwrap();
        let actual = HOSTS[(at + 1) % 3];
        let report = in_flight(if actual == HOSTS[2] { 0 } else { 9 });
        let headers = [(":status", "200"), (REPORT, &*report), ("x-leastload-self", actual)];
        question.respond_with(headers, "", ());
    }
    assert_eq!(call.asked().as_deref(), Some(HOSTS[2]));
    call.respond(Response::ok());
    assert_idle(&proxy);
}

#[test]
fn it_waits_no_longer_than_its_deadline() {
    let proxy = asking();
    let (call, questions) = waiting(&proxy);
    tell(&questions[0], 0);
    proxy.advance(MS * 9);
    assert!(call.is_paused());
    proxy.advance(MS * 2);
    assert!(!call.is_paused());
    assert_eq!(call.asked(), Some(target(&questions[0])), "the only one known to be idle");
    assert_eq!(waits(&proxy, CLUSTER, "deadline"), 1);
    // What comes later is known to later requests.
    tell(&questions[1], 0);
    questions[2].time_out();
    assert_eq!(probes(&proxy, CLUSTER, "override_host", "late"), 1);
    assert_eq!(probes(&proxy, CLUSTER, "override_host", "silent"), 1);
    call.respond(Response::ok());
    assert_idle(&proxy);
}

#[test]
fn the_timer_is_as_it_was_when_nobody_waits() {
    let proxy = asking();
    proxy.take_trace();
    let (call, _) = waiting(&proxy);
    proxy.advance(Duration::from_secs(5));
    let trace = proxy.take_trace().on_worker(0);
    let mine = trace.count_callbacks(Callback::OnTick);
    assert!((19..=23).contains(&mine), "{mine} ticks in five seconds");
    let periods = trace.calls().filter(|call| call.call == HostCall::SetTickPeriod);
    let periods: Vec<String> = periods.map(|call| call.arguments.clone()).collect();
    assert_eq!(periods.first().map(String::as_str), Some("10"), "{periods:?}");
    assert_eq!(periods.last().map(String::as_str), Some("250"), "{periods:?}");
    assert!(periods.len() <= 4, "{periods:?}");
    call.respond(Response::ok());
    assert_idle(&proxy);
}

#[test]
fn where_nobody_can_answer_it_does_not_wait() {
    for end in [HttpCall::refuse, HttpCall::fail, HttpCall::reset, HttpCall::time_out] {
        let proxy = asking();
        let (call, questions) = waiting(&proxy);
        questions.iter().for_each(end);
        assert!(!call.is_paused());
        assert!(call.asked().is_some());
        call.respond(Response::ok());
        assert_eq!(probes(&proxy, CLUSTER, "override_host", "silent"), 3);
        assert_idle(&proxy);
    }
}

#[test]
fn where_no_probe_can_be_sent_it_does_not_wait() {
    let proxy = asking();
    let unsent = probes(&proxy, CLUSTER, "override_host", "unsent");
    proxy.fault(Fault::at(HostCall::HttpCall).always().returns(Status::BadArgument));
    let call = call(&proxy, 0);
    assert!(!call.is_paused());
    assert!(call.asked().is_some());
    call.respond(Response::ok());
    assert!(probes(&proxy, CLUSTER, "override_host", "unsent") > unsent);
    assert_eq!(questions(&proxy).len(), 0);
    assert_idle(&proxy);
}

#[test]
fn its_client_may_leave_meanwhile() {
    for leave in [Call::reset, Call::disconnect, |call: &Call| call.fail(Failure::IdleTimeout)] {
        let proxy = asking();
        let (call, questions) = waiting(&proxy);
        leave(&call);
        assert!(call.is_over());
        assert_eq!(waits(&proxy, CLUSTER, "ended"), 1);
        assert_idle(&proxy);
        tell_all(&questions, 0);
        proxy.advance(MS * 12);
        assert_eq!(waits(&proxy, CLUSTER, "deadline"), 0);
        assert_idle(&proxy);
    }
}

#[test]
fn many_wait_and_each_goes_once() {
    let proxy = asking();
    let mut waiting: Vec<Call> = Vec::new();
    for step in 0..50 {
        waiting.push(call(&proxy, 0));
        proxy.advance(MS / 100 * (step % 7));
    }
    assert!(waiting.iter().all(Call::is_paused));
    let left = waiting.split_off(45);
    drop(left);
    // Some are answered, some in part, some never.
    for (at, question) in questions(&proxy).iter().enumerate() {
        match at % 5 {
            0 => tell(question, 3),
            1 => question.refuse(),
            2 => question.respond(404, "nobody"),
            _ => {}
        }
    }
    proxy.advance(MS * 12);
    assert!(!waiting.iter().any(Call::is_paused));
    for call in &waiting {
        assert!(call.asked().is_some());
        call.respond(Response::ok());
    }
    assert_idle(&proxy);
}

#[test]
fn a_new_configuration_does_not_strand_it() {
    for drains in [false, true] {
        let proxy = asking();
        let (call, _) = waiting(&proxy);
        if drains {
            assert!(proxy.configure_draining(json!({"probe": {"mode": "off"}})));
        } else {
            assert!(proxy.configure(json!({"probe": {"mode": "off"}})));
        }
        proxy.advance(MS * 11);
        assert!(!call.is_paused());
        call.respond(Response::ok());
        assert_idle(&proxy);
    }
}

#[test]
fn in_shadow_mode_it_goes_without_an_override() {
    let mut config = always();
    config["rollout"] = json!({"mode": "shadow"});
    let proxy = warm(with_override_host(config));
    doubtful(&proxy);
    let call = proxy.worker(0).grpc("/shop.Cart/Get").header(HEADER, "10.0.0.3:80");
    let call = call.to_cluster(CLUSTER);
    for question in questions(&proxy) {
        tell(&question, 1);
    }
    assert!(!call.is_paused());
    assert_eq!(call.headers().get(HEADER), None, "nor with the client's");
    call.respond(Response::ok());
    assert!(picks(&proxy, CLUSTER, "shadow") > 0);
    assert_idle(&proxy);
}

#[test]
fn with_stateful_session_an_original_dst_cluster_reaches_them() {
    let mut config = always();
    config["probe"]["cluster"] = json!("by_address");
    let proxy = warm(sidecar(config).cluster(Cluster::new("by_address").hosts(["10.9.9.9:1"])));
    doubtful(&proxy);
    let (call, questions) = waiting(&proxy);
    let mut asked: Vec<_> = questions
        .iter()
        .map(|question| {
            assert_eq!(question.cluster, "by_address");
            question.headers.get("x-envoy-original-dst-host").unwrap().to_owned()
        })
        .collect();
    asked.sort();
    assert_eq!(asked, HOSTS);
    tell_all(&questions, 4);
    call.respond(Response::ok());
    proxy.remove_cluster("by_address");
    // Then they are asked through the cluster itself, where Envoy chooses.
    proxy.advance(MS * 100);
    let (call, questions) = waiting(&proxy);
    for (question, host) in questions.iter().zip(HOSTS) {
        assert_eq!(question.cluster, CLUSTER);
        let report = in_flight(if host == HOSTS[1] { 0 } else { 9 });
        let headers = [(":status", "200"), (REPORT, &*report), ("x-leastload-self", host)];
        question.respond_with(headers, "", ());
    }
    assert_eq!(call.asked().as_deref(), Some(HOSTS[1]));
    assert_eq!(probes(&proxy, CLUSTER, "original_dst", "unsent"), 3);
    assert!(probes(&proxy, CLUSTER, "untargeted", "answered") >= 3);
    call.respond(Response::ok());
    assert_idle(&proxy);
}

#[test]
fn a_cluster_may_have_its_own_original_dst_cluster_or_none() {
    for (own, asked) in [(None, "by_address"), (Some("own"), "own"), (Some(""), CLUSTER)] {
        let mut config = always();
        config["probe"]["cluster"] = json!("by_address");
        if let Some(own) = own {
            config["clusters"][CLUSTER]["probe"]["cluster"] = json!(own);
        }
        let by = |name: &str| Cluster::new(name).hosts(["10.9.9.9:1"]);
        let proxy = warm(sidecar(config).cluster(by("by_address")).cluster(by("own")));
        doubtful(&proxy);
        let (call, questions) = waiting(&proxy);
        for question in &questions {
            assert_eq!(question.cluster, asked);
            let target = question.headers.get("x-envoy-original-dst-host");
            assert_eq!(target.is_some(), asked != CLUSTER);
        }
        tell_all(&questions, 4);
        proxy.advance(MS * 12);
        call.respond(Response::ok());
        assert_idle(&proxy);
    }
}

#[test]
fn an_answer_that_does_not_say_who_gave_it_teaches_nothing() {
    let proxy = warm(sidecar(always()));
    doubtful(&proxy);
    let (call, questions) = waiting(&proxy);
    for (question, name) in questions.iter().zip(["", "10.0.0.77:80", "\u{ff}"]) {
        let headers = [(":status", "200"), (REPORT, &*in_flight(0)), ("x-leastload-self", name)];
        question.respond_with(headers, "", ());
    }
    assert!(!call.is_paused());
    call.respond(Response::ok());
    assert_idle(&proxy);
}

#[test]
fn a_crash_while_it_waits_leaves_the_other_workers_alone() {
    let proxy = warm(with_override_host(always()).workers(2));
    doubtful(&proxy);
    let (paused, questions) = waiting(&proxy);
    proxy.worker(0).crash();
    tell_all(&questions, 0);
    let other = call(&proxy, 1);
    proxy.advance(MS * 10);
    assert!(!other.is_paused());
    other.respond(Response::ok());
    drop(paused);
}

#[test]
fn garbage_does_no_harm() {
    let proxy = asking();
    for value in [
        "",
        " ",
        "TEXT",
        "TEXT named_metrics.rif=",
        "TEXT named_metrics.rif=nan",
        "TEXT named_metrics.rif=-1",
        "TEXT named_metrics.rif=1e300",
        "JSON {",
        "BIN %%%",
        "BIN AAAA",
        "\u{0}\u{ff}",
        &"x".repeat(5_000),
    ] {
        proxy.advance(MS * 100);
        let call = call(&proxy, 0);
        for question in questions(&proxy) {
            let more = [("endpoint-load-metrics-bin", value), ("grpc-status", value)];
            let headers = [(":status", value), (REPORT, value)].into_iter().chain(more);
            question.respond_with(headers.collect::<Vec<_>>(), value, [(REPORT, value)]);
        }
        proxy.advance(MS * 10);
        call.respond(Response::ok().trailer(REPORT, value).header(REPORT, value));
        assert_alive(&proxy);
        assert!(call.is_over());
    }
    assert_idle(&proxy);
}

#[test]
fn without_reports_nobody_is_asked() {
    let mut config = always();
    config["estimate"] = json!({"reports": false});
    let proxy = warm(plain(config));
    let call = proxy.worker(0).grpc("/shop.Cart/Get").header(ASK, "load").to_cluster(CLUSTER);
    assert!(!call.headers().contains(ASK), "nor does a client's own question pass");
    let report = in_flight(7);
    call.respond(Response::ok().trailer(REPORT, &report));
    assert_eq!(call.response().trailers.unwrap().get(REPORT), Some(&*report), "not asked for");
    assert_eq!(questions(&proxy).len(), 0);
    assert_idle(&proxy);
}
