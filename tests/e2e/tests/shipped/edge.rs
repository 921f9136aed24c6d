//! `edge.yaml`: nothing of ours comes in, nothing goes out.

use leastload_e2e::{counts::nothing_is_outstanding, raw::http1, shipped::Shipped};
use leastload_fleet::server::ServerOptions;

use crate::lab::{Twins, call, hold, options, served_by, steered, sum};

/// What a client may try.
const TRIES: [(&str, &str); 5] = [
    ("x-leastload-ask", "stamp"),
    ("x-leastload-host", "127.0.0.1:1"),
    ("x-leastload-self", "127.0.0.1:1"),
    ("endpoint-load-metrics", "TEXT named_metrics.rif=9"),
    ("x-envoy-original-dst-host", "127.0.0.1:1"),
];
/// What neither side may see.
const OURS: [&str; 5] = [
    "x-leastload-ask",
    "x-leastload-host",
    "x-leastload-self",
    "endpoint-load-metrics",
    "endpoint-load-metrics-bin",
];
/// As a proxy asks, byte by byte.
const PROBE: &str = "POST /leastload.v1.Load/Ask HTTP/1.1\r\nhost: greeter\r\nconnection: close\r\n\
                     content-type: application/grpc\r\nte: trailers\r\nx-leastload-ask: load\r\n\
                     content-length: 0\r\n\r\n";

#[tokio::test]
async fn a_gateway_steers_by_load_that_it_tells_nobody() {
    as_shipped_or_with(|edge| edge).await;
}

#[tokio::test]
async fn so_it_does_without_the_filter_before_the_module() {
    let filter = "- name: envoy.filters.http.header_mutation\n";
    let disabled = format!("{filter}            disabled: true\n");
    as_shipped_or_with(|edge| edge.with(filter, &disabled)).await;
}

async fn as_shipped_or_with(change: impl Fn(Shipped) -> Shipped) {
    // Applications that say more than they should: there is something to take out.
    let servers = vec![ServerOptions::default(); 3];
    let domains = "domains: [\"*\"]\n";
    let add =
        |name: &str, value: &str| format!("{{ header: {{ key: {name}, value: \"{value}\" }} }}");
    let report = add("endpoint-load-metrics", "TEXT cpu_utilization=0.5");
    let says = add("x-leastload-self", "127.0.0.1:1");
    let says = format!("{domains}              response_headers_to_add: [{report}, {says}]\n");
    let all = ("\"stamp\": \"askers\"", "\"stamp\": \"all\"");
    let twin = |twin: Shipped| twin.with(all.0, all.1).with(domains, &says);
    let twins = Twins::start_with(&servers, twin).await;
    let edge = Shipped::read("edge.yaml")
        .named(&twins.addresses())
        .certificates(&twins.certificates)
        .with("\"deadline\": \"10ms\"", "\"deadline\": \"1s\"");
    let edge = change(edge).start(&options()).await;
    // A proxy that takes nothing out is the client.
    let (outside, client) = twins.plain(&[edge.listener("grpc").unwrap()], false).await;
    steered(&edge, &client).await;
    let (_other, other) = twins.plain(&twins.addresses()[..1], true).await;
    let held = hold(&other, 20).await;
    served_by(&client, twins.fleet.address(0), 9).await;
    let served = served_by(&client, twins.fleet.address(0), 30).await;
    assert!(served <= 6, "the busy server served {served} of 30");
    drop(held);

    let inside = call(&other, &[]).await;
    for name in &OURS[2..] {
        assert!(inside.metadata().contains_key(*name), "{name}: {:?}", inside.metadata());
    }
    for tries in [&[][..], &TRIES] {
        let reply = call(&client, tries).await;
        for name in OURS {
            assert!(!reply.metadata().contains_key(name), "{:?}", reply.metadata());
            let seen = &reply.get_ref().metadata;
            assert!(!seen.contains_key(name), "the server sees {seen:?}");
        }
    }
    // A probe is no route.
    let answers = twins.answers().await;
    let response = http1(&outside, "main", PROBE).await.to_lowercase();
    assert!(response.starts_with("http/1.1 200"), "gRPC's way to say 404: {response}");
    assert!(response.contains("grpc-status: 12"), "{response}");
    assert!(OURS.iter().all(|name| !response.contains(name)), "{response}");
    assert_eq!(twins.answers().await, answers);
    assert_eq!(sum(&edge, "errors", &[]).await, 0);
    drop((client, outside));
    nothing_is_outstanding(&edge).await;
}
