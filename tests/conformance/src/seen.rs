//! What a peer has received of a message.

use std::sync::{Arc, Mutex, PoisonError};

use h2::RecvStream;
use http::HeaderMap;

use crate::{step::Received, trace::is_noise};

/// A request or an answer as far as it has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    /// Names and values, pseudo headers first.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Trailers.
    pub trailers: Vec<(String, String)>,
    /// How it ended: `end`, `reset`, `the connection's end`.
    pub ending: Option<String>,
}

impl Message {
    /// Whether so much of it has come.
    pub(crate) fn has(&self, wanted: Received) -> bool {
        match wanted {
            Received::Headers => !self.headers.is_empty() || self.ending.is_some(),
            Received::Bytes(bytes) => self.body.len() >= bytes || self.ending.is_some(),
            Received::End => self.ending.is_some(),
        }
    }

    /// As a trace shows it.
    pub(crate) fn lines(&self, who: &str) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.headers.is_empty() {
            lines.push(format!("{who} received headers{}", shown(&self.headers)));
        }
        if !self.body.is_empty() {
            let body = String::from_utf8_lossy(&self.body);
            let start: String = body.chars().take(100).collect();
            lines.push(format!("{who} received {} bytes {start:?}", self.body.len()));
        }
        if !self.trailers.is_empty() {
            lines.push(format!("{who} received trailers{}", shown(&self.trailers)));
        }
        lines.extend(self.ending.iter().map(|ending| format!("{who} received {ending}")));
        lines
    }
}

fn shown(headers: &[(String, String)]) -> String {
    let mut headers: Vec<_> = headers.iter().filter(|(name, _)| !is_noise(name)).collect();
    // Order between different names is the proxy's; a pseudo header comes first.
    headers.sort_by_key(|(name, _)| name.clone());
    headers.iter().fold(String::new(), |line, (name, value)| format!("{line} {name}={value}"))
}

/// A message that is still coming, shared with the task that reads it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Message>>);

impl Seen {
    pub(crate) fn now(&self) -> Message {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note(&self, note: impl FnOnce(&mut Message)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Reads a body and what follows it.
    pub(crate) async fn read(&self, mut body: RecvStream) {
        while let Some(data) = body.data().await {
            match data {
                Ok(data) => {
                    let _ = body.flow_control().release_capacity(data.len());
                    self.note(|message| message.body.extend(&data));
                }
                Err(error) => return self.failed(&error),
            }
        }
        match body.trailers().await {
            Ok(trailers) => self.note(|message| {
                message.trailers = trailers.map(|map| list(&map)).unwrap_or_default();
                message.ending = Some("end".into());
            }),
            Err(error) => self.failed(&error),
        }
    }

    pub(crate) fn failed(&self, error: &h2::Error) {
        // Which reason is told differs by release and says nothing about the filter.
        let ending = if error.reason().is_some() { "reset" } else { "the connection's end" };
        self.note(|message| message.ending = Some(ending.into()));
    }
}

pub(crate) fn list(map: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    map.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// `CANCEL` and the like.
pub(crate) fn reason(name: &str) -> h2::Reason {
    match name {
        "CANCEL" => h2::Reason::CANCEL,
        "REFUSED_STREAM" => h2::Reason::REFUSED_STREAM,
        "NO_ERROR" => h2::Reason::NO_ERROR,
        "PROTOCOL_ERROR" => h2::Reason::PROTOCOL_ERROR,
        _ => h2::Reason::INTERNAL_ERROR,
    }
}
