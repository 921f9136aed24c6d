//! Hosts with internal addresses, `envoy://connect_originate/IP:PORT`, as Istio's ambient mode has
//! them: a listener inside the proxy takes the connection, and by the host's metadata it knows where
//! to. There is no tunnel here; through real HBONE it goes in tests/mesh.

use std::collections::BTreeSet;

use leastload_fleet::{
    config::{Cluster, EnvoyConfig, Listener, Mechanism},
    envoy::{Options, VERSIONS},
    fleet::Fleet,
};
use serde_json::{Value, json};

use crate::lab::{Lab, MECHANISMS, configured, main_listener, proxy, start_servers};

/// What the internal listener is called, and the cluster behind it.
const ORIGINATE: &str = "connect_originate";
/// Of which hosts of the cluster the addresses are internal: some may be, as where Istio has captured
/// some pods.
const INTERNAL: [bool; 3] = [true, false, true];
/// Metadata of a host, which its connections carry: `local` is where they lead.
const DESTINATION: &str = "envoy.filters.listener.original_dst";

#[tokio::test]
async fn internal_addresses_are_steered_like_any_other() {
    for (mechanism, name) in MECHANISMS {
        spreads_exactly(VERSIONS[0], mechanism, name).await;
    }
}

#[tokio::test]
async fn in_the_oldest_release_too() {
    for (mechanism, name) in MECHANISMS {
        spreads_exactly(VERSIONS[3], mechanism, name).await;
    }
}

#[tokio::test]
async fn a_list_in_the_configuration_may_name_them() {
    let fleet = start_servers(INTERNAL.len()).await;
    let listed = json!({"discovery": {
        "admin_cluster": "",
        "static": {"greeter": names(&fleet)},
    }});
    let lab = lab(VERSIONS[0], Mechanism::StatefulSession, listed, fleet).await;
    assert_eq!(lab.exact_spread(12).await, [4, 4, 4]);
    assert_eq!(lab.picks("greeter", "override").await, 12);
}

/// Each server gets its third, call by call: the filter found their names in the admin interface, and
/// Envoy obeyed each.
async fn spreads_exactly(version: &str, mechanism: Mechanism, name: &str) {
    let fleet = start_servers(INTERNAL.len()).await;
    let wanted = names(&fleet);
    let lab = lab(version, mechanism, configured(name, json!({})), fleet).await;
    let hosts = lab.envoy.admin().hosts("greeter").await.unwrap();
    let hosts: BTreeSet<_> = hosts.into_iter().map(|host| host.address).collect();
    assert_eq!(hosts, wanted, "{version} {name}");
    lab.settle().await;
    lab.wait_gauge("endpoints_eligible", 3).await;
    assert_eq!(lab.exact_spread(12).await, [4, 4, 4], "{version} {name}");
    let counts = lab.counts().await;
    assert_eq!(counts.sum("overrides_refused", &[]), 0, "{version} {name}: {counts:?}");
    assert_eq!(counts.sum("errors", &[]), 0, "{version} {name}: {counts:?}");
}

/// What Envoy calls the hosts.
fn names(fleet: &Fleet) -> BTreeSet<String> {
    let named = |(address, internal): (_, bool)| {
        if internal { format!("envoy://{ORIGINATE}/{address}") } else { format!("{address}") }
    };
    fleet.addresses().into_iter().zip(INTERNAL).map(named).collect()
}

async fn lab(version: &str, mechanism: Mechanism, configuration: Value, fleet: Fleet) -> Lab {
    let hosts = fleet.addresses().into_iter().zip(INTERNAL).map(|(address, internal)| {
        let (ip, port) = (address.ip().to_string(), address.port());
        if !internal {
            let socket = json!({"socket_address": {"address": ip, "port_value": port}});
            return json!({"endpoint": {"address": socket}});
        }
        let id = address.to_string();
        let internal = json!({"server_listener_name": ORIGINATE, "endpoint_id": id});
        json!({
            "endpoint": {"address": {"envoy_internal_address": internal}},
            "metadata": {"filter_metadata": {
                DESTINATION: {"local": id},
                "envoy.transport_socket_match": {"tunnel": "http"},
            }},
        })
    });
    let hosts: Vec<_> = hosts.collect();
    let cluster = Cluster::new("greeter", fleet.addresses()).extra(json!({
        "load_assignment": {"cluster_name": "greeter", "endpoints": [{"lb_endpoints": hosts}]},
        "transport_socket_matches": [
            {"name": "hbone", "match": {"tunnel": "http"}, "transport_socket": {
                "name": "envoy.transport_sockets.internal_upstream",
                "typed_config": {
                    "@type": extension("transport_sockets.internal_upstream.v3.InternalUpstreamTransport"),
                    "passthrough_metadata": [{"name": DESTINATION, "kind": {"host": {}}}],
                    "transport_socket": raw_buffer(),
                },
            }},
            {"name": "plain", "match": {}, "transport_socket": raw_buffer()},
        ],
    }));
    // As `Cluster::original_dst`, but where a connection leads says its metadata.
    let originate = Cluster::original_dst(ORIGINATE).extra(json!({
        "original_dst_lb_config": {"use_http_header": false},
    }));
    let listeners = [main_listener(configuration), internal_listener()];
    let config = EnvoyConfig {
        extra: json!({"bootstrap_extensions": [{
            "name": "envoy.bootstrap.internal_listener",
            "typed_config": {"@type": extension("bootstrap.internal_listener.v3.InternalListener")},
        }]}),
        ..proxy(listeners, [cluster, originate])
    };
    Lab::run(fleet, config.mechanism(mechanism), &Options::version(version)).await
}

fn internal_listener() -> Listener {
    let mut listener = Listener::tcp(ORIGINATE, ORIGINATE);
    listener.exact_balance = false;
    listener.extra = json!({
        "internal_listener": {},
        "listener_filters": [{
            "name": DESTINATION,
            "typed_config": {"@type": extension("filters.listener.original_dst.v3.OriginalDst")},
        }],
    });
    listener
}

fn raw_buffer() -> Value {
    json!({
        "name": "envoy.transport_sockets.raw_buffer",
        "typed_config": {"@type": extension("transport_sockets.raw_buffer.v3.RawBuffer")},
    })
}

fn extension(path: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.{path}")
}
