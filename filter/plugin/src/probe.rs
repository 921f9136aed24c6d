//! Probes: requests of our own that ask a server for its load.

use std::time::Duration;

use leastload_core::config::Mechanism;
use leastload_core::grpc::Status;

use crate::host;
use crate::reports;
use crate::root::{Plugin, Route};
use crate::vm::Vm;

/// The value of the ask header by which an ordinary request asks that its response be stamped.
pub(crate) const STAMP: &str = "stamp";
/// The value of the ask header by which a probe asks for an answer in the application's stead.
pub(crate) const LOAD: &str = "load";
/// The header by which an answer tells which endpoint gave it.
pub(crate) const SELF: &str = "x-leastload-self";
/// A server without the filter answers such a method at once, that there is none.
const METHOD: &str = "/leastload.v1.Load/Ask";
/// The header that names the endpoint to an `ORIGINAL_DST` cluster.
const ORIGINAL_DST: &str = "x-envoy-original-dst-host";
/// How long Envoy waits for an answer. Late ones still teach, and requests do not wait for them.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How a probe reaches its server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// Through the cluster itself, whose policy reads the override header.
    OverrideHost,
    /// Through the cluster of `probe.cluster`, which goes where a header says.
    OriginalDst,
    /// Through the cluster itself; Envoy chooses whom, and the answer says who it was.
    Untargeted,
}

impl Path {
    /// How many there are.
    pub(crate) const COUNT: usize = Path::Untargeted as usize + 1;

    /// As metrics name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Path::OverrideHost => "override_host",
            Path::OriginalDst => "original_dst",
            Path::Untargeted => "untargeted",
        }
    }
}

/// What became of a probe.
#[derive(Clone, Copy)]
pub(crate) enum Asked {
    /// The load, in time.
    Answered,
    /// The load, after the decision.
    Late,
    /// Something else: no connection, no twin, one that does not answer us.
    Silent,
    /// Envoy could not send it.
    Unsent,
}

impl Asked {
    /// How many there are.
    pub(crate) const COUNT: usize = Asked::Unsent as usize + 1;

    /// As metrics name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Asked::Answered => "answered",
            Asked::Late => "late",
            Asked::Silent => "silent",
            Asked::Unsent => "unsent",
        }
    }
}

/// Whether an answer without a report comes from a server that has nobody who would report: such a
/// server knows no such method. (Envoy itself says that it cannot reach one.)
pub(crate) fn has_no_twin() -> bool {
    match reports::status(host::ANSWER) {
        Some(status) => status == Status::UNIMPLEMENTED,
        None => host::header(host::ANSWER, ":status").is_some_and(|s| s.first() == Some(&b'4')),
    }
}

/// A probe under way.
pub(crate) struct Question {
    pub(crate) token: u32,
    /// The slot of the endpoint that it is to ask.
    pub(crate) slot: u32,
    pub(crate) path: Path,
}

/// Sends the probes of one request.
pub(crate) struct Prober<'a> {
    vm: &'a Vm,
    plugin: &'a Plugin,
    route: &'a Route,
    authority: String,
}

impl<'a> Prober<'a> {
    /// In the callback of the request's headers.
    pub(crate) fn new(vm: &'a Vm, plugin: &'a Plugin, route: &'a Route) -> Self {
        // Routes on the way may look at it.
        let authority = host::header(host::REQUEST, ":authority");
        let authority = authority.and_then(|value| String::from_utf8(value).ok());
        Self { vm, plugin, route, authority: authority.unwrap_or_else(|| "leastload".to_owned()) }
    }

    /// Asks an endpoint.
    pub(crate) fn ask(&self, slot: u32, endpoint: &str) -> Option<Question> {
        let config = &self.plugin.config;
        let own = self.route.cluster.as_str();
        let by_address = match (config.steering.mechanism, &self.route.settings.probe_cluster) {
            (Mechanism::OverrideHost, _) => {
                Some((Path::OverrideHost, own, config.steering.header.as_str()))
            }
            (Mechanism::StatefulSession, Some(cluster)) => {
                Some((Path::OriginalDst, cluster.as_str(), ORIGINAL_DST))
            }
            (Mechanism::StatefulSession, None) => None,
        };
        let by_address = by_address.and_then(|(path, cluster, header)| {
            Some((path, self.send(path, cluster, Some((header, endpoint)))?))
        });
        let (path, token) = by_address
            .or_else(|| Some((Path::Untargeted, self.send(Path::Untargeted, own, None)?)))?;
        Some(Question { token, slot, path })
    }

    fn send(&self, path: Path, cluster: &str, target: Option<(&str, &str)>) -> Option<u32> {
        let mut headers = vec![
            (":method", "POST"),
            (":path", METHOD),
            (":authority", &self.authority),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            (self.plugin.config.probe.header.as_str(), LOAD),
        ];
        headers.extend(target);
        let token = host::send(cluster, headers, TIMEOUT);
        if token.is_none() {
            self.count(path, Asked::Unsent);
        } else if self.route.is_first_by(path) {
            let own = &self.route.cluster;
            log::info!("leastload: cluster {own}: servers are asked by {}", path.name());
        }
        token
    }

    fn count(&self, path: Path, asked: Asked) {
        self.vm.envoy.count_probe(self.route.id.index(), &self.route.cluster, path, asked);
    }
}
