//! Words of the Proxy-Wasm ABI and of Envoy.

use core::fmt;

/// What a host call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// No such thing.
    NotFound = 1,
    /// An argument the host refuses, or a map that is not there in this phase.
    BadArgument = 2,
    /// A value could not be encoded.
    SerializationFailure = 3,
    /// A value could not be decoded.
    ParseFailure = 4,
    /// An expression is not valid.
    BadExpression = 5,
    /// A pointer leads outside the VM's memory.
    InvalidMemoryAccess = 6,
    /// The queue is empty.
    Empty = 7,
    /// The version given is not the one stored.
    CasMismatch = 8,
    /// A result of another kind than expected.
    ResultMismatch = 9,
    /// The host failed.
    InternalFailure = 10,
    /// A connection was lost.
    BrokenConnection = 11,
    /// The host does not offer it.
    Unimplemented = 12,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum LogLevel {
    /// The most verbose.
    Trace = 0,
    /// For developers.
    Debug = 1,
    /// Standard output goes here.
    Info = 2,
    /// Something to look at.
    Warn = 3,
    /// Standard error goes here.
    Error = 4,
    /// The host's own lines about a VM that died.
    Critical = 5,
}

impl LogLevel {
    pub(crate) fn from_abi(level: u32) -> Option<Self> {
        [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Critical]
            .get(level as usize)
            .copied()
    }
}

/// One line that a filter wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The thread it came from.
    pub thread: Thread,
    /// Its severity.
    pub level: LogLevel,
    /// Its text.
    pub text: String,
}

/// A thread of the proxy: every one has a VM of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Thread {
    /// The throwaway VM in which Envoy tries a configuration first.
    Canary,
    /// The main thread: it serves no requests, but it ticks and makes calls.
    Main,
    /// A worker, counted from 0.
    Worker(usize),
}

impl fmt::Display for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Canary => f.write_str("canary"),
            Self::Main => f.write_str("main"),
            Self::Worker(index) => write!(f, "worker {index}"),
        }
    }
}

/// What becomes of requests on a worker whose VM died (Envoy's `failure_policy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// They are answered 503, for good.
    #[default]
    FailClosed,
    /// They pass as if the filter were not there, for good.
    FailOpen,
    /// The next request gets a new VM, if the last start is a second ago; 503 until then.
    FailReload,
}

/// The side of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Client to server.
    Request,
    /// Server to client.
    Response,
}
