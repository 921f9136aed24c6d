//! What happens at ticks: the VM stays in the epoch and follows published membership; the
//! coordinator also reads the admin interface, keeps slots in order and publishes figures.

use std::io::{self, Read};

use crate::Map;
use crate::config::Config;
use crate::membership::admin::{self, Cluster};
use crate::membership::roster::{self, Listing};
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
/// Overrides refused in a row after which a learned endpoint is forgotten.
const REFUSED: u32 = 3;

/// The state of upkeep in one VM.
pub(super) struct Upkeep {
    /// How many idle endpoints a cluster remembers.
    pub(super) idle: usize,
    max_age_ms: u64,
    /// The number of successful reads that this VM last saw, and when it saw it change.
    reads: u64,
    read_ms: u64,
    /// The last successful read was there before this VM was, and none has succeeded since.
    of_unknown_age: bool,
    due_ms: u64,
    /// Coordinator only: when the answer under way was asked for, and when to ask next.
    asked_ms: Option<u64>,
    next_ms: u64,
    /// Coordinator only: how many clusters the last answer was asked for.
    asked_clusters: usize,
    /// Coordinator only: whether one of them is not that of a server beside the proxy.
    asked_members: bool,
    failing: bool,
    round_ms: u64,
    /// By cluster and slot, when its endpoint was first seen gone.
    gone: Vec<Vec<Option<u64>>>,
}

impl Upkeep {
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            idle: 0,
            max_age_ms: u64::MAX,
            reads: 0,
            read_ms: now_ms,
            of_unknown_age: false,
            due_ms: 0,
            asked_ms: None,
            next_ms: now_ms,
            asked_clusters: 0,
            asked_members: true,
            failing: false,
            round_ms: 0,
            gone: Vec::new(),
        }
    }

    /// Begins to wait for the first reading.
    pub(super) fn wait_from(&mut self, now_ms: u64) {
        if self.reads == 0 {
            self.read_ms = now_ms;
        }
    }

    /// Whether the admin interface will tell of a cluster of which nothing is known yet.
    pub(super) fn expects_admin(&self, config: &Config, now_ms: u64) -> bool {
        let patient = now_ms.saturating_sub(self.read_ms) <= self.bound_ms();
        config.discovery.admin_cluster.is_some() && !self.failing && patient
    }

    /// Whether the admin interface was read recently enough. By this VM's own clock: an answer
    /// counts from when the VM learned of it.
    pub(super) fn is_fresh(&self, now_ms: u64) -> bool {
        self.reads > 0
            && !self.of_unknown_age
            && now_ms.saturating_sub(self.read_ms) <= self.bound_ms()
    }

    fn bound_ms(&self) -> u64 {
        self.max_age_ms.max(self.due_ms.saturating_mul(3))
    }
}

/// The request that the coordinator asks its proxy to make.
#[derive(Debug, PartialEq, Eq)]
pub struct AdminRequest {
    /// Path and query.
    pub path: String,
}

impl Balancer {
    /// Must be called regularly, about four times within `discovery.interval`. `now_ms`: the clock
    /// of [`Balancer::new`]. Returns what to ask the admin interface, if it is time; exactly one
    /// of [`Balancer::admin_answered`] and [`Balancer::admin_failed`] should follow.
    pub fn tick(
        &mut self,
        proxy: &dyn Proxy,
        config: &Config,
        now_ms: u64,
    ) -> Option<AdminRequest> {
        self.set_time(self.now_us.max(now_ms.saturating_mul(1_000)));
        self.survey();
        self.upkeep.max_age_ms = config.discovery.max_age_ms;
        self.upkeep.idle = config.most_idle();
        self.presence.tick(proxy, &mut self.ledger);
        self.lease.tick(proxy, self.busy);
        let request = if self.lease.is_held() {
            self.coordinate(proxy, config)
        } else {
            self.undertaker.reset();
            self.upkeep.gone.clear();
            self.upkeep.asked_ms = None;
            self.upkeep.asked_clusters = 0;
            self.serving.stop_asking();
            None
        };
        self.forget(proxy);
        self.follow(proxy);
        self.learn_of_servers(proxy, config);
        request
    }

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
        if self.upkeep.asked_ms.is_none() {
            // Given up, or another VM coordinates by now.
            return Ok(());
        }
        let mut names = enlisted(proxy);
        // The answer may not tell of a cluster that came after the question, which is not to say
        // that Envoy knows nothing of it. The list only grows at its end.
        names.truncate(self.upkeep.asked_clusters);
        let wanted: Map<&str, u32> = names.iter().map(|name| cluster_of(name)).zip(0..).collect();
        let answer = match admin::parse(body, &|name| wanted.contains_key(name)) {
            Ok(answer) => answer,
            Err(error) => {
                self.admin_failed(proxy, config);
                return Err(error);
            }
        };
        let now_ms = self.now_ms;
        self.upkeep.asked_ms = None;
        let pace_ms = length.saturating_mul(1_000) / BYTES_PER_SECOND;
        let due_ms = config.discovery.interval_ms.max(pace_ms);
        self.upkeep.next_ms = now_ms.saturating_add(due_ms);
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
        self.upkeep.asked_ms = None;
        let interval_ms = config.discovery.interval_ms;
        if !self.upkeep.asked_members {
            // Nothing is missing where nobody tells how the servers are.
            self.upkeep.next_ms = self.now_ms.saturating_add(interval_ms.max(SERVERS_RETRY_MS));
            return;
        }
        self.upkeep.next_ms = self.now_ms.saturating_add(interval_ms);
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

    fn coordinate(&mut self, proxy: &dyn Proxy, config: &Config) -> Option<AdminRequest> {
        let names = enlisted(proxy);
        self.adopt_servers(&names);
        let Self { undertaker, ledger, .. } = self;
        undertaker.tick(proxy, |epoch| {
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
        if now_ms.saturating_sub(self.upkeep.round_ms) >= ROUND_MS {
            self.upkeep.round_ms = now_ms;
            self.round(proxy, config, &names);
        }
        let admin_cluster = config.discovery.admin_cluster.as_deref()?;
        if self.serving.is_asked(now_ms) {
            return None;
        }
        if let Some(asked_ms) = self.upkeep.asked_ms {
            if now_ms.saturating_sub(asked_ms) < ANSWER_MS {
                return None;
            }
            self.admin_failed(proxy, config);
        }
        let newcomers = names.len() > self.upkeep.asked_clusters && !self.upkeep.failing;
        if names.is_empty() || (now_ms < self.upkeep.next_ms && !newcomers) {
            return self.ready_question();
        }
        self.upkeep.asked_clusters = names.len();
        self.upkeep.asked_members = clusters(&names).next().is_some();
        self.upkeep.asked_ms = Some(now_ms);
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
            let gone = slots_of(&mut self.upkeep.gone, index, roster.entries.len());
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

    /// Takes over what was published since the last tick.
    pub(super) fn follow(&mut self, proxy: &dyn Proxy) {
        let Some((state, _)) = records::read::<State>(proxy, STATE) else { return };
        if state.reads != self.upkeep.reads {
            self.upkeep.of_unknown_age = self.upkeep.reads == 0 && state.failing;
            self.upkeep.reads = state.reads;
            self.upkeep.read_ms = self.now_ms;
        }
        self.upkeep.due_ms = state.due_ms;
        self.upkeep.failing = state.failing;
        self.serving.drains = state.draining;
        for cluster in &mut self.clusters {
            let published = state.versions.get(cluster.index).copied().unwrap_or(0);
            if published != cluster.version
                && let Some((roster, _)) =
                    records::read::<Roster>(proxy, &records::roster_key(&cluster.name))
            {
                cluster.load(roster, self.now_us);
            }
        }
    }

    /// Lets go of learned endpoints that Envoy no longer uses.
    fn forget(&mut self, proxy: &dyn Proxy) {
        let fresh = self.upkeep.is_fresh(self.now_ms);
        for cluster in &mut self.clusters {
            let told = match cluster.source {
                Source::Static | Source::Unknown => true,
                Source::Admin => fresh,
                Source::Learned => false,
            };
            if told {
                continue;
            }
            let unused = cluster.learned.forgotten();
            let names: Vec<&str> = (0_u32..)
                .zip(&cluster.endpoints)
                .filter(|(slot, endpoint)| unused.contains(slot) || endpoint.refused >= REFUSED)
                .filter(|(_, endpoint)| endpoint.standing == Standing::Eligible)
                .map(|(_, endpoint)| endpoint.name.as_str())
                .collect();
            if names.is_empty() {
                continue;
            }
            let drop = |roster: &mut Roster| roster::learn(roster, None, &names);
            if let Some(roster) = roster::publish(proxy, &cluster.name, cluster.index, drop) {
                cluster.load(roster, self.now_us);
            }
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
