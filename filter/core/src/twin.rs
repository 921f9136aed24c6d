//! The twin: what stands beside a server, sees every request that it gets and every end, and so can
//! say how long one more would take.

mod model;
mod shared;
#[cfg(test)]
mod tests;

pub use model::{Fit, Model};

use crate::load::Load;

/// Least part of what askers would like to ask that they may.
const LEAST_SHARE: f32 = 0.001;
/// Less than so many a second is none.
const LEAST_RATE: f32 = 0.001;

/// What the model forgets, and how fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TwinTuning {
    /// Worth of the slowly learned scale, in requests of late.
    pub prior: f32,
    /// Half-life of what the shape is learned from, in ms.
    pub shape_half_ms: f32,
    /// Half-life of what the scale of late is learned from, in ms.
    pub scale_half_ms: f32,
    /// But it takes at least so many requests.
    pub scale_requests: f32,
    /// The same for the shape.
    pub shape_requests: f32,
    /// Probes a second that it wants.
    pub budget: f32,
    /// How slowly the number of slots changes, in squared service times for a factor of e.
    pub inertia: f32,
    /// Without requests, the service time that is told halves in so many ms.
    pub hope_half_ms: f32,
}

impl Default for TwinTuning {
    fn default() -> Self {
        Self {
            prior: 16.0,
            shape_half_ms: 10_000.0,
            scale_half_ms: 500.0,
            scale_requests: 30.0,
            shape_requests: 900.0,
            budget: 200.0,
            inertia: 5.0,
            hope_half_ms: 4_000.0,
        }
    }
}

/// What a server's requests taught. Where several workers serve one server, each has a twin, and
/// they [`exchange`](Twin::exchange) what they learned.
#[derive(Clone, Debug)]
pub struct Twin {
    model: Model,
    /// Since the last tick.
    counts: Counts,
    /// A second, of late.
    rates: Rates,
    /// The part of what askers would like to ask that they may.
    share: f32,
}

/// Events since the last tick.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counts {
    ended: u32,
    failed: u32,
    asked: u32,
}

/// Events a second, of late.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Requests that ended.
    pub ended: f32,
    /// Of these, failed.
    pub failed: f32,
    /// Probes answered.
    pub asked: f32,
}

impl Default for Twin {
    fn default() -> Self {
        Self {
            model: Model::default(),
            counts: Counts::default(),
            rates: Rates::default(),
            share: 1.0,
        }
    }
}

impl Twin {
    /// A request that found `others` in flight ended after `took_us`.
    pub fn ended(&mut self, others: f32, took_us: f32) {
        self.left();
        self.model.record(others, took_us);
    }

    /// A request failed: what it took says nothing.
    pub fn failed(&mut self) {
        self.left();
        self.counts.failed = self.counts.failed.saturating_add(1);
    }

    /// A request ended, and what it took says nothing.
    pub fn left(&mut self) {
        self.counts.ended = self.counts.ended.saturating_add(1);
    }

    /// A probe is answered.
    pub fn asked(&mut self) {
        self.counts.asked = self.counts.asked.saturating_add(1);
    }

    /// Time passes: about four times a second. Where none did, counts are dropped whose time is not
    /// known.
    pub fn tick(&mut self, elapsed_ms: f32, tuning: &TwinTuning) {
        let late = self.counts.ended > 0;
        let rate = self.rates.ended.max(if late { 1.0 } else { 0.0 });
        #[expect(clippy::cast_precision_loss, reason = "few in a tick")]
        let since = |count: u32| count as f32 * 1_000.0 / elapsed_ms.max(1.0);
        let flow = rate.max(since(self.counts.ended));
        self.model.refit(elapsed_ms, rate, flow, tuning);
        let counts = core::mem::take(&mut self.counts);
        // Not a number is not above 0.
        if elapsed_ms > 0.0 {
            let step = (tuning.budget / since(counts.asked).max(1.0)).clamp(0.1, 2.0).powf(0.3);
            self.share = (self.share * step).clamp(LEAST_SHARE, 1.0);
            // Of late: the last two seconds or so.
            let newest = (elapsed_ms / 2_000.0).min(1.0);
            let of_late = |before: f32, count| {
                let now = before + newest * (since(count) - before);
                if now < LEAST_RATE { 0.0 } else { now }
            };
            self.rates = Rates {
                ended: of_late(self.rates.ended, counts.ended),
                failed: of_late(self.rates.failed, counts.failed),
                asked: of_late(self.rates.asked, counts.asked),
            };
        }
    }

    /// What the server's load is, with so many in flight.
    pub fn load(&self, in_flight: f32) -> Load {
        let fit = self.model.fit();
        Load {
            in_flight,
            service_us: fit.map(|fit| fit.service_us),
            slots: fit.map(|fit| fit.slots),
            draining: false,
            asks: self.share,
            all: false,
        }
    }

    /// Events a second, of late.
    pub fn rates(&self) -> Rates {
        self.rates
    }
}

/// How long one more request is expected to take at a server of that load, in microseconds. `None` where
/// nothing is known.
pub fn expected_us(load: &Load) -> Option<f32> {
    let (service_us, slots) = (load.service_us?, load.slots?);
    Some(service_us * Fit { service_us, slots }.stretch(load.in_flight))
}

/// The number brought within bounds; what is none becomes the least.
fn within(number: f32, least: f32, most: f32) -> f32 {
    if number > least { number.min(most) } else { least }
}
