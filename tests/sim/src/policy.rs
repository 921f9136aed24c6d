//! Who balances. One instance stands for one proxy; it knows what that proxy knows and no more.

mod c3;
mod central;
mod edf;
mod fresh;
mod least;
mod least_request;
mod leastload;
mod peak_ewma;
mod perfect;
mod prequal;
mod random;
#[cfg(test)]
mod rig;
mod round_robin;
mod rule;
mod stride;
mod weighted_round_robin;

pub use c3::C3Config;
pub use least_request::{FullScanConfig, LeastRequestConfig};
pub use peak_ewma::PeakEwmaConfig;
pub use prequal::{
    Aversion, Latency as PrequalLatency, PrequalConfig, PrequalSyncConfig, Score as PrequalScore,
};
pub use rule::Rule;
pub use weighted_round_robin::WeightedRoundRobinConfig;

use fastrand::Rng;
use leastload_core::load::Load;
use leastload_core::twin::TwinTuning;

/// A server, by its number.
pub type ServerId = u32;
/// A request under way, by its place in the proxies' tables: small, and used again after its end.
pub type RequestId = u32;

/// What a policy needs the simulation to work out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Needs {
    /// Stamps on responses.
    pub stamps: bool,
    /// Servers estimate their latency at the present number of requests in flight (Prequal).
    pub latency_at_rif: bool,
    /// Servers have leastload's own twin, which learns so fast.
    pub twin: Option<TwinTuning>,
}

/// What a server with a twin says of itself, on a response or when it is probed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stamp {
    /// Requests in flight (working and waiting), without the one that carries the stamp.
    pub in_flight: f32,
    /// Of these, waiting.
    pub waiting: f32,
    /// Mean time of service of late (an average that forgets), in ns, without waiting.
    pub service_ns: f32,
    /// Median latency of late at about this number of requests in flight, in ns. 0: not known, or
    /// not asked for by [`Needs::latency_at_rif`].
    pub latency_ns: f32,
    /// Requests ended a second, in the last full period of reports.
    pub rate: f32,
    /// Errors a second, likewise.
    pub error_rate: f32,
    /// Busy share of its slots, likewise: 0 to 1, more where requests wait.
    pub utilization: f32,
    /// What leastload's twin says.
    pub load: Option<Load>,
}

/// A request that wants a server.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The request. It keeps its number until its last attempt has ended.
    pub request: RequestId,
    /// The worker thread it came to.
    pub worker: u16,
    /// Its method, an index into the scenario's.
    pub method: u16,
    /// Servers that failed earlier attempts.
    pub failed: &'a [ServerId],
}

/// What a policy says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// This server.
    Server(ServerId),
    /// Wait until [`Env::resume`].
    Wait,
    /// Nobody is there: it fails.
    Nobody,
    /// Whichever server is free first: the limit alone says so.
    Central,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered.
    Answered,
    /// Refused, lost, or failed by the server.
    Failed,
    /// The client gave up, or had no more time.
    GivenUp,
}

/// The end of an attempt, as the proxy sees it.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// The request.
    pub request: RequestId,
    /// The worker thread it came to.
    pub worker: u16,
    /// Its method.
    pub method: u16,
    /// Who served it.
    pub server: ServerId,
    /// How.
    pub outcome: Outcome,
    /// Whether the request is over with it; else another attempt follows.
    pub last: bool,
    /// Since it was sent to the server, in ns.
    pub latency_ns: u64,
    /// What the server said of itself, if it did and it arrived.
    pub stamp: Option<&'a Stamp>,
}

/// The truth about a server, for those who may know it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Truth {
    /// Requests sent to it and not yet answered by it, from all proxies.
    pub outstanding: u32,
    /// Its slots.
    pub slots: u32,
    /// Its speed at this moment.
    pub speed: f64,
}

/// A member of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The server.
    pub server: ServerId,
    /// Its load-balancing weight.
    pub weight: u32,
}

/// What a policy asks the simulation to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Probe { server: ServerId, token: u64 },
    Timer { at: u64, token: u64 },
    Resume { request: RequestId, pick: Pick },
}

/// The world as a policy may see it.
pub struct Env<'a> {
    /// Virtual time, in ns.
    pub now: u64,
    /// Random numbers for this proxy's decisions.
    pub rng: &'a mut Rng,
    /// The truth about every server. Only perfect policies may look.
    pub truth: &'a [Truth],
    pub(crate) actions: &'a mut Vec<Action>,
}

impl Env<'_> {
    /// Asks a server for its load; [`Policy::probed`] gets the answer, unless it is lost. `token`
    /// comes back with it.
    pub fn probe(&mut self, server: ServerId, token: u64) {
        self.actions.push(Action::Probe { server, token });
    }

    /// Asks for [`Policy::timer`] at a virtual time.
    pub fn timer(&mut self, at: u64, token: u64) {
        self.actions.push(Action::Timer { at, token });
    }

    /// Lets a request go on that was told to wait. Must not be called for one that has ended.
    pub fn resume(&mut self, request: RequestId, pick: Pick) {
        self.actions.push(Action::Resume { request, pick });
    }
}

/// A way of balancing, at one proxy.
pub trait Policy {
    /// What it needs the simulation to work out.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// The control plane says who is there: before the first request, and at each change.
    fn members(&mut self, env: &mut Env<'_>, members: &[Member]);

    /// Chooses a server. Unless it waits, the request is on its way there when this returns.
    fn pick(&mut self, env: &mut Env<'_>, ask: &Ask<'_>) -> Pick;

    /// An attempt has ended. Exactly once for each [`Pick::Server`], from `pick` or `resume`.
    fn ended(&mut self, env: &mut Env<'_>, ended: &Ended<'_>);

    /// A request is over while no server has it: it waited, here or between two attempts, and its
    /// client gave up, or nobody was there to send it to.
    fn abandoned(&mut self, _: &mut Env<'_>, _: &Ask<'_>) {}

    /// A probe was answered; `stamp` is `None` where nobody there knows how.
    fn probed(&mut self, _: &mut Env<'_>, _: ServerId, _token: u64, _stamp: Option<&Stamp>) {}

    /// A timer is due.
    fn timer(&mut self, _: &mut Env<'_>, _token: u64) {}
}
