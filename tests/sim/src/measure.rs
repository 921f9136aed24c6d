//! What is measured in a run. Nothing here grows with its length.

mod output;
mod shares;
mod waves;

pub use output::{Errors, Figures, InFlight, Joined, Latency, Line, ProbeFigures, Share, Streams};

use hdrhistogram::Histogram;

use crate::scenario::Scenario;
use crate::span::SECOND;
use shares::Shares;
use waves::Waves;

pub(crate) use output::round;
pub(crate) use waves::SAMPLES_PER_PERIOD;

/// How a request ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    Failed,
    Deadline,
    Cancelled,
    Unfinished,
}

/// Counts and histograms of one run.
pub(crate) struct Meter {
    from: u64,
    until: u64,
    latency: Histogram<u64>,
    message: Histogram<u64>,
    probe_wait: Histogram<u64>,
    pub(crate) offered: u64,
    pub(crate) fates: [u64; 5],
    pub(crate) streams: u64,
    pub(crate) attempts: u64,
    pub(crate) picks: u64,
    pub(crate) probes: u64,
    shares: Shares,
    little: Little,
    waves: Waves,
    /// Over samples with anything in flight, and how many these were: the largest at a server by
    /// the mean.
    unevenness: f64,
    busy: u64,
    in_flight: f64,
    samples: u64,
    /// How often a server had so many in flight; the last counts all beyond.
    pub(crate) depths: Vec<u64>,
}

/// Little's law: the integral of the number of requests under way is the sum of their times.
#[derive(Default)]
struct Little {
    open: u64,
    since: u64,
    area: u128,
    sum: u128,
}

impl Little {
    fn advance(&mut self, now: u64) {
        self.area += u128::from(self.open) * u128::from(now - self.since);
        self.since = now;
    }
}

/// Depths told apart.
const DEPTHS: usize = 256;

fn histogram() -> Histogram<u64> {
    // Three digits, from a microsecond up; grows as far as the largest value needs.
    #[allow(clippy::expect_used)]
    Histogram::new(3).expect("three digits are allowed")
}

impl Meter {
    pub(crate) fn new(scenario: &Scenario, servers: usize) -> Self {
        Self {
            from: scenario.warm_up.ns(),
            until: scenario.duration.ns(),
            latency: histogram(),
            message: histogram(),
            probe_wait: histogram(),
            offered: 0,
            fates: [0; 5],
            streams: 0,
            attempts: 0,
            picks: 0,
            probes: 0,
            shares: Shares::new(scenario),
            little: Little::default(),
            waves: Waves::new(servers),
            unevenness: 0.0,
            busy: 0,
            in_flight: 0.0,
            samples: 0,
            depths: vec![0; DEPTHS],
        }
    }

    /// Whether what happens now is measured.
    pub(crate) fn is_on(&self, now: u64) -> bool {
        (self.from..self.until).contains(&now)
    }

    /// A request arrives.
    pub(crate) fn begins(&mut self, now: u64) {
        self.little.advance(now);
        self.little.open += 1;
    }

    /// It ends. `is_stream`: its time is as long as was asked for, so it is no latency.
    pub(crate) fn ends(&mut self, now: u64, arrived: u64, fate: Fate, is_stream: bool) {
        self.little.advance(now);
        self.little.open -= 1;
        self.little.sum += u128::from(now - arrived);
        if !self.is_on(arrived) {
            return;
        }
        self.offered += 1;
        self.fates[fate as usize] += 1;
        if is_stream {
            self.streams += 1;
        } else if fate == Fate::Answered {
            record(&mut self.latency, now - arrived);
        }
    }

    /// An attempt leaves for a server, of a request that arrived at `arrived`.
    pub(crate) fn sent(&mut self, arrived: u64, server: usize) {
        if self.is_on(arrived) {
            self.shares.sent(server);
        }
    }

    /// A message of a stream that was due at `due` was answered.
    pub(crate) fn message(&mut self, due: u64, took: u64) {
        if self.is_on(due) {
            record(&mut self.message, took);
        }
    }

    /// A request that arrived at `arrived` waited for probes.
    pub(crate) fn waited(&mut self, arrived: u64, took: u64) {
        if self.is_on(arrived) {
            record(&mut self.probe_wait, took);
        }
    }

    /// A look at what is in flight at each server that is there.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn sample(&mut self, in_flight: impl Iterator<Item = (usize, u32)>) {
        let (mut most, mut sum, mut count) = (0, 0_u64, 0_u64);
        for (server, now) in in_flight {
            most = most.max(now);
            sum += u64::from(now);
            count += 1;
            self.waves.add(server, f64::from(now));
            self.depths[(now as usize).min(DEPTHS - 1)] += 1;
        }
        self.waves.next();
        if count > 0 && sum > 0 {
            let mean = sum as f64 / count as f64;
            self.unevenness += f64::from(most) / mean;
            self.busy += 1;
            self.in_flight += mean;
        }
        self.samples += 1;
    }

    /// The run is over: everything that began has ended.
    ///
    /// # Panics
    /// Where Little's law does not hold, or a request ended twice or never: the simulator is wrong.
    pub(crate) fn check(&self, attempts_open: u64) {
        assert_eq!(self.little.open, 0, "a request never ended");
        assert_eq!(self.little.area, self.little.sum, "Little's law does not hold");
        assert_eq!(self.fates.iter().sum::<u64>(), self.offered, "a request ended in two ways");
        assert_eq!(attempts_open, 0, "an attempt is still counted at a server");
    }

    /// The figures, given the work that each server did and could have done while it was measured.
    pub(crate) fn figures(&self, work: &[(f64, f64)], joined: Vec<Joined>) -> Figures {
        output::figures(self, work, joined)
    }
}

fn record(histogram: &mut Histogram<u64>, ns: u64) {
    // Cannot fail: the histogram grows.
    let _ = histogram.record((ns / (SECOND / 1_000_000)).max(1));
}

#[cfg(test)]
mod tests;
