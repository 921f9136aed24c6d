//! How long a request takes at a server, by how many are there before it: learned from the
//! latencies that its twin sees.
//!
//! A server with `c` slots and mean service time `s` lets a request that finds `n` others wait for
//! `n + 1 - c` of them to end, each after `s / c`: it takes `s * max(1, (n + 1) / c)`. Where requests
//! share a server's processors instead of queueing, that is what they take if the others stay as
//! many. So two numbers describe a server: those that make pairs of requests in flight at arrival and
//! latency ("latency at RIF", as in Prequal, section 4.2) most likely.

use super::within;
use crate::load::LONGEST_SERVICE_US;

/// Most slots that a server is believed to have.
pub(super) const MOST_SLOTS: f32 = 65_536.0;
/// Classes of requests in flight: 0 to 15 each its own, then four to each doubling, up to 2^16.
const CLASSES: usize = 64;
/// Longest half-life of anything learned.
const LONGEST_HALF_MS: f32 = 20_000.0;
/// With fewer requests a second, nothing shows whether a server has become faster.
const QUIET_RATE: f32 = 0.7;
/// Hope never goes below this.
const LEAST_HOPE: f32 = 0.25;
/// What one request makes of hope.
const HEARTENED: f32 = 1.5;
/// A latency beyond so many times the expected one counts as so many times: a stream of hours, or a
/// stall, says nothing of the next request.
const OUTLIER: f32 = 8.0;
/// A request that took so long, or so many times of service if that is longer, counts half for the scale
/// of late: it tells of when it came. Else a server that gets no more requests would look slower and
/// slower, for the long ones end last.
const LONG_AGO_US: f32 = 500_000.0;
const LONG_AGO_SERVICES: f32 = 10.0;
/// Beyond e^3 times as many slots as were known, or as few, inertia hardly grows: the square of that 3.
const FAR: f32 = 9.0;
/// For so long after its first answer a server's latencies say nothing yet, and for so many times of
/// service, but no longer than the last: who has ended by then are the short ones.
const EARLY_MS: f32 = 1_000.0;
const EARLY_SERVICES: f32 = 3.0;
const LONGEST_EARLY_MS: f32 = 10_000.0;
/// A class of less weight says nothing.
const LEAST_WEIGHT: f32 = 0.05;

/// What requests of one class took, in sum; the past fades.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Class {
    weight: f32,
    /// Requests in flight, with the one that arrived.
    with_it: f32,
    took_us: f32,
}

/// What a server's latencies say of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Mean time of service without waiting, in microseconds.
    pub service_us: f32,
    /// Requests that it serves at a time.
    pub slots: f32,
}

impl Fit {
    /// Whatever was told or computed, it can be used.
    fn within_bounds(self) -> Self {
        Self {
            service_us: within(self.service_us, 1.0, LONGEST_SERVICE_US),
            slots: within(self.slots, 1.0, MOST_SLOTS),
        }
    }

    /// How many times longer than alone a request takes that finds `others` in flight.
    pub fn stretch(&self, others: f32) -> f32 {
        ((others + 1.0) / self.slots).max(1.0)
    }
}

/// The latencies of a server, and what follows from them.
#[derive(Clone, Debug)]
pub struct Model {
    classes: [Class; CLASSES],
    /// Latency by expected stretch, in sum: the scale of late.
    recent: (f32, f32),
    fit: Option<Fit>,
    /// What the service time is multiplied with before it is told: who gets no requests shows no
    /// better, so it is taken for better and better until some come.
    hope: f32,
    /// Time since the first request ended.
    age_ms: f32,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            classes: [Class::default(); CLASSES],
            recent: (0.0, 0.0),
            fit: None,
            hope: 1.0,
            age_ms: 0.0,
        }
    }
}

impl Model {
    /// What was learned so far; `None` where that is too early to say.
    pub fn fit(&self) -> Option<Fit> {
        let early_ms = |fit: &Fit| (fit.service_us * EARLY_SERVICES / 1e3).max(EARLY_MS);
        let told = self.fit.filter(|fit| self.age_ms >= early_ms(fit).min(LONGEST_EARLY_MS));
        told.map(|fit| Fit { service_us: fit.service_us * self.hope, ..fit }.within_bounds())
    }

    /// A request that found `others` in flight took `took_us`.
    pub fn record(&mut self, others: f32, took_us: f32) {
        self.hope = (self.hope * HEARTENED).min(1.0);
        let others = within(others, 0.0, MOST_SLOTS - 1.0);
        let mut took_us = within(took_us, 1.0, LONGEST_SERVICE_US);
        if let Some(fit) = self.fit {
            let past = took_us / LONG_AGO_US.max(LONG_AGO_SERVICES * fit.service_us);
            let new = 1.0 / (1.0 + past * past);
            took_us = took_us.min(OUTLIER * fit.service_us * fit.stretch(others));
            let (weight, service) = self.recent;
            self.recent = (weight + new, service + new * took_us / fit.stretch(others));
        }
        if let Some(class) = self.classes.get_mut(class_of(others)) {
            class.weight += 1.0;
            class.with_it += others + 1.0;
            class.took_us += took_us;
        }
        if self.fit.is_none() {
            self.fit = Some(Fit { service_us: took_us.max(1.0), slots: others + 1.0 });
        }
    }

    /// Brings the fit up to date and lets `elapsed_ms` fade the past. `rate`: requests a second, of
    /// late; `flow`: the most that may have ended in a second of late. Some microseconds of work.
    pub fn refit(&mut self, elapsed_ms: f32, rate: f32, flow: f32, tuning: &super::TwinTuning) {
        if let Some(slots) = self.slots(tuning.inertia) {
            let slots = self.proven(slots, flow);
            let service_us = self.scale(slots).unwrap_or(1.0).max(1.0);
            // What was recorded of late was divided by what the slots of then let expect.
            let before = self.fit.and_then(|fit| self.scale(fit.slots)).unwrap_or(service_us);
            self.recent.1 *= service_us / before.max(1.0);
            let (weight, service) = self.recent;
            let prior = tuning.prior;
            let service_us = (service + prior * service_us) / (weight + prior);
            self.fit = Some(Fit { service_us, slots }.within_bounds());
        }
        let elapsed_ms = within(elapsed_ms, 0.0, f32::MAX);
        if self.fit.is_some() {
            self.age_ms = (self.age_ms + elapsed_ms).min(LONGEST_EARLY_MS);
        }
        if rate < QUIET_RATE {
            let hope = self.hope * 0.5_f32.powf(elapsed_ms / tuning.hope_half_ms);
            self.hope = hope.max(LEAST_HOPE);
        }
        // Slow services show what they are as seldom as they answer.
        let half_ms = |least_ms: f32, requests: f32| {
            // `clamp` would bring along how to print its bounds: 20 kB of module.
            (requests * 1_000.0 / rate.max(QUIET_RATE)).max(least_ms).min(LONGEST_HALF_MS)
        };
        let keep = 0.5_f32.powf(elapsed_ms / half_ms(tuning.shape_half_ms, tuning.shape_requests));
        for class in &mut self.classes {
            class.weight *= keep;
            class.with_it *= keep;
            class.took_us *= keep;
            if class.weight < LEAST_WEIGHT {
                *class = Class::default();
            }
        }
        let keep = 0.5_f32.powf(elapsed_ms / half_ms(tuning.scale_half_ms, tuning.scale_requests));
        self.recent = (self.recent.0 * keep, self.recent.1 * keep);
        if self.recent.0 < LEAST_WEIGHT {
            self.recent = (0.0, 0.0);
        }
    }

    /// Adds what another one recorded.
    pub(super) fn absorb(&mut self, news: &Self) {
        let mut requests = 0.0;
        for (class, new) in self.classes.iter_mut().zip(&news.classes) {
            requests += new.weight;
            class.weight += new.weight;
            class.with_it += new.with_it;
            class.took_us += new.took_us;
        }
        self.recent.0 += news.recent.0;
        self.recent.1 += news.recent.1;
        self.fit = self.fit.or(news.fit);
        self.hope = (self.hope * HEARTENED.powf(requests.min(8.0))).min(1.0);
    }

    /// The conclusions alone.
    pub(super) fn without_sums(&self) -> Self {
        Self { fit: self.fit, hope: self.hope, age_ms: self.age_ms, ..Self::default() }
    }

    /// From what [`Model::sums`], [`Model::recent`] and [`Model::conclusions`] told: none of it negative.
    pub(super) fn of(
        sums: &mut dyn Iterator<Item = f32>,
        recent: (f32, f32),
        conclusions: &[f32],
    ) -> Self {
        let mut model = Self { recent, ..Self::default() };
        if let [service_us, slots, hope, age_ms] = *conclusions {
            model.fit = Some(Fit { service_us, slots }.within_bounds());
            model.hope = within(hope, LEAST_HOPE, 1.0);
            model.age_ms = within(age_ms, 0.0, LONGEST_EARLY_MS);
        }
        for class in &mut model.classes {
            let mut next = || sums.next().unwrap_or(0.0);
            *class = Class { weight: next(), with_it: next(), took_us: next() };
        }
        model
    }

    /// Time of service and slots without hope, hope, and for how long there were answers: nothing where
    /// nothing is known.
    pub(super) fn conclusions(&self) -> impl Iterator<Item = f32> {
        let all = |fit: Fit| [fit.service_us, fit.slots, self.hope, self.age_ms];
        self.fit.into_iter().flat_map(all)
    }

    /// What was learned, without hope.
    #[cfg(test)]
    pub(super) fn learned(&self) -> Option<Fit> {
        self.fit
    }

    /// What was recorded, three numbers for each class.
    pub(super) fn sums(&self) -> impl Iterator<Item = f32> {
        self.classes.iter().flat_map(|class| [class.weight, class.with_it, class.took_us])
    }

    /// What was recorded of late: weight, service time.
    pub(super) fn recent(&self) -> (f32, f32) {
        self.recent
    }

    /// The slots that explain the latencies best. More than were ever in flight at a time cannot be
    /// told from just as many, and nobody knows what would happen beyond: then it is the fewest.
    fn slots(&self, inertia: f32) -> Option<f32> {
        let most = self.seen().map(|(_, with_it, _)| with_it).reduce(f32::max)?;
        let before = self.fit.map_or(1.0, |fit| fit.slots);
        let candidates = || {
            let steps = (0..).map(|step: u16| {
                let step = f32::from(step);
                if step < 28.0 { 1.0 + step * 0.25 } else { 8.0 * 1.05_f32.powf(step - 28.0) }
            });
            steps.take_while(move |slots| *slots < most).chain([most, before])
        };
        // Who is always busy shows only how fast requests end, not how many are served at a time, and
        // who never is shows neither: what was known before stays, unless it explains less.
        let penalty = |slots: f32| {
            let far = (slots / before).ln();
            inertia * far * far / (1.0 + far * far / FAR) + self.error(slots)
        };
        candidates().min_by(|a, b| penalty(*a).total_cmp(&penalty(*b)))
    }

    /// So many slots as were in use at a time, and one; or as were known before. Where requests arrive
    /// faster than they end, latencies do not show it yet: they seem to be the same however many
    /// are there, and a server of any number of slots would get all of them. By Little's law, slots in
    /// use are what ends in a second times what it takes.
    fn proven(&self, slots: f32, flow: f32) -> f32 {
        let busy = flow * self.scale(slots).unwrap_or(0.0) / 1e6;
        let before = self.fit.map_or(1.0, |fit| fit.slots);
        // Not a number is not less.
        if busy + 1.0 < slots { before.max(busy + 1.0).min(slots) } else { slots }
    }

    /// The classes that hold anything: weight, mean in flight, mean latency.
    fn seen(&self) -> impl Iterator<Item = (f32, f32, f32)> {
        self.classes
            .iter()
            .filter(|class| class.weight > LEAST_WEIGHT)
            .map(|class| (class.weight, class.with_it / class.weight, class.took_us / class.weight))
    }

    /// The service time that fits best for so many slots.
    fn scale(&self, slots: f32) -> Option<f32> {
        let (mut weights, mut service) = (0.0, 0.0);
        for (weight, with_it, mean) in self.seen() {
            weights += weight;
            service += weight * mean / (with_it / slots).max(1.0);
        }
        (weights > 0.0).then(|| service / weights)
    }

    /// How much less likely the latencies are with so many slots than if each class had a mean of its
    /// own: twice the difference of the logarithms, were all latencies exponential. Of a class whose
    /// ratio to what is expected is `r` that is `2 * weight * (r - 1 - ln(r))`, here with Padé's
    /// approximation of the logarithm. The mean of a few that happened to be short says little.
    fn error(&self, slots: f32) -> f32 {
        let Some(service) = self.scale(slots) else { return 0.0 };
        let error = |(weight, with_it, mean): (f32, f32, f32)| {
            let ratio = mean / (service * (with_it / slots).max(1.0)).max(1.0);
            let off = ratio - 1.0;
            2.0 * weight * off * off * (ratio + 2.0) / (ratio * ratio + 4.0 * ratio + 1.0)
        };
        self.seen().map(error).sum()
    }
}

/// The class of so many others in flight.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn class_of(others: f32) -> usize {
    let others = others.clamp(0.0, 65_535.0) as u32;
    if others < 16 {
        return others as usize;
    }
    let octave = others.ilog2();
    let quarter = others >> (octave - 2) & 3;
    (16 + 4 * (octave - 4) + quarter) as usize
}
