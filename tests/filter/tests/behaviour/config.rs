//! Configurations: faulty, empty, huge, changed.

use leastload_filter_tests::lab::{
    CLUSTER, HEADER, answer, answered, assert_idle, bare, call, lines, sidecar, ticks, warm,
};
use leastload_filter_tests::stats::{config_faults, picks};
use leastload_testhost::{FailurePolicy, LogLevel, Proxy, Response, Thread};
use serde_json::{Value, json};

/// Errors that each thread logged: what the canary said is not among them.
fn errors(proxy: &Proxy, thread: Thread) -> Vec<String> {
    let logs = proxy.logs().into_iter();
    let errors = logs.filter(|line| line.level == LogLevel::Error && line.thread == thread);
    errors.map(|line| line.text).collect()
}

fn steers(proxy: &Proxy) -> bool {
    answered(proxy, 0).headers().contains(HEADER)
}

#[test]
fn one_line_names_every_fault_by_path() {
    let faulty = json!({
        "role": "sideways",
        "discovery": {"interval": "0s"},
        "clusters": {"a*": {"enabled": 3}},
        "overide": {},
    });
    let proxy = warm(sidecar(faulty));
    for thread in [Thread::Main, Thread::Worker(0)] {
        let errors = errors(&proxy, thread);
        assert_eq!(errors.len(), 1, "{errors:?}");
        for part in [
            "leastload: faulty configuration; Envoy balances on its own: ",
            "role: expected one of",
            r#"discovery.interval: expected a duration between 100ms and 1h, got "0s""#,
            r#"clusters["a*"].enabled: expected a boolean, got 3"#,
            "overide",
        ] {
            assert!(errors[0].contains(part), "{part} in {}", errors[0]);
        }
    }
    assert_eq!(config_faults(&proxy, "leastload"), 4);
}

#[test]
fn a_fault_is_never_refused_and_envoy_balances() {
    for faulty in ["{", "[]", "null", "3", "\"x\"", "{\"x\":1}", "\u{0}", "{\"role\":\"auto\"}}"] {
        let proxy = sidecar(json!({})).config(faulty).start();
        let call = answered(&proxy, 0);
        assert_eq!(call.grpc_status(), Some(0), "{faulty}");
        assert!(!call.headers().contains(HEADER));
        assert!(config_faults(&proxy, "leastload") >= 1, "{faulty}");
        assert_idle(&proxy);
    }
}

#[test]
fn nothing_means_the_defaults() {
    for nothing in ["", " \n\t ", "{}"] {
        let proxy = warm(sidecar(json!({})).config(nothing));
        assert!(steers(&proxy), "{nothing:?}");
        assert_eq!(config_faults(&proxy, "leastload"), 0);
        assert_eq!(lines(&proxy, LogLevel::Error), [""; 0]);
    }
}

#[test]
fn the_last_good_configuration_stays() {
    let proxy = warm(sidecar(json!({"methods": {"/a.B/C": {"cost": 0}}})).workers(2));
    assert!(proxy.configure(r#"{"methods": 3, "enabled": false}"#), "never refused");
    assert_eq!(config_faults(&proxy, "leastload"), 1);
    assert!(steers(&proxy), "enabled as before");
    let excluded = proxy.worker(1).grpc("/a.B/C").to_cluster(CLUSTER);
    assert!(!excluded.headers().contains(HEADER), "its methods too");
    let said = errors(&proxy, Thread::Worker(0));
    assert!(said[0].contains("the last good configuration stays in force: methods"), "{said:?}");
    assert!(proxy.configure("{}"));
    assert_eq!(config_faults(&proxy, "leastload"), 0);
    excluded.respond(Response::ok());
    let now = proxy.worker(1).grpc("/a.B/C").to_cluster(CLUSTER);
    assert!(now.headers().contains(HEADER), "repaired");
    now.respond(Response::ok());
    assert_idle(&proxy);
}

#[test]
fn a_vm_that_starts_anew_has_the_last_good_configuration_too() {
    let config = json!({"override": {"header": "x-mine"}});
    let proxy = warm(bare(config).cluster(backend()).stateful_session("x-mine").workers(2));
    proxy.configure("{");
    proxy.worker(1).restart();
    let call = answered(&proxy, 1);
    assert!(!call.headers().contains(HEADER));
    let spoofed = proxy.worker(1).grpc("/a/b").header("x-mine", "spoof").to_cluster(CLUSTER);
    assert_ne!(spoofed.headers().get("x-mine"), Some("spoof"), "it knows the header");
    spoofed.respond(Response::ok());
    assert_idle(&proxy);
}

fn backend() -> leastload_testhost::Cluster {
    leastload_testhost::Cluster::new(CLUSTER).hosts(leastload_filter_tests::lab::HOSTS)
}

#[test]
fn a_vm_that_reloads_after_a_crash_has_it_as_well() {
    let builder = sidecar(json!({})).failure_policy(FailurePolicy::FailReload);
    let proxy = warm(builder);
    proxy.configure("[");
    proxy.worker(0).crash();
    ticks(&proxy, 8);
    assert!(steers(&proxy));
    assert_eq!(config_faults(&proxy, "leastload"), 1);
}

#[test]
fn a_change_holds_for_new_requests_and_old_ones_end_as_they_began() {
    let proxy = warm(sidecar(json!({})).workers(2));
    let old: Vec<_> = (0..4).map(|n| call(&proxy, n % 2)).collect();
    proxy.configure(r#"{"rollout": {"mode": "shadow"}}"#);
    let new = call(&proxy, 0);
    assert!(!new.headers().contains(HEADER));
    answer(old.iter().chain([&new]));
    assert_idle(&proxy);
    assert_eq!(proxy.worker(0).roots(), 1, "the old root ended with its last request");
    assert_eq!(picks(&proxy, CLUSTER, "shadow"), 1);
}

#[test]
fn a_configuration_that_drains_goes_on_for_its_requests() {
    let proxy = warm(sidecar(json!({})).workers(2));
    let old = call(&proxy, 0);
    proxy.configure_draining(r#"{"enabled": false}"#);
    ticks(&proxy, 20);
    assert!(!steers(&proxy));
    old.respond(Response::ok());
    proxy.end_drain();
    assert_idle(&proxy);
    proxy.configure("{}");
    ticks(&proxy, 8);
    assert!(steers(&proxy), "the VM lives on");
}

#[test]
fn a_hundred_changes_leave_one_root() {
    let proxy = warm(sidecar(json!({})).workers(2));
    for n in 0..100 {
        let open = call(&proxy, n % 2);
        let config =
            if n % 3 == 0 { "{".to_owned() } else { json!({"panic_threshold": n}).to_string() };
        assert!(proxy.configure(config));
        ticks(&proxy, 1);
        open.respond(Response::ok());
    }
    assert_eq!([proxy.worker(0).roots(), proxy.worker(1).roots()], [1, 1]);
    assert_idle(&proxy);
}

/// A valid configuration of almost a MiB.
fn huge() -> Value {
    let method = |n: u32| (format!("/shop.Catalog{n:05}/{}", "M".repeat(60)), json!({"cost": 2}));
    let methods: serde_json::Map<_, _> = (0..9_500).map(method).collect();
    json!({"methods": methods})
}

#[test]
fn a_configuration_of_a_mebibyte_works_and_a_larger_one_is_a_fault() {
    let config = huge();
    let length = config.to_string().len();
    assert!((850_000..1 << 20).contains(&length), "{length}");
    let proxy = warm(sidecar(config));
    assert!(steers(&proxy));
    assert_eq!(config_faults(&proxy, "leastload"), 0);
    proxy.configure(format!("{{}}{}", " ".repeat(1 << 20)));
    assert_eq!(config_faults(&proxy, "leastload"), 1);
    assert!(steers(&proxy));
    assert_idle(&proxy);
}

#[test]
fn a_configuration_full_of_faults_is_cut_short_in_the_log() {
    let faults: serde_json::Map<_, _> =
        (0..5_000).map(|n| (format!("{n}{}", "x".repeat(100)), json!("\n\u{7}"))).collect();
    let proxy = warm(sidecar(json!(faults)));
    let errors = errors(&proxy, Thread::Main);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].len() < 20_000, "{}", errors[0].len());
    assert!(!errors[0].contains(['\n', '\u{7}']));
    assert_eq!(config_faults(&proxy, "leastload"), 5_000);
}
