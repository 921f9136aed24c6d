//! What stands beside a server and knows its load.

use std::collections::HashMap;

use leastload_core::ages::{Ages, Term, longest_us};
use leastload_core::load::Load;
use leastload_core::twin::{Twin as CoreTwin, TwinTuning, expected_us};

use super::queue::Attempt;

use crate::policy::Stamp;

/// How much of the past a new service time replaces in the mean of late.
const NEWEST: f64 = 0.1;

/// A twin's memory.
#[derive(Debug, Default)]
pub(crate) struct Twin {
    service_ns: f64,
    window: u64,
    ended: u32,
    errors: u32,
    /// Of the last full period: requests and errors a second, utilization.
    rate: f64,
    error_rate: f64,
    utilization: f64,
    /// Work done and possible when the period began.
    work: (f64, f64),
    /// What leastload's own knows, and when it ticked last.
    core: CoreTwin,
    /// What leastload's counts: not streams that have been open for long.
    counted: u32,
    ages: Ages,
    /// Since when each has been there, and how many it found.
    open: HashMap<Attempt, (Term, u32)>,
    /// A request has ended since its last tick.
    progress: bool,
    pub(crate) tuning: TwinTuning,
    ticked: u64,
}

/// One request, as ages count work.
const ONE: u64 = 1_000;
/// How often leastload's ticks, in ns.
const TICK: u64 = 250_000_000;

impl Twin {
    /// A request ended here, after so much time of service; or failed.
    pub(crate) fn ended(&mut self, service_ns: Option<f64>) {
        self.ended += 1;
        match service_ns {
            None => self.errors += 1,
            Some(took) if self.service_ns == 0.0 => self.service_ns = took,
            Some(took) => self.service_ns += NEWEST * (took - self.service_ns),
        }
    }

    /// A request arrives.
    pub(crate) fn arrived(&mut self, of: Attempt) {
        self.open.insert(of, (self.ages.begin(ONE), self.counted));
        self.counted += 1;
    }

    /// It is gone. How many it found that leastload's counted.
    pub(crate) fn departed(&mut self, of: Attempt) -> u32 {
        let Some((began, found)) = self.open.remove(&of) else { return 0 };
        self.counted -= u32::from(self.ages.finish(began, ONE));
        found
    }

    /// All are.
    pub(crate) fn lost_all(&mut self) {
        self.open.clear();
        self.ages = Ages::default();
        self.counted = 0;
    }

    /// leastload's sees the end of a request that found so many in flight; `None`: it failed.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    pub(crate) fn saw(&mut self, now: u64, found: u32, took_ns: Option<u64>) {
        match took_ns {
            Some(took) => {
                self.progress = true;
                self.core.ended(found as f32, (took as f64 / 1e3) as f32);
            }
            None => self.core.failed(),
        }
        self.tick(now);
    }

    /// What leastload's says, times what a liar makes of it.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn load(&mut self, now: u64, probed: bool, lie: f32) -> Load {
        if probed {
            self.core.asked();
        }
        self.tick(now);
        let load = self.core.load(self.counted as f32);
        let service_us = load.service_us.map(|us| us * lie).filter(|us| *us >= 1.0);
        Load { in_flight: load.in_flight * lie, service_us, ..load }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    fn tick(&mut self, now: u64) {
        let elapsed = now - self.ticked;
        if elapsed >= TICK {
            self.ticked = now;
            self.core.tick((elapsed as f64 / 1e6) as f32, &self.tuning);
            let expected_us = expected_us(&self.core.load(self.counted as f32));
            if std::mem::take(&mut self.progress)
                && let Some(expected_us) = expected_us
            {
                let old = self.ages.pass(elapsed.min(TICK) / 1_000, longest_us(expected_us));
                self.counted -= (old / ONE) as u32;
            }
        }
    }

    /// What it says at `now`. `work`: done and possible so far.
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    pub(crate) fn stamp(
        &mut self,
        now: u64,
        period: u64,
        work: (f64, f64),
        (in_flight, waiting): (u32, usize),
    ) -> Stamp {
        let window = now / period;
        if window != self.window {
            let seconds = (window - self.window) as f64 * period as f64 / 1e9;
            self.rate = f64::from(self.ended) / seconds;
            self.error_rate = f64::from(self.errors) / seconds;
            let possible = work.1 - self.work.1;
            self.utilization = if possible > 0.0 { (work.0 - self.work.0) / possible } else { 1.0 };
            (self.window, self.ended, self.errors, self.work) = (window, 0, 0, work);
        }
        Stamp {
            in_flight: in_flight as f32,
            waiting: waiting as f32,
            service_ns: self.service_ns as f32,
            latency_ns: 0.0,
            rate: self.rate as f32,
            error_rate: self.error_rate as f32,
            utilization: self.utilization as f32,
            load: None,
        }
    }
}
