//! The servers behind Envoy: one process with many addresses, which answers every gRPC call with
//! the same five bytes and status 0. As light as HTTP/2 allows, so that Envoy is what is busy.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use leastload_core::report::BINARY_HEADER;
use leastload_fleet::{
    Error, Result,
    serving::{self, Servers},
};
use tokio::net::{TcpListener, TcpStream};

use crate::{
    arm::Calls,
    load::Client,
    stamps::{ASK, STAMP, Stamps},
};

/// A gRPC message of no bytes: not compressed, length 0.
pub const EMPTY_MESSAGE: &[u8] = &[0, 0, 0, 0, 0];

/// A call of this method is answered with the number of calls so far, of all the servers of the process,
/// that asked for a stamp.
const COUNT: &str = "/leastload.Bench/Asked";
/// The trailer that has it.
const ASKED: &str = "x-bench-asked";

/// Starts `count` servers in one process: `program serve --endpoints count`, which must be [`serve`].
///
/// # Errors
/// When it does not start.
pub fn start(program: &Path, count: usize, stamps: bool) -> Result<Servers> {
    let mut arguments = vec!["serve".into(), format!("--endpoints={count}")];
    arguments.extend(stamps.then(|| "--stamps".into()));
    Servers::start(program, &arguments)
}

/// A client for [`asked`].
///
/// # Errors
/// When there is no server, or it cannot be reached.
pub async fn teller(servers: &Servers) -> Result<Client> {
    let none = || Error::Child("no server tells how many stamps were asked for".into());
    let to = servers.addresses().first().ok_or_else(none)?;
    let calls = Calls { method: "http://greeter/leastload.Bench/Asked", ask: false };
    Client::connect(*to, 1, 1, calls).await
}

/// How many calls so far asked for a stamp.
///
/// # Errors
/// When the servers do not tell.
pub async fn asked(teller: &Client) -> Result<u64> {
    let trailers = teller.trailers().await?;
    let told = trailers.get(ASKED).and_then(|told| told.to_str().ok()?.parse().ok());
    told.ok_or_else(|| Error::Child("the servers do not tell how many stamps they sent".into()))
}

/// The process, see [`serving::serve`]. With `stamps` they report a load to whoever asks, as if each had
/// a twin.
///
/// # Errors
/// When a port cannot be had.
pub async fn serve(count: usize, stamps: bool) -> Result<()> {
    let stamps = Arc::new(Stamps::new(stamps));
    let each = |_, listener| drop(tokio::spawn(accept(listener, Arc::clone(&stamps))));
    serving::serve(count, each).await
}

async fn accept(listener: TcpListener, stamps: Arc<Stamps>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, Arc::clone(&stamps)));
    }
}

async fn connection(stream: TcpStream, stamps: Arc<Stamps>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut connection = h2::server::Builder::new()
        .max_concurrent_streams(100_000)
        .handshake::<_, Bytes>(stream)
        .await
        .ok()?;
    while let Some(request) = connection.accept().await {
        let (request, respond) = request.ok()?;
        tokio::spawn(answer(request, respond, Arc::clone(&stamps)));
    }
    Some(())
}

/// Reads the request to its end, then sends headers, the message and trailers.
async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    stamps: Arc<Stamps>,
) -> Option<()> {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    if request.headers().get(ASK).is_some_and(|ask| ask == STAMP)
        && let Some(stamp) = stamps.next()
    {
        trailers.insert(BINARY_HEADER, stamp);
    }
    if request.uri().path() == COUNT {
        trailers.insert(ASKED, HeaderValue::from(stamps.asked()));
    }
    let mut body = request.into_body();
    while let Some(data) = body.data().await {
        let length = data.ok()?.len();
        body.flow_control().release_capacity(length).ok()?;
    }
    let mut response = Response::new(());
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    let mut stream = respond.send_response(response, false).ok()?;
    stream.send_data(Bytes::from_static(EMPTY_MESSAGE), false).ok()?;
    stream.send_trailers(trailers).ok()
}
