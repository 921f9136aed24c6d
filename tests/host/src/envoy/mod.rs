//! A model of the part of Envoy behind the filter.

pub(crate) mod call;
pub(crate) mod cluster;
pub(crate) mod request;
