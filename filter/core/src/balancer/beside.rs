//! The servers that this proxy stands beside: every request that arrives there is counted, over all
//! workers, and every end teaches how long requests take.

use super::Balancer;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::proxy::Proxy;
use crate::report::Stamp;
use crate::twin::{Twin, TwinTuning};
use crate::work::Work;

/// Before a cluster's name in the list of clusters and in gauges, where requests to it are counted
/// on the server's side.
const PREFIX: &str = "twin:";

/// Whether a name in the list of clusters is that of a server beside the proxy.
pub(super) fn is_server(name: &str) -> bool {
    name.starts_with(PREFIX)
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
    book: usize,
    twin: Twin,
    ticked_ms: u64,
}

impl Beside {
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
        let is_it = |server: &Beside| server.name.strip_prefix(PREFIX) == Some(name);
        if let Some(index) = self.twins.iter().position(is_it) {
            return u32::try_from(index).ok().map(TwinId);
        }
        self.begin(proxy);
        let name = format!("{PREFIX}{name}");
        self.enlist(proxy, &name)?;
        let book = self.ledger.open(&name);
        let id = u32::try_from(self.twins.len()).ok()?;
        self.twins.push(Beside { name, book, twin: Twin::default(), ticked_ms: self.now_ms });
        Some(TwinId(id))
    }

    /// A request arrives at the server.
    pub fn arrive(&mut self, proxy: &dyn Proxy, id: TwinId) -> Visit {
        let mut visit = Visit { server: id, others: 0.0, since_us: self.now_us };
        if let Some(server) = self.twins.get(id.0 as usize) {
            visit.others = server.in_flight(proxy, &mut self.ledger, Work::ZERO);
            self.ledger.up(proxy, server.book, 0, Work::ONE);
        }
        visit
    }

    /// What the server's load is, for the response to `visit`, which it leaves out; or for the answer
    /// to a probe, which counts as one.
    pub fn stamp(&mut self, proxy: &dyn Proxy, id: TwinId, visit: Option<&Visit>) -> Stamp {
        let nobody = &mut Beside {
            name: String::new(),
            book: usize::MAX,
            twin: Twin::default(),
            ticked_ms: 0,
        };
        let server = self.twins.get_mut(id.0 as usize).unwrap_or(nobody);
        let carried = if visit.is_some() { Work::ONE } else { Work::ZERO };
        if visit.is_none() {
            server.twin.asked();
        }
        let load = server.twin.load(server.in_flight(proxy, &mut self.ledger, carried));
        let rates = server.twin.rates();
        let utilization = match (load.service_us, load.slots) {
            (Some(service_us), Some(slots)) => rates.ended * service_us / 1e6 / slots,
            _ => 0.0,
        };
        Stamp { load, rps: rates.ended, eps: rates.failed, utilization }
    }

    /// Whether the server takes requests, as its proxy heard from its health service: what it is told
    /// holds until it is told otherwise.
    pub fn set_serving(&mut self, _proxy: &dyn Proxy, _id: TwinId, _serves: bool) {}

    /// A request ended.
    #[expect(clippy::needless_pass_by_value, reason = "it ends here")]
    pub fn leave(&mut self, proxy: &dyn Proxy, visit: Visit, how: Departure) {
        let Visit { server, others, since_us } = visit;
        let Some(server) = self.twins.get_mut(server.0 as usize) else { return };
        self.ledger.down(proxy, server.book, 0, Work::ONE);
        #[expect(clippy::cast_precision_loss, reason = "digits that matter stay")]
        let took_us = self.now_us.saturating_sub(since_us) as f32;
        match how {
            Departure::Served => server.twin.ended(others, took_us),
            Departure::Failed => server.twin.failed(),
            Departure::Unknown => {}
        }
    }

    /// Time passed.
    pub(super) fn learn_of_servers(&mut self, _proxy: &dyn Proxy, config: &Config) {
        #[expect(clippy::cast_precision_loss, reason = "at most 100,000")]
        let budget = config.probe.server_budget as f32;
        for server in &mut self.twins {
            let elapsed_ms =
                self.now_ms.saturating_sub(core::mem::replace(&mut server.ticked_ms, self.now_ms));
            #[expect(clippy::cast_precision_loss, reason = "little")]
            let elapsed_ms = elapsed_ms as f32;
            server.twin.tick(elapsed_ms, &TwinTuning { budget, ..TwinTuning::default() });
        }
    }
}
