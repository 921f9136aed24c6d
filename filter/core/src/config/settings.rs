//! What each part of a configuration says, in the form the rest of the filter reads.

/// Which way the requests go that this filter sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Told by the cluster's name and the listener's direction.
    #[default]
    Auto,
    /// Requests leave through this proxy: balance them.
    Outbound,
    /// Requests arrive at the server beside this proxy.
    Inbound,
}

/// Which requests are balanced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Traffic {
    /// gRPC and gRPC-Web, by content type.
    #[default]
    Grpc,
    /// Every request.
    All,
}

/// How Envoy is told which host to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mechanism {
    /// By the filter `envoy.filters.http.stateful_session` with header state.
    #[default]
    StatefulSession,
    /// By the load balancing policy `override_host`.
    OverrideHost,
}

/// How a pick reaches Envoy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steering {
    /// Who reads the header.
    pub mechanism: Mechanism,
    /// The override header's name, lower case.
    pub header: String,
    /// Endpoints listed after the pick, for retries: 0 to 8. Only `override_host` takes a list.
    pub spares: usize,
}

/// Where membership comes from, besides lists in the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Discovery {
    /// The cluster that leads to Envoy's admin interface; `None` switches it off.
    pub admin_cluster: Option<String>,
    /// Time between two readings, in ms: 100 to 3,600,000.
    pub interval_ms: u64,
    /// Age from which membership is no longer trusted, in ms: at least `interval_ms`.
    pub max_age_ms: u64,
    /// Percent of the requests left to Envoy where membership is learned from responses: 0 to 50.
    pub learn_percent: f64,
}

impl Discovery {
    /// A VM ticks at least four times a second, so that a dead worker is noticed.
    pub const SLOWEST_TICK_MS: u64 = 250;
    /// At most so many intervals pass between two readings where the proxy is idle.
    const IDLE: u64 = 5;
    /// Where it is idle, readings are at most so far apart, unless they always are: half of the time
    /// for which a word holds that a server does not serve.
    const LONGEST_IDLE_MS: u64 = 15_000;

    /// How often a VM ticks: four times within the interval, so that an election takes less than
    /// three of them.
    pub fn tick_ms(&self) -> u64 {
        (self.interval_ms / 4).clamp(25, Self::SLOWEST_TICK_MS)
    }

    /// The same where the proxy is idle: as many within the time between two readings, and at most
    /// four times as long.
    pub fn idle_tick_ms(&self) -> u64 {
        let usual = self.tick_ms();
        (self.idle_interval_ms() / 4).min(4 * usual).max(usual)
    }

    /// Time between two readings where the proxy is idle: no more than two fifths of what makes them
    /// stale. So the first request finds a list that holds, even where whoever reads has just died: a
    /// reading is late by a tick, four ticks are waited for the dead, and some shorter ones follow.
    pub fn idle_interval_ms(&self) -> u64 {
        let longest = Self::LONGEST_IDLE_MS.min(self.max_age_ms / 5 * 2);
        self.interval_ms.saturating_mul(Self::IDLE).min(longest).max(self.interval_ms)
    }
}

/// How much of it is in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// Percent of the requests that are steered: 0 to 100.
    pub percent: f64,
    /// Pick, count and compare, but do not steer.
    pub shadow: bool,
}

/// How far the picker looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picker {
    /// Up to so many eligible endpoints all are compared: 1 to 100,000.
    pub scan_limit: usize,
    /// Beyond that, so many are sampled: 2 to 64.
    pub samples: usize,
    /// And so many of those last seen idle are added: 0 to 64.
    pub idle: usize,
}

/// What the estimate of an endpoint's load rests on, besides what this proxy has outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// What servers report of themselves is used; without it, own counts alone decide.
    pub reports: bool,
    /// Reported service times and slots are used; without them, counts decide.
    pub speed: bool,
    /// Endpoints that fail are avoided: set aside, and penalised for failing fast.
    pub failures: bool,
}

/// Which requests wait for fresh answers of servers before the pick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProbeMode {
    /// None.
    Off,
    /// Those for which nothing fresh enough is known, where stamps prove that twins are there.
    #[default]
    Auto,
    /// Every one, as far as the budgets go: for experiments.
    Always,
}

/// Whose responses the twin stamps with a load report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audience {
    /// Those to requests that carry the ask header.
    #[default]
    Askers,
    /// All.
    All,
    /// None.
    Off,
}

/// How the twin writes a load report.
/// Source: Envoy's `source/common/orca/orca_parser.h`, which reads all three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `endpoint-load-metrics-bin`: protobuf in base64.
    #[default]
    Bin,
    /// `endpoint-load-metrics: TEXT ...`.
    Text,
    /// `endpoint-load-metrics: JSON ...`.
    Json,
}

/// How the twin reports its server's load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reporting {
    /// Whose responses are stamped.
    pub stamp: Audience,
    /// How the report is written.
    pub format: Format,
}

/// To whom the twin tells its server's load, by stamps and by answers to probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allow {
    /// Peers that authenticated themselves by mutual TLS.
    #[default]
    Mtls,
    /// Everybody.
    Any,
}

/// Longest time a request waits where no deadline is set, in ms; a fast service is waited for less.
pub const DEADLINE_MS: u64 = 10;

/// How servers are asked, and answer. Which requests ask, and by which way, is
/// each cluster's: [`ClusterSettings::probe_mode`], [`ClusterSettings::probe_cluster`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probing {
    /// Longest time a request waits for answers, in ms: 1 to 1,000. `None` where it is not set: then
    /// [`DEADLINE_MS`] at most, and no more than the time of service allows.
    pub deadline_ms: Option<u64>,
    /// Endpoints that are asked for one request: 1 to 8.
    pub fanout: usize,
    /// Probes a second that this proxy sends, over all its workers: 0 to 100,000.
    pub budget: u32,
    /// Probes a second that a server wants to answer, over all its workers: 1 to 100,000.
    pub server_budget: u32,
    /// To whom the twin tells its server's load.
    pub allow: Allow,
    /// The ask header's name, lower case; never the override header's.
    pub header: String,
}

/// What holds for one cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterSettings {
    /// Whether its requests are balanced.
    pub enabled: bool,
    /// How far the picker looks.
    pub picker: Picker,
    /// Its endpoints, where the configuration lists them.
    pub given: Option<Vec<String>>,
    /// Least share, in percent, of healthy hosts in the eligible priority: 0 to 100.
    pub panic_threshold: f64,
    /// What the estimate of an endpoint's load rests on.
    pub estimate: Estimate,
    /// Which requests wait for fresh answers of servers.
    pub probe_mode: ProbeMode,
    /// The `ORIGINAL_DST` cluster through which a named endpoint is asked; `None` where there is
    /// none.
    pub probe_cluster: Option<String>,
}
