//! The hosts of a cluster as Envoy's admin interface tells them: `/clusters?format=json`.
//!
//! The answer has about a kilobyte per host, most of it counters, and before Envoy 1.38 it cannot
//! be narrowed to a cluster. So clusters that nobody wants and fields that nobody needs are skipped, and
//! a long answer is read as a stream, never stored. A host that cannot be understood is left out and
//! counted; it never hides the others.
//!
//! Source of the format: Envoy's `envoy.admin.v3.Clusters`. As in all JSON of protocol buffers, a
//! field that has its default (0, false, empty) is absent.

mod walk;

use core::fmt;
use rustc_hash::FxBuildHasher;
use std::io::{BufReader, Read};

use serde::de::DeserializeSeed;
use serde_json::error::Category;

use self::walk::{Field, Node, Place, Scalar};
use crate::Map;
use crate::config::is_endpoint;

/// Most hosts kept of one cluster; further ones are counted in [`Snapshot::dropped`].
pub const MOST_HOSTS: usize = 20_000;

/// Bytes asked for at a time of a long answer, so that the body's source (a host call) is asked seldom.
const CHUNK: usize = 16 * 1024;

/// An answer of at most so many bytes is read as a whole first, for to parse it from memory takes 0.36 of
/// the instructions; the VM must have room for it. It is one of some 150 hosts.
const WHOLE: u64 = 128 * 1024;

/// One host of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The string Envoy prints for it in the text form of `/clusters` and in `upstream.address`.
    pub endpoint: String,
    /// 0 is the highest.
    pub priority: u32,
    /// Its share relative to the others, at least 1.
    pub weight: u32,
    /// What Envoy holds of its health.
    pub health: Health,
}

/// A host's health as Envoy's balancers see it (`Host::coarseHealth` in its source).
///
/// Ordered from the worst to the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Failed its health check, ejected by outlier detection, or reported unhealthy by EDS.
    Unhealthy,
    /// Unfit like [`Health::Unhealthy`], but expected to be: draining, not checked yet, or failed
    /// on request. Envoy's panic mode does not count these, and neither does ours.
    Excluded,
    /// To be used only where healthy ones do not suffice.
    Degraded,
    /// Fit. A host that discovery has dropped already but whose health check still passes
    /// (`pending_dynamic_removal`) is one too: Envoy goes on sending to it.
    Healthy,
}

/// One wanted cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Envoy's name for it.
    pub name: String,
    /// Its hosts in Envoy's order, each endpoint once.
    pub hosts: Vec<Host>,
    /// Each host is the original destination of some connection (cluster type `ORIGINAL_DST`):
    /// Envoy goes where the client meant to go, and there is nothing to balance.
    pub original_destination: bool,
}

/// What the admin interface told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The wanted clusters, sorted by name, those without hosts too.
    pub clusters: Vec<Cluster>,
    /// Hosts left out because they could not be understood, and clusters without a name.
    pub faulty: usize,
    /// Hosts left out beyond [`MOST_HOSTS`].
    pub dropped: usize,
}

impl Snapshot {
    /// What is told of `cluster`; `None` where it is not listed or was not wanted.
    pub fn cluster(&self, cluster: &str) -> Option<&Cluster> {
        let found = self.clusters.binary_search_by(|listed| listed.name.as_str().cmp(cluster));
        found.ok().and_then(|index| self.clusters.get(index))
    }

    /// The hosts of `cluster`; `None` where it is not listed or was not wanted.
    pub fn hosts(&self, cluster: &str) -> Option<&[Host]> {
        self.cluster(cluster).map(|found| found.hosts.as_slice())
    }
}

/// Why there is no [`Snapshot`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Not JSON, from this place on.
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in bytes.
        column: usize,
    },
    /// The body ended too early.
    Truncated,
    /// The body could not be read.
    Unreadable,
    /// JSON, but it lists no cluster. Envoy always lists at least the one that was asked.
    NoClusters,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { line, column } => {
                write!(f, "not the JSON of /clusters at line {line} column {column}")
            }
            Self::Truncated => f.write_str("the answer ended too early"),
            Self::Unreadable => f.write_str("the answer could not be read"),
            Self::NoClusters => f.write_str("the answer lists no clusters"),
        }
    }
}

impl core::error::Error for ParseError {}

/// Reads `/clusters?format=json`, keeping the clusters for which `wanted` says so. `body`, which may come
/// in pieces of any length, has about `length` bytes; beyond some 128 kB memory is bounded by what is
/// wanted.
///
/// # Errors
///
/// Where the body as a whole makes no sense. What was read before the fault is not returned: half
/// a membership would look like hosts that left.
pub fn parse(
    mut body: impl Read,
    length: u64,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Snapshot, ParseError> {
    if length > WHOLE {
        return parse_stream(&mut body, wanted);
    }
    let mut whole = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    body.read_to_end(&mut whole).map_err(|_| ParseError::Unreadable)?;
    read(serde_json::Deserializer::from_slice(&whole), wanted)
}

fn parse_stream(
    body: &mut dyn Read,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Snapshot, ParseError> {
    read(serde_json::Deserializer::from_reader(BufReader::with_capacity(CHUNK, body)), wanted)
}

fn read<'de, R: serde_json::de::Read<'de>>(
    mut json: serde_json::Deserializer<R>,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Snapshot, ParseError> {
    let mut reading = Reading::new(wanted);
    let node = Node { reading: &mut reading, place: Place::Answer };
    node.deserialize(&mut json).and_then(|_| json.end()).map_err(|error| {
        match error.classify() {
            Category::Io => ParseError::Unreadable,
            Category::Eof => ParseError::Truncated,
            Category::Syntax | Category::Data => {
                ParseError::Syntax { line: error.line(), column: error.column() }
            }
        }
    })?;
    if reading.any { Ok(reading.snapshot) } else { Err(ParseError::NoClusters) }
}

/// The whole answer, with the cluster and the host that are read at the moment.
struct Reading<'a> {
    wanted: &'a dyn Fn(&str) -> bool,
    snapshot: Snapshot,
    any: bool,
    cluster: ClusterDraft,
    host: HostDraft,
}

impl<'a> Reading<'a> {
    fn new(wanted: &'a dyn Fn(&str) -> bool) -> Self {
        Self {
            wanted,
            snapshot: Snapshot::default(),
            any: false,
            cluster: ClusterDraft::default(),
            host: HostDraft::default(),
        }
    }

    /// Whether the hosts of this cluster may be wanted: its name may come after them.
    fn is_wanted(&self) -> bool {
        !self.cluster.is_unwanted
    }

    fn set_name(&mut self, name: Scalar) {
        if let Scalar::Text(name) = name {
            self.cluster.is_unwanted = !(self.wanted)(&name);
            self.cluster.name = Some(name);
        }
    }

    fn end_cluster(&mut self) {
        self.any = true;
        let draft = core::mem::take(&mut self.cluster);
        match draft.name {
            Some(name) if !draft.is_unwanted => {
                self.snapshot.faulty += draft.faulty;
                self.snapshot.dropped += draft.dropped;
                let clusters = &mut self.snapshot.clusters;
                let index = clusters.partition_point(|listed| listed.name < name);
                let hosts = each_once(draft.hosts);
                // The type of a cluster is not told, but Envoy names a host that it made for an
                // original destination after the cluster and the address.
                let original_destination = draft.prefix.is_some_and(|prefix| prefix == name);
                clusters.insert(index, Cluster { name, hosts, original_destination });
            }
            Some(_) => {}
            None => self.snapshot.faulty += 1,
        }
    }

    fn end_host(&mut self) {
        let mut draft = core::mem::take(&mut self.host);
        let hostname = core::mem::take(&mut draft.hostname);
        let cluster = &mut self.cluster;
        match draft.finish() {
            None => cluster.faulty += 1,
            Some(_) if cluster.hosts.len() >= MOST_HOSTS => cluster.dropped += 1,
            Some(host) => {
                if let Scalar::Text(name) = hostname
                    && let Some(prefix) = name.strip_suffix(&host.endpoint)
                {
                    cluster.prefix = Some(prefix.to_owned());
                }
                cluster.hosts.push(host);
            }
        }
    }
}

/// One cluster while it is read.
#[derive(Default)]
struct ClusterDraft {
    name: Option<String>,
    is_unwanted: bool,
    hosts: Vec<Host>,
    /// What a hostname says before the host's own address.
    prefix: Option<String>,
    faulty: usize,
    dropped: usize,
}

/// Keeps each endpoint once: an override names an endpoint, not a priority, and Envoy resolves it
/// to the host of the highest priority that has it (`crossPriorityHostMap`), so that one's health
/// is what counts. Where one priority lists it twice, Envoy may resolve it to either, so the worse
/// health counts.
fn each_once(hosts: Vec<Host>) -> Vec<Host> {
    let mut once: Vec<Host> = Vec::with_capacity(hosts.len());
    let mut places: Map<String, u32> = Map::with_capacity_and_hasher(hosts.len(), FxBuildHasher);
    for host in hosts {
        match places.get(&host.endpoint).and_then(|place| once.get_mut(*place as usize)) {
            Some(first) if (host.priority, host.health) < (first.priority, first.health) => {
                *first = host;
            }
            Some(_) => {}
            None => {
                // At most [`MOST_HOSTS`].
                let place = u32::try_from(once.len()).unwrap_or(u32::MAX);
                places.insert(host.endpoint.clone(), place);
                once.push(host);
            }
        }
    }
    once
}

/// One host while it is read: its own fields and those of the messages inside it, whose names do
/// not collide.
#[derive(Default)]
struct HostDraft {
    ip: Scalar,
    port: Scalar,
    path: Scalar,
    listener: Scalar,
    endpoint_id: Scalar,
    priority: Scalar,
    weight: Scalar,
    eds_status: Scalar,
    hostname: Scalar,
    is_failed: bool,
    is_excluded: bool,
    is_degraded: bool,
}

impl HostDraft {
    fn set(&mut self, field: Field, value: Scalar) {
        match field {
            Field::Ip => self.ip = value,
            Field::PortValue => self.port = value,
            Field::Path => self.path = value,
            Field::ListenerName => self.listener = value,
            Field::EndpointId => self.endpoint_id = value,
            Field::Priority => self.priority = value,
            Field::Weight => self.weight = value,
            Field::Hostname => self.hostname = value,
            Field::EdsStatus => self.eds_status = value,
            Field::Failed => self.is_failed |= value.is_set(),
            Field::Degraded => self.is_degraded |= value.is_set(),
            Field::Excluded => self.is_excluded |= value.is_set(),
        }
    }

    /// `None` where it cannot be named, or where its priority is not to be told: taking it for one
    /// of priority 0 would defeat failover.
    fn finish(self) -> Option<Host> {
        let priority = match self.priority {
            Scalar::Missing => 0,
            Scalar::Number(priority) => u32::try_from(priority).ok()?,
            _ => return None,
        };
        let weight = match self.weight {
            Scalar::Number(weight) => u32::try_from(weight).unwrap_or(u32::MAX).max(1),
            _ => 1,
        };
        let health = self.health();
        let endpoint = self.endpoint().filter(|endpoint| is_endpoint(endpoint))?;
        Some(Host { endpoint, priority, weight, health })
    }

    /// The address as Envoy's `Address::Instance::asString` prints it.
    fn endpoint(self) -> Option<String> {
        if let Scalar::Text(listener) = self.listener {
            return match self.endpoint_id {
                Scalar::Text(id) => Some(format!("envoy://{listener}/{id}")),
                Scalar::Missing => Some(format!("envoy://{listener}/")),
                _ => None,
            };
        }
        if let Scalar::Text(path) = self.path {
            return Some(path);
        }
        let (Scalar::Text(ip), Scalar::Number(port @ 1..=0xffff)) = (self.ip, self.port) else {
            return None;
        };
        let is_v6 = ip.contains(':');
        (!ip.is_empty())
            .then(|| if is_v6 { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") })
    }

    /// As Envoy's `Host::coarseHealth` and `excludeBasedOnHealthFlag`. What a newer Envoy may say
    /// and we do not know counts as unhealthy: leaving out a fit host costs a little balance, and
    /// all of them left out is panic, where Envoy balances; picking a sick one fails a request.
    fn health(&self) -> Health {
        let (mut failed, mut excluded, mut degraded) =
            (self.is_failed, self.is_excluded, self.is_degraded);
        match &self.eds_status {
            Scalar::Missing => {}
            Scalar::Text(status) => match status.as_str() {
                "HEALTHY" | "UNKNOWN" => {}
                "DEGRADED" => degraded = true,
                "DRAINING" => (failed, excluded) = (true, true),
                // UNHEALTHY, and TIMEOUT, which Envoy treats alike.
                _ => failed = true,
            },
            _ => failed = true,
        }
        match (failed, excluded, degraded) {
            (true, true, _) => Health::Excluded,
            (true, false, _) => Health::Unhealthy,
            (false, _, true) => Health::Degraded,
            (false, _, false) => Health::Healthy,
        }
    }
}

#[cfg(test)]
mod tests;
