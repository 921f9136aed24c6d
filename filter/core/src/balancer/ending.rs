//! What became of a pick, and what the end of a request teaches.

use super::call::Word;
use super::cluster::Cluster;
use super::{Balancer, Call, Ending, Fate, Verdict};
use crate::proxy::Proxy;
use crate::records::Standing;
use crate::work::Work;

impl Balancer {
    /// The request ended, however it did. `at` is the endpoint that served it, where known.
    pub fn end(&mut self, proxy: &dyn Proxy, mut call: Call, ending: Ending, at: Option<&str>) {
        let now_us = self.now_us;
        self.pace.saw();
        // Of a stream that counts no more, the slot may be another endpoint's by now.
        let counted = call.counted.filter(|_| !self.is_long(&call));
        let steered = call.verdict == Verdict::Steer;
        self.count(proxy, &mut call, None);
        let Some(cluster) = self.clusters.get_mut(call.cluster.index()) else { return };
        if let Some(slot) = counted
            && self.ledger.own(cluster.book, slot).is_zero()
        {
            cluster.became_idle(slot, self.upkeep.idle);
        }
        let blamed = at.map_or(counted, |endpoint| cluster.slot_of(endpoint));
        for slot in call.picks.first().into_iter().chain(blamed) {
            if let Some(endpoint) = cluster.endpoint_mut(slot) {
                endpoint.aside.undecided();
            }
        }
        if call.word == Word::Silence
            && ending == Ending::Answered
            && let Some(pick) = counted
        {
            cluster.heard(pick);
        }
        let Some(slot) = blamed else { return };
        let is_pick = call.picks.first() == Some(slot);
        let mut silent = false;
        let delay_us = cluster.lately.mean_us;
        let Some(endpoint) = cluster.endpoint_mut(slot) else { return };
        match ending {
            Ending::Answered => endpoint.aside.succeeded(now_us / 1_000),
            Ending::Failed => endpoint.aside.failed(now_us / 1_000),
            Ending::Undecided | Ending::Erred => {}
        }
        let seen = &mut endpoint.experience;
        match ending {
            Ending::Answered | Ending::Erred if steered && !endpoint.view.is_known(now_us) => {
                seen.unreported();
                silent = seen.is_silent();
            }
            _ => {}
        }
        match ending {
            Ending::Answered => seen.failed(false),
            Ending::Failed | Ending::Erred => seen.failed(true),
            Ending::Undecided => {}
        }
        if ending != Ending::Undecided {
            seen.returned();
        }
        #[expect(clippy::cast_precision_loss, reason = "precise for hours")]
        let took_us = now_us.saturating_sub(call.sent_us) as f32;
        // One that was given up says how long it took at least.
        let tells = |usual_us| {
            ending == Ending::Answered || (ending == Ending::Undecided && took_us > usual_us)
        };
        if is_pick && tells(call.expected_us) {
            seen.took(took_us, call.expected_us);
        }
        if is_pick && steered && tells(delay_us) && !endpoint.is_newcomer(now_us) {
            endpoint.delays.took(took_us, delay_us);
            cluster.lately.any = true;
        }
        if silent {
            cluster.reports.silenced();
        }
    }

    fn is_long(&self, call: &Call) -> bool {
        let book = self.clusters.get(call.cluster.index()).map(|cluster| cluster.book);
        book.zip(call.counted)
            .is_some_and(|(book, slot)| self.ledger.is_long(book, slot, call.began))
    }

    /// Whether the response to a call may have a report of ours: it was asked for, or servers put one on
    /// every response.
    pub fn may_report(&self, call: &Call) -> bool {
        let unasked = |cluster: &Cluster| cluster.reports.come_unasked();
        call.stamped
            || call.verdict.is_watched()
                && self.clusters.get(call.cluster.index()).is_some_and(unasked)
    }

    /// What of the proxy's count in `slot` is this call.
    pub fn counts_on(&self, call: &Call, slot: u32) -> Work {
        let counts = call.counted == Some(slot) && !self.is_long(call);
        if counts { call.cost } else { Work::ZERO }
    }

    /// What became of a pick, now that `slot` serves.
    pub(super) fn fate(
        &mut self,
        proxy: &dyn Proxy,
        call: &Call,
        slot: Option<u32>,
        attempts: impl FnOnce() -> u64,
    ) -> Option<Fate> {
        let pick = call.picks.first()?;
        let now_ms = self.now_ms;
        let cluster = self.clusters.get_mut(call.cluster.index())?;
        let same = slot == Some(pick);
        if call.verdict == Verdict::Shadow {
            return Some(if same { Fate::ShadowSame } else { Fate::ShadowOther });
        }
        if same {
            cluster.heard(pick);
            cluster.prove();
            return Some(Fate::Honoured);
        }
        if call.word != Word::Another {
            cluster.doubt();
        }
        let endpoint = cluster.endpoint_mut(pick)?;
        endpoint.aside.failed(now_ms);
        if attempts() > 1 {
            return Some(Fate::Retry);
        }
        endpoint.refused = endpoint.refused.saturating_add(1);
        match endpoint.standing {
            Standing::Gone => return Some(Fate::Gone),
            Standing::Known => return Some(Fate::NotEligible),
            Standing::Eligible => {}
        }
        if cluster.ignored() {
            proxy.warn(&format!(
                "cluster {}: Envoy honours no override: is the filter or policy that reads the \
                 override header missing, or placed before leastload?",
                cluster.name
            ));
        }
        Some(Fate::Ignored)
    }
}
