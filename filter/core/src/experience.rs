//! What one VM itself saw of an endpoint, to hold against what the endpoint says of itself.

use core::num::NonZeroU64;

use crate::estimate::Usual;

/// What the newest request adds to what was seen.
const NEWEST: f32 = 0.05;
/// Reports are believed while requests take less than so many times as long as they let expect, by
/// what is usual among the endpoints: services differ in what one model explains, not by so much.
const BELIEVED: f32 = 2.0;
/// At most so many times longer.
const MOST: f32 = 16.0;
/// Nothing came back for so many times as long as a request takes: the server has stalled, whatever
/// it said last.
const PATIENCE: f32 = 8.0;
/// So many answers without a report are those of a server that does not report.
const SILENT_AFTER: u8 = 3;

/// What was seen of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Experience {
    /// How much longer requests took than expected.
    ratio: f32,
    /// Share of requests that the server failed.
    faults: f32,
    /// When the first request left of those that were sent since anything came back last, and when
    /// the last did. The first is one more than it was, which saves memory.
    waits_us: Option<NonZeroU64>,
    sent_us: u64,
    /// Answers in a row without a report.
    unreported: u8,
    /// The ratio that is part of what is usual.
    counted: Option<f32>,
}

impl Default for Experience {
    fn default() -> Self {
        Self { ratio: 1.0, faults: 0.0, waits_us: None, sent_us: 0, unreported: 0, counted: None }
    }
}

impl Experience {
    /// A request leaves for it.
    pub fn sent(&mut self, now_us: u64) {
        self.waits_us.get_or_insert(NonZeroU64::MIN.saturating_add(now_us));
        self.sent_us = now_us;
    }

    /// Something came back from it, or nothing is awaited any more. What was sent before and is
    /// still under way proves nothing from now on: it may be a stream that stays open.
    pub fn returned(&mut self) {
        self.waits_us = None;
    }

    /// A request ended after `took_us` of which `expected_us` were expected; 0: nothing was.
    pub fn took(&mut self, took_us: f32, expected_us: f32) {
        if expected_us > 0.0 {
            let ratio = (took_us / expected_us).clamp(1.0 / MOST, MOST);
            self.ratio += NEWEST * (ratio - self.ratio);
        }
    }

    /// The server failed a request, or did not.
    pub fn failed(&mut self, failed: bool) {
        self.faults += NEWEST * (f32::from(u8::from(failed)) - self.faults);
    }

    /// It reported.
    pub fn reported(&mut self) {
        self.unreported = 0;
    }

    /// An answer came without a report.
    pub fn unreported(&mut self) {
        self.unreported = self.unreported.saturating_add(1);
    }

    /// Whether it has no twin, as far as is known.
    pub fn is_silent(&self) -> bool {
        self.unreported >= SILENT_AFTER
    }

    /// It was seen that it has none.
    pub fn silence(&mut self) {
        self.unreported = SILENT_AFTER;
    }

    /// What was held against it fades, four times a second: whoever is avoided shows no better, and
    /// counts as one of the others.
    pub fn fade(&mut self, usual: &Usual) {
        const KEPT: f32 = 0.98;
        let of_all = ratio_of(usual);
        self.ratio = of_all + KEPT * (self.ratio - of_all);
        self.faults *= KEPT;
    }

    /// It begins to say how long requests take there, and is held to that. Before, to what others say.
    pub fn promised(&mut self, usual: &Usual) {
        self.ratio = ratio_of(usual);
    }

    /// It is not, or no more, part of what is usual.
    pub fn leave_out(&mut self) {
        self.counted = None;
    }

    /// Adds what was seen to what is usual, as one of `count` endpoints; `judged`: it says how long
    /// requests take there, and can be held to it.
    pub fn add_to(&mut self, usual: &mut Usual, count: f32, judged: bool) {
        self.counted = judged.then_some(self.ratio);
        if judged {
            usual.judged += 1.0;
            usual.ratio += (self.ratio - usual.ratio) / usual.judged;
        }
        usual.faults += (self.faults - usual.faults) / count;
    }

    /// How many times as much as its reports say a request costs there, at least 1. It is compared
    /// with the others: of two servers, one alone cannot make its own delays usual.
    pub fn mistrust(&self, usual: &Usual) -> f32 {
        // The sum of the others, and how many they are: most are believed without a division.
        let (sum, count) = match self.counted {
            Some(own) => (usual.ratio * usual.judged - own, usual.judged - 1.0),
            None => (usual.ratio * usual.judged, usual.judged),
        };
        // Where nobody else is known, there is nothing to compare it with.
        if count <= 0.0 || self.ratio * count <= BELIEVED * sum {
            return 1.0;
        }
        let ratio = self.ratio / (sum / count).max(1.0 / MOST);
        if ratio > BELIEVED { ratio.min(MOST) } else { 1.0 }
    }

    /// What a request costs more because some fail there, in times of service: a request that fails
    /// at once is not a fast one.
    pub fn fault_cost(&self, usual: &Usual) -> f32 {
        /// A failure costs as much as so many times of service.
        const FAILURE: f32 = 20.0;
        /// Failures that differ by less are as good as none.
        const ALIKE: f32 = 0.1;
        let more = self.faults - usual.faults;
        if more > ALIKE { FAILURE * more } else { 0.0 }
    }

    fn waits_us(&self) -> Option<u64> {
        self.waits_us.map(|after| after.get() - 1)
    }

    /// Whether nothing has come back for longer than is reasonable where a request takes `expected_us`;
    /// not where that is 0: nobody knows.
    #[expect(clippy::cast_precision_loss, reason = "precise for days")]
    pub fn is_overdue(&self, now_us: u64, expected_us: f32) -> bool {
        expected_us > 0.0
            && self
                .waits_us()
                .is_some_and(|since| now_us.saturating_sub(since) as f32 > PATIENCE * expected_us)
    }

    /// For how long, in microseconds, nothing has come back beyond what is reasonable where a request
    /// takes `expected_us`; 0 where that is 0, and where it is time to try again, after twice that long
    /// without a request, and twice as long as the last time: what does not come back may be a stream
    /// alone.
    #[expect(clippy::cast_precision_loss, reason = "precise for days")]
    pub fn stalled_us(&self, now_us: u64, expected_us: f32) -> f32 {
        let Some(waits_us) = self.waits_us().filter(|_| expected_us > 0.0) else { return 0.0 };
        let patience = PATIENCE * expected_us;
        let tried = self.sent_us.saturating_sub(waits_us) as f32;
        if now_us.saturating_sub(self.sent_us) as f32 >= tried.max(2.0 * patience) {
            return 0.0;
        }
        (now_us.saturating_sub(waits_us) as f32 - patience).max(0.0)
    }
}

/// How much longer than expected requests take.
fn ratio_of(usual: &Usual) -> f32 {
    if usual.judged > 0.0 { usual.ratio } else { 1.0 }
}

#[cfg(test)]
mod tests;
