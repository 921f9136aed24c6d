//! The module under test.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A module: a file, or the bytes of one.
#[derive(Clone, Debug)]
pub enum Module {
    /// A file with the binary form.
    File(PathBuf),
    /// The binary form.
    Bytes(Arc<[u8]>),
}

impl From<&str> for Module {
    fn from(path: &str) -> Self {
        Self::File(path.into())
    }
}

impl From<&Path> for Module {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<PathBuf> for Module {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl From<&PathBuf> for Module {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.clone())
    }
}

impl From<Vec<u8>> for Module {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<&[u8]> for Module {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}
