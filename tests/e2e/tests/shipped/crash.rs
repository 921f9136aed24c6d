//! The module crashes while requests wait for answers of servers: Envoy's idle timeout, which the
//! shipped configurations set, ends them.

use leastload_e2e::{
    counts::nothing_is_outstanding,
    held::Client,
    shipped::Shipped,
    wait::{eventually, in_time},
};
use leastload_fleet::proto::helloworld::HelloRequest;
use tokio::net::TcpListener;
use tonic::Status;

use crate::lab::{Twins, connect, options, sum};

async fn call(client: &Client, fault: bool) -> Result<(), Status> {
    let mut request = tonic::Request::new(HelloRequest::default());
    if fault {
        request.metadata_mut().insert("x-leastload-fault", "crash".parse().unwrap());
    }
    let mut client = client.clone();
    in_time("a call ends", async move { client.say_hello(request).await.map(drop) }).await
}

#[tokio::test]
async fn a_crash_hangs_waiting_requests_no_longer_than_the_idle_timeout() {
    let twins = Twins::start(2).await;
    // The kernel takes connections for it, and nobody reads: probes are never answered.
    let hole = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hole = hole.local_addr().unwrap();
    let by_address = "    type: ORIGINAL_DST\n    lb_policy: CLUSTER_PROVIDED\n    \
                      original_dst_lb_config: { use_http_header: true }\n    cleanup_interval: 60s";
    let endpoint = format!("{{ address: {}, port_value: {} }}", hole.ip(), hole.port());
    let silent = format!(
        "    type: STATIC\n    load_assignment: {{ cluster_name: hole, endpoints: [{{ lb_endpoints: \
         [{{ endpoint: {{ address: {{ socket_address: {endpoint} }} }} }}] }}] }}"
    );
    let release = leastload_modules::release().display().to_string();
    let faults = leastload_modules::with_faults().display().to_string();
    let envoy = Shipped::read("production.yaml")
        .named(&twins.addresses())
        .certificates(&twins.certificates)
        .with(&release, &faults)
        .with(by_address, &silent)
        .with("\"deadline\": \"10ms\"", "\"mode\": \"always\", \"deadline\": \"1s\"")
        .with("stream_idle_timeout: 60s", "stream_idle_timeout: 2s")
        .start(&options())
        .await;
    let (client, other) = (connect(&envoy, "grpc").await, connect(&envoy, "grpc").await);
    eventually("some wait when it crashes", async || {
        // Who never answers is asked less and less; the crash before has reset that.
        let waits = async || sum(&envoy, "probe_waits", &[]).await;
        let before = waits().await;
        eventually("a request waits", async || match call(&client, false).await {
            Ok(()) if waits().await > before => Ok(()),
            other => Err(other),
        })
        .await;
        let ended = envoy.admin().stat("http.grpc.downstream_rq_idle_timeout").await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..5 {
            let client = client.clone();
            waiting.push(tokio::spawn(async move { call(&client, false).await }));
        }
        eventually("they are in Envoy", async || {
            let active = envoy.admin().stat("http.grpc.downstream_rq_active").await.unwrap();
            if active >= 5 || waiting.iter().all(tokio::task::JoinHandle::is_finished) {
                Ok(())
            } else {
                Err(active)
            }
        })
        .await;
        call(&other, true).await.unwrap_err();
        // Each ends, one way or the other.
        let mut failed = 0;
        for call in waiting {
            failed += i64::from(call.await.unwrap().is_err());
        }
        let now = envoy.admin().stat("http.grpc.downstream_rq_idle_timeout").await.unwrap();
        if failed > 0 && now - ended == failed { Ok(()) } else { Err((failed, now - ended)) }
    })
    .await;

    // It goes on, steers, and nothing of them is counted.
    eventually("calls are steered again", async || {
        let before = sum(&envoy, "picks", &[("result", "override")]).await;
        call(&client, false).await?;
        let now = sum(&envoy, "picks", &[("result", "override")]).await;
        if now > before { Ok(()) } else { Err(Status::unknown("not steered")) }
    })
    .await;
    nothing_is_outstanding(&envoy).await;
}
