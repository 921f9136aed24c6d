//! The twin: what stands beside a server, sees every request that it gets and every end, and so can
//! say how long one more would take.

mod model;

pub use model::{Fit, Model};

use crate::load::Load;

/// What the model forgets, and how fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TwinTuning {
    /// Worth of the slowly learned scale, in requests of late.
    pub prior: f32,
    /// Half-life of what the shape is learned from, in ms.
    pub shape_half_ms: f32,
    /// Half-life of what the scale of late is learned from, in ms.
    pub scale_half_ms: f32,
    /// Probes a second that it wants.
    pub budget: f32,
    /// How slowly the number of slots changes, in squared service times for a factor of e.
    pub inertia: f32,
}

impl Default for TwinTuning {
    fn default() -> Self {
        Self {
            prior: 16.0,
            shape_half_ms: 10_000.0,
            scale_half_ms: 2_000.0,
            budget: 200.0,
            inertia: 5.0,
        }
    }
}

/// What a server's requests taught, over all workers of its proxy.
#[derive(Clone, Debug)]
pub struct Twin {
    model: Model,
    /// Since the last tick.
    ended: u32,
    failed: u32,
    asked: u32,
    /// A second, of late.
    rates: Rates,
    /// The part of what askers would like to ask that they may.
    share: f32,
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
            ended: 0,
            failed: 0,
            asked: 0,
            rates: Rates::default(),
            share: 1.0,
        }
    }
}

impl Twin {
    /// A request that found `others` in flight ended after `took_us`.
    pub fn ended(&mut self, others: f32, took_us: f32) {
        self.ended += 1;
        self.model.record(others, took_us);
    }

    /// A request failed: what it took says nothing.
    pub fn failed(&mut self) {
        self.ended += 1;
        self.failed += 1;
    }

    /// A probe is answered.
    pub fn asked(&mut self) {
        self.asked += 1;
    }

    /// Time passes: about four times a second.
    pub fn tick(&mut self, elapsed_ms: f32, tuning: &TwinTuning) {
        #[expect(clippy::cast_precision_loss, reason = "few in a tick")]
        let asked = self.asked as f32 * 1_000.0 / elapsed_ms.max(1.0);
        let step = (tuning.budget / asked.max(1.0)).clamp(0.1, 2.0).powf(0.3);
        self.share = (self.share * step).clamp(0.001, 1.0);
        self.model.refit(elapsed_ms, tuning);
        // Of late: the last two seconds or so.
        let newest = (elapsed_ms / 2_000.0).min(1.0);
        let of_late = |rate: &mut f32, count: &mut u32| {
            #[expect(clippy::cast_precision_loss, reason = "few in a tick")]
            let now = core::mem::take(count) as f32 * 1_000.0 / elapsed_ms.max(1.0);
            *rate += newest * (now - *rate);
        };
        of_late(&mut self.rates.ended, &mut self.ended);
        of_late(&mut self.rates.failed, &mut self.failed);
        of_late(&mut self.rates.asked, &mut self.asked);
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
        }
    }

    /// Events a second, of late.
    pub fn rates(&self) -> Rates {
        self.rates
    }
}
