//! What one VM knows of a cluster's reports as a whole.

use crate::estimate::Usual;

/// Slots of those who reported last; beyond `picker.scan_limit`, they are looked at.
const MOST_RECENT: usize = 32;

/// Which endpoints there are beside those that have reported lately.
#[derive(Clone, Copy, Default)]
pub(super) struct Others {
    /// Some answer without.
    pub(super) silent: bool,
    /// Some may have a twin.
    pub(super) unheard: bool,
}

/// A cluster's reports.
#[derive(Default)]
pub(super) struct Reports {
    /// Somebody has reported lately.
    any: bool,
    /// Slots of those who did last, the latest last.
    recent: Vec<u32>,
    usual: Usual,
    others: Others,
    /// Some report on every response, asked or not.
    all: bool,
    /// What servers had in flight by their reports, and what of it was this proxy's; the past fades.
    in_flight: (f32, f32),
}

impl Reports {
    /// The endpoint in `slot` reported; `all`: as on every response. True where nobody had lately.
    pub(super) fn heard(&mut self, slot: u32, all: bool) -> bool {
        self.all |= all;
        let first = !core::mem::replace(&mut self.any, true);
        self.recent.retain(|known| *known != slot);
        if self.recent.len() >= MOST_RECENT {
            self.recent.remove(0);
        }
        self.recent.push(slot);
        first
    }

    /// A server has so many in flight, of which so many are this proxy's.
    pub(super) fn counted(&mut self, all: f32, own: f32) {
        /// What one report leaves of those before.
        const KEPT: f32 = 0.99;
        /// Whoever is alone has no others.
        const LEAST: f32 = 0.001;
        let (before, before_own) = self.in_flight;
        let (all, own) = (before * KEPT + all, before_own * KEPT + own);
        self.in_flight = (all, own);
        self.usual.own_part = own / (all - own).max(LEAST * all).max(LEAST);
    }

    /// An endpoint has no twin.
    pub(super) fn silenced(&mut self) {
        self.others.silent = true;
    }

    /// What is usual was found anew. `any`: somebody still counts as known.
    pub(super) fn surveyed(&mut self, usual: Usual, any: bool, others: Others) {
        self.usual = Usual { own_part: self.usual.own_part, ..usual };
        self.any = any;
        self.others = others;
    }

    pub(super) fn is_any(&self) -> bool {
        self.any
    }

    /// Some endpoints have no twin.
    pub(super) fn some_are_silent(&self) -> bool {
        self.others.silent
    }

    /// Some endpoints may have a twin, and have not reported lately.
    pub(super) fn some_are_unheard(&self) -> bool {
        self.others.unheard
    }

    /// Reports may come that nobody asked for.
    pub(super) fn come_unasked(&self) -> bool {
        self.all
    }

    pub(super) fn recent(&self) -> &[u32] {
        &self.recent
    }

    pub(super) fn usual(&self) -> &Usual {
        &self.usual
    }
}
