//! What one VM does for all of them: it reads the admin interface, watches the others, keeps slots in
//! order and publishes figures.

use std::io::{self, Read};

use crate::Map;
use crate::config::Config;
use crate::membership::admin::{self, Cluster};
use crate::membership::roster::{self, Listing};
use crate::pace::Span;
use crate::proxy::{ClusterGauge, Proxy};
use crate::records::{self, CLUSTERS, Clusters, Roster, STATE, Source, Standing, State};

use super::Balancer;
use super::beside::{cluster_of, is_server};
use super::question::admin_path;

/// The coordinator does its slow work (slots, figures) once in so many milliseconds.
const ROUND_MS: u64 = 1_000;
/// A slot is left alone for so long after its endpoint went: longer than any VM picks on a view
/// that it has not brought up to date.
const QUARANTINE_MS: u64 = 30_000;
/// An answer of the admin interface is given up after so long.
pub(super) const ANSWER_MS: u64 = 10_000;
/// After a question about servers alone that failed, it waits so long: at most a third of the time for
/// which a word on them holds.
const SERVERS_RETRY_MS: u64 = 10_000;
/// Most bytes of admin answers a second, on average: Envoy's main thread spends about 12 us on
/// each kilobyte, and all of Envoy waits behind it.
const BYTES_PER_SECOND: u64 = 1_000_000;

/// What the coordinator has under way.
#[derive(Default)]
pub(super) struct Coordinating {
    /// When the answer under way was asked for, and when to ask next.
    asked_ms: Option<u64>,
    next_ms: u64,
    /// The same where the proxy is idle.
    idle_next_ms: u64,
    /// How many clusters the last answer was asked for.
    asked_clusters: usize,
    /// Whether none of them was that of anything but a server beside the proxy.
    asked_servers_alone: bool,
    pub(super) round_ms: u64,
    /// By cluster and slot, when its endpoint was first seen gone.
    gone: Vec<Vec<Option<u64>>>,
}

impl Coordinating {
    /// Another VM coordinates.
    pub(super) fn stop(&mut self) {
        self.gone.clear();
        self.asked_ms = None;
        self.asked_clusters = 0;
    }

    /// The next question is due in so many milliseconds; `idle_ms`: where the proxy is idle.
    fn ask_in(&mut self, now_ms: u64, ms: u64, idle_ms: u64) {
        self.next_ms = now_ms.saturating_add(ms);
        self.idle_next_ms = now_ms.saturating_add(idle_ms);
    }

    /// When it is due.
    fn due_ms(&self, idle: bool) -> u64 {
        if idle { self.idle_next_ms } else { self.next_ms }
    }
}

/// The request that the coordinator asks its proxy to make.
#[derive(Debug, PartialEq, Eq)]
pub struct AdminRequest {
    /// Path and query.
    pub path: String,
}

impl Balancer {
    /// The admin interface answered 200 with `body`, `length` bytes long. Without effect where the
    /// question was given up meanwhile.
    ///
    /// # Errors
    /// What is wrong with the body; nothing changes then.
    pub fn admin_answered(
        &mut self,
        proxy: &dyn Proxy,
        config: &Config,
        body: impl Read,
        length: u64,
    ) -> Result<(), admin::ParseError> {
        if self.serving.is_asked(self.now_ms) {
            self.ready_answered(proxy, config, body);
            return Ok(());
        }
        if self.coordinating.asked_ms.is_none() {
            // Given up, or another VM coordinates by now.
            return Ok(());
        }
        let mut names = enlisted(proxy);
        // The answer may not tell of a cluster that came after the question, which is not to say
        // that Envoy knows nothing of it. The list only grows at its end.
        names.truncate(self.coordinating.asked_clusters);
        let wanted: Map<&str, u32> = names.iter().map(|name| cluster_of(name)).zip(0..).collect();
        let answer = match admin::parse(body, length, &|name| wanted.contains_key(name)) {
            Ok(answer) => answer,
            Err(error) => {
                self.admin_failed(proxy, config);
                return Err(error);
            }
        };
        let now_ms = self.now_ms;
        self.coordinating.asked_ms = None;
        let pace_ms = length.saturating_mul(1_000) / BYTES_PER_SECOND;
        let due_ms = config.discovery.interval_ms.max(pace_ms);
        // Nobody picks by what is read meanwhile; so it does not hold longer either.
        let idle_ms = config.discovery.idle_interval_ms().max(due_ms);
        self.coordinating.ask_in(now_ms, due_ms, idle_ms);
        for (index, name) in clusters(&names) {
            let listing = compose(config, name, answer.cluster(name));
            publish(proxy, index, name, &listing);
        }
        self.servers_answered(proxy, &names, &answer, due_ms);
        records::update::<State>(proxy, STATE, |state| {
            state.reads = state.reads.wrapping_add(1).max(1);
            state.due_ms = due_ms;
            state.failing = false;
            true
        });
        self.follow(proxy);
        Ok(())
    }

    /// The admin interface could not be asked, or answered anything but 200.
    pub fn admin_failed(&mut self, proxy: &dyn Proxy, config: &Config) {
        if self.ready_answered(proxy, config, io::empty()) {
            return;
        }
        self.coordinating.asked_ms = None;
        let interval_ms = config.discovery.interval_ms;
        if self.coordinating.asked_servers_alone {
            // Nothing is missing where nobody tells how the servers are.
            let retry_ms = interval_ms.max(SERVERS_RETRY_MS);
            self.coordinating.ask_in(self.now_ms, retry_ms, retry_ms);
            return;
        }
        self.coordinating.ask_in(self.now_ms, interval_ms, interval_ms);
        let mut first = false;
        records::update::<State>(proxy, STATE, |state| {
            first = !core::mem::replace(&mut state.failing, true);
            first
        });
        if first {
            proxy.warn(&format!(
                "Envoy's admin interface does not answer through cluster {}: membership is \
                 learned from responses where it is not configured",
                config.discovery.admin_cluster.as_deref().unwrap_or_default()
            ));
        }
    }

    pub(super) fn coordinate(
        &mut self,
        proxy: &dyn Proxy,
        config: &Config,
        span: Span,
    ) -> Option<AdminRequest> {
        let names = enlisted(proxy);
        self.adopt_servers(&names);
        let Self { undertaker, ledger, .. } = self;
        undertaker.tick(proxy, span, |epoch| {
            for name in &names {
                let key = records::roster_key(name);
                let slots = if is_server(name) {
                    1
                } else {
                    records::read::<Roster>(proxy, &key).map_or(0, |(r, _)| r.entries.len())
                };
                let book = ledger.open(name);
                ledger.zero_other(proxy, book, u32::try_from(slots).unwrap_or(0), epoch);
            }
        });
        let now_ms = self.now_ms;
        if now_ms.saturating_sub(self.coordinating.round_ms) >= ROUND_MS {
            self.coordinating.round_ms = now_ms;
            self.round(proxy, config, &names);
        }
        let admin_cluster = config.discovery.admin_cluster.as_deref()?;
        if self.serving.is_asked(now_ms) {
            return None;
        }
        if let Some(asked_ms) = self.coordinating.asked_ms {
            if now_ms.saturating_sub(asked_ms) < ANSWER_MS {
                return None;
            }
            self.admin_failed(proxy, config);
        }
        let newcomers = names.len() > self.coordinating.asked_clusters && !self.upkeep.failing;
        let due_ms = self.coordinating.due_ms(self.pace.is_idle());
        if names.is_empty() || (now_ms < due_ms && !newcomers) {
            return self.ready_question();
        }
        self.coordinating.asked_clusters = names.len();
        self.coordinating.asked_servers_alone = clusters(&names).next().is_none();
        self.coordinating.asked_ms = Some(now_ms);
        Some(AdminRequest {
            path: admin_path(names.iter().map(|name| cluster_of(name)), admin_cluster),
        })
    }

    /// The coordinator's slow work.
    fn round(&mut self, proxy: &dyn Proxy, config: &Config, names: &[String]) {
        let now_ms = self.now_ms;
        let fresh = self.upkeep.is_fresh(now_ms);
        for (index, name) in clusters(names) {
            if !fresh && config.cluster(name).given.is_some() {
                publish(proxy, index, name, &compose(config, name, None));
            }
            let key = records::roster_key(name);
            let Some((roster, _)) = records::read::<Roster>(proxy, &key) else { continue };
            let book = self.ledger.open(name);
            let (mut known, mut eligible, mut work) = (0, 0, 0_u64);
            let mut vacant = Vec::new();
            let gone = slots_of(&mut self.coordinating.gone, index, roster.entries.len());
            for ((slot, entry), since) in (0_u32..).zip(&roster.entries).zip(gone) {
                work = work.saturating_add(self.ledger.outstanding(proxy, book, slot).milli());
                let standing = entry.standing();
                known += u64::from(standing != Standing::Gone);
                eligible += u64::from(standing == Standing::Eligible);
                if standing != Standing::Gone || entry.endpoint.is_empty() {
                    *since = None;
                } else if now_ms.saturating_sub(*since.get_or_insert(now_ms)) >= QUARANTINE_MS
                    && self.ledger.is_free(proxy, book, slot)
                {
                    vacant.push(slot);
                }
            }
            if !vacant.is_empty() {
                roster::publish(proxy, name, index, |roster| roster::vacate(roster, &vacant));
            }
            let age_ms = match roster.source() {
                Source::Admin => now_ms.saturating_sub(self.upkeep.read_ms),
                Source::Static | Source::Learned | Source::Unknown => 0,
            };
            let eligible = if roster.panic { 0 } else { eligible };
            proxy.cluster_gauge(name, ClusterGauge::Known, known);
            proxy.cluster_gauge(name, ClusterGauge::Eligible, eligible);
            proxy.cluster_gauge(name, ClusterGauge::Outstanding, work);
            proxy.cluster_gauge(name, ClusterGauge::Age, age_ms);
        }
    }
}

/// The entries of one cluster, grown to `slots`.
fn slots_of(all: &mut Vec<Vec<Option<u64>>>, cluster: usize, slots: usize) -> &mut [Option<u64>] {
    if all.len() <= cluster {
        all.resize_with(cluster + 1, Vec::new);
    }
    all.get_mut(cluster).map_or(&mut [], |entries| {
        entries.resize(slots, None);
        entries
    })
}

/// Those that requests leave for, with their indices.
fn clusters(names: &[String]) -> impl Iterator<Item = (usize, &String)> {
    names.iter().enumerate().filter(|(_, name)| !is_server(name))
}

fn enlisted(proxy: &dyn Proxy) -> Vec<String> {
    records::read::<Clusters>(proxy, CLUSTERS).map_or_else(Vec::new, |(clusters, _)| clusters.names)
}

/// What is known of a cluster: `told` by the admin interface, `None` where that knows nothing.
fn compose(config: &Config, name: &str, told: Option<&Cluster>) -> Listing {
    let settings = config.cluster(name);
    match (&settings.given, told) {
        (Some(given), told) => Listing::given(given, told, settings.panic_threshold),
        (None, Some(told)) => Listing::told(told, settings.panic_threshold),
        (None, None) => Listing::empty(Source::Learned),
    }
}

/// Nobody telling takes nothing away from what was learned.
fn publish(proxy: &dyn Proxy, index: usize, name: &str, listing: &Listing) {
    roster::publish(proxy, name, index, |roster| {
        let learned = listing.source == Source::Learned && roster.source() == Source::Learned;
        !learned && roster::merge(roster, listing)
    });
}
