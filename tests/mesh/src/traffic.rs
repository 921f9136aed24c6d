//! What callers in a pod see: calls that keep coming while something happens, and open-loop load.

use std::{sync::Arc, time::Duration};

use leastload_e2e::traffic::Log;
pub use leastload_e2e::traffic::{Seen, Traffic};
use leastload_fleet::proto::helloworld::{HelloReply, HelloRequest, greeter_client::GreeterClient};
use tonic::{
    Request, Response, Status,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

use crate::pod::{PORT, Pod};

/// Host of a Service as Istio names it.
pub fn host(namespace: &str, service: &str) -> String {
    format!("{service}.{namespace}.svc.cluster.local")
}

/// Name of the cluster that a sidecar has for a Service.
pub fn cluster(namespace: &str, service: &str) -> String {
    subset(namespace, service, "")
}

/// Name of the cluster of a subset.
pub fn subset(namespace: &str, service: &str, subset: &str) -> String {
    format!("outbound|{PORT}|{subset}|{}", host(namespace, service))
}

/// A connection of a client to `address` that says it calls `authority`.
///
/// # Errors
/// Where there is none; only from inside the client's pod.
pub async fn connect(address: &str, authority: &str) -> Result<Channel, Status> {
    let error = |error: &dyn std::error::Error| Status::unavailable(format!("{error}"));
    let origin = format!("http://{authority}").parse().map_err(|e| error(&e))?;
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|e| error(&e))?;
    endpoint
        .origin(origin)
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .connect()
        .await
        .map_err(|e| error(&e))
}

/// Starts `callers` in `pod` that each make one call after the other until stopped, each on a
/// connection of its own to `address` (`ip:port`), saying that they call `authority`. A call works for
/// `work`.
pub fn keep_calling(
    pod: &Pod,
    address: &str,
    authority: &str,
    callers: usize,
    work: Duration,
) -> Traffic {
    let caller = |log: &Arc<Log>| {
        let (address, authority) = (address.to_owned(), authority.to_owned());
        pod.network.spawn(call(address, authority, work, Arc::clone(log)))
    };
    Traffic::of(|log| (0..callers).map(|_| caller(log)).collect())
}

async fn call(address: String, authority: String, work: Duration, log: Arc<Log>) {
    let request =
        HelloRequest { work_ms: Some(work.as_secs_f64() * 1e3), ..HelloRequest::default() };
    let mut client = None;
    while log.goes_on() {
        let channel = match &client {
            Some(channel) => Channel::clone(channel),
            None => match connect(&address, &authority).await {
                Ok(channel) => client.insert(channel).clone(),
                Err(status) => {
                    log.ended(Err(status));
                    continue;
                }
            },
        };
        log.ended(GreeterClient::new(channel).say_hello(request.clone()).await);
    }
}

/// One call with this metadata (that of a name with `-bin` at its end as bytes); the reply says what
/// metadata the server saw.
///
/// # Errors
/// What the call ended with; only from inside the client's pod.
pub async fn one_call(
    address: &str,
    authority: &str,
    metadata: &[(&'static str, String)],
) -> Result<Response<HelloReply>, Status> {
    let channel = connect(address, authority).await?;
    let mut request = Request::new(HelloRequest { echo_metadata: true, ..HelloRequest::default() });
    for (name, value) in metadata {
        if name.ends_with("-bin") {
            let bytes = MetadataValue::from_bytes(value.as_bytes());
            request.metadata_mut().append_bin(*name, bytes);
            continue;
        }
        let value = value.parse().map_err(|_| Status::internal("no metadata"))?;
        request.metadata_mut().append(*name, value);
    }
    GreeterClient::new(channel).say_hello(request).await
}
