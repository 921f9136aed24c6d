//! What operators see: clean names and labels, a bounded number, and a stats matcher that drops
//! all of it.

use leastload_e2e::shipped::Shipped;
use leastload_fleet::{
    config::{Cluster, Listener, METRIC_LABELS},
    envoy::{Envoy, Options, Sample},
};
use serde_json::json;

use crate::lab::{
    Lab, connect, eventually, filter, hold, main_listener, nothing_is_outstanding, proxy, settle,
    start_servers,
};

/// All metrics of docs/metrics.md.
const METRICS: [&str; 14] = [
    "leastload_picks",
    "leastload_overrides_refused",
    "leastload_shadow_picks",
    "leastload_probes",
    "leastload_probe_waits",
    "leastload_probe_answers",
    "leastload_reports_dropped",
    "leastload_errors",
    "leastload_endpoints_known",
    "leastload_endpoints_eligible",
    "leastload_outstanding_milli",
    "leastload_membership_age_ms",
    "leastload_config_faults",
    "leastload_work_milli",
];
/// One more, which says nothing.
const GAUGE_CHECK: &str = "leastload_gauge_check";

async fn samples(envoy: &Envoy) -> Vec<Sample> {
    let samples = envoy.admin().prometheus("leastload_").await.unwrap();
    assert!(!samples.is_empty());
    for sample in &samples {
        let known = METRICS.contains(&&*sample.name) || sample.name == GAUGE_CHECK;
        assert!(known, "{sample:?}");
        for label in sample.labels.keys() {
            assert!(METRIC_LABELS.contains(&&**label), "{sample:?}");
        }
    }
    samples
}

fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let mut fit = samples.iter().filter(|sample| {
        let has = |(label, value): &(&str, &str)| {
            sample.labels.get(&format!("leastload_{label}")).is_some_and(|is| is == value)
        };
        sample.name == name && sample.labels.len() == labels.len() && labels.iter().all(has)
    });
    let value = fit.next().map(|sample| sample.value);
    assert!(fit.next().is_none(), "{name} {labels:?} is there twice");
    value
}

#[tokio::test]
async fn prometheus_shows_clean_names_and_labels_by_the_quickstart_configuration() {
    for file in ["quickstart.yaml", "quickstart-override-host.yaml"] {
        let fleet = start_servers(3).await;
        let shipped = Shipped::read(file).servers(&fleet.addresses());
        let envoy = shipped.start(&Options::default()).await;
        let clients = connect(&envoy, "grpc").await;
        settle(&envoy, &clients).await;
        let held = hold(&clients, 6).await;
        assert!(held.shares().values().all(|calls| *calls == 2), "{file}: {:?}", held.shares());
        let cluster = ("cluster", "greeter");
        eventually("the gauges are published", async || {
            let samples = samples(&envoy).await;
            let known = value(&samples, "leastload_endpoints_known", &[cluster]);
            if known == Some(3.0) { Ok(()) } else { Err(samples) }
        })
        .await;
        let samples = samples(&envoy).await;
        let picks = value(&samples, "leastload_picks", &[cluster, ("result", "override")]);
        assert!(picks >= Some(6.0), "{file}: {samples:#?}");
        assert_eq!(value(&samples, "leastload_endpoints_eligible", &[cluster]), Some(3.0));
        let plugin = ("plugin", "leastload");
        assert_eq!(value(&samples, "leastload_config_faults", &[plugin]), Some(0.0), "{file}");
        let slot = [cluster, ("slot", "0"), ("set", "0")];
        let other = [cluster, ("slot", "0"), ("set", "1")];
        let work = [slot, other].map(|labels| value(&samples, "leastload_work_milli", &labels));
        assert!(work.contains(&Some(2_000.0)), "{file}: {samples:#?}");
        drop(held);
        nothing_is_outstanding(&envoy).await;
    }
}

#[tokio::test]
async fn the_work_outstanding_in_a_cluster_is_published() {
    let lab = Lab::start(3, json!({})).await;
    lab.settle().await;
    let held = lab.hold(6).await;
    lab.wait_gauge("outstanding_milli", 6_000).await;
    drop(held);
    lab.wait_gauge("outstanding_milli", 0).await;
}

#[tokio::test]
async fn labels_hold_the_names_that_a_mesh_gives_its_clusters() {
    let name = "outbound|50051|v1|cart.shop.svc.cluster.local";
    let fleet = start_servers(1).await;
    let listener = Listener::http("main", name).wasm(filter(json!({})));
    let cluster = Cluster::new(name, fleet.addresses());
    let lab = Lab::with(fleet, proxy([listener], [cluster])).await;
    lab.settle().await;
    eventually("the gauges are published", async || {
        let samples = samples(&lab.envoy).await;
        let known = value(&samples, "leastload_endpoints_known", &[("cluster", name)]);
        if known == Some(1.0) { Ok(()) } else { Err(samples) }
    })
    .await;
}

#[tokio::test]
async fn their_number_is_bounded_by_the_number_of_endpoints() {
    const ENDPOINTS: usize = 12;
    let fleet = start_servers(ENDPOINTS).await;
    let cluster = Cluster::new("greeter", fleet.addresses()).from_file();
    let mut lab = Lab::with(fleet, proxy([main_listener(json!({}))], [cluster])).await;
    lab.settle().await;
    let all = lab.fleet.addresses();
    for present in [&all[..6], &all[3..], &all[..9], &all[..]] {
        lab.envoy.set_endpoints("greeter", present.to_vec()).await.unwrap();
        lab.wait_gauge("endpoints_known", i64::try_from(present.len()).unwrap()).await;
        lab.settle().await;
        lab.spread(24).await;
    }
    let stats = lab.envoy.admin().stats("leastload_").await.unwrap();
    let of = |metric: &str| stats.keys().filter(|name| name.ends_with(metric)).count();
    assert!(of("work_milli") <= 2 * ENDPOINTS, "{stats:#?}");
    // 4 gauges and 18 counters of the cluster; 3 errors, faults and the check of the whole.
    assert!(stats.len() <= 2 * ENDPOINTS + 22 + 5, "{stats:#?}");
}

#[tokio::test]
async fn a_stats_matcher_that_drops_them_costs_the_view_across_workers_and_nothing_else() {
    let fleet = start_servers(3).await;
    // Envoy's own round robin would use the third server, too.
    let listed = json!({"discovery": {
        "admin_cluster": "", "static": {"greeter": &fleet.addresses()[..2]},
    }});
    let cluster = Cluster::new("greeter", fleet.addresses());
    let mut config = proxy([main_listener(listed)], [cluster]);
    config.extra = json!({"stats_config": {"stats_matcher": {"exclusion_list": {"patterns": [
        {"contains": "leastload_"},
    ]}}}});
    let lab = Lab::with_one_worker(fleet, config).await;
    for _ in 0..2 {
        let held = lab.hold(8).await;
        assert_eq!(lab.in_order(&held.shares()), [4, 4, 0]);
    }
    assert_eq!(lab.envoy.admin().stats("leastload_").await.unwrap().len(), 0);
    let warnings = lab.envoy.log().matches("the proxy drops gauges").count();
    assert_eq!(warnings, 1, "{}", lab.envoy.log());
}
