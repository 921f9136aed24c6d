//! The servers behind Envoy: one process with many addresses, which answers every gRPC call with
//! the same five bytes and status 0. As light as HTTP/2 allows, so that Envoy is what is busy.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::Path,
    process::Stdio,
};

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Response};
use leastload_fleet::{Error, Result, process::Process};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
};

/// A gRPC message of no bytes: not compressed, length 0.
pub const EMPTY_MESSAGE: &[u8] = &[0, 0, 0, 0, 0];

/// The running process; ends on drop.
#[derive(Debug)]
pub struct Servers {
    process: Process,
    addresses: Vec<SocketAddr>,
}

impl Servers {
    /// Starts `count` servers in one process: `program serve --endpoints count`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(program: &Path, count: usize) -> Result<Self> {
        let arguments = ["serve".into(), format!("--endpoints={count}")];
        let mut process = Process::spawn(program, &arguments, |command| {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
        })?;
        let mut line = String::new();
        if let Some(output) = process.streams().stdout.take() {
            let read = BufReader::new(output).read_line(&mut line);
            read.map_err(Error::io("read the servers' addresses"))?;
        }
        let addresses = serde_json::from_str(&line)
            .map_err(|error| Error::Child(format!("the servers said '{line}': {error}")))?;
        Ok(Self { process, addresses })
    }

    /// Their addresses.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Id of the process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// The process: listens on `count` free ports of 127.0.0.1, says which on standard output, and
/// serves until standard input closes.
///
/// # Errors
/// When a port cannot be had.
pub async fn serve(count: usize) -> Result<()> {
    let mut addresses = Vec::with_capacity(count);
    for _ in 0..count {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(Error::io("listen"))?;
        addresses.push(listener.local_addr().map_err(Error::io("read own address"))?);
        tokio::spawn(accept(listener));
    }
    println!("{}", serde_json::json!(addresses));
    std::io::stdout().flush().map_err(Error::io("write to standard output"))?;
    let _ = tokio::io::stdin().read(&mut [0]).await;
    Ok(())
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
