//! Linear memory of a VM, bounded whatever happens. docs/architecture.md states
//! the bounds.

use core::time::Duration;

use leastload_filter_tests::lab::{
    CLUSTER, METHOD, answered, assert_idle, call, many_hosts, sidecar, ticks, warm, warm_up,
};
use leastload_testhost::{Builder, Cluster, Proxy, Response};
use serde_json::{Value, json};

const MIB: usize = 1 << 20;

fn quiet(config: Value, hosts: u32) -> Builder {
    let cluster = Cluster::new(CLUSTER).hosts(many_hosts(hosts));
    sidecar(config).cluster(cluster).workers(2).tracing(false)
}

/// The largest memory of a VM.
fn memory(proxy: &Proxy) -> usize {
    let threads = proxy.workers().into_iter().chain([proxy.main()]);
    threads.map(|thread| thread.memory()).max().unwrap_or_default()
}

#[test]
fn a_thousand_endpoints_take_less_than_four_megabytes() {
    let proxy = warm(quiet(json!({}), 1_000));
    (0..2_000).for_each(|n| drop(answered(&proxy, n % 2)));
    assert!(memory(&proxy) < 4_000_000, "{} bytes", memory(&proxy));
}

#[test]
fn two_hundred_readings_of_a_thousand_endpoints_do_too() {
    let proxy = warm(quiet(json!({"discovery": {"interval": "100ms"}}), 1_000));
    let mut early = 0;
    for reading in 0..200_usize {
        proxy.edit_cluster(CLUSTER, |cluster| {
            cluster.hosts.rotate_left(7);
            cluster.hosts[reading].weight = 1 + u32::try_from(reading).expect("few") % 5;
        });
        answered(&proxy, reading % 2);
        // As long as it takes to read a thousand endpoints at the bounded pace.
        proxy.advance(Duration::from_millis(500));
        if reading == 20 {
            early = memory(&proxy);
        }
    }
    assert!(memory(&proxy) < 4_000_000, "{} bytes", memory(&proxy));
    assert_eq!(memory(&proxy), early, "it does not grow from reading to reading");
    assert_idle(&proxy);
}

#[test]
fn ten_thousand_endpoints_take_less_than_seven_megabytes() {
    let proxy = warm(quiet(json!({}), 10_000));
    (0..2_000).for_each(|n| drop(answered(&proxy, n % 2)));
    ticks(&proxy, 40);
    assert!(memory(&proxy) < 7_000_000, "{} bytes", memory(&proxy));
}

#[test]
fn a_hundred_thousand_requests_leave_nothing_behind() {
    let proxy = warm(quiet(json!({}), 10));
    (0..1_000).for_each(|n| drop(answered(&proxy, n % 2)));
    let before = memory(&proxy);
    for n in 0..100_000 {
        call(&proxy, n % 2).respond(Response::trailers_only(0));
        if n % 1_000 == 0 {
            ticks(&proxy, 1);
        }
    }
    assert_eq!(memory(&proxy), before);
    assert_idle(&proxy);
}

#[test]
fn a_thousand_changes_of_membership_leave_nothing_behind() {
    let proxy = warm(quiet(json!({"discovery": {"interval": "100ms"}}), 50));
    let mut early = 0;
    for change in 0..1_000_u32 {
        proxy.edit_cluster(CLUSTER, |cluster| {
            cluster.hosts.remove(0);
            cluster.hosts.push(format!("10.9.{}.{}:80", change >> 8, change & 255).into());
        });
        answered(&proxy, 0);
        // Slow enough that slots of hosts that left are used again.
        proxy.advance(Duration::from_secs(1));
        if change == 200 {
            early = memory(&proxy);
        }
    }
    assert_eq!(memory(&proxy), early);
    assert_idle(&proxy);
}

#[test]
fn ten_thousand_cluster_names_are_bounded() {
    let proxy = warm(quiet(json!({}), 3));
    let send = |from: u32, to: u32| {
        for n in from..to {
            let stream = proxy.worker(0).stream();
            stream.set_property(&["xds", "cluster_name"], format!("outbound|80||svc-{n}.ns.svc"));
            stream.request_headers([(":path", METHOD), ("content-type", "application/grpc")], true);
            stream.finish();
        }
        ticks(&proxy, 8);
    };
    send(0, 3_000);
    let before = memory(&proxy);
    send(3_000, 10_000);
    assert_eq!(memory(&proxy), before, "names beyond the limits are not remembered");
    assert!(before < 2_100_000, "{before} bytes");
    warm_up(&proxy);
    assert_idle(&proxy);
}

#[test]
fn the_memory_limit_of_a_proxy_ends_the_vm_and_not_the_proxy() {
    let proxy = quiet(json!({}), 20_000).memory_limit(3 * MIB).start();
    answered(&proxy, 0);
    ticks(&proxy, 8);
    assert!(!proxy.main().is_alive(), "too little for twenty thousand endpoints");
    assert_eq!(answered(&proxy, 0).grpc_status(), Some(0), "the workers go on");
}
