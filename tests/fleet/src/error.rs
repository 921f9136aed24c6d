//! One error for all of this crate, with messages somebody can act on.

use std::{fmt, io, path::PathBuf};

/// What went wrong while running servers, load or Envoys.
#[derive(Debug)]
pub enum Error {
    /// An operating system call failed; says what it was for.
    Io(String, io::Error),
    /// A program that has to be there is not; says which and where it was looked for.
    Missing(String, PathBuf),
    /// A child process ended, or was not ready in time; holds what it said last.
    Child(String),
    /// Envoy's admin interface answered with something else than 200.
    Admin {
        /// Path and query that were asked for.
        path: String,
        /// HTTP status, 0 where there was no answer.
        status: u16,
        /// Start of the answer, or of the error.
        body: String,
    },
    /// A gRPC call of the library itself (not of the offered load) failed.
    Grpc(tonic::Status),
    /// An argument cannot be understood; says what was expected.
    Argument(String),
    /// Something awaited did not happen in time; says what.
    Timeout(String),
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Wraps an I/O error with what was being done: `Error::io("read envoy.log")`.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |error| Self::Io(doing, error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(doing, error) => write!(f, "cannot {doing}: {error}"),
            Self::Missing(what, path) => write!(f, "{what} is not at {}", path.display()),
            Self::Child(what) | Self::Argument(what) => f.write_str(what),
            Self::Admin { path, status, body } => {
                write!(f, "Envoy's admin interface answered {status} to {path}: {body}")
            }
            Self::Grpc(status) => write!(f, "gRPC call failed: {status}"),
            Self::Timeout(what) => write!(f, "waited in vain: {what}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            Self::Grpc(status) => Some(status),
            _ => None,
        }
    }
}

impl From<leastload_browser::Error> for Error {
    fn from(error: leastload_browser::Error) -> Self {
        Self::Child(error.to_string())
    }
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Self::Grpc(status)
    }
}
