//! What is never counted ends without a trace; what is counted although it is no plain gRPC leaves
//! none either.

use leastload_e2e::{
    held::Held,
    lab::{LISTENER, Lab, Plan},
    wait::in_time,
};
use leastload_fleet::{
    config::{Cluster, Endpoint, Route},
    proto::{
        helloworld::HelloRequest,
        stats::{StatsRequest, stats_client::StatsClient},
    },
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::Code;

use super::lab;

#[tokio::test]
async fn plain_http_1_passes_uncounted() {
    let lab = lab().await;
    let before = picks(&lab).await;
    let response = http1(&lab, "/index.html", "text/html", b"").await;
    // The servers speak gRPC only; what counts is that they were asked.
    assert!(response.contains("x-envoy-upstream-service-time"), "{response}");
    assert_eq!(picks(&lab).await, before);
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn grpc_web_over_http_1_is_counted_until_it_ends() {
    let lab = Plan::new(2)
        .start_with(|config, _| {
            let listener = config.listeners.remove(0);
            config.listeners.push(listener.with_http(|http| {
                http.filters_after.push(json!({
                    "name": "envoy.filters.http.grpc_web",
                    "typed_config": {"@type":
                        "type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb"},
                }));
            }));
        })
        .await;
    let before = lab.counts().await.picks("override");
    // A frame that holds an empty message: flags and length are 0.
    let path = "/helloworld.Greeter/SayHello";
    let response = http1(&lab, path, "application/grpc-web+proto", &[0; 5]).await;
    assert!(response.contains("200 OK") && response.contains("grpc-status:0"), "{response}");
    assert_eq!(lab.counts().await.picks("override") - before, 1);
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn no_route() {
    let lab = with_routes([Route::new("/helloworld.Greeter/SayHello", "greeter")]).await;
    let before = picks(&lab).await;
    let mut client = StatsClient::connect(lab.envoy.uri(LISTENER).unwrap()).await.unwrap();
    let status = client.get(StatsRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
    assert_eq!(picks(&lab).await, before);
    lab.nothing_is_outstanding().await;
}

#[tokio::test]
async fn unknown_cluster() {
    let lab = with_routes([
        Route::new("/helloworld.Greeter/SayHelloBidi", "nowhere"),
        Route::new("/", "greeter"),
    ])
    .await;
    let status = Held::start(&lab.clients[0]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    lab.nothing_is_outstanding().await;
    assert_eq!(
        lab.counts().await.sum("picks", &[("cluster", "nowhere"), ("result", "override")]),
        0
    );
}

#[tokio::test]
async fn no_healthy_upstream() {
    let lab = Plan::new(2)
        .start_with(|config, servers| {
            let sick =
                servers.addresses().into_iter().map(|a| Endpoint::from(a).health("UNHEALTHY"));
            // Envoy's own panic would use them all the same.
            let cluster = Cluster::new("sick", sick)
                .extra(json!({"common_lb_config": {"healthy_panic_threshold": {"value": 0}}}));
            config.clusters.push(cluster);
            let listener = config.listeners.remove(0);
            config.listeners.push(listener.with_http(|http| {
                http.routes.insert(0, Route::new("/helloworld.Greeter/SayHelloBidi", "sick"));
            }));
        })
        .await;
    for client in lab.clients.iter().cycle().take(12) {
        let status = Held::start(client).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        let unary = client.clone().say_hello(HelloRequest::default()).await;
        unary.unwrap();
    }
    lab.nothing_is_outstanding().await;
    assert_eq!(lab.counts().await.sum("picks", &[("cluster", "sick"), ("result", "override")]), 0);
}

async fn with_routes(routes: impl IntoIterator<Item = Route>) -> Lab {
    let routes: Vec<Route> = routes.into_iter().collect();
    Plan::new(2)
        .start_with(|config, _| {
            let listener = config.listeners.remove(0);
            config.listeners.push(listener.with_http(|http| {
                http.routes = routes;
                http.extra = json!({"route_config": {"validate_clusters": false}});
            }));
        })
        .await
}

/// Decisions of any kind.
async fn picks(lab: &Lab) -> i64 {
    lab.counts().await.sum("picks", &[])
}

/// A POST over HTTP/1.1; the whole response as text.
async fn http1(lab: &Lab, path: &str, content_type: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(lab.envoy.listener(LISTENER).unwrap()).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: leastload\r\ncontent-type: {content_type}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut response = Vec::new();
    in_time("the response ends", stream.read_to_end(&mut response)).await.unwrap();
    String::from_utf8_lossy(&response).into_owned()
}
