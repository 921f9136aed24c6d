//! Streams that stay open: what has lasted for much longer than requests do counts as load no more,
//! neither at the endpoints of this proxy nor at the servers beside it.
//!
//! Its time stands still while nothing comes back from there, for what does not end because a server
//! has stalled is load.

use super::Balancer;
use super::sights::requests;
use crate::ages::longest_us;
use crate::proxy::Proxy;
use crate::twin::expected_us;

impl Balancer {
    /// So much time has passed.
    pub(super) fn ripen(&mut self, proxy: &dyn Proxy, elapsed_us: u64) {
        let Self { clusters, twins, ledger, tuning, now_us, .. } = self;
        for cluster in clusters.iter_mut().filter(|cluster| cluster.reports.is_any()) {
            let usual = cluster.reports.usual();
            for (slot, endpoint) in (0_u32..).zip(&mut cluster.endpoints) {
                if ledger.own(cluster.book, slot).is_zero() {
                    continue;
                }
                let outlook = endpoint.think(*now_us, usual, tuning);
                let own = requests(ledger.outstanding(proxy, cluster.book, slot));
                let expected_us = outlook.expected_us(own);
                // Of whom nothing is known it cannot be told what is long.
                let known = outlook.service_us > 0.0;
                if known && !endpoint.experience.is_overdue(*now_us, expected_us) {
                    ledger.pass(proxy, cluster.book, slot, elapsed_us, longest_us(expected_us));
                    cluster.floors.changes(slot);
                }
            }
        }
        for server in twins {
            let ended = core::mem::take(&mut server.ended);
            if ended && !ledger.own(server.book, 0).is_zero() {
                let in_flight = requests(ledger.outstanding(proxy, server.book, 0));
                if let Some(expected_us) = expected_us(&server.twin.load(in_flight)) {
                    ledger.pass(proxy, server.book, 0, elapsed_us, longest_us(expected_us));
                }
            }
        }
    }
}
