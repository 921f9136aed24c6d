//! What the configuration says, how it changes, and what a faulty one does: never an outage.

use leastload_fleet::{
    config::{Cluster, Wasm},
    envoy::Change,
    load::{self, Bound, LoadSpec},
};
use serde_json::{Value, json};

use crate::lab::{
    Lab, call_all, eventually, filter, main_listener, nothing_is_outstanding, proxy, start_servers,
};

/// Four faults of different kinds, and a part that is good but must not take effect.
fn faulty() -> Value {
    json!({
        "rollout": {"percent": 101},
        "discovery": {"interval": "0s", "static": {"greeter": ["not an endpoint"]}},
        "overide": {"mechanism": "override_host"},
        "enabled": false,
    })
}

const FAULTY_PATHS: [&str; 4] =
    ["rollout.percent", "discovery.interval", "discovery.static", "overide"];

/// The error lines of the filter in Envoy's log.
fn errors(lab: &Lab) -> Vec<String> {
    let log = lab.envoy.log();
    let ours = |line: &&str| line.contains("[error]") && line.contains("leastload: ");
    log.lines().filter(ours).map(str::to_owned).collect()
}

/// Waits until `leastload_config_faults` of the plugin says so.
async fn wait_faults(lab: &Lab, wanted: i64) {
    eventually(&format!("{wanted} faults"), async || {
        let is = lab.counts().await.sum("config_faults", &[("plugin", "leastload")]);
        if is == wanted { Ok(()) } else { Err(format!("{is}")) }
    })
    .await;
}

/// Every call is served, and Envoy's round robin decides.
async fn envoy_balances(lab: &Lab) {
    let shares = lab.in_order(&call_all(&lab.clients, 12).await);
    assert_eq!(shares, [4, 4, 4]);
    assert_eq!(lab.counts().await.sum("picks", &[]), 0);
}

#[tokio::test]
async fn a_proxy_that_starts_with_a_faulty_configuration_serves_and_says_all_faults_at_once() {
    for faulty in [faulty(), json!("{ broken"), json!("[1]")] {
        let fleet = start_servers(3).await;
        let cluster = Cluster::new("greeter", fleet.addresses());
        // Not through the lab's filter, which would mend the interval.
        let mut listener = main_listener(Value::Null);
        listener = listener.with_http(|http| {
            http.wasm = Some(Wasm::new(leastload_modules::release()).configuration(faulty.clone()));
        });
        let lab = Lab::with_one_worker(fleet, proxy([listener], [cluster])).await;
        envoy_balances(&lab).await;
        let count = if faulty.is_object() { 4 } else { 1 };
        wait_faults(&lab, count).await;
        let errors = errors(&lab);
        // A worker, the main thread, and Envoy's trial VM: each is configured once.
        assert_eq!(errors.len(), 3, "one line each: {errors:#?}");
        for line in &errors {
            assert!(line.contains("Envoy balances on its own"), "{line}");
            if faulty.is_object() {
                assert!(FAULTY_PATHS.iter().all(|path| line.contains(path)), "{line}");
            }
        }
    }
}

#[tokio::test]
async fn an_empty_configuration_works() {
    for empty in [Value::Null, json!(""), json!("{}"), json!(" \n")] {
        let fleet = start_servers(3).await;
        let cluster = Cluster::new("greeter", fleet.addresses());
        let lab = Lab::with(fleet, proxy([main_listener(empty.clone())], [cluster])).await;
        lab.settle().await;
        assert_eq!(lab.spread(6).await, [2, 2, 2], "{empty:?}");
        wait_faults(&lab, 0).await;
    }
}

/// Only the first two servers are listed: a way to see which configuration is in force.
fn first_two(lab: &Lab) -> Value {
    listing(lab, &[0, 1])
}

fn listing(lab: &Lab, servers: &[usize]) -> Value {
    let servers: Vec<_> = servers.iter().map(|index| lab.fleet.address(*index)).collect();
    json!({"discovery": {"admin_cluster": "", "static": {"greeter": servers}}})
}

/// By ECDS, as Istio's `WasmPlugin` comes.
async fn lab_with_filter_from_file() -> Lab {
    let fleet = start_servers(3).await;
    let cluster = Cluster::new("greeter", fleet.addresses());
    let servers = [fleet.address(0), fleet.address(1)];
    let good = json!({"discovery": {"admin_cluster": "", "static": {"greeter": servers}}});
    let wasm = filter(good).from_file();
    let listener = main_listener(Value::Null).with_http(|http| http.wasm = Some(wasm));
    Lab::with(fleet, proxy([listener], [cluster])).await
}

async fn by_ecds(lab: &mut Lab, configuration: Value) {
    let wasm = Wasm::new(leastload_modules::release()).configuration(configuration).from_file();
    // Refusing it would be an outage for every proxy that starts later.
    assert_eq!(lab.envoy.set_wasm(&wasm).await.unwrap(), Change::Accepted);
}

#[tokio::test]
async fn a_faulty_update_by_ecds_leaves_the_last_good_configuration_in_force() {
    let mut lab = lab_with_filter_from_file().await;
    assert_eq!(lab.spread(8).await, [4, 4, 0]);
    for broken in [faulty(), json!("{ broken")] {
        by_ecds(&mut lab, broken.clone()).await;
        wait_faults(&lab, if broken.is_object() { 4 } else { 1 }).await;
        assert_eq!(lab.spread(8).await, [4, 4, 0], "steered as before");
    }
    let line = errors(&lab).into_iter().next().unwrap();
    assert!(line.contains("the last good configuration stays in force"), "{line}");
    assert!(FAULTY_PATHS.iter().all(|path| line.contains(path)), "{line}");

    let repaired = listing(&lab, &[1, 2]);
    by_ecds(&mut lab, repaired).await;
    wait_faults(&lab, 0).await;
    lab.wait_served_only_by(&[1, 2]).await;
    assert_eq!(lab.spread(8).await, [0, 4, 4]);
}

#[tokio::test]
async fn a_faulty_update_of_the_listener_leaves_the_last_good_configuration_in_force() {
    let fleet = start_servers(3).await;
    let cluster = Cluster::new("greeter", fleet.addresses());
    let mut config = proxy([main_listener(Value::Null)], [cluster]);
    config.listeners_from_file = true;
    let mut lab = Lab::with(fleet, config).await;
    let set = async |lab: &mut Lab, configuration: Value| {
        let wasm = Wasm::new(leastload_modules::release()).configuration(configuration);
        let listener = main_listener(Value::Null).with_http(|http| http.wasm = Some(wasm));
        assert_eq!(lab.envoy.set_listeners(vec![listener]).await.unwrap(), Change::Accepted);
        lab.clients = crate::lab::connect(&lab.envoy, "main").await;
    };
    let good = first_two(&lab);
    set(&mut lab, good).await;
    lab.wait_served_only_by(&[0, 1]).await;
    set(&mut lab, faulty()).await;
    wait_faults(&lab, 4).await;
    assert_eq!(lab.spread(8).await, [4, 4, 0], "steered as before");
    let repaired = listing(&lab, &[2]);
    set(&mut lab, repaired).await;
    wait_faults(&lab, 0).await;
    lab.wait_served_only_by(&[2]).await;
}

#[tokio::test]
async fn a_changed_configuration_takes_effect_under_load_without_a_failed_call() {
    let mut lab = lab_with_filter_from_file().await;
    let load = tokio::spawn(load::run(LoadSpec {
        uris: vec![lab.envoy.uri("main").unwrap()],
        rate: 150.0,
        bound: Bound::Calls(900),
        work: Some("exp:5ms".parse().unwrap()),
        mix: vec![(load::Method::Unary, 3), (load::Method::Bidi, 1)],
        ..LoadSpec::default()
    }));
    for servers in [[0, 2], [1, 2], [0, 1], [1, 2]] {
        let changed = listing(&lab, &servers);
        by_ecds(&mut lab, changed).await;
        lab.wait_served_only_by(&servers).await;
    }
    let report = load.await.unwrap().unwrap();
    assert_eq!(report.failed(), 0, "{:?}", report.codes);
    assert_eq!(report.servers.len(), 3, "every server had its turn");
    nothing_is_outstanding(&lab.envoy).await;
}
