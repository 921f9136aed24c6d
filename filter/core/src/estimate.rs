//! How long a request would take at an endpoint, as far as one VM knows.

use core::num::NonZeroU64;

use crate::load::Load;

/// The estimator's parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuning {
    /// Weight of the service time beside the wait.
    pub service_weight: f32,
    /// By so much of itself an estimate varies at random.
    pub jitter: f32,
    /// Requests of others that may have come or gone unseen at an endpoint that still counts as known.
    pub fresh: f32,
    /// So many service times after a report, what others have in flight is e^-1 of the way from what
    /// they had to what they usually have.
    pub fade: f32,
    /// Endpoints to compare where nothing is fresh and nobody can be asked.
    pub stale_samples: usize,
    /// Endpoints out of which the best-looking are asked.
    pub ask_pool: usize,
    /// An estimate within this of the best possible needs no asking.
    pub good_enough: f32,
    /// Of slots beyond a few, so large a part counts.
    pub caution: f32,
    /// Stamps of one endpoint are asked for once in such a part of its time of service.
    pub stamp_every: f32,
    /// Variance of what others have in flight at an endpoint of which nothing was heard of late, by the
    /// square of its mean.
    pub spread: f32,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            service_weight: 0.2,
            jitter: 0.1,
            fresh: 0.5,
            fade: 3.0,
            stale_samples: 4,
            ask_pool: 10,
            good_enough: 1.6,
            caution: 0.85,
            stamp_every: 0.1,
            spread: 3.0,
        }
    }
}

/// A report is forgotten after so long.
pub const LONGEST_US: u64 = 10_000_000;
/// Reports age as by this time of service, in microseconds, where it is shorter.
const SHORTEST_US: f32 = 1_000.0;

/// What is usual among a cluster's endpoints: for those of whom nothing is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usual {
    /// Time of service, in microseconds; 0: not known.
    pub service_us: f32,
    /// Requests served at a time.
    pub slots: f32,
    /// What others have in flight.
    pub others: f32,
    /// The shortest time of service of any.
    pub fastest_us: f32,
    /// How much longer requests take than reports let expect, and of how many endpoints that is known.
    pub ratio: f32,
    /// See `ratio`.
    pub judged: f32,
    /// Share of requests that servers fail.
    pub faults: f32,
    /// How many endpoints say what their time of service is.
    pub timed: f32,
    /// What this proxy has in flight by what others have.
    pub own_part: f32,
}

/// What one VM knows of an endpoint from its reports.
#[derive(Clone, Copy, Debug)]
pub struct View {
    heard_us: Option<NonZeroU64>,
    /// What others had in flight at the last report, and usually have.
    others: f32,
    usual: f32,
    service_us: f32,
    slots: f32,
    share: f32,
    draining: bool,
    /// Until then a request that leaves for it need not bring a stamp back.
    wanted_us: u64,
    /// Of questions, the share that it answers.
    answers: f32,
}

impl Default for View {
    fn default() -> Self {
        Self {
            heard_us: None,
            others: 0.0,
            usual: 0.0,
            service_us: 0.0,
            slots: 0.0,
            share: 1.0,
            draining: false,
            wanted_us: 0,
            answers: 1.0,
        }
    }
}

impl View {
    /// The part of the questions it would get that it wants and answers.
    pub fn share(&self) -> f32 {
        self.share * self.answers
    }

    /// It did not answer a question in time.
    pub fn missed(&mut self) {
        /// Whoever never answers is asked once in so many times.
        const LEAST: f32 = 1.0 / 64.0;
        self.answers = (self.answers * 0.5).max(LEAST);
    }

    /// It answered a question.
    pub fn answered(&mut self) {
        self.answers = 1.0;
    }

    /// What was held against it fades, four times a second.
    pub fn fade(&mut self) {
        self.answers = (self.answers * 1.05).min(1.0);
    }

    /// A report arrives; `own`: requests of this proxy in flight there at this moment, without the
    /// one that carries it.
    pub fn hear(&mut self, load: &Load, own: f32, now_us: u64) {
        /// What the newest report adds to the usual.
        const NEWEST: f32 = 0.2;
        let others = (load.in_flight - own).max(0.0);
        if self.is_known(now_us) {
            self.usual += NEWEST * (others - self.usual);
        } else {
            self.usual = others;
            self.wanted_us = 0;
        }
        self.others = others;
        self.heard_us = NonZeroU64::new(now_us);
        self.service_us = load.service_us.unwrap_or(0.0);
        self.slots = load.slots.unwrap_or(0.0);
        self.draining = load.draining;
        self.share = load.asks;
    }

    /// A request leaves for it: whether that is to bring a stamp back. Where one was asked for a
    /// moment ago, another would say hardly anything new; `silent`: it has no twin, as far as is known.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    pub fn wants_stamp(&mut self, now_us: u64, silent: bool, tuning: &Tuning) -> bool {
        /// A twin may come.
        const SILENT_US: u64 = 250_000;
        let known = self.is_known(now_us);
        let wants = now_us >= self.wanted_us || !known && !silent;
        if wants {
            let spacing_us =
                if known { (self.service_us * tuning.stamp_every) as u64 } else { SILENT_US };
            self.wanted_us = now_us.saturating_add(spacing_us);
        }
        wants
    }

    /// It says how long a request takes there.
    pub fn tells_service(&self, now_us: u64) -> bool {
        self.service_us > 0.0 && self.is_known(now_us)
    }

    /// It drains, or does not serve.
    pub fn is_draining(&self, now_us: u64) -> bool {
        self.draining && self.is_known(now_us)
    }

    /// Whether it has reported lately.
    pub fn is_known(&self, now_us: u64) -> bool {
        self.heard_us.is_some_and(|heard| now_us.saturating_sub(heard.get()) <= LONGEST_US)
    }

    /// Adds what it says to what is usual, as one of `count` that do; of its speed where that is no
    /// newcomer's.
    pub fn add_to(&self, usual: &mut Usual, count: f32, newcomer: bool) {
        let mean = |to: &mut f32, value: f32, count: f32| *to += (value - *to) / count;
        mean(&mut usual.others, self.usual, count);
        if self.service_us > 0.0 && !newcomer {
            usual.timed += 1.0;
            mean(&mut usual.service_us, self.service_us, usual.timed);
            mean(&mut usual.slots, self.slots.max(1.0), usual.timed);
            if usual.fastest_us == 0.0 || self.service_us < usual.fastest_us {
                usual.fastest_us = self.service_us;
            }
        }
    }

    /// Time of service in microseconds, and slots.
    fn speed(&self, usual: &Usual) -> (f32, f32) {
        if self.service_us > 0.0 {
            (self.service_us, self.slots.max(1.0))
        } else {
            (usual.service_us, usual.slots.max(1.0))
        }
    }

    /// Of its last report, in times of service.
    #[expect(clippy::cast_precision_loss, reason = "precise for days")]
    fn age(&self, now_us: u64, service_us: f32) -> f32 {
        let age_us = now_us.saturating_sub(self.heard_us.map_or(0, NonZeroU64::get)) as f32;
        age_us / service_us.max(SHORTEST_US)
    }

    /// Until when hardly any requests of others have come or gone unseen since its last report. How many
    /// may have is the most that it had, by its time of service; who was never seen busy may have become
    /// so: after fifty times of service it is asked.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    fn fresh_until_us(&self, service_us: f32, tuning: &Tuning) -> u64 {
        const CREEP: f32 = 0.01;
        let most = self.usual.max(self.others);
        let services = if most + CREEP > tuning.fresh {
            tuning.fresh / (most + CREEP)
        } else {
            (tuning.fresh - most) / CREEP
        };
        let heard_us = self.heard_us.map_or(0, NonZeroU64::get);
        heard_us.saturating_add((services * service_us.max(SHORTEST_US)) as u64)
    }

    /// As this VM sees it now.
    pub fn sight(&self, now_us: u64, usual: &Usual, tuning: &Tuning) -> Sight {
        let (own_part, unknown) = (usual.own_part, tuning.spread);
        if !self.is_known(now_us) {
            let (others, service_us, slots) =
                (usual.others, usual.service_us, usual.slots.max(1.0));
            let fresh_until_us = if others <= tuning.fresh { u64::MAX } else { 0 };
            return Sight { fresh_until_us, others, spread: unknown, own_part, service_us, slots };
        }
        let (service_us, slots) = self.speed(usual);
        let fresh_until_us = self.fresh_until_us(service_us, tuning);
        let stale = self.age(now_us, service_us) / tuning.fade;
        let mut others = self.usual;
        // The exponential is the dear part.
        if self.others.to_bits() != self.usual.to_bits() {
            others += (self.others - self.usual) * (-stale).exp();
        }
        let spread = unknown * stale.min(1.0);
        Sight { fresh_until_us, others, spread, own_part, service_us, slots }
    }
}

/// What is thought of an endpoint at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// Until then it is as good as known what others have there.
    pub fresh_until_us: u64,
    /// Requests of others in flight, as far as reports tell.
    pub others: f32,
    /// Variance of `others`, by its square.
    pub spread: f32,
    /// What this proxy has in flight by what others have, anywhere.
    pub own_part: f32,
    /// Time of service without waiting, in microseconds.
    pub service_us: f32,
    /// Requests served at a time.
    pub slots: f32,
}

impl Sight {
    /// What of it depends on the moment alone, and not on a request.
    pub fn outlook(&self, tuning: &Tuning) -> Outlook {
        /// Of so few, one less would be too large a part.
        const FEW: f32 = 4.0;
        let Self { fresh_until_us, others, spread, own_part, service_us, slots } = *self;
        // The mean of a Gamma distribution, after a number was seen whose distribution is Poisson's and
        // whose mean is `own_part` of it.
        let alone = others / (1.0 + spread * own_part * others);
        // Where requests share processors, slots are taken for more than they are, and who always fills
        // a server up to them never shows that they are fewer.
        let cautious = slots.min(FEW + tuning.caution * (slots - FEW));
        let service = service_us.max(1.0);
        Outlook {
            fresh_until_us,
            others,
            alone,
            each: spread * alone,
            service_us,
            slots,
            slot_us: service / cautious,
            least_us: service * tuning.service_weight,
        }
    }
}

/// [`Sight`], made ready for many requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outlook {
    /// Until then it is as good as known what others have there.
    pub fresh_until_us: u64,
    /// Requests of others in flight, as far as reports tell;
    pub others: f32,
    /// so many where this proxy has none,
    alone: f32,
    /// and so many more for each that it has.
    each: f32,
    /// Time of service without waiting, in microseconds; 0: not known.
    pub service_us: f32,
    slots: f32,
    /// Once all slots are taken, one more in flight makes a request wait for so much longer, in microseconds.
    slot_us: f32,
    /// The cost where it need not wait.
    least_us: f32,
}

impl Outlook {
    /// Requests in flight with one more, where this proxy has so many. Where reports are stale, its own
    /// tell more: whoever has more of them there than elsewhere has so because they do not end, and then
    /// those of others do not either.
    fn in_flight(&self, own: f32) -> f32 {
        /// Others need not use all endpoints alike: where this proxy has none, at least so large a part
        /// of what was reported is there still.
        const LEAST: f32 = 0.25;
        own + 1.0 + (LEAST * self.others).max(self.alone + self.each * own)
    }

    /// How long a request takes, in microseconds, that finds so many of this proxy in flight; 0: not
    /// known.
    pub fn expected_us(&self, own: f32) -> f32 {
        self.service_us * (self.in_flight(own) / self.slots).max(1.0)
    }

    /// What a request would cost that finds so many of this proxy in flight: its expected wait and a
    /// part of the time of service, in microseconds.
    pub fn cost_us(&self, own: f32) -> f32 {
        let wait_us = self.in_flight(own) * self.slot_us - self.service_us.max(1.0);
        wait_us.max(0.0) + self.least_us
    }
}

#[cfg(test)]
mod tests;
