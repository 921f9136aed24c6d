//! The whole model around a real filter: the release module.

use std::time::Duration;

use leastload_testhost::{AdminMode, Cluster, Health, Proxy, Response};
use serde_json::json;

const HOSTS: [&str; 3] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];

fn proxy(seed: u64) -> Proxy {
    Proxy::new(leastload_modules::release())
        .workers(2)
        .seed(seed)
        .config(json!({"discovery": {"admin_cluster": "admin"}}))
        .cluster(Cluster::new("c").hosts(HOSTS))
        .stateful_session("x-leastload-host")
        .admin("admin", AdminMode::Filtering)
        .start()
}

#[test]
fn requests_are_steered_to_the_host_with_the_least_load() {
    let proxy = proxy(0);
    drop(proxy.worker(0).grpc("/s/m").to_cluster("c"));
    drop(proxy.worker(1).grpc("/s/m").to_cluster("c"));
    proxy.advance(Duration::from_secs(5));
    let calls: Vec<_> =
        (0..6).map(|index| proxy.worker(index % 2).grpc("/s/m").to_cluster("c")).collect();
    let mut chosen: Vec<_> = calls.iter().filter_map(leastload_testhost::Call::chosen).collect();
    chosen.sort();
    for call in &calls {
        assert_eq!(call.asked(), call.chosen());
        call.respond(Response::ok());
        assert!(call.is_over());
        assert_eq!(call.grpc_status(), Some(0));
        assert!(!call.response().headers.unwrap().contains("x-leastload-host"));
    }
    assert_eq!(
        chosen,
        ["10.0.0.1:80", "10.0.0.1:80", "10.0.0.2:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.3:80"]
    );
}

#[test]
fn a_host_that_is_ejected_is_not_chosen() {
    let proxy = proxy(1);
    drop(proxy.worker(0).grpc("/s/m").to_cluster("c"));
    proxy.edit_cluster("c", |cluster| cluster.set_health("10.0.0.2:80", Health::EJECTED));
    proxy.advance(Duration::from_secs(5));
    for _ in 0..20 {
        let call = proxy.worker(0).grpc("/s/m").to_cluster("c");
        assert_ne!(call.chosen().as_deref(), Some("10.0.0.2:80"));
        assert_eq!(call.asked(), call.chosen());
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let run = |seed| {
        let proxy = proxy(seed);
        for index in 0..10 {
            let call = proxy.worker(index % 2).grpc("/s/m").to_cluster("c");
            proxy.advance(Duration::from_millis(700));
            call.respond(Response::status(0));
        }
        proxy.trace().to_string()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
