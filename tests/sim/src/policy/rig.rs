//! One policy, driven by hand: for unit tests of what defines it.

use fastrand::Rng;

use super::{
    Action, Ask, Ended, Env, Member, Needs, Outcome, Pick, Policy, RequestId, ServerId, Stamp,
    Truth,
};

/// A proxy, its clock and its requests under way.
pub(crate) struct Rig<P> {
    /// The policy under test.
    pub(crate) policy: P,
    /// Virtual time, in ns. Tests set it.
    pub(crate) now: u64,
    /// What perfect policies see. Tests set it.
    pub(crate) truth: Vec<Truth>,
    /// What the policy asked for and the test has not taken.
    pub(crate) actions: Vec<Action>,
    rng: Rng,
    next: RequestId,
    under_way: Vec<(RequestId, ServerId)>,
}

impl<P: Policy> Rig<P> {
    /// `weights`: those of servers 0, 1 and so on.
    pub(crate) fn new(policy: P, weights: &[u32]) -> Self {
        let mut rig = Self {
            policy,
            now: 0,
            truth: vec![Truth { outstanding: 0, slots: 1, speed: 1.0 }; weights.len()],
            actions: Vec::new(),
            rng: Rng::with_seed(1),
            next: 0,
            under_way: Vec::new(),
        };
        rig.members(&(0..).zip(weights.iter().copied()).collect::<Vec<_>>());
        rig
    }

    /// The control plane says who is there: servers and their weights.
    pub(crate) fn members(&mut self, members: &[(ServerId, u32)]) {
        let member = |&(server, weight): &(ServerId, u32)| Member { server, weight };
        let members: Vec<Member> = members.iter().map(member).collect();
        self.with(|policy, env| policy.members(env, &members));
    }

    /// Calls the policy.
    pub(crate) fn with<R>(&mut self, call: impl FnOnce(&mut P, &mut Env<'_>) -> R) -> R {
        let mut env = Env {
            now: self.now,
            rng: &mut self.rng,
            truth: &self.truth,
            actions: &mut self.actions,
        };
        call(&mut self.policy, &mut env)
    }

    /// A new request at worker 0; it is on its way if a server was picked.
    pub(crate) fn ask(&mut self) -> Pick {
        self.ask_as(0, &[])
    }

    /// A new request at some worker, or the next attempt of one that failed elsewhere.
    pub(crate) fn ask_as(&mut self, worker: u16, failed: &[ServerId]) -> Pick {
        let request = self.next;
        self.next += 1;
        let ask = Ask { request, worker, method: 0, failed };
        let pick = self.with(|policy, env| policy.pick(env, &ask));
        if let Pick::Server(server) = pick {
            self.sent(request, server);
        }
        pick
    }

    /// A request that waited is on its way to a server.
    pub(crate) fn sent(&mut self, request: RequestId, server: ServerId) {
        self.under_way.push((request, server));
        if let Some(truth) = self.truth.get_mut(server as usize) {
            truth.outstanding += 1;
        }
    }

    /// A new request at worker 0 that has to be on its way now.
    pub(crate) fn pick(&mut self) -> ServerId {
        match self.ask() {
            Pick::Server(server) => server,
            other => panic!("expected a server, got {other:?}"),
        }
    }

    /// The oldest request under way at a server is answered, with or without a stamp.
    pub(crate) fn answer(&mut self, server: ServerId, latency_ns: u64, stamp: Option<Stamp>) {
        self.end(server, Outcome::Answered, latency_ns, stamp);
    }

    /// The oldest request under way at a server ends.
    pub(crate) fn end(
        &mut self,
        server: ServerId,
        outcome: Outcome,
        latency_ns: u64,
        stamp: Option<Stamp>,
    ) {
        let place = self.under_way.iter().position(|&(_, at)| at == server);
        let (request, _) = self.under_way.remove(place.expect("a request under way there"));
        if let Some(truth) = self.truth.get_mut(server as usize) {
            truth.outstanding -= 1;
        }
        let stamp = stamp.as_ref();
        let last = true;
        let ended =
            Ended { request, worker: 0, method: 0, server, outcome, last, latency_ns, stamp };
        self.with(|policy, env| policy.ended(env, &ended));
    }

    /// Picks so many times, each request ending at once, and counts who was picked.
    pub(crate) fn tally(&mut self, times: u32, latency_ns: u64) -> Vec<u32> {
        let mut tally = vec![0; self.truth.len()];
        for _ in 0..times {
            let server = self.pick();
            tally[server as usize] += 1;
            self.answer(server, latency_ns, None);
        }
        tally
    }

    /// The answer to a probe.
    pub(crate) fn probed(&mut self, server: ServerId, token: u64, stamp: Option<Stamp>) {
        self.with(|policy, env| policy.probed(env, server, token, stamp.as_ref()));
    }

    /// A timer is due.
    pub(crate) fn timer(&mut self, token: u64) {
        self.with(|policy, env| policy.timer(env, token));
    }

    /// What the policy needs.
    pub(crate) fn needs(&self) -> Needs {
        self.policy.needs()
    }
}
