//! The servers that this proxy stands beside: every request that arrives there is counted, over all
//! workers, and every end teaches how long requests take.

use super::Balancer;
use crate::ages::Term;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::load::Load;
use crate::membership::admin::{Cluster, Health, Snapshot};
use crate::proxy::{ClusterGauge, Proxy};
use crate::records::{self, Server, server_key};
use crate::report::Stamp;
use crate::twin::{Twin, TwinTuning};
use crate::work::Work;

/// Before a cluster's name in the list of clusters and in gauges, where requests to it are counted
/// on the server's side.
const PREFIX: &str = "twin:";

/// How long at least a word holds that a server does not serve.
pub(super) const UNWELL_MS: u64 = 30_000;
/// A tick is about so long: for a worker whose proxy keeps nothing for it.
const TICK_MS: f32 = 250.0;

/// Whether a name in the list of clusters is that of a server beside the proxy.
pub(super) fn is_server(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Envoy's cluster behind a name in the list of clusters.
pub(super) fn cluster_of(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

/// Whether a server takes requests, by what is `told` of its cluster. Hosts that were not checked yet
/// have failed so far.
fn serves(told: Option<&Cluster>) -> bool {
    told.is_none_or(|cluster| {
        cluster.original_destination
            || cluster.hosts.is_empty()
            || cluster.hosts.iter().any(|host| host.health >= Health::Degraded)
    })
}

/// Index of a server in one VM's balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwinId(u32);

/// A request at the server. It must be given back to [`Balancer::leave`] exactly once.
#[derive(Debug)]
#[must_use]
pub struct Visit {
    server: TwinId,
    /// Requests that it found there.
    others: f32,
    since_us: u64,
    /// Since when it counts.
    began: Term,
}

/// How a request left the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It was answered: how long that took says something.
    Served,
    /// The server failed.
    Failed,
    /// Nothing can be concluded: cancelled, timed out, a stream without end.
    Unknown,
}

/// A server as one VM knows it.
pub(super) struct Beside {
    name: String,
    /// Its index in the ledger.
    pub(super) book: usize,
    pub(super) twin: Twin,
    /// Since this VM's last tick a request has ended that counted.
    pub(super) ended: bool,
    /// It was said not to serve.
    unwell: bool,
    /// Coordinator only: when conclusions were drawn last.
    concluded_ms: Option<u64>,
}

impl Beside {
    fn new(name: String, book: usize) -> Self {
        Self { name, book, twin: Twin::default(), ended: false, unwell: false, concluded_ms: None }
    }

    fn exchange(&mut self, proxy: &dyn Proxy, conclude: Option<f32>, tuning: &TwinTuning) {
        match self.twin.exchange(proxy, &self.name, conclude, tuning) {
            Some(shared) => self.unwell = shared.unwell_ms > 0,
            None => self.twin.tick(TICK_MS, tuning),
        }
    }

    /// Envoy was asked whether the server takes requests. That it does not holds for so many
    /// milliseconds, on every worker, if it is not said again.
    fn is_well(&mut self, proxy: &dyn Proxy, well: bool, hold_ms: u64) {
        if well && !self.unwell {
            return;
        }
        self.unwell = !well;
        let unwell_ms = if well { 0 } else { u32::try_from(hold_ms).unwrap_or(u32::MAX) };
        records::update::<Server>(proxy, &server_key(&self.name), |record| {
            core::mem::replace(&mut record.unwell_ms, unwell_ms) != unwell_ms
        });
    }

    /// What its load is, with so many in flight; `drains`: its proxy does.
    fn load(&self, in_flight: f32, drains: bool) -> Load {
        Load { draining: self.unwell || drains, ..self.twin.load(in_flight) }
    }

    /// Requests in flight over all workers.
    fn in_flight(&self, proxy: &dyn Proxy, ledger: &mut Ledger, without: Work) -> f32 {
        let mut work = ledger.outstanding(proxy, self.book, 0);
        work -= without;
        #[expect(clippy::cast_precision_loss, reason = "few")]
        let requests = work.milli() as f32 / 1_000.0;
        requests
    }
}

impl Balancer {
    /// The server behind the inbound cluster of that name. `None` where too many clusters are in use.
    pub fn twin(&mut self, proxy: &dyn Proxy, name: &str) -> Option<TwinId> {
        // Also where this VM, as coordinator, knows the server already: it is about to count.
        self.begin(proxy);
        let is_it = |server: &Beside| cluster_of(&server.name) == name;
        if let Some(index) = self.twins.iter().position(is_it) {
            return u32::try_from(index).ok().map(TwinId);
        }
        let name = format!("{PREFIX}{name}");
        self.enlist(proxy, &name)?;
        let book = self.ledger.open(&name);
        let id = u32::try_from(self.twins.len()).ok()?;
        let mut server = Beside::new(name, book);
        // A worker that was started anew after a crash knows at once what the others know.
        server.exchange(proxy, None, &TwinTuning::default());
        self.twins.push(server);
        Some(TwinId(id))
    }

    /// A request arrives at the server.
    pub fn arrive(&mut self, proxy: &dyn Proxy, id: TwinId) -> Visit {
        self.stir(proxy);
        let (since_us, began) = (self.now_us, Term::default());
        let mut visit = Visit { server: id, others: 0.0, since_us, began };
        if let Some(server) = self.twins.get(id.0 as usize) {
            visit.others = server.in_flight(proxy, &mut self.ledger, Work::ZERO);
            visit.began = self.ledger.begin(proxy, server.book, 0, Work::ONE);
        }
        visit
    }

    /// What the server's load is, for the response to `visit`, which it leaves out; or for the answer
    /// to a probe, which counts as one.
    pub fn stamp(&mut self, proxy: &dyn Proxy, id: TwinId, visit: Option<&Visit>) -> Stamp {
        if visit.is_none() {
            self.stir(proxy);
        }
        let counts = visit.is_some_and(|visit| self.counts(visit));
        let Some(server) = self.twins.get_mut(id.0 as usize) else {
            let load = Twin::default().load(0.0);
            return Stamp { load, rps: 0.0, eps: 0.0, utilization: 0.0 };
        };
        let carried = if counts { Work::ONE } else { Work::ZERO };
        if visit.is_none() {
            server.twin.asked();
        }
        let in_flight = server.in_flight(proxy, &mut self.ledger, carried);
        let load = server.load(in_flight, self.serving.drains);
        let rates = server.twin.rates();
        let utilization = match (load.service_us, load.slots) {
            (Some(service_us), Some(slots)) => rates.ended * service_us / 1e6 / slots,
            _ => 0.0,
        };
        Stamp { load, rps: rates.ended, eps: rates.failed, utilization }
    }

    /// Whether a request is in flight that counts: it has not been there for long.
    pub(super) fn counts(&self, visit: &Visit) -> bool {
        let server = self.twins.get(visit.server.0 as usize);
        server.is_some_and(|server| !self.ledger.is_long(server.book, 0, visit.began))
    }

    /// A request ended.
    #[expect(clippy::needless_pass_by_value, reason = "it ends here")]
    pub fn leave(&mut self, proxy: &dyn Proxy, visit: Visit, how: Departure) {
        let Visit { server, others, since_us, began } = visit;
        self.pace.saw();
        let Some(server) = self.twins.get_mut(server.0 as usize) else { return };
        server.ended |= how == Departure::Served && !self.ledger.is_long(server.book, 0, began);
        self.ledger.finish(proxy, server.book, 0, Work::ONE, began);
        #[expect(clippy::cast_precision_loss, reason = "digits that matter stay")]
        let took_us = self.now_us.saturating_sub(since_us) as f32;
        match how {
            Departure::Served => server.twin.ended(others, took_us),
            Departure::Failed => server.twin.failed(),
            Departure::Unknown => server.twin.left(),
        }
    }

    /// The coordinator knows every server, also those of which it has seen no request.
    pub(super) fn adopt_servers(&mut self, names: &[String]) {
        for name in names.iter().filter(|name| is_server(name)) {
            if !self.twins.iter().any(|server| server.name == *name) {
                self.twins.push(Beside::new(name.clone(), self.ledger.open(name)));
            }
        }
    }

    /// The admin interface was asked for the clusters `names`, and told this. The next answer comes
    /// within `due_ms`.
    pub(super) fn servers_answered(
        &mut self,
        proxy: &dyn Proxy,
        names: &[String],
        told: &Snapshot,
        due_ms: u64,
    ) {
        let hold_ms = UNWELL_MS.max(due_ms.saturating_mul(3));
        for server in self.twins.iter_mut().filter(|server| names.contains(&server.name)) {
            server.is_well(proxy, serves(told.cluster(cluster_of(&server.name))), hold_ms);
        }
    }

    /// Publishes what askers are told.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    pub(super) fn tell_of_servers(&self, proxy: &dyn Proxy) {
        for server in &self.twins {
            let load = server.load(0.0, self.serving.drains);
            let tell = |figure, value: f32| {
                proxy.cluster_gauge(cluster_of(&server.name), figure, value as u64);
            };
            tell(ClusterGauge::Service, load.service_us.unwrap_or(0.0));
            tell(ClusterGauge::Slots, load.slots.unwrap_or(0.0) * 1_000.0);
            tell(ClusterGauge::Asks, load.asks * 1_000.0);
            tell(ClusterGauge::Draining, f32::from(u8::from(load.draining)));
        }
    }

    /// Time passed: the workers tell each other what they learned.
    pub(super) fn learn_of_servers(&mut self, proxy: &dyn Proxy, config: &Config) {
        #[expect(clippy::cast_precision_loss, reason = "at most 100,000")]
        let budget = config.probe.server_budget as f32;
        let tuning = TwinTuning { budget, ..TwinTuning::default() };
        let (now_ms, coordinates) = (self.now_ms, self.lease.is_held());
        for server in &mut self.twins {
            let since_ms = server.concluded_ms.take();
            #[expect(clippy::cast_precision_loss, reason = "digits that matter stay")]
            let elapsed_ms = since_ms.map_or(0.0, |since| now_ms.saturating_sub(since) as f32);
            if coordinates {
                server.concluded_ms = Some(now_ms);
            }
            let conclude = coordinates.then_some(elapsed_ms);
            server.exchange(proxy, conclude, &tuning);
        }
        // With the other figures; before the exchange, one that has just become coordinator knows nothing.
        if coordinates && self.coordinating.round_ms == now_ms {
            self.tell_of_servers(proxy);
        }
    }
}
