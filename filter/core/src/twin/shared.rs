//! What the workers of one proxy teach each other of a server.
//!
//! Each adds what it saw since its last tick to one record, and takes over what follows from all that
//! was added. The coordinator alone draws conclusions and lets the past fade, so that the number of
//! workers changes neither. A worker that crashes takes with it what it saw since its last tick.

use super::model::Model;
use super::{Counts, LEAST_SHARE, Rates, Twin, TwinTuning, within};
use crate::proxy::Proxy;
use crate::records::{self, Server, server_key};

impl Twin {
    /// Adds what was learned to the record of the server called `name`, and takes over what all have
    /// learned. `elapsed_ms`: coordinator only, the time since its last exchange, 0 where it had none.
    /// `None` where the record cannot be written: then this worker learns alone for now.
    pub fn exchange(
        &mut self,
        proxy: &dyn Proxy,
        name: &str,
        elapsed_ms: Option<f32>,
        tuning: &TwinTuning,
    ) -> Option<Server> {
        let mut all = Self::default();
        let written = records::update::<Server>(proxy, &server_key(name), |record| {
            let before = record.clone();
            all = Self::of(record);
            all.absorb(self);
            if let Some(elapsed_ms) = elapsed_ms {
                all.tick(elapsed_ms, tuning);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let elapsed_ms = elapsed_ms as u32;
                record.unwell_ms = record.unwell_ms.saturating_sub(elapsed_ms);
            }
            all.tell(record);
            *record != before
        });
        if written.is_some() {
            self.model = all.model.without_sums();
            self.counts = Counts::default();
            self.rates = all.rates;
            self.share = all.share;
        }
        written
    }

    fn absorb(&mut self, news: &Twin) {
        self.model.absorb(&news.model);
        let (all, new) = (&mut self.counts, &news.counts);
        all.ended = all.ended.saturating_add(new.ended);
        all.failed = all.failed.saturating_add(new.failed);
        all.asked = all.asked.saturating_add(new.asked);
    }

    fn of(record: &Server) -> Self {
        let counts = |at: usize| record.counts.get(at).copied().unwrap_or(0);
        let rates = |at: usize| number(&record.rates, at);
        let recent = (number(&record.recent, 0), number(&record.recent, 1));
        let told: Vec<f32> = (0..record.fit.len()).map(|at| number(&record.fit, at)).collect();
        Self {
            model: Model::of(&mut (0..).map(|at| number(&record.sums, at)), recent, &told),
            counts: Counts { ended: counts(0), failed: counts(1), asked: counts(2) },
            rates: Rates { ended: rates(0), failed: rates(1), asked: rates(2) },
            share: within(1.0 + record.share, LEAST_SHARE, 1.0),
        }
    }

    fn tell(&self, record: &mut Server) {
        let Self { model, counts, rates, share } = self;
        record.sums.clear();
        record.sums.extend(model.sums());
        let used = record.sums.iter().rposition(|sum| *sum > 0.0).map_or(0, |last| last + 1);
        record.sums.truncate(used);
        record.recent.clear();
        if model.recent().0 > 0.0 {
            record.recent.extend(<[f32; 2]>::from(model.recent()));
        }
        record.fit.clear();
        record.fit.extend(model.conclusions());
        record.counts = vec![counts.ended, counts.failed, counts.asked];
        record.rates = vec![rates.ended, rates.failed, rates.asked];
        record.share = share - 1.0;
    }
}

/// A number of a record; 0 where there is none that makes sense.
fn number(numbers: &[f32], at: usize) -> f32 {
    /// So large that a sum of latencies is below it, so small that squares are finite.
    const MOST: f32 = 1e15;
    numbers.get(at).map_or(0.0, |number| within(*number, 0.0, MOST))
}
