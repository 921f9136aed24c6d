//! A model of the part of Envoy behind the filter.

pub(crate) mod admin;
pub(crate) mod balancer;
pub(crate) mod call;
pub(crate) mod cluster;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod session;
