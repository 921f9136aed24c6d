//! The line that a run prints.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Fate, Meter};

/// One run: one policy in one situation with one seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    /// The scenario's name.
    pub scenario: String,
    /// Which of its situations: the case's name and the value of each axis.
    pub case: Map<String, Value>,
    /// The policy's label.
    pub policy: String,
    /// The seed.
    pub seed: u64,
    /// What was measured.
    #[serde(flatten)]
    pub figures: Figures,
}

/// What was measured of the requests that arrived between `warm_up` and `duration`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figures {
    /// Requests.
    pub offered: u64,
    /// Of these, answered.
    pub served: u64,
    /// Of these, not answered.
    pub errors: Errors,
    /// Of the answered unary requests, from arrival at the proxy to the answer there.
    pub latency_ms: Latency,
    /// At the servers.
    pub in_flight: InFlight,
    /// Work done by all servers as a share of what they could have done.
    pub utilization: f64,
    /// Jain's index of the servers' utilizations: 1 where all are equal, 1/n where one does all.
    pub fairness: f64,
    /// Attempts for a request: 1 without retries.
    pub attempts_per_request: f64,
    /// Probes.
    pub probes: ProbeFigures,
    /// Streams, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<Streams>,
    /// Who got the attempts, where there are servers of several kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<Share>,
    /// What became of servers that joined while it was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<Joined>,
    /// How often, over servers and samples, so many were in flight; the last counts all beyond.
    /// For tests, not printed.
    #[serde(skip)]
    pub depths: Vec<u64>,
}

/// Requests without an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    /// Refused, lost or failed by a server, after all retries.
    pub failed: u64,
    /// Their time was up.
    pub deadline: u64,
    /// Their clients cancelled.
    pub cancelled: u64,
    /// Still under way when the run was cut off.
    pub unfinished: u64,
}

impl Errors {
    /// Those that nobody wanted: all but cancelled ones.
    pub fn unwanted(&self) -> u64 {
        self.failed + self.deadline + self.unfinished
    }
}

/// Latency in ms. 0 where nothing was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// Mean.
    pub mean: f64,
    /// Largest.
    pub max: f64,
}

/// Requests in flight at servers, sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InFlight {
    /// Mean over servers and time.
    pub mean: f64,
    /// The largest of any server by the mean over servers, averaged over the time in which there is
    /// any; 0 where there never is.
    pub max_over_mean: f64,
    /// Share of the variance in time that lies at the period of reports, 0 to 1.
    pub oscillation: Option<f64>,
}

/// Probes and what they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeFigures {
    /// Probes sent for a request.
    pub per_request: f64,
    /// Share of the requests that waited for answers.
    pub waited: f64,
    /// How long these waited, in ms.
    pub wait_ms: Latency,
}

/// Streams of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Streams {
    /// How many.
    pub count: u64,
    /// Messages answered.
    pub messages: u64,
    /// How late they were.
    pub message_ms: Latency,
}

/// The attempts that servers of one kind got: those of a group with a twin, or without.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The group's name.
    pub group: String,
    /// Whether they have a twin.
    pub twin: bool,
    /// How many servers these are.
    pub servers: u32,
    /// Their part of all attempts, 0 to 1.
    pub sent: f64,
}

/// A server that joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Joined {
    /// Which.
    pub server: u32,
    /// When it joined, in s.
    pub at_s: f64,
    /// Until it got nine tenths of its fair share of the picks in a quarter of a second, in s.
    pub to_fair_share_s: Option<f64>,
    /// The most it got in any quarter of a second of its first ten seconds, as a multiple of its
    /// fair share.
    pub most_of_fair_share: f64,
}

/// Three decimals say enough.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[allow(clippy::cast_precision_loss)]
fn latency(histogram: &Histogram<u64>) -> Latency {
    if histogram.is_empty() {
        return Latency::default();
    }
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Latency {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        mean: round(histogram.mean() / 1e3),
        max: histogram.max() as f64 / 1e3,
    }
}

#[allow(clippy::cast_precision_loss)]
fn ratio(part: u64, whole: u64) -> f64 {
    round(part as f64 / (whole as f64).max(1.0))
}

#[allow(clippy::cast_precision_loss)]
pub(super) fn figures(meter: &Meter, work: &[(f64, f64)], joined: Vec<Joined>) -> Figures {
    let fate = |fate: Fate| meter.fates[fate as usize];
    let able = work.iter().filter(|(_, possible)| *possible > 0.0);
    let shares: Vec<f64> = able.map(|(done, possible)| done / possible).collect();
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(s, q), x| (s + x, q + x * x));
    let (done, possible) = work.iter().fold((0.0, 0.0), |(d, p), w| (d + w.0, p + w.1));
    let samples = (meter.samples as f64).max(1.0);
    Figures {
        offered: meter.offered,
        served: fate(Fate::Answered),
        errors: Errors {
            failed: fate(Fate::Failed),
            deadline: fate(Fate::Deadline),
            cancelled: fate(Fate::Cancelled),
            unfinished: fate(Fate::Unfinished),
        },
        latency_ms: latency(&meter.latency),
        in_flight: InFlight {
            mean: round(meter.in_flight / samples),
            max_over_mean: round(meter.unevenness / (meter.busy as f64).max(1.0)),
            oscillation: meter.waves.share().map(round),
        },
        utilization: round(done / possible.max(1.0)),
        fairness: if squares > 0.0 {
            round(sum * sum / (shares.len() as f64 * squares))
        } else {
            1.0
        },
        attempts_per_request: ratio(meter.attempts, meter.picks),
        probes: ProbeFigures {
            per_request: ratio(meter.probes, meter.picks),
            waited: ratio(meter.probe_wait.len(), meter.offered),
            wait_ms: latency(&meter.probe_wait),
        },
        streams: (meter.streams > 0).then(|| Streams {
            count: meter.streams,
            messages: meter.message.len(),
            message_ms: latency(&meter.message),
        }),
        shares: meter.shares.summary(),
        joined,
        depths: meter.depths.clone(),
    }
}
