//! A call that the probe makes, in `leastload-testhost`.

use leastload_testhost::{GrpcCall, Headers, HttpCall, Proxy};

use crate::{
    host::list,
    seen::Message,
    step::{Act, framed, response},
};

/// Envoy's words for a server that resets.
const RESET: &str = "upstream connect error or disconnect/reset before headers. \
                     reset reason: remote reset";

/// A call of the filter, and what has been answered so far.
pub(crate) struct Callout {
    proxy: Proxy,
    call: Kind,
    answer: Message,
}

enum Kind {
    Http(HttpCall),
    Grpc(GrpcCall),
}

impl Callout {
    /// A call to this path that nobody has taken yet.
    pub(crate) fn find(proxy: &Proxy, path: &str, taken: &[Self]) -> Option<Self> {
        let http =
            proxy.http_calls().into_iter().filter(|call| call.headers.get(":path") == Some(path));
        let grpc = proxy.grpc_calls().into_iter();
        let grpc = grpc.filter(|call| format!("/{}/{}", call.service, call.method) == path);
        let mut all = http.map(Kind::Http).chain(grpc.map(Kind::Grpc));
        let call =
            all.find(|call| !taken.iter().any(|known| known.call.token() == call.token()))?;
        Some(Self { proxy: proxy.clone(), call, answer: Message::default() })
    }

    /// What its server has received.
    pub(crate) fn seen(&mut self) -> Message {
        let mut now = self.proxy.grpc_calls().into_iter();
        if let Kind::Grpc(call) = &mut self.call
            && let Some(now) = now.find(|now| now.token == call.token)
        {
            *call = now;
        }
        match &self.call {
            Kind::Http(call) => Message {
                headers: list(&call.headers),
                body: call.body.clone(),
                // Envoy's client sends none, whatever the filter gave it.
                trailers: Vec::new(),
                ending: Some("end".into()),
            },
            Kind::Grpc(call) => {
                let mut headers = vec![
                    (":authority".to_owned(), call.cluster.clone()),
                    (":method".to_owned(), "POST".to_owned()),
                    (":path".to_owned(), format!("/{}/{}", call.service, call.method)),
                    ("content-type".to_owned(), "application/grpc".to_owned()),
                    ("te".to_owned(), "trailers".to_owned()),
                ];
                headers.extend(list(&call.metadata));
                let body = call.messages.iter();
                let body = body.flat_map(|message| framed(&String::from_utf8_lossy(message)));
                let ended = call.half_closed || !call.is_stream;
                Message {
                    headers,
                    body: body.collect(),
                    trailers: Vec::new(),
                    ending: ended.then(|| "end".to_owned()),
                }
            }
        }
    }

    /// Its server acts.
    pub(crate) fn act(&mut self, act: &Act) {
        let (mut end, mut reset) = (false, false);
        match act {
            Act::Headers { headers, end: last } => {
                self.answer.headers = response(headers);
                end = *last;
            }
            Act::Data { data, end: last } => {
                self.answer.body.extend(data.as_bytes());
                end = *last;
            }
            Act::Trailers(trailers) => {
                self.answer.trailers.clone_from(trailers);
                end = true;
            }
            Act::Reset(_) => reset = true,
            _ => {}
        }
        match &self.call {
            // To the filter, what Envoy's router answers in such a case is an answer.
            Kind::Http(call) if reset => call.respond(503, RESET),
            Kind::Http(call) if end => {
                let answer = self.answer.clone();
                call.respond_with(answer.headers, answer.body, answer.trailers);
            }
            Kind::Http(_) => {}
            Kind::Grpc(call) => grpc(call, act, &self.answer),
        }
    }
}

/// What a gRPC client makes of what the server does.
fn grpc(call: &GrpcCall, act: &Act, answer: &Message) {
    let close = |headers: &[(String, String)]| {
        let headers: Headers = headers.iter().map(|(name, value)| (name, value)).collect();
        let code = headers.get("grpc-status").and_then(|code| code.parse().ok()).unwrap_or(2);
        if call.is_stream {
            call.trailing_metadata(headers.clone());
        }
        if call.is_stream || code != 0 {
            // Envoy adds where the status came from.
            let message = match headers.get("grpc-message") {
                Some(message) => format!("{message}{{via_upstream}}"),
                None => "via_upstream".to_owned(),
            };
            call.close(code, &message);
        }
    };
    match act {
        Act::Headers { end: true, .. } => close(&answer.headers),
        Act::Headers { headers, .. } if call.is_stream => call.initial_metadata(response(headers)),
        Act::Message { message, .. } => call.message(message),
        Act::Trailers(trailers) => close(trailers),
        _ => {}
    }
}

impl Kind {
    fn token(&self) -> u32 {
        match self {
            Self::Http(call) => call.token,
            Self::Grpc(call) => call.token,
        }
    }
}
