//! What callers in a pod see: calls that keep coming while something happens, and open-loop load.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use leastload_e2e::wait::eventually;
use leastload_fleet::proto::helloworld::{HelloReply, HelloRequest, greeter_client::GreeterClient};
use tokio::task::JoinHandle;
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

/// Callers that each make one call after the other until stopped.
#[derive(Debug)]
pub struct Traffic {
    state: Arc<State>,
    callers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    stop: AtomicBool,
    seen: Mutex<Seen>,
}

/// What became of the calls.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// When each call that ended well did, by who served it.
    pub served: BTreeMap<String, Vec<Instant>>,
    /// Those that did not.
    pub failures: Vec<String>,
}

impl Seen {
    /// Calls that ended well.
    pub fn succeeded(&self) -> usize {
        self.served.values().map(Vec::len).sum()
    }

    /// Calls that `server` answered since `then`.
    pub fn since(&self, server: &str, then: Instant) -> usize {
        self.served.get(server).map_or(0, |ends| ends.iter().filter(|end| **end >= then).count())
    }
}

impl Traffic {
    /// Starts `callers` in `pod`, each on a connection of its own to `address` (`ip:port`), saying
    /// that they call `authority`. A call works for `work`.
    pub fn start(
        pod: &Pod,
        address: &str,
        authority: &str,
        callers: usize,
        work: Duration,
    ) -> Self {
        let state = Arc::new(State::default());
        let callers = (0..callers).map(|_| {
            let (address, authority) = (address.to_owned(), authority.to_owned());
            pod.network.spawn(call(address, authority, work, Arc::clone(&state)))
        });
        let callers = callers.collect();
        Self { state, callers }
    }

    /// What became of the calls so far.
    ///
    /// # Panics
    /// Where a caller did.
    pub fn seen(&self) -> Seen {
        self.state.seen.lock().expect("no caller panicked").clone()
    }

    /// Waits until so many more calls ended well.
    pub async fn goes_on(&self, calls: usize) {
        let wanted = self.seen().succeeded() + calls;
        eventually(&format!("{wanted} calls ended well"), async || {
            let seen = self.seen();
            if seen.succeeded() >= wanted { Ok(()) } else { Err((seen.succeeded(), seen.failures)) }
        })
        .await;
    }

    /// Lets the last calls end, and tells what became of all.
    ///
    /// # Panics
    /// Where a caller did.
    pub async fn stop(mut self) -> Seen {
        self.state.stop.store(true, Ordering::Relaxed);
        for caller in std::mem::take(&mut self.callers) {
            caller.await.expect("a caller does not panic");
        }
        self.seen()
    }

    /// [`Traffic::stop`], and no call may have failed.
    ///
    /// # Panics
    /// Where one did.
    pub async fn stop_without_failure(self) -> Seen {
        let seen = self.stop().await;
        let failed = seen.failures.len();
        assert!(seen.failures.is_empty(), "{failed} calls failed: {:?}", seen.failures.first());
        seen
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.callers.iter().for_each(JoinHandle::abort);
    }
}

async fn call(address: String, authority: String, work: Duration, state: Arc<State>) {
    let request =
        HelloRequest { work_ms: Some(work.as_secs_f64() * 1e3), ..HelloRequest::default() };
    let mut client = None;
    while !state.stop.load(Ordering::Relaxed) {
        let answer = match &client {
            Some(channel) => {
                GreeterClient::new(Channel::clone(channel)).say_hello(request.clone()).await
            }
            None => match connect(&address, &authority).await {
                Ok(channel) => {
                    client = Some(channel);
                    continue;
                }
                Err(status) => Err(status),
            },
        };
        let Ok(mut seen) = state.seen.lock() else { return };
        match answer {
            Ok(reply) => {
                let server = reply.into_inner().served_by;
                seen.served.entry(server).or_default().push(Instant::now());
            }
            Err(status) => seen.failures.push(format!("{:?}: {}", status.code(), status.message())),
        }
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
