//! What a user scrapes from a sidecar.

use leastload_e2e::wait::eventually;
use leastload_mesh::{install::Install, lab::Lab};

use crate::stage::Stage;

tests! {
    labels_are_labels_where_prometheus_scrapes,
}

async fn labels_are_labels_where_prometheus_scrapes(lab: &Lab) {
    let stage = Stage::new(lab, "metrics", 2).await;
    Install::of(lab, "base").apply(lab, stage.namespace);
    let traffic = stage.traffic(1);
    stage.steered().await;
    let cluster = format!("leastload_cluster=\"{}\"", stage.cluster());
    // Envoy's own page, and the agent's, which Istio's annotations name.
    for port in [15090, 15020] {
        eventually(&format!("port {port} shows picks and endpoints"), async || {
            let page = stage.client.scrape(port).await;
            let line = |start: &str, labels: &[&str]| {
                let has = |line: &&str| {
                    line.starts_with(start) && labels.iter().all(|l| line.contains(l))
                };
                page.lines().find(has).and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            };
            let picks = line("leastload_picks{", &[&cluster, "leastload_result=\"override\""]);
            let known = line("leastload_endpoints_known{", &[&cluster]);
            if picks > Some(0.0) && known == Some(2.0) { Ok(()) } else { Err((picks, known)) }
        })
        .await;
    }
    traffic.stop_without_failure().await;
}
