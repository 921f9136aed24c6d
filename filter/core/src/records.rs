//! What the workers of one proxy write for each other: protobuf, because a record that another
//! version of the module wrote must be readable or recognisably foreign. Keys carry the version of
//! this protocol.

use prost::Message;

use crate::proxy::{Cas, Proxy};

/// Key of [`Lease`].
pub const LEASE: &str = "leastload.1.lease";
/// Key of [`Epoch`].
pub const EPOCH: &str = "leastload.1.epoch";
/// Key of [`Clusters`].
pub const CLUSTERS: &str = "leastload.1.clusters";
/// Key of [`State`].
pub const STATE: &str = "leastload.1.state";

/// Key of the [`Presence`] in one place of the table of VMs.
pub fn presence_key(place: u32) -> String {
    format!("leastload.1.vm.{place}")
}

/// Key of a cluster's [`Roster`].
pub fn roster_key(cluster: &str) -> String {
    format!("leastload.1.roster.{cluster}")
}

/// Key of a [`Server`], by the name that it has in [`Clusters`].
pub fn server_key(name: &str) -> String {
    format!("leastload.1.{name}")
}

/// Who coordinates: reads the admin interface and watches the other VMs.
#[derive(Clone, PartialEq, Message)]
pub struct Lease {
    /// The holder's random name; 0 where the lease was given up.
    #[prost(fixed64, tag = "1")]
    pub holder: u64,
    /// Raised at every tick of the holder.
    #[prost(uint64, tag = "2")]
    pub beat: u64,
    /// Within how many milliseconds it ticks again, where it ticks less often than usual; else 0.
    #[prost(uint32, tag = "3")]
    pub period_ms: u32,
}

/// Which gauge set counts: `epoch & 1`.
#[derive(Clone, PartialEq, Message)]
pub struct Epoch {
    /// Raised whenever the counts move to the other set.
    #[prost(uint32, tag = "1")]
    pub epoch: u32,
    /// Places of the table of VMs in use: all lower than this.
    #[prost(uint32, tag = "2")]
    pub places: u32,
    /// A VM has reason to believe that the current set is off: move once more.
    #[prost(bool, tag = "3")]
    pub heal: bool,
}

/// A VM that may have counts in the gauges.
#[derive(Clone, PartialEq, Message)]
pub struct Presence {
    /// The VM's random name; 0 where the place is free.
    #[prost(fixed64, tag = "1")]
    pub holder: u64,
    /// Raised at every tick of the VM.
    #[prost(uint64, tag = "2")]
    pub beat: u64,
    /// The epoch whose set holds the VM's counts.
    #[prost(uint32, tag = "3")]
    pub epoch: u32,
    /// Within how many milliseconds it ticks again, where it ticks less often than usual; else 0.
    #[prost(uint32, tag = "4")]
    pub period_ms: u32,
}

/// Every cluster a worker asked about, in order of first use. Only ever appended to, so that an
/// index means the same cluster for the life of the process.
#[derive(Clone, PartialEq, Message)]
pub struct Clusters {
    /// Names, as `xds.cluster_name` says them.
    #[prost(string, repeated, tag = "1")]
    pub names: Vec<String>,
}

/// What every VM reads at every tick: small, and enough to know what else to read.
#[derive(Clone, PartialEq, Message)]
pub struct State {
    /// Successful reads of the admin interface so far.
    #[prost(uint64, tag = "1")]
    pub reads: u64,
    /// Within how many milliseconds the next read is due.
    #[prost(uint64, tag = "2")]
    pub due_ms: u64,
    /// The version of each cluster's roster, by its index in [`Clusters`].
    #[prost(uint32, repeated, tag = "3")]
    pub versions: Vec<u32>,
    /// The last attempt to read the admin interface failed.
    #[prost(bool, tag = "4")]
    pub failing: bool,
    /// The proxy drains: whoever asks its servers for their load hears that they do.
    #[prost(bool, tag = "5")]
    pub draining: bool,
    /// No worker has seen a request for a while.
    #[prost(bool, tag = "6")]
    pub idle: bool,
    /// Raised by workers that see requests: every few seconds, and by the first one that ends idleness.
    #[prost(uint64, tag = "7")]
    pub stirs: u64,
}

/// What the workers learned of a server beside the proxy: each adds what it saw, the coordinator
/// draws the conclusions. Of these numbers none is believed to be finite or within its range.
#[derive(Clone, PartialEq, Message)]
pub struct Server {
    /// By class of requests in flight, three sums: weight, requests in flight, latency in us.
    #[prost(float, repeated, tag = "1")]
    pub sums: Vec<f32>,
    /// Of late, two sums: weight, service time in us.
    #[prost(float, repeated, tag = "2")]
    pub recent: Vec<f32>,
    /// Requests that ended, those that failed, and probes answered, since the last conclusions.
    #[prost(uint32, repeated, tag = "3")]
    pub counts: Vec<u32>,
    /// Time of service in us, slots, hope, and for how many ms there have been answers; empty where
    /// nothing is known.
    #[prost(float, repeated, tag = "4")]
    pub fit: Vec<f32>,
    /// A second: requests that ended, those that failed, probes answered.
    #[prost(float, repeated, tag = "5")]
    pub rates: Vec<f32>,
    /// The part of what askers would like to ask that they may, less 1.
    #[prost(float, tag = "6")]
    pub share: f32,
    /// For so many milliseconds it counts as one that does not serve.
    #[prost(uint32, tag = "7")]
    pub unwell_ms: u32,
}

/// How a cluster's membership came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Source {
    /// Not at all.
    Unknown = 0,
    /// `discovery.static`.
    Static = 1,
    /// Envoy's admin interface.
    Admin = 2,
    /// Addresses that served requests which Envoy balanced.
    Learned = 3,
}

/// What a pick may do with an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Standing {
    /// No longer in the cluster: its slot waits to be used again.
    Gone = 0,
    /// In the cluster, not to be picked: unhealthy, or of a lower priority.
    Known = 1,
    /// To be picked.
    Eligible = 2,
}

/// A cluster's membership. An endpoint keeps its slot (its index here) for as long as anything may
/// be counted on it.
#[derive(Clone, PartialEq, Message)]
pub struct Roster {
    /// Raised at every change.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// How the endpoints became known.
    #[prost(enumeration = "Source", tag = "2")]
    pub source: i32,
    /// Too few are healthy: let Envoy balance.
    #[prost(bool, tag = "3")]
    pub panic: bool,
    /// By slot.
    #[prost(message, repeated, tag = "4")]
    pub entries: Vec<Entry>,
    /// Envoy routes by another rule than balancing (original destination): never steer here.
    #[prost(bool, tag = "5")]
    pub unbalanced: bool,
}

/// One endpoint of a [`Roster`].
#[derive(Clone, PartialEq, Message)]
pub struct Entry {
    /// As Envoy prints it.
    #[prost(string, tag = "1")]
    pub endpoint: String,
    /// Load-balancing weight, at least 1.
    #[prost(uint32, tag = "2")]
    pub weight: u32,
    /// What a pick may do with it.
    #[prost(enumeration = "Standing", tag = "3")]
    pub standing: i32,
}

/// Reads a record. One that does not decode counts as empty: its next writer replaces it.
pub fn read<M: Message + Default>(proxy: &dyn Proxy, key: &str) -> Option<(M, Cas)> {
    let (bytes, cas) = proxy.shared_get(key)?;
    Some((M::decode(bytes.as_slice()).unwrap_or_default(), cas))
}

/// Changes a record by compare and swap until it holds. `change` sees the record (or an empty one)
/// and returns whether there is something to write. `None` where others kept winning.
pub fn update<M: Message + Default>(
    proxy: &dyn Proxy,
    key: &str,
    mut change: impl FnMut(&mut M) -> bool,
) -> Option<M> {
    /// More VMs than this would have to write between our read and our write, every time.
    const TRIES: usize = 16;
    for _ in 0..TRIES {
        let (mut record, cas) = match read::<M>(proxy, key) {
            Some((record, cas)) => (record, Some(cas)),
            None => (M::default(), None),
        };
        if !change(&mut record) || proxy.shared_swap(key, &record.encode_to_vec(), cas) {
            return Some(record);
        }
    }
    None
}
