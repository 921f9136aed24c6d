//! Synchronous Prequal (section 4): a request waits for answers to its own probes, so they are as
//! fresh as can be, and nothing is kept but the distribution of requests in flight.

use super::pool::{Answer, Rank, best};
use super::recent::Recent;
use super::{PrequalSyncConfig, Targets};
use crate::policy::{Ask, Ended, Env, Member, Needs, Pick, Policy, RequestId, ServerId, Stamp};

/// A request's wait; used again for later requests of the same number.
#[derive(Default)]
struct Wait {
    /// Tells this wait from earlier ones.
    turn: u32,
    waiting: bool,
    /// Answers still needed.
    missing: u32,
    answers: Vec<Answer>,
}

pub(in crate::policy) struct Synchronous {
    config: PrequalSyncConfig,
    targets: Targets,
    recent: Recent,
    /// By request.
    waits: Vec<Wait>,
}

impl Synchronous {
    pub(in crate::policy) fn new(config: &PrequalSyncConfig) -> Self {
        Self {
            config: config.clone(),
            targets: Targets::default(),
            recent: Recent::new(),
            waits: Vec::new(),
        }
    }

    /// The wait a probe or timer belongs to, if it still goes on.
    fn wait(&mut self, token: u64) -> Option<(RequestId, &mut Wait)> {
        let (turn, request) = parts(token);
        let wait = self.waits.get_mut(request as usize)?;
        (wait.waiting && wait.turn == turn).then_some((request, wait))
    }

    /// Sends a request on with the answers there are.
    fn go(&mut self, env: &mut Env<'_>, request: RequestId) {
        let threshold = self.recent.threshold(self.config.quantile);
        let wait = &mut self.waits[request as usize];
        wait.waiting = false;
        let rank = |answer: &Answer| Rank::hot_cold(answer, threshold);
        let chosen = match best(&wait.answers, rank) {
            Some(place) => Some(wait.answers[place].server),
            None => self.targets.draw(env.rng, 1).first().copied(),
        };
        env.resume(request, chosen.map_or(Pick::Nobody, Pick::Server));
    }
}

fn token(turn: u32, request: RequestId) -> u64 {
    u64::from(turn) << 32 | u64::from(request)
}

/// Turn and request.
#[allow(clippy::cast_possible_truncation)]
fn parts(token: u64) -> (u32, RequestId) {
    ((token >> 32) as u32, token as RequestId)
}

impl Policy for Synchronous {
    fn needs(&self) -> Needs {
        self.config.latency.needs()
    }

    fn members(&mut self, _: &mut Env<'_>, members: &[Member]) {
        self.targets.set(members);
    }

    fn pick(&mut self, env: &mut Env<'_>, ask: &Ask<'_>) -> Pick {
        match self.targets.servers[..] {
            [] => return Pick::Nobody,
            [only] => return Pick::Server(only),
            _ => {}
        }
        let index = ask.request as usize;
        if index >= self.waits.len() {
            self.waits.resize_with(index + 1, Wait::default);
        }
        let targets = self.targets.draw(env.rng, self.config.probes as usize);
        let wait = &mut self.waits[index];
        wait.turn = wait.turn.wrapping_add(1);
        wait.waiting = true;
        wait.missing = self.config.enough().min(u32::try_from(targets.len()).unwrap_or(u32::MAX));
        wait.answers.clear();
        let token = token(wait.turn, ask.request);
        for &server in targets {
            env.probe(server, token);
        }
        env.timer(env.now + self.config.timeout.ns(), token);
        Pick::Wait
    }

    fn ended(&mut self, _: &mut Env<'_>, _: &Ended<'_>) {}

    fn abandoned(&mut self, _: &mut Env<'_>, ask: &Ask<'_>) {
        if let Some(wait) = self.waits.get_mut(ask.request as usize) {
            wait.waiting = false;
        }
    }

    fn probed(&mut self, env: &mut Env<'_>, server: ServerId, token: u64, stamp: Option<&Stamp>) {
        if let Some(stamp) = stamp {
            self.recent.add(stamp.in_flight);
        }
        let (now, latency) = (env.now, self.config.latency);
        let Some((request, wait)) = self.wait(token) else { return };
        if let Some(stamp) = stamp {
            let (in_flight, latency) = (stamp.in_flight, latency.of(stamp));
            wait.answers.push(Answer { server, at: now, in_flight, latency, uses: 1 });
        }
        // A server that cannot answer is no reason to wait longer.
        wait.missing = wait.missing.saturating_sub(1);
        if wait.missing == 0 {
            self.go(env, request);
        }
    }

    fn timer(&mut self, env: &mut Env<'_>, token: u64) {
        if let Some((request, _)) = self.wait(token) {
            self.go(env, request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Action;
    use crate::policy::rig::Rig;
    use crate::span::Span;

    fn rig(servers: usize) -> Rig<Synchronous> {
        Rig::new(PrequalSyncConfig::default().build(), &vec![1; servers])
    }

    fn stamp(in_flight: f32, latency_ms: f32) -> Stamp {
        Stamp { in_flight, latency_ns: latency_ms * 1e6, ..Stamp::default() }
    }

    /// Servers probed and the token of their wait, and when it is over.
    fn asked(rig: &mut Rig<Synchronous>) -> (Vec<ServerId>, u64, u64) {
        assert_eq!(rig.ask(), Pick::Wait);
        let (mut servers, mut wait, mut over) = (Vec::new(), None, 0);
        for action in rig.actions.drain(..) {
            match action {
                Action::Probe { server, token } => {
                    assert_eq!(*wait.get_or_insert(token), token);
                    servers.push(server);
                }
                Action::Timer { at, token } => {
                    assert_eq!(wait, Some(token));
                    over = at;
                }
                Action::Resume { .. } => panic!("{action:?}"),
            }
        }
        (servers, wait.unwrap(), over)
    }

    fn resumed(rig: &mut Rig<Synchronous>) -> Vec<(RequestId, Pick)> {
        let resume = |action| match action {
            Action::Resume { request, pick } => (request, pick),
            other => panic!("{other:?}"),
        };
        rig.actions.drain(..).map(resume).collect()
    }

    #[test]
    fn it_waits_for_all_answers_but_one_and_takes_the_best() {
        let mut rig = rig(10);
        let (servers, token, over) = asked(&mut rig);
        assert_eq!((servers.len(), over), (3, Span::ms(3).ns()));
        rig.probed(servers[2], token, Some(stamp(1.0, 30.0)));
        assert!(rig.actions.is_empty());
        rig.probed(servers[0], token, Some(stamp(1.0, 20.0)));
        assert_eq!(resumed(&mut rig), [(0, Pick::Server(servers[0]))]);
        rig.probed(servers[1], token, Some(stamp(0.0, 1.0)));
        rig.timer(token);
        assert!(rig.actions.is_empty(), "too late");
    }

    #[test]
    fn probed_servers_differ_and_all_are_probed() {
        let mut rig = rig(5);
        let mut tally = [0; 5];
        for _ in 0..2_000 {
            let (servers, ..) = asked(&mut rig);
            let mut distinct = servers.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), 3);
            for server in servers {
                tally[server as usize] += 1;
            }
        }
        assert!(tally.iter().all(|times| (1_100..1_300).contains(times)), "{tally:?}");
    }

    #[test]
    fn when_time_is_up_it_goes_with_what_there_is() {
        let mut rig = rig(10);
        let (servers, token, _) = asked(&mut rig);
        rig.probed(servers[1], token, Some(stamp(50.0, 90.0)));
        rig.timer(token);
        assert_eq!(resumed(&mut rig), [(0, Pick::Server(servers[1]))]);
        let (_, token, _) = asked(&mut rig);
        rig.timer(token);
        let resumed = resumed(&mut rig);
        assert!(matches!(resumed[..], [(1, Pick::Server(0..10))]), "random: {resumed:?}");
    }

    #[test]
    fn servers_that_cannot_answer_hold_nobody_up() {
        let mut rig = rig(10);
        let (servers, token, _) = asked(&mut rig);
        rig.probed(servers[0], token, None);
        rig.probed(servers[1], token, Some(stamp(1.0, 1.0)));
        assert_eq!(resumed(&mut rig), [(0, Pick::Server(servers[1]))]);
    }

    #[test]
    fn a_number_used_again_hears_nothing_of_its_former_request() {
        let mut rig = rig(10);
        let ask = Ask { request: 0, worker: 0, method: 0, failed: &[] };
        let (servers, old, _) = asked(&mut rig);
        rig.with(|policy, env| policy.abandoned(env, &ask));
        rig.probed(servers[0], old, Some(stamp(0.0, 0.0)));
        rig.probed(servers[1], old, Some(stamp(0.0, 0.0)));
        assert!(rig.actions.is_empty(), "it was abandoned");
        assert_eq!(rig.with(|policy, env| policy.pick(env, &ask)), Pick::Wait);
        rig.actions.clear();
        rig.probed(servers[0], old, Some(stamp(0.0, 0.0)));
        rig.probed(servers[1], old, Some(stamp(0.0, 0.0)));
        rig.timer(old);
        assert!(rig.actions.is_empty());
    }

    #[test]
    fn where_there_is_no_choice_it_does_not_wait() {
        assert_eq!(rig(1).ask(), Pick::Server(0));
        assert_eq!(rig(0).ask(), Pick::Nobody);
        let (servers, ..) = asked(&mut rig(2));
        assert_eq!(servers.len(), 2);
    }
}
