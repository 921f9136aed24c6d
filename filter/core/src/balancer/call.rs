//! A request as the balancer sees it, and what is said of it.

use super::asked::Asked;
use crate::ages::Term;
use crate::config::{ClusterSettings, Config, Mechanism, ProbeMode};
use crate::pick::Picks;
use crate::work::Work;

/// Index of a cluster in one VM's balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterId(u32);

impl ClusterId {
    pub(super) const fn new(index: u32) -> Self {
        Self(index)
    }

    /// A small number, the same for the life of the VM.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Why a request is steered, or left to Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An override names the pick.
    Steer,
    /// A pick was made and counted, but no override is set.
    Shadow,
    /// `enabled` is false for the cluster.
    Disabled,
    /// The method's cost is 0.
    Excluded,
    /// `rollout.percent` left it out.
    Percent,
    /// Nothing is known of the cluster yet.
    Unknown,
    /// What was known is too old.
    Stale,
    /// Too few endpoints are healthy.
    Panic,
    /// Envoy routes to this cluster by another rule than balancing.
    Unbalanced,
    /// One of those left to Envoy so that new endpoints are found.
    Learn,
    /// Every eligible endpoint is set aside after failures.
    Aside,
    /// Envoy honours no override here.
    Deaf,
    /// Not decided yet: servers are asked first.
    Asking,
}

impl Verdict {
    /// How many there are, without [`Verdict::Asking`].
    pub const COUNT: usize = Verdict::Deaf as usize + 1;

    /// Whether the request counts, whoever chooses its endpoint.
    pub fn is_watched(self) -> bool {
        !matches!(self, Verdict::Disabled | Verdict::Excluded | Verdict::Unbalanced)
    }

    /// As metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Steer => "override",
            Verdict::Shadow => "shadow",
            Verdict::Disabled => "disabled",
            Verdict::Excluded => "excluded",
            Verdict::Percent => "percent",
            Verdict::Unknown => "no_membership",
            Verdict::Stale => "stale_membership",
            Verdict::Panic => "panic",
            Verdict::Unbalanced => "not_balanced",
            Verdict::Learn => "learn",
            Verdict::Aside => "all_aside",
            Verdict::Deaf => "not_honoured",
            Verdict::Asking => "asking",
        }
    }
}

/// What became of a pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The pick served.
    Honoured,
    /// Another served, because an earlier attempt failed.
    Retry,
    /// Another served: the pick is in the cluster, but not healthy or of a lower priority now.
    NotEligible,
    /// Another served: the pick has left the cluster.
    Gone,
    /// Another served, although nothing speaks against the pick.
    Ignored,
    /// In shadow mode, Envoy's choice was the pick.
    ShadowSame,
    /// In shadow mode, Envoy chose another.
    ShadowOther,
}

impl Fate {
    /// How many there are.
    pub const COUNT: usize = Fate::ShadowOther as usize + 1;
}

/// How a request ended, as far as its endpoint is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It answered.
    Answered,
    /// It could not be reached, the connection broke, or it said UNAVAILABLE.
    Failed,
    /// It answered, with a status that blames itself.
    Erred,
    /// Nothing can be concluded: cancelled, timed out, answered by another filter.
    Undecided,
}

/// What a request asks of the balancer, from its configuration and its headers.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The whole configuration.
    pub config: &'a Config,
    /// The settings of its cluster.
    pub settings: &'a ClusterSettings,
    /// What it costs.
    pub cost: Work,
}

impl Ask<'_> {
    /// Endpoints to name after the pick.
    pub(super) fn spares(self) -> usize {
        match self.config.steering.mechanism {
            Mechanism::OverrideHost => self.config.steering.spares,
            Mechanism::StatefulSession => 0,
        }
    }

    /// Whether it may ask before it is decided.
    pub(super) fn may_ask(self) -> bool {
        // In shadow mode nobody may notice, by waiting neither.
        self.settings.probe_mode != ProbeMode::Off && !self.config.rollout.shadow
    }
}

/// What the response's headers say of who serves, before its address is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Nothing that can be relied on.
    None,
    /// The pick serves, unless they name another.
    Silence,
    /// Another serves.
    Another,
}

/// One request under way. It must be given back to [`Balancer::end`] exactly once.
#[derive(Debug)]
#[must_use]
pub struct Call {
    pub(super) cluster: ClusterId,
    pub(super) cost: Work,
    pub(super) verdict: Verdict,
    /// The slot that it counts on.
    pub(super) counted: Option<u32>,
    /// Since when.
    pub(super) began: Term,
    /// The pick, then its spares.
    pub(super) picks: Picks,
    /// Whom it asks first.
    pub(super) asked: Asked,
    /// Its response is to bring a stamp.
    pub(super) stamped: bool,
    /// Envoy chooses, and its choice teaches membership.
    pub(super) teaches: bool,
    /// It is known who serves it.
    pub(super) served: bool,
    /// When it left, and how long it was to take, in microseconds; 0: nothing was expected.
    pub(super) sent_us: u64,
    pub(super) expected_us: f32,
    pub(super) word: Word,
}

impl Call {
    /// Why it was steered or left to Envoy.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The proxy chose whom its questions went to.
    pub fn asks_anybody(&mut self) {
        self.asked.anybody = true;
    }

    /// Whether its response is to be stamped with the load of its server. Known once it is decided.
    pub fn wants_stamp(&self) -> bool {
        self.stamped
    }

    /// The slot that it counts on: its pick's, and once it is known that of who serves it.
    pub fn slot(&self) -> Option<u32> {
        self.counted
    }

    /// Its cluster.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The response carries the override header: `stateful_session` sets it where another endpoint
    /// served than the one asked for.
    pub fn contradict(&mut self) {
        self.word = Word::Another;
    }

    /// Whether the address that serves it should be told to
    /// [`Balancer::served`](super::Balancer::served).
    pub fn wants_address(&self) -> bool {
        self.verdict.is_watched() && self.word != Word::Silence
    }
}
