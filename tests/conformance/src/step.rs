//! What client, upstream and operator do: one line each.
//!
//! ```text
//! client headers [name=value ...] [end]      the request; POST to the scenario's path
//! client data TEXT [end]                     a frame of its body; TEXT*N repeats
//! client trailers name=value ...
//! client reset | client disconnect
//! client receives headers | BYTES | end      waits until it has
//! upstream headers [name=value ...] [end]    the answer, 200 where :status is not given
//! upstream data TEXT [end]
//! upstream trailers name=value ...
//! upstream message TEXT [end]                a gRPC message in a frame of its own; client too
//! upstream reset [REASON]                    as HTTP/2 names it; INTERNAL_ERROR
//! upstream receives headers | BYTES | end
//! upstream next                              from here on the next request of that path
//! callout ...                                the same for requests to the scenario's path + /call
//! callout2 ...                               path + /call2
//! wait [main] LINE                           until a line of the trace starts so
//! configure                                  the plugin's next configuration
//! ```

use http::HeaderMap;

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The client acts.
    Client(Act),
    /// The server of the cluster acts, on the request to this path.
    Upstream(String, Act),
    /// Until a line of the trace starts with this: of the main thread's VM, or of the worker's.
    Wait {
        /// Whether it is the main thread's.
        main: bool,
        /// Start of the line, without the context's name.
        line: String,
    },
    /// The plugin's next configuration.
    Configure,
}

/// What a peer does.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Sends headers.
    Headers {
        /// Names and values, pseudo headers included.
        headers: Vec<(String, String)>,
        /// Whether nothing follows.
        end: bool,
    },
    /// Sends a frame of the body.
    Data {
        /// The bytes.
        data: String,
        /// Whether nothing follows.
        end: bool,
    },
    /// Sends a gRPC message in a frame.
    Message {
        /// The message.
        message: String,
        /// Whether nothing follows.
        end: bool,
    },
    /// Sends trailers.
    Trailers(Vec<(String, String)>),
    /// Ends the stream early, for this reason.
    Reset(String),
    /// Ends the connection.
    Disconnect,
    /// Waits until it has received so much.
    Receives(Received),
    /// Turns to the next request.
    Next,
}

/// How much a peer has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Headers.
    Headers,
    /// So many bytes of the body.
    Bytes(usize),
    /// All.
    End,
}

impl Step {
    /// Reads the line of a scenario.
    ///
    /// # Panics
    /// When it is no step.
    pub fn parse(line: &str, scenario: &str) -> Self {
        let (who, what) = line.split_once(' ').unwrap_or((line, ""));
        match who {
            "client" => Self::Client(Act::parse(what)),
            "upstream" => Self::Upstream(format!("/{scenario}"), Act::parse(what)),
            "callout" => Self::Upstream(format!("/{scenario}/call"), Act::parse(what)),
            "callout2" => Self::Upstream(format!("/{scenario}/call2"), Act::parse(what)),
            "configure" => Self::Configure,
            "wait" => match what.strip_prefix("main ") {
                Some(line) => Self::Wait { main: true, line: line.to_owned() },
                None => Self::Wait { main: false, line: what.to_owned() },
            },
            _ => panic!("{scenario}: no step: {line}"),
        }
    }
}

impl Act {
    fn parse(what: &str) -> Self {
        let mut words: Vec<&str> = what.split(' ').collect();
        let end = words.len() > 1 && words.last() == Some(&"end");
        let verb = words.remove(0);
        if end && verb != "receives" {
            words.pop();
        }
        let word = words.first().copied().unwrap_or_default();
        match verb {
            "headers" => Self::Headers { headers: pairs(&words), end },
            "data" => Self::Data { data: repeated(word), end },
            "message" => Self::Message { message: repeated(word), end },
            "trailers" => Self::Trailers(pairs(&words)),
            "reset" if word.is_empty() => Self::Reset("INTERNAL_ERROR".into()),
            "reset" => Self::Reset(word.into()),
            "disconnect" => Self::Disconnect,
            "receives" => Self::Receives(match word {
                "headers" => Received::Headers,
                "end" => Received::End,
                bytes => Received::Bytes(bytes.parse().expect("a number of bytes")),
            }),
            "next" => Self::Next,
            _ => panic!("no act: {what}"),
        }
    }
}

fn pairs(words: &[&str]) -> Vec<(String, String)> {
    let pair = |word: &&str| {
        let at = word.find('=').unwrap_or_else(|| panic!("no name=value: {word}"));
        (word[..at].to_owned(), word[at + 1..].to_owned())
    };
    words.iter().map(pair).collect()
}

/// `ab*3` is `ababab`; `-` is nothing.
fn repeated(word: &str) -> String {
    match word.split_once('*') {
        Some((text, times)) => text.repeat(times.parse().expect("a number of times")),
        None => word.replace('-', ""),
    }
}

/// The headers of a request, with what is not given: pseudo headers, the probe's script.
pub fn request(path: &str, script: &str, given: &[(String, String)]) -> Vec<(String, String)> {
    let usual =
        [(":method", "POST"), (":scheme", "http"), (":authority", "probe.test"), (":path", path)];
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in usual {
        let given = given.iter().find(|(given, _)| given == name);
        headers.push((name.to_owned(), given.map_or(value, |(_, value)| value).to_owned()));
    }
    headers.extend(given.iter().filter(|(name, _)| !name.starts_with(':')).cloned());
    if script != "null" {
        headers.push(("x-probe".to_owned(), script.to_owned()));
    }
    headers
}

/// A header that an answer needs: the status, where none is given.
pub fn response(given: &[(String, String)]) -> Vec<(String, String)> {
    let mut headers = given.to_vec();
    if !headers.iter().any(|(name, _)| name == ":status") {
        headers.insert(0, (":status".to_owned(), "200".to_owned()));
    }
    headers
}

/// As the `http` crate has them, pseudo headers left out.
pub(crate) fn header_map(headers: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| !name.starts_with(':')) {
        let name: http::HeaderName = name.parse().expect("a header's name");
        map.append(name, value.parse().expect("a header's value"));
    }
    map
}

/// A gRPC message as it goes into the body: not compressed, its length, itself.
///
/// # Panics
/// When it is longer than 4 GB.
pub fn framed(message: &str) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short message");
    [&[0], &length.to_be_bytes()[..], message.as_bytes()].concat()
}
