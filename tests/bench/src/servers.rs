//! The servers behind Envoy: one process with many addresses, which answers every gRPC call with
//! the same five bytes and status 0. As light as HTTP/2 allows, so that Envoy is what is busy.

use std::path::Path;

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Response};
use leastload_fleet::{
    Result,
    serving::{self, Servers},
};
use tokio::net::{TcpListener, TcpStream};

/// A gRPC message of no bytes: not compressed, length 0.
pub const EMPTY_MESSAGE: &[u8] = &[0, 0, 0, 0, 0];

/// Starts `count` servers in one process: `program serve --endpoints count`, which must be [`serve`].
///
/// # Errors
/// When it does not start.
pub fn start(program: &Path, count: usize) -> Result<Servers> {
    Servers::start(program, &["serve".into(), format!("--endpoints={count}")])
}

/// The process, see [`serving::serve`].
///
/// # Errors
/// When a port cannot be had.
pub async fn serve(count: usize) -> Result<()> {
    serving::serve(count, |_, listener| drop(tokio::spawn(accept(listener)))).await
}

async fn accept(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream));
    }
}

async fn connection(stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut connection = h2::server::Builder::new()
        .max_concurrent_streams(100_000)
        .handshake::<_, Bytes>(stream)
        .await
        .ok()?;
    while let Some(request) = connection.accept().await {
        let (request, respond) = request.ok()?;
        tokio::spawn(answer(request.into_body(), respond));
    }
    Some(())
}

/// Reads the request to its end, then sends headers, the message and trailers.
async fn answer(mut body: RecvStream, mut respond: SendResponse<Bytes>) -> Option<()> {
    while let Some(data) = body.data().await {
        let length = data.ok()?.len();
        body.flow_control().release_capacity(length).ok()?;
    }
    let mut response = Response::new(());
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", grpc);
    let mut stream = respond.send_response(response, false).ok()?;
    stream.send_data(Bytes::from_static(EMPTY_MESSAGE), false).ok()?;
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers).ok()
}
