//! The override header belongs to the proxy: a client's own has no effect, and neither server nor
//! client ever sees one.

use leastload_fleet::{
    config::{Cluster, Listener, Mechanism, OVERRIDE_HEADER},
    envoy::{Envoy, Options},
    fleet::Fleet,
};
use serde_json::{Value, json};

use crate::lab::{
    Lab, MECHANISMS, call_with, configured, connect, http1, main_listener, proxy, start_servers,
};

/// How a header names a host in this mechanism.
fn naming(mechanism: Mechanism, host: &str) -> String {
    use base64::Engine as _;
    match mechanism {
        Mechanism::StatefulSession => base64::engine::general_purpose::STANDARD.encode(host),
        _ => host.to_owned(),
    }
}

/// One worker; beside `main` a listener `bare` without the filter, where Envoy obeys anybody.
async fn lab(fleet: Fleet, mechanism: Mechanism, configuration: Value) -> Lab {
    let cluster = Cluster::new("greeter", fleet.addresses());
    let listeners = [main_listener(configuration), Listener::http("bare", "greeter")];
    Lab::with_one_worker(fleet, proxy(listeners, [cluster]).mechanism(mechanism)).await
}

#[tokio::test]
async fn a_client_cannot_choose_the_host() {
    for (mechanism, name) in MECHANISMS {
        let fleet = start_servers(3).await;
        let wanted = fleet.address(2).to_string();
        let spoofed = naming(mechanism, &wanted);
        let configuration = configured(
            name,
            json!({"discovery": {
                "admin_cluster": "",
                "static": {"greeter": &fleet.addresses()[..2]},
            }}),
        );
        let lab = lab(fleet, mechanism, configuration).await;

        for client in connect(&lab.envoy, "bare").await.iter().cycle().take(6) {
            let reply = call_with(client, &[(OVERRIDE_HEADER, &spoofed)]).await;
            assert_eq!(reply.served_by, wanted, "{name}: without the filter Envoy obeys");
        }
        let once: &[_] = &[(OVERRIDE_HEADER, &*spoofed)];
        let twice: &[_] = &[(OVERRIDE_HEADER, "x"), (OVERRIDE_HEADER, &*spoofed)];
        let listed = format!("{spoofed},{spoofed}");
        let list: &[_] = &[(OVERRIDE_HEADER, &*listed)];
        for headers in [once, twice, list] {
            for client in &lab.clients {
                let reply = call_with(client, headers).await;
                assert_ne!(reply.served_by, wanted, "{name} {headers:?}");
                assert!(!reply.metadata.contains_key(OVERRIDE_HEADER), "{name} {headers:?}");
            }
        }
        // HTTP/1 can spell it in capitals.
        lab.fleet.reset_stats().await.unwrap();
        for _ in 0..6 {
            post(&lab.envoy, "application/grpc", &spoofed).await;
        }
        let arrived = arrived(&lab.fleet).await;
        assert_eq!(arrived[..2].iter().sum::<u64>(), 6, "{name}: {arrived:?}");
    }
}

#[tokio::test]
async fn nor_where_the_filter_leaves_the_choice_to_envoy() {
    for (mechanism, name) in MECHANISMS {
        for (content_type, configuration) in [
            ("text/plain", json!({})),
            ("application/grpc", json!({"enabled": false})),
            ("application/grpc", json!({"clusters": {"gree*": {"enabled": false}}})),
            ("application/grpc", json!({"role": "inbound"})),
            ("application/grpc", json!({"rollout": {"mode": "shadow"}})),
            ("application/grpc", json!({"rollout": {"percent": 0}})),
            ("application/grpc", json!({"rollout": {"percent": "faulty"}})),
            ("application/grpc", json!({"methods": {"/helloworld.Greeter/*": {"cost": 0}}})),
        ] {
            let what = format!("{name}, {content_type}, {configuration}");
            let fleet = start_servers(3).await;
            let spoofed = naming(mechanism, &fleet.address(2).to_string());
            let lab = lab(fleet, mechanism, configured(name, configuration)).await;
            for _ in 0..9 {
                post(&lab.envoy, content_type, &spoofed).await;
            }
            assert_eq!(arrived(&lab.fleet).await, [3, 3, 3], "{what}: round robin");
            for stats in lab.fleet.all_stats().await.unwrap() {
                let seen = |call: &leastload_fleet::proto::stats::SeenCall| {
                    call.metadata.contains_key(OVERRIDE_HEADER)
                };
                assert!(!stats.last_calls.iter().any(seen), "{what}: the server sees it");
            }
        }
    }
}

/// A request by HTTP/1 with the header in capitals; the response must not have one.
async fn post(envoy: &Envoy, content_type: &str, spoofed: &str) {
    let response = http1(
        envoy,
        &format!(
            "POST /helloworld.Greeter/SayHello HTTP/1.1\r\nhost: greeter\r\nconnection: close\r\n\
         content-type: {content_type}\r\nte: trailers\r\nX-LEASTLOAD-HOST: {spoofed}\r\n\
         content-length: 5\r\n\r\n\0\0\0\0\0"
        ),
    )
    .await;
    assert!(response.starts_with("HTTP/1.1 "), "{response}");
    assert!(!response.starts_with("HTTP/1.1 50"), "{response}");
    assert!(!response.to_lowercase().contains(OVERRIDE_HEADER), "{response}");
}

/// Requests that arrived at each server.
async fn arrived(fleet: &Fleet) -> Vec<u64> {
    fleet.all_stats().await.unwrap().iter().map(|stats| stats.calls.values().sum()).collect()
}

#[tokio::test]
async fn the_client_is_not_told_who_served_where_the_override_was_not_obeyed() {
    let fleet = start_servers(2).await;
    // Only a host that Envoy does not have: it serves by another, and says so in the response.
    let unknown = "127.0.0.1:9";
    let configuration = json!({"discovery": {
        "admin_cluster": "", "static": {"greeter": [unknown]},
    }});
    let lab = lab(fleet, Mechanism::StatefulSession, configuration).await;
    let spoofed = naming(Mechanism::StatefulSession, unknown);
    let bare = connect(&lab.envoy, "bare").await;
    let mut request =
        tonic::Request::new(leastload_fleet::proto::helloworld::HelloRequest::default());
    request.metadata_mut().insert(OVERRIDE_HEADER, spoofed.parse().unwrap());
    let told = bare[0].clone().say_hello(request).await.unwrap();
    assert!(told.metadata().contains_key(OVERRIDE_HEADER), "without the filter Envoy tells");

    for client in &lab.clients {
        let reply = call_with(client, &[(OVERRIDE_HEADER, &spoofed)]).await;
        assert!(!reply.metadata.contains_key(OVERRIDE_HEADER));
    }
    assert!(lab.counts().await.sum("overrides_refused", &[("reason", "ignored")]) >= 1);
}

#[tokio::test]
async fn both_mechanisms_spread_exactly() {
    for (mechanism, name) in MECHANISMS {
        let fleet = start_servers(3).await;
        let cluster = Cluster::new("greeter", fleet.addresses());
        let listener = main_listener(configured(name, json!({})));
        let config = proxy([listener], [cluster]).mechanism(mechanism);
        let lab = Lab::with(fleet, config).await;
        lab.settle().await;
        assert_eq!(lab.exact_spread(12).await, [4, 4, 4], "{name}");
        assert_eq!(lab.counts().await.sum("overrides_refused", &[]), 0, "{name}");
    }
}

#[tokio::test]
async fn the_header_may_have_another_name() {
    const OTHER: &str = "x-go-there";
    for (mechanism, name) in MECHANISMS {
        let fleet = start_servers(3).await;
        let cluster = Cluster::new("greeter", fleet.addresses());
        let configuration = json!({"override": {"mechanism": name, "header": OTHER}});
        let listener = main_listener(configuration).with_http(|http| match mechanism {
            Mechanism::StatefulSession => {
                http.filters_after.push(session_filter(OTHER));
                http.extra = json!({"route_config": {"request_headers_to_remove": [OTHER]}});
            }
            _ => http.filters_after.push(to_metadata(OTHER)),
        });
        let given = match mechanism {
            Mechanism::StatefulSession => Mechanism::None,
            other => other,
        };
        let config = proxy([listener], [cluster]).mechanism(given);
        let lab = Lab::run(fleet, config, &Options::default()).await;
        lab.settle().await;
        assert_eq!(lab.exact_spread(12).await, [4, 4, 4], "{name}");
        let spoofed = naming(mechanism, &lab.fleet.address(0).to_string());
        let reply = call_with(&lab.clients[0], &[(OTHER, &spoofed)]).await;
        assert!(!reply.metadata.contains_key(OTHER), "{name}");
    }
}

fn session_filter(header: &str) -> Value {
    let extension = "type.googleapis.com/envoy.extensions";
    json!({
        "name": "envoy.filters.http.stateful_session",
        "typed_config": {
            "@type": format!("{extension}.filters.http.stateful_session.v3.StatefulSession"),
            "session_state": {
                "name": "envoy.http.stateful_session.header",
                "typed_config": {
                    "@type": format!(
                        "{extension}.http.stateful_session.header.v3.HeaderBasedSessionState"),
                    "name": header,
                },
            },
        },
    })
}

fn to_metadata(header: &str) -> Value {
    json!({
        "name": "envoy.filters.http.header_to_metadata",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config",
            "request_rules": [{
                "header": header,
                "on_header_present": {"metadata_namespace": "leastload", "key": "host"},
                "remove": true,
            }],
        },
    })
}
