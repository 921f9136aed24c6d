//! Generated code of `proto/*.proto`: messages, clients and server traits.

/// The greeter: `helloworld.Greeter`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod helloworld {
    tonic::include_proto!("helloworld");
}

/// What a server knows about itself: `leastload.fleet.Stats`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod stats {
    tonic::include_proto!("leastload.fleet");
}

/// Encoded `FileDescriptorSet` of both files, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/fleet-descriptors.bin"));
