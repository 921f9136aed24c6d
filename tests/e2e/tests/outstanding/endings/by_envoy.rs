//! Envoy ends the call.

use std::net::SocketAddr;

use leastload_e2e::{
    held::{Held, Open},
    lab::{Lab, Plan},
    wait::in_time,
};
use leastload_fleet::{
    config::{Endpoint, EnvoyConfig},
    proto::helloworld::{Ending, HelloRequest},
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tonic::Code;

use super::{held_and_counted, open_and_counted};

/// Two servers, and a route that is merged with this.
async fn with_route(action: Value) -> Lab {
    Plan::new(2).start_with(|config, _| route(config, json!({"route": action}))).await
}

fn route(config: &mut EnvoyConfig, extra: Value) {
    let listener = config.listeners.remove(0);
    config.listeners.insert(0, listener.with_http(|http| http.routes[0].extra = extra));
}

#[tokio::test]
async fn route_timeout() {
    let lab = with_route(json!({"timeout": "1s"})).await;
    let before = lab.counts().await.picks("override");
    // Its clock starts when the request is complete, so it is no use for open calls.
    let hang = HelloRequest { ending: Ending::Hang.into(), ..HelloRequest::default() };
    let mut client = lab.clients[0].clone();
    let status = in_time("the call", client.say_hello(hang)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    lab.nothing_is_outstanding().await;
    assert_eq!(lab.counts().await.picks("override") - before, 1);
}

#[tokio::test]
async fn stream_idle_timeout() {
    let lab = with_route(json!({"idle_timeout": "1s"})).await;
    held_and_counted(&lab).await.ended().await.unwrap_err();
    lab.nothing_is_outstanding().await;
    open_and_counted(&lab).await.ended().await.unwrap_err();
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn longest_duration_of_a_stream() {
    let lab = with_route(json!({"max_stream_duration": {"max_stream_duration": "1s"}})).await;
    held_and_counted(&lab).await.ended().await.unwrap_err();
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn cancelled_while_it_waits_for_a_connection() {
    let hole = BlackHole::new().await;
    let lab = hole.lab(Value::Null).await;
    let call = counted_in(&lab).await;
    let pending = lab.envoy.admin().stat("cluster.greeter.upstream_rq_pending_active").await;
    assert_eq!(pending.unwrap(), 1, "it waits for a connection");
    drop(call);
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn no_connection_in_time() {
    let hole = BlackHole::new().await;
    let lab = hole.lab(json!({"connect_timeout": "1s"})).await;
    let status = counted_in(&lab).await.ended().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn too_many_wait_for_a_connection() {
    let hole = BlackHole::new().await;
    let breakers = json!({"thresholds": [{"max_pending_requests": 1}]});
    let lab = hole.lab(json!({"circuit_breakers": breakers})).await;
    let first = counted_in(&lab).await;
    // On the same connection, and so on the same worker: circuit breakers are for all, too.
    let status = Open::start(&lab.clients[0]).ended().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    lab.work_is(&[1_000]).await;
    drop(first);
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn connection_refused() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let lab = cold_lab_to(address, Value::Null).await;
    let before = lab.counts().await.picks("override");
    let status = Open::start(&lab.clients[0]).ended().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    lab.nothing_is_outstanding().await;
    assert_eq!(lab.counts().await.picks("override") - before, 1);
}

#[tokio::test]
async fn more_requests_than_the_circuit_breaker_allows() {
    let lab = Plan::new(2)
        .start_with(|config, _| {
            config.clusters[0].circuit_breakers =
                Some(json!({"thresholds": [{"max_requests": 2}]}));
        })
        .await;
    let first = Held::start(&lab.clients[0]).await.unwrap();
    let second = Held::start(&lab.clients[1]).await.unwrap();
    for client in &lab.clients {
        let status = Held::start(client).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
    lab.work_is(&[1_000, 1_000]).await;
    first.finish().await.unwrap();
    lab.work_is(&[1_000]).await;
    second.finish().await.unwrap();
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn answered_by_a_later_filter() {
    // Only requests that ask for it, so that the lab can settle.
    let fault = json!({
        "name": "envoy.filters.http.fault",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
            "abort": {"header_abort": {}, "percentage": {"numerator": 100}},
            "delay": {"header_delay": {}, "percentage": {"numerator": 100}},
        },
    });
    let lab = Plan::new(2)
        .start_with(|config, _| {
            let listener = config.listeners.remove(0);
            config.listeners.push(listener.with_http(|http| http.filters_after.push(fault)));
        })
        .await;
    let before = lab.counts().await.picks("override");
    let mut request = tonic::Request::new(HelloRequest::default());
    request.metadata_mut().insert("x-envoy-fault-abort-grpc-request", "8".parse().unwrap());
    let status = lab.clients[0].clone().say_hello(request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    lab.nothing_is_outstanding().await;
    assert_eq!(lab.counts().await.picks("override") - before, 1);

    // Cancelled while the later filter keeps it.
    let call = Open::start_request(&lab.clients[0], |stream| {
        let mut request = tonic::Request::new(stream);
        request.metadata_mut().insert("x-envoy-fault-delay-request", "3600000".parse().unwrap());
        request
    });
    lab.work_is(&[1_000]).await;
    drop(call);
    lab.nothing_is_outstanding().await;
}

/// A listener that completes no handshake, because its backlog is full.
struct BlackHole {
    address: SocketAddr,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    async fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        // The kernel completes as many handshakes as the backlog holds: here two, nobody accepts.
        for _ in 0..2 {
            waiting.push(in_time("the backlog fills", TcpStream::connect(address)).await.unwrap());
        }
        Self { address, _listener: listener, _waiting: waiting }
    }

    async fn lab(&self, cluster: Value) -> Lab {
        cold_lab_to(self.address, cluster).await
    }
}

/// An Envoy whose only host is this one. The filter knows it from its configuration, because no
/// call would end well by which a lab could settle.
async fn cold_lab_to(host: SocketAddr, cluster: Value) -> Lab {
    Plan::new(0)
        .configuration(json!({"discovery": {"static": {"greeter": [host.to_string()]}}}))
        .start_cold(|config, _| {
            config.clusters[0].endpoints = vec![Endpoint::from(host)];
            config.clusters[0].connect_timeout = "3600s".into();
            config.clusters[0].extra = cluster;
        })
        .await
}

async fn counted_in(lab: &Lab) -> Open {
    let call = Open::start(&lab.clients[0]);
    lab.work_is(&[1_000]).await;
    call
}
