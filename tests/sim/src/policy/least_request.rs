//! Envoy's `LEAST_REQUEST` (`source/extensions/load_balancing_policies/least_request`): active
//! requests are counted for the whole proxy, over its workers.

use super::{Ask, Ended, Env, Member, Pick, Policy, ServerId};

/// Best of two drawn at random, with replacement.
#[derive(Default)]
pub(crate) struct LeastRequest {
    members: Vec<Member>,
    /// By server.
    active: Vec<u32>,
}

impl LeastRequest {
    /// The proxy sent a request to a server, whoever chose it.
    pub(crate) fn sent(&mut self, server: ServerId) {
        let index = server as usize;
        if index >= self.active.len() {
            self.active.resize(index + 1, 0);
        }
        self.active[index] += 1;
    }

    /// It ended.
    pub(crate) fn finished(&mut self, server: ServerId) {
        self.active[server as usize] -= 1;
    }

    fn active(&self, server: ServerId) -> u32 {
        self.active.get(server as usize).copied().unwrap_or(0)
    }

    /// Envoy's choice; it is not counted yet.
    pub(crate) fn choose(&self, env: &mut Env<'_>) -> Option<ServerId> {
        let count = self.members.len();
        if count == 0 {
            return None;
        }
        let mut draw = || self.members[env.rng.usize(..count)].server;
        let (first, second) = (draw(), draw());
        // A tie goes to the first: it is as random as the second.
        Some(if self.active(second) < self.active(first) { second } else { first })
    }
}

impl Policy for LeastRequest {
    fn members(&mut self, _: &mut Env<'_>, members: &[Member]) {
        self.members = members.to_vec();
    }

    fn pick(&mut self, env: &mut Env<'_>, _: &Ask<'_>) -> Pick {
        let Some(server) = self.choose(env) else { return Pick::Nobody };
        self.sent(server);
        Pick::Server(server)
    }

    fn ended(&mut self, _: &mut Env<'_>, ended: &Ended<'_>) {
        self.finished(ended.server);
    }
}
