//! What leastload reads from others, fed with anything: the bodies of the fuzz targets.
//!
//! Each is a plain function that takes any bytes and panics where a property does not hold.
//! `make fuzz` drives them with coverage, and this crate's tests replay the inputs in `corpus/` and
//! `findings/` on any Rust.
#![expect(clippy::missing_panics_doc, reason = "to panic is how a target tells")]

mod address;
mod admin;
mod config;
mod headers;
mod news;
mod records;
mod report;
mod rig;
mod roster;
mod sequence;
mod take;

pub use address::address;
pub use admin::admin;
pub use config::config;
pub use headers::{headers, path};
pub use records::records;
pub use report::report;
pub use roster::roster;
pub use sequence::sequence;

/// A target: its name, which is also that of its folders in `corpus/` and `findings/`, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target there is.
pub const TARGETS: &[Target] = &[
    ("address", address),
    ("admin", admin),
    ("config", config),
    ("headers", headers),
    ("path", path),
    ("records", records),
    ("report", report),
    ("roster", roster),
    ("sequence", sequence),
];
