//! The client: a closed loop of unary gRPC calls, always the same number at once. With it Envoy
//! finds about the same number of requests at each wake-up in every arm; its cost per request
//! depends on that number more than on any filter.

use std::{
    cell::Cell,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};
use leastload_core::report::BINARY_HEADER;
use leastload_fleet::{Error, Result};
use tokio::{
    net::TcpStream,
    task::{JoinHandle, JoinSet},
};

use crate::{
    arm::Calls,
    servers::EMPTY_MESSAGE,
    stamps::{ASK, STAMP},
};

/// Time for one measurement; a call that hangs must not hang the benchmark.
const PATIENCE: Duration = Duration::from_mins(2);

/// What a run of requests came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sent {
    /// Calls that ended with gRPC status 0.
    pub ok: u64,
    /// All others.
    pub failed: u64,
    /// Load reports that came as far as here.
    pub stamps: u64,
    /// The first of them.
    pub stamp: Option<HeaderValue>,
    /// From the first call's start to the last one's end.
    pub took: Duration,
}

impl Sent {
    /// That all of so many calls ended well.
    ///
    /// # Errors
    /// How many did not.
    pub fn check(self, requests: u64) -> std::result::Result<Self, String> {
        let Self { ok, failed, .. } = self;
        if ok == requests { Ok(self) } else { Err(format!("{failed} of {requests} calls failed")) }
    }
}

/// HTTP/2 connections to one Envoy.
#[derive(Debug)]
pub struct Client {
    connections: Vec<(SendRequest<Bytes>, JoinHandle<()>)>,
    streams: usize,
    request: Request<()>,
}

impl Client {
    /// Connects; `streams` calls will be under way at a time, spread evenly over `connections`.
    ///
    /// # Errors
    /// When a connection cannot be made.
    pub async fn connect(
        to: SocketAddr,
        connections: usize,
        streams: usize,
        calls: Calls,
    ) -> Result<Self> {
        let mut made = Vec::with_capacity(connections);
        for _ in 0..connections {
            let stream = TcpStream::connect(to).await.map_err(Error::io(format!("reach {to}")))?;
            stream.set_nodelay(true).map_err(Error::io("set TCP_NODELAY"))?;
            let (sender, connection) = h2::client::handshake(stream)
                .await
                .map_err(|error| Error::Child(format!("no HTTP/2 with {to}: {error}")))?;
            // How it ended shows in the calls.
            let driver = tokio::spawn(async { drop(connection.await) });
            made.push((sender, driver));
        }
        Ok(Self { connections: made, streams, request: request(calls) })
    }

    /// Makes `count` calls, each stream sending its next when its last has been answered.
    ///
    /// Must run in a [`tokio::task::LocalSet`].
    ///
    /// # Errors
    /// When they have not all ended within two minutes.
    pub async fn send(&self, count: u64) -> Result<Sent> {
        let left = Rc::new(Cell::new(count));
        let start = Instant::now();
        let mut streams = JoinSet::new();
        let senders = self.connections.iter().map(|(sender, _)| sender).cycle();
        for sender in senders.take(self.streams) {
            streams.spawn_local(stream(sender.clone(), self.request.clone(), Rc::clone(&left)));
        }
        let mut sent = Sent::default();
        let all = async {
            while let Some(ended) = streams.join_next().await {
                let part = ended.map_err(|error| Error::Child(error.to_string()))?;
                sent.ok += part.ok;
                sent.failed += part.failed;
                sent.stamps += part.stamps;
                sent.stamp = sent.stamp.take().or(part.stamp);
            }
            Ok::<(), Error>(())
        };
        tokio::time::timeout(PATIENCE, all)
            .await
            .map_err(|_| Error::Timeout(format!("{count} calls within {PATIENCE:?}")))??;
        Ok(Sent { took: start.elapsed(), ..sent })
    }

    /// Makes one call; its trailers.
    ///
    /// # Errors
    /// When it does not end with gRPC status 0.
    pub async fn trailers(&self) -> Result<HeaderMap> {
        let failed = || Error::Child(format!("a call of {} failed", self.request.uri()));
        let (sender, _) = self.connections.first().ok_or_else(failed)?;
        let mut sender = sender.clone().ready().await.map_err(|_| failed())?;
        call(&mut sender, self.request.clone()).await.ok_or_else(failed)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        for (_, driver) in &self.connections {
            driver.abort();
        }
    }
}

/// What one stream's calls came to, but for the time.
async fn stream(
    mut sender: SendRequest<Bytes>,
    template: Request<()>,
    left: Rc<Cell<u64>>,
) -> Sent {
    let mut sent = Sent::default();
    while left.get() > 0 {
        left.set(left.get() - 1);
        let Ok(ready) = sender.ready().await else {
            // The connection is gone, and with it this stream.
            sent.failed += 1;
            return sent;
        };
        sender = ready;
        match call(&mut sender, template.clone()).await {
            Some(mut trailers) => {
                sent.ok += 1;
                if let Some(stamp) = trailers.remove(BINARY_HEADER) {
                    sent.stamps += 1;
                    sent.stamp.get_or_insert(stamp);
                }
            }
            None => sent.failed += 1,
        }
    }
    sent
}

/// The trailers, if the call ended with status 0.
async fn call(sender: &mut SendRequest<Bytes>, request: Request<()>) -> Option<HeaderMap> {
    let (response, mut body) = sender.send_request(request, false).ok()?;
    body.send_data(Bytes::from_static(EMPTY_MESSAGE), true).ok()?;
    let response = response.await.ok()?;
    let fine = response.status() == StatusCode::OK;
    let mut body = response.into_body();
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data.ok()?;
        length += data.len();
        body.flow_control().release_capacity(data.len()).ok()?;
    }
    let trailers = body.trailers().await.ok()??;
    let status = trailers.get("grpc-status")?.as_bytes();
    (fine && status == b"0" && length == EMPTY_MESSAGE.len()).then_some(trailers)
}

/// What a gRPC client sends.
fn request(calls: Calls) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = Uri::from_static(calls.method);
    let headers = request.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    headers.insert("te", HeaderValue::from_static("trailers"));
    headers.insert("user-agent", HeaderValue::from_static("leastload-bench"));
    if calls.ask {
        headers.insert(ASK, HeaderValue::from_static(STAMP));
    }
    request
}
