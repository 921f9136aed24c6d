//! What all VMs of a proxy share.

pub(crate) mod metrics;
pub(crate) mod queues;
pub(crate) mod shared_data;
