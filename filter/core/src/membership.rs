//! Who is in a cluster, and who of them may be picked.

pub mod admin;
pub mod eligible;
pub mod learned;
pub mod roster;
