//! How often a VM ticks: less often where no request comes to any worker.
//!
//! A word in the shared [`State`] says whether the proxy is idle. The coordinator writes it when
//! nobody has told of a request for a while; whoever gets a request takes it back at once, and the
//! others follow at their next tick. A VM says how often it will tick before it ticks less often, so
//! that nobody who ticks more often takes it for dead.

use crate::config::Discovery;
use crate::proxy::Proxy;
use crate::records::{self, STATE, State};

/// So long nobody must have told of a request until the proxy counts as idle.
const QUIET_MS: u64 = 10_000;
/// A VM that gets requests tells so once in so long: often enough never to look quiet.
const TELL_MS: u64 = 2_000;
/// A whole tick, as [`Span::ticks`] counts.
pub const TICK: u32 = 1_000;

/// The time between two ticks of a VM.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// What it was to be, and what it was by the VM's clock.
    period_ms: u64,
    elapsed_ms: u64,
}

impl Span {
    /// It was to be `period_ms` and was `elapsed_ms`.
    pub fn new(period_ms: u64, elapsed_ms: u64) -> Self {
        Self { period_ms, elapsed_ms }
    }

    /// The time that passed, in microseconds, without that in which all stood still.
    pub fn waited_us(self) -> u64 {
        self.elapsed_ms.min(self.period_ms).saturating_mul(1_000)
    }

    /// How many ticks of a VM that ticks once in `period_ms` (0: as often as ever) this VM has waited
    /// through, in thousandths. At most one: whoever is stopped together with the other has not
    /// waited.
    pub fn ticks(self, period_ms: u32) -> u32 {
        let period_ms = u64::from(period_ms);
        if self.period_ms >= period_ms {
            return TICK;
        }
        let waited_ms = self.elapsed_ms.min(self.period_ms);
        u32::try_from(waited_ms * u64::from(TICK) / period_ms).unwrap_or(TICK)
    }
}

/// One VM's pace, and what it knows of the others'.
pub struct Pace {
    usual_ms: u64,
    /// Where it ticks less often, and has said so: how often; else 0.
    slow_ms: u32,
    ticked_ms: Option<u64>,
    /// What was read last: whether the proxy is idle, and how often somebody told of requests.
    idle: bool,
    stirs: u64,
    /// Requests came since it told of any, and when it did.
    untold: bool,
    told_ms: Option<u64>,
    woken: bool,
    /// Coordinator only: the last count of those who told, and since when it has not changed.
    quiet: Option<(u64, u64)>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            usual_ms: Discovery::SLOWEST_TICK_MS,
            slow_ms: 0,
            ticked_ms: None,
            idle: false,
            stirs: 0,
            untold: false,
            told_ms: None,
            woken: false,
            quiet: None,
        }
    }
}

impl Pace {
    /// How often the VM is to tick from now on.
    pub fn period_ms(&self) -> u64 {
        if self.slow_ms > 0 { self.slow_ms.into() } else { self.usual_ms }
    }

    /// The same, as records say it: 0 where it is as often as ever, which nobody needs to be told.
    pub fn announced_ms(&self) -> u32 {
        self.slow_ms
    }

    /// Whether the proxy is idle, as far as this VM knows.
    pub fn is_idle(&self) -> bool {
        self.idle
    }

    /// The VM ticks: the time since it last did. From here on the new pace can be announced.
    pub fn tick(&mut self, now_ms: u64, discovery: &Discovery) -> Span {
        let elapsed_ms = self.ticked_ms.map_or(0, |last| now_ms.saturating_sub(last));
        let span = Span::new(self.period_ms(), elapsed_ms);
        self.usual_ms = discovery.tick_ms();
        self.ticked_ms = Some(now_ms);
        let is_slow = self.idle && !self.untold;
        self.slow_ms =
            if is_slow { u32::try_from(discovery.idle_tick_ms()).unwrap_or(u32::MAX) } else { 0 };
        span
    }

    /// How many ticks at the usual pace that time is, about: for what fades at each.
    pub fn usual_ticks(&self, span: Span) -> u64 {
        // A VM that stood still does not do all at once what it has missed.
        const MOST: u64 = 8;
        ((span.elapsed_ms + self.usual_ms / 2) / self.usual_ms.max(1)).clamp(1, MOST)
    }

    /// A request, or a probe, comes or ends.
    pub fn saw(&mut self) {
        self.untold = true;
    }

    /// Tells the others that there are requests, if there are and it is time, or the proxy passes for
    /// idle.
    pub fn tell(&mut self, proxy: &dyn Proxy, now_ms: u64) {
        let lately = self.told_ms.is_some_and(|told| now_ms.saturating_sub(told) < TELL_MS);
        if self.untold && (self.idle || !lately) {
            self.stir(proxy, now_ms);
        }
    }

    /// The first request since the proxy became idle: whoever got it is as quick as ever at once.
    pub fn wake(&mut self, proxy: &dyn Proxy, now_ms: u64) {
        self.slow_ms = 0;
        self.woken = true;
        self.stir(proxy, now_ms);
    }

    /// Whether it was woken since this was last asked: then its timer is to be set.
    pub fn take_woken(&mut self) -> bool {
        core::mem::take(&mut self.woken)
    }

    /// Takes over what was published.
    pub fn follow(&mut self, state: &State) {
        self.idle = state.idle;
        self.stirs = state.stirs;
        if !state.idle {
            self.slow_ms = 0;
        }
    }

    /// The coordinator's part: says that the proxy is idle when nobody has told of requests for long.
    pub fn watch(&mut self, proxy: &dyn Proxy, now_ms: u64) {
        let stirs = self.stirs;
        let (_, since_ms) = *match &mut self.quiet {
            Some(quiet) if quiet.0 == stirs => quiet,
            quiet => quiet.insert((stirs, now_ms)),
        };
        if !self.idle && now_ms.saturating_sub(since_ms) >= QUIET_MS {
            records::update::<State>(proxy, STATE, |state| {
                // Whoever told of one meanwhile is heard.
                state.stirs == stirs && !core::mem::replace(&mut state.idle, true)
            });
        }
    }

    /// Another VM coordinates.
    pub fn stop_watching(&mut self) {
        self.quiet = None;
    }

    fn stir(&mut self, proxy: &dyn Proxy, now_ms: u64) {
        self.idle = false;
        self.untold = false;
        self.told_ms = Some(now_ms);
        records::update::<State>(proxy, STATE, |state| {
            state.stirs = state.stirs.wrapping_add(1);
            state.idle = false;
            true
        });
    }
}

/// Between two ticks of a VM that is busy.
#[cfg(test)]
pub(crate) const AS_USUAL: Span = Span { period_ms: 250, elapsed_ms: 250 };

#[cfg(test)]
mod tests;
