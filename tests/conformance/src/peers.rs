//! A client and a server of HTTP/2 that do what steps say.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use h2::{SendStream, server::SendResponse};
use http::{Request, Response};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{
    seen::{Seen, list, reason},
    step::{Act, framed, header_map},
};

/// A client with one stream on a connection of its own.
#[derive(Debug)]
pub(crate) struct Client {
    connection: Option<JoinHandle<()>>,
    sender: h2::client::SendRequest<Bytes>,
    stream: Option<SendStream<Bytes>>,
    pub(crate) seen: Seen,
    /// Whether it ended the stream itself.
    pub(crate) gave_up: bool,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the listener accepts");
        stream.set_nodelay(true).expect("an option of the socket");
        let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        Self {
            connection: Some(connection),
            sender,
            stream: None,
            seen: Seen::default(),
            gave_up: false,
        }
    }

    /// Does all but `Receives` and `Next`; headers are complete.
    pub(crate) async fn act(&mut self, act: &Act) {
        self.gave_up |= matches!(act, Act::Reset(_) | Act::Disconnect);
        match act {
            Act::Headers { headers, end } => self.open(headers, *end).await,
            Act::Reset(_) => self.stream().send_reset(h2::Reason::CANCEL),
            Act::Disconnect => {
                if let Some(connection) = self.connection.take() {
                    connection.abort();
                }
            }
            other => send(self.stream(), other),
        }
    }

    fn stream(&mut self) -> &mut SendStream<Bytes> {
        self.stream.as_mut().expect("the client sent headers first")
    }

    async fn open(&mut self, headers: &[(String, String)], end: bool) {
        let of = |name: &str| {
            let found = headers.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str()).unwrap_or_default()
        };
        let uri = format!("{}://{}{}", of(":scheme"), of(":authority"), of(":path"));
        let mut request =
            Request::builder().method(of(":method")).uri(uri).body(()).expect("a request");
        *request.headers_mut() = header_map(headers);
        let mut sender = self.sender.clone().ready().await.expect("a stream may be opened");
        let (response, stream) = sender.send_request(request, end).expect("headers are sent");
        self.stream = Some(stream);
        let seen = self.seen.clone();
        tokio::spawn(async move {
            match response.await {
                Ok(response) => {
                    let status = response.status().as_u16().to_string();
                    let mut headers = vec![(":status".to_owned(), status)];
                    headers.extend(list(response.headers()));
                    seen.note(|message| message.headers = headers);
                    seen.read(response.into_body()).await;
                }
                Err(error) => seen.failed(&error),
            }
        });
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.abort();
        }
    }
}

fn send(stream: &mut SendStream<Bytes>, act: &Act) {
    let sent = match act {
        Act::Data { data, end } => stream.send_data(Bytes::from(data.clone()), *end),
        Act::Message { message, end } => stream.send_data(framed(message).into(), *end),
        Act::Trailers(trailers) => stream.send_trailers(header_map(trailers)),
        Act::Reset(name) => {
            stream.send_reset(reason(name));
            Ok(())
        }
        other => panic!("not now: {other:?}"),
    };
    // Where the peer has ended the stream already, the trace says so.
    drop(sent);
}

/// A request that came, and how it is answered.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) seen: Seen,
    respond: SendResponse<Bytes>,
    stream: Option<SendStream<Bytes>>,
}

impl Arrived {
    /// Does all but `Receives` and `Next`; headers are complete.
    pub(crate) fn act(&mut self, act: &Act) {
        match (act, &mut self.stream) {
            (Act::Headers { headers, end }, _) => {
                let status = headers.iter().find(|(name, _)| name == ":status");
                let status = status.map_or("200", |(_, value)| value);
                let mut response = Response::builder().status(status).body(()).expect("an answer");
                *response.headers_mut() = header_map(headers);
                let stream = self.respond.send_response(response, *end);
                self.stream = Some(stream.expect("headers are sent"));
            }
            (Act::Reset(name), None) => self.respond.send_reset(reason(name)),
            (act, Some(stream)) => send(stream, act),
            (act, None) => panic!("not before headers: {act:?}"),
        }
    }
}

type Waiting = Arc<Mutex<HashMap<String, VecDeque<Arrived>>>>;

/// A server; requests wait by path until somebody takes them.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    waiting: Waiting,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let waiting = Waiting::default();
        let shared = Arc::clone(&waiting);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, waiting, task }
    }

    /// The next request of that path, once it is there.
    pub(crate) fn take(&self, path: &str) -> Option<Arrived> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.get_mut(path)?.pop_front()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, waiting: Waiting) {
    let _ = stream.set_nodelay(true);
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (parts, body) = request.into_parts();
        let seen = Seen::default();
        let path = parts.uri.path().to_owned();
        let mut headers = vec![
            (":method".to_owned(), parts.method.to_string()),
            (
                ":path".to_owned(),
                parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            ),
            (
                ":authority".to_owned(),
                parts.uri.authority().map(ToString::to_string).unwrap_or_default(),
            ),
        ];
        headers.extend(list(&parts.headers));
        seen.note(|message| message.headers = headers);
        let reader = seen.clone();
        tokio::spawn(async move { reader.read(body).await });
        let arrived = Arrived { seen, respond, stream: None };
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.entry(path).or_default().push_back(arrived);
    }
}
