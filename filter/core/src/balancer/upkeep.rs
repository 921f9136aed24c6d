//! What happens at ticks in every VM: it stays in the epoch, follows published membership, and lets
//! go of what Envoy no longer uses. `coordinating.rs` has what one of them does for all.

use crate::config::Config;
use crate::membership::roster;
use crate::proxy::Proxy;
use crate::records::{self, Roster, STATE, Source, Standing, State};

use super::Balancer;
use super::coordinating::AdminRequest;

/// Overrides refused in a row after which a learned endpoint is forgotten.
const REFUSED: u32 = 3;

/// The state of upkeep in one VM.
pub(super) struct Upkeep {
    /// How many idle endpoints a cluster remembers.
    pub(super) idle: usize,
    max_age_ms: u64,
    /// The number of successful reads that this VM last saw, and when it saw it change.
    reads: u64,
    pub(super) read_ms: u64,
    /// The last successful read was there before this VM was, and none has succeeded since.
    of_unknown_age: bool,
    due_ms: u64,
    pub(super) failing: bool,
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
            failing: false,
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

impl Balancer {
    /// Must be called once in [`Balancer::period_ms`]. `now_ms`: the clock of [`Balancer::new`]. Returns
    /// what to ask the admin interface, if it is time; exactly one of [`Balancer::admin_answered`] and
    /// [`Balancer::admin_failed`] should follow.
    pub fn tick(
        &mut self,
        proxy: &dyn Proxy,
        config: &Config,
        now_ms: u64,
    ) -> Option<AdminRequest> {
        self.set_time(self.now_us.max(now_ms.saturating_mul(1_000)));
        self.upkeep.max_age_ms = config.discovery.max_age_ms;
        self.upkeep.idle = config.most_idle();
        self.follow(proxy);
        let span = self.pace.tick(self.now_ms, &config.discovery);
        self.survey(self.pace.usual_ticks(span));
        self.ripen(proxy, span.waited_us());
        // Said before it is so.
        let period_ms = self.pace.announced_ms();
        self.presence.tick(proxy, &mut self.ledger, period_ms);
        self.lease.tick(proxy, self.busy, span, period_ms);
        self.pace.tell(proxy, self.now_ms);
        let request = if self.lease.is_held() {
            self.pace.watch(proxy, self.now_ms);
            self.coordinate(proxy, config, span)
        } else {
            self.undertaker.reset();
            self.coordinating.stop();
            self.pace.stop_watching();
            self.serving.stop_asking();
            None
        };
        self.forget(proxy);
        self.learn_of_servers(proxy, config);
        request
    }

    /// How often to call [`Balancer::tick`] from now on. It changes at ticks, and where
    /// [`Balancer::take_woken`] says so.
    pub fn period_ms(&self) -> u64 {
        self.pace.period_ms()
    }

    /// Whether a request woke this VM since this was last asked.
    pub fn take_woken(&mut self) -> bool {
        self.pace.take_woken()
    }

    /// A request or a probe comes. The first one after a while without any brings this VM up to date,
    /// as far as it would be had it ticked all the time.
    pub(super) fn stir(&mut self, proxy: &dyn Proxy) {
        self.pace.saw();
        if self.pace.is_idle() {
            self.pace.wake(proxy, self.now_ms);
            self.presence.tick(proxy, &mut self.ledger, self.pace.announced_ms());
            self.follow(proxy);
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
        self.pace.follow(&state);
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
