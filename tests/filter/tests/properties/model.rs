//! Who may be picked, as docs/algorithm.md and docs/configuration.md say it, and as the admin
//! interface said it last: nothing of the filter's code is used here.
//!
//! A worker follows what is published at its next tick, so an override may name whoever was
//! eligible in
//! - any answer of the last [`LAG`], or
//! - the last two answers before: one of them may have reached a VM that did not coordinate any
//!   more, and so have changed nothing.
//!
//! Where the admin interface fails, membership is learned: then also whoever served a request that
//! Envoy balanced by itself.

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use leastload_testhost::Host;

/// A tick and the most by which two plugin configurations in one VM may delay it.
const LAG: Duration = Duration::from_millis(450);

/// The cluster's hosts, and what was said of them.
pub(crate) struct Model {
    pub(crate) hosts: Vec<Host>,
    answers: VecDeque<(Duration, BTreeSet<String>)>,
    /// Hosts that served what Envoy balanced, since the admin interface failed first.
    seen: BTreeSet<String>,
    failed: bool,
}

impl Model {
    pub(crate) fn new(hosts: Vec<Host>) -> Self {
        Self { hosts, answers: VecDeque::new(), seen: BTreeSet::new(), failed: false }
    }

    /// The healthy hosts of the best priority that has any, else the degraded of the best.
    fn eligible(&self) -> BTreeSet<String> {
        let of_best = |fit: fn(&Host) -> bool| {
            let best = self.resolved().filter(|host| fit(host)).map(|host| host.priority).min();
            let chosen = self.resolved().filter(|host| fit(host) && Some(host.priority) == best);
            chosen.map(|host| host.address.clone()).collect::<BTreeSet<_>>()
        };
        let healthy = of_best(|host| !host.health.is_unhealthy() && !host.health.is_degraded());
        if healthy.is_empty() { of_best(|host| host.health.is_degraded()) } else { healthy }
    }

    fn resolved(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter()
    }

    /// Whether Envoy alone would find somebody fit.
    pub(crate) fn can_serve(&self) -> bool {
        self.hosts.iter().any(|host| !host.health.is_unhealthy())
    }

    /// The admin interface told of the hosts as they are.
    pub(crate) fn answered(&mut self, now: Duration) {
        self.answers.push_back((now, self.eligible()));
        while self.answers.len() > 2 && self.answers[2].0 + LAG < now {
            self.answers.pop_front();
        }
    }

    /// The admin interface failed, or was too slow.
    pub(crate) fn failed(&mut self) {
        self.failed = true;
    }

    /// A host serves a request that no override steered.
    pub(crate) fn served(&mut self, host: &str) {
        self.seen.insert(host.to_owned());
    }

    /// Whether an override may name a host now.
    pub(crate) fn allows(&self, host: &str, now: Duration) -> bool {
        let old = self.answers.iter().rposition(|(at, _)| *at + LAG < now);
        let from = old.map_or(0, |last| last.saturating_sub(1));
        self.answers.range(from..).any(|(_, eligible)| eligible.contains(host))
            || (self.failed && self.seen.contains(host))
    }
}
