//! How clusters and the VM itself come in, and how the VM goes.

use super::cluster::Cluster;
use super::{Balancer, ClusterId};
use crate::Map;
use crate::config::ClusterSettings;
use crate::membership::roster;
use crate::proxy::Proxy;
use crate::records::{self, Roster};

impl Balancer {
    /// The cluster of that name, followed from now on. `None` where too many are.
    pub fn cluster(
        &mut self,
        proxy: &dyn Proxy,
        name: &str,
        settings: &ClusterSettings,
    ) -> Option<ClusterId> {
        if let Some(id) = self.ids.get(name) {
            return Some(ClusterId::new(*id));
        }
        self.begin(proxy);
        if self.clusters.is_empty() {
            // Nobody asked the admin interface before there was a cluster to ask for.
            self.upkeep.wait_from(self.now_ms);
        }
        let index = self.enlist(proxy, name)?;
        let mut cluster = Cluster::new(name, index, self.ledger.open(name));
        let published = records::read::<Roster>(proxy, &records::roster_key(name));
        match (published, &settings.given) {
            (Some((roster, _)), _) if roster.version > 0 => cluster.load(roster, self.now_us),
            // Known from the configuration: no need to wait for the coordinator.
            (_, Some(given)) => {
                let listing = roster::Listing::given(given, None, settings.panic_threshold);
                let publish =
                    |roster: &mut Roster| roster.version == 0 && roster::merge(roster, &listing);
                if let Some(roster) = roster::publish(proxy, name, index, publish) {
                    cluster.load(roster, self.now_us);
                }
            }
            _ => {}
        }
        let id = u32::try_from(self.clusters.len()).ok()?;
        self.clusters.push(cluster);
        self.ids.insert(name.to_owned(), id);
        Some(ClusterId::new(id))
    }

    /// Gives back the VM's places: its last plugin ends. Where something is still counted, the
    /// record stays and is buried with the count.
    pub fn release(&mut self, proxy: &dyn Proxy) {
        self.lease.release(proxy);
        if self.ledger.is_idle() {
            self.presence.release(proxy);
        }
    }

    /// Before the first count: a record of this VM, and a look whether gauges count at all.
    pub(super) fn begin(&mut self, proxy: &dyn Proxy) {
        if self.busy {
            return;
        }
        self.busy = true;
        // Requests should not wait behind the coordinator's work where another VM is idle.
        self.lease.release(proxy);
        let counts = proxy.work_gauge("", 0, 0).is_some_and(|gauge| {
            proxy.gauge_add(gauge, 1);
            let counts = proxy.gauge_read(gauge) > 0;
            proxy.gauge_add(gauge, -1);
            counts
        });
        if !counts {
            proxy.warn(
                "the proxy drops gauges named leastload (stats matcher?): each worker balances \
                 on its own counts alone",
            );
            self.ledger.stay_local();
        }
        self.presence.ensure(proxy, &mut self.ledger);
        // A worker that was started anew after a crash knows at once what the others know.
        self.follow(proxy);
    }

    /// The cluster's index in the published list.
    pub(super) fn enlist(&mut self, proxy: &dyn Proxy, name: &str) -> Option<usize> {
        if self.all_enlisted.is_empty() {
            let names = roster::enlist(proxy, name)?.names;
            if names.len() < roster::MOST_CLUSTERS {
                return names.iter().position(|enlisted| enlisted == name);
            }
            // Full for the life of the process: remembered, so that no request reads it again.
            self.all_enlisted = names.into_iter().zip(0..).collect::<Map<_, _>>();
        }
        self.all_enlisted.get(name).map(|index| *index as usize)
    }
}
