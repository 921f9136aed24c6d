//! When requests arrive, at which proxy, with how much work. Decided by the scenario and the seed
//! alone: every policy of an open loop gets the very same requests.

use fastrand::Rng;

use crate::random::{stream, unit_exponential};
use crate::scenario::{Arrivals, Method, Scenario};

/// A request as it arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Arrival {
    pub(crate) proxy: u32,
    pub(crate) worker: u16,
    pub(crate) method: u16,
    /// Work, in ns at speed 1.
    pub(crate) size: f64,
    /// Its client cancels it, where it is not answered in time.
    pub(crate) cancels: bool,
}

/// The source of all requests.
pub(crate) struct Source<'a> {
    scenario: &'a Scenario,
    times: Rng,
    draws: Rng,
    messages: Rng,
    cancels: Rng,
    /// Requests a ns on average; 0 for a closed loop.
    rate: f64,
    /// When the last arrival was.
    last: f64,
    /// By proxy, the sum of the shares up to and with it; empty where all are equal.
    shares: Vec<f64>,
    /// Likewise by method.
    weights: Vec<f64>,
}

/// Requests a second that the scenario offers on average; `None` for a closed loop.
pub(crate) fn rate(scenario: &Scenario) -> Option<f64> {
    let traffic = &scenario.traffic;
    if let Some(rate) = traffic.rate {
        return Some(rate);
    }
    let present = scenario.servers.iter().filter(|group| group.present);
    let capacity: f64 =
        present.map(|group| f64::from(group.count) * f64::from(group.slots) * group.speed).sum();
    Some(traffic.load? * capacity / (mean_work(scenario) / 1e9))
}

/// Mean work of a request, in ns at speed 1.
fn mean_work(scenario: &Scenario) -> f64 {
    let work = |method: &Method| {
        let messages = method.stream.as_ref().map_or(1.0, |stream| f64::from(stream.messages));
        method.weight * method.cost * messages
    };
    let methods = &scenario.traffic.methods;
    let weight: f64 = methods.iter().map(|method| method.weight).sum();
    let cost = methods.iter().map(work).sum::<f64>() / weight;
    scenario.traffic.service.mean() * if methods.is_empty() { 1.0 } else { cost }
}

fn cumulative(shares: impl Iterator<Item = f64>) -> Vec<f64> {
    shares
        .scan(0.0, |sum, share| {
            *sum += share;
            Some(*sum)
        })
        .collect()
}

/// Draws an index by cumulated shares.
fn draw(cumulated: &[f64], rng: &mut Rng) -> usize {
    let all = cumulated.last().copied().unwrap_or(0.0);
    let at = rng.f64() * all;
    cumulated.partition_point(|sum| *sum <= at).min(cumulated.len().saturating_sub(1))
}

impl<'a> Source<'a> {
    pub(crate) fn new(scenario: &'a Scenario, seed: u64) -> Self {
        let proxies = &scenario.proxies;
        let shares = if proxies.skew > 0.0 {
            cumulative((1..=proxies.count).map(|rank| f64::from(rank).powf(-proxies.skew)))
        } else {
            Vec::new()
        };
        Self {
            scenario,
            times: stream(seed, 1),
            draws: stream(seed, 2),
            messages: stream(seed, 3),
            cancels: stream(seed, 8),
            rate: rate(scenario).map_or(0.0, |rate| rate / 1e9),
            last: 0.0,
            shares,
            weights: cumulative(scenario.traffic.methods.iter().map(|method| method.weight)),
        }
    }

    /// The time of the next arrival, in ns. `None` where it would be after the end, and for a closed
    /// loop.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(crate) fn next_time(&mut self) -> Option<u64> {
        if self.rate <= 0.0 {
            return None;
        }
        // In mean gaps: through parts of constant rate until it is used up.
        let mut left = unit_exponential(&mut self.times);
        let end = self.scenario.duration.as_f64();
        while self.last < end {
            let (factor, until) = self.part(self.last);
            let possible = (until - self.last) * self.rate * factor;
            if left < possible {
                self.last += left / (self.rate * factor);
                return Some(self.last as u64);
            }
            left -= possible;
            self.last = until;
        }
        None
    }

    /// The rate at `at` as a multiple of the average, and until when it stays so.
    fn part(&self, at: f64) -> (f64, f64) {
        let end = self.scenario.duration.as_f64();
        match self.scenario.traffic.arrivals {
            Arrivals::Poisson | Arrivals::Closed { .. } => (1.0, end),
            Arrivals::Bursts { on, off, low } => {
                let (on, off) = (on.as_f64(), off.as_f64());
                let cycle = on + off;
                let start = (at / cycle).floor() * cycle;
                // Rounding may put the end of a part a little before itself.
                if at - start < on && start + on > at {
                    ((cycle - low * off) / on, start + on)
                } else {
                    (low, if start + cycle > at { start + cycle } else { start + cycle + on })
                }
            }
            Arrivals::Ramp { from, to } => {
                let step = end / 200.0;
                let index = (at / step).floor().min(199.0);
                let until = (index + 1.0) * step;
                let until = if until > at { until } else { at + step };
                (from + (to - from) * (index + 0.5) / 200.0, until)
            }
        }
    }

    /// What arrives.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn next(&mut self) -> Arrival {
        let rng = &mut self.draws;
        let (proxies, traffic) = (&self.scenario.proxies, &self.scenario.traffic);
        let proxy = match self.shares.as_slice() {
            [] => rng.u32(..proxies.count),
            shares => draw(shares, rng) as u32,
        };
        let worker = if proxies.workers > 1 { rng.u16(..proxies.workers) } else { 0 };
        let method = match self.weights.as_slice() {
            [] | [_] => 0,
            weights => draw(weights, rng) as u16,
        };
        let cost = traffic.methods.get(usize::from(method)).map_or(1.0, |method| method.cost);
        let size = traffic.service.draw(rng) * cost;
        let cancels = self.cancels.f64() * 100.0 < traffic.cancel.percent;
        Arrival { proxy, worker, method, size, cancels }
    }

    /// Time that a client of a closed loop thinks, in ns.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(crate) fn think(&mut self) -> u64 {
        match self.scenario.traffic.arrivals {
            Arrivals::Closed { think, .. } => {
                (think.as_f64() * unit_exponential(&mut self.times)) as u64
            }
            _ => 0,
        }
    }

    /// Work of a message of a stream.
    pub(crate) fn message(&mut self, method: u16) -> f64 {
        let traffic = &self.scenario.traffic;
        let cost = traffic.methods.get(usize::from(method)).map_or(1.0, |method| method.cost);
        traffic.service.draw(&mut self.messages) * cost
    }
}
