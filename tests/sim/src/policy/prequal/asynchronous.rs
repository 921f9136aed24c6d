//! Asynchronous Prequal (section 4): probes of earlier requests decide, so none waits.

use super::aversion::Ejections;
use super::pool::{Answer, Pool, Rank, best};
use super::recent::Recent;
use super::{Aversion, PrequalConfig, Rate, Score, Targets};
use crate::policy::c3::Feedback;
use crate::policy::{Ask, Ended, Env, Member, Needs, Outcome, Pick, Policy, ServerId, Stamp};

/// Most uses of an answer, where equation 1 sets no limit (prequal-core).
const MOST_USES: f64 = 16.0;
/// With fewer answers the choice is random (section 4: "whenever occupancy drops below 2").
const FEWEST: usize = 2;

pub(in crate::policy) struct Asynchronous {
    config: PrequalConfig,
    targets: Targets,
    pool: Pool,
    recent: Recent,
    probes: Rate,
    removals: Rate,
    /// Mean uses of an answer.
    uses: f64,
    /// Only for the score of C3.
    feedback: Option<Feedback>,
    ejections: Ejections,
}

impl Asynchronous {
    /// `clients`: how many there are, all like this one.
    pub(in crate::policy) fn new(config: &PrequalConfig, clients: u32) -> Self {
        let feedback = match &config.score {
            Score::C3(c3) => Some(Feedback::new(c3.weight, clients)),
            Score::HotCold | Score::Linear { .. } => None,
        };
        Self {
            targets: Targets::default(),
            pool: Pool::new(config.pool),
            recent: Recent::new(),
            probes: Rate::new(config.probes),
            removals: Rate::new(config.removals),
            uses: 1.0,
            feedback,
            ejections: Ejections::default(),
            config: config.clone(),
        }
    }

    /// Equation 1: an answer may be used so often that the pool neither empties nor is swamped.
    #[allow(clippy::cast_precision_loss)]
    fn reuse(config: &PrequalConfig, servers: usize) -> f64 {
        let new = 1.0 - config.pool as f64 / servers.max(1) as f64;
        let growth = new * config.probes - config.removals;
        if growth > 0.0 { ((1.0 + config.delta) / growth).clamp(1.0, MOST_USES) } else { MOST_USES }
    }

    fn insert(&mut self, env: &mut Env<'_>, server: ServerId, stamp: &Stamp) {
        self.recent.add(stamp.in_flight);
        if self.config.aversion == Aversion::Eject && self.ejections.ejected(server, env.now) {
            return;
        }
        let latency = self.config.latency.of(stamp);
        if let Some(feedback) = &mut self.feedback {
            feedback.heard(server, stamp.in_flight, latency);
        }
        let uses = round(self.uses, env.rng.f64());
        self.pool.insert(Answer { server, at: env.now, in_flight: stamp.in_flight, latency, uses });
    }

    /// Chooses, and discards what each request discards.
    fn choose(&mut self, env: &mut Env<'_>) -> Option<ServerId> {
        let threshold = self.recent.threshold(self.config.quantile);
        let order = order(&self.config.score, self.feedback.as_ref(), threshold);
        let chosen = if self.pool.answers().len() >= FEWEST {
            best(self.pool.answers(), &order).map(|place| self.pool.take(place))
        } else {
            None
        };
        for _ in 0..self.removals.next() {
            self.pool.discard(&order);
        }
        chosen.or_else(|| self.random(env))
    }

    /// Any server that is not ejected; any at all where all are.
    fn random(&self, env: &mut Env<'_>) -> Option<ServerId> {
        let servers = &self.targets.servers;
        let left_out = |server| self.ejections.ejected(server, env.now);
        let eligible = servers.iter().filter(|&&server| !left_out(server)).count();
        match (eligible, servers.len()) {
            (_, 0) => None,
            (0, all) => Some(servers[env.rng.usize(..all)]),
            (some, all) if some == all => Some(servers[env.rng.usize(..all)]),
            (some, _) => {
                let nth = env.rng.usize(..some);
                servers.iter().copied().filter(|&server| !left_out(server)).nth(nth)
            }
        }
    }
}

/// The answers' order, best first.
fn order(score: &Score, feedback: Option<&Feedback>, threshold: f32) -> impl Fn(&Answer) -> Rank {
    move |answer| match (score, feedback) {
        (&Score::Linear { rif_share, alpha }, _) => {
            let in_flight = f64::from(answer.in_flight) * alpha.as_f64();
            let score = (1.0 - rif_share) * f64::from(answer.latency) + rif_share * in_flight;
            Rank(false, score, 0.0)
        }
        (Score::C3(_), Some(feedback)) => Rank(false, feedback.score(answer.server), 0.0),
        _ => Rank::hot_cold(answer, threshold),
    }
}

/// Up or down at random (`draw`, 0 to 1), so that the mean stays.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn round(value: f64, draw: f64) -> u32 {
    let down = value.floor();
    down as u32 + u32::from(draw < value - down)
}

impl Policy for Asynchronous {
    fn needs(&self) -> Needs {
        let needs = self.config.latency.needs();
        Needs { stamps: needs.stamps || self.config.piggyback, ..needs }
    }

    fn members(&mut self, _: &mut Env<'_>, members: &[Member]) {
        self.targets.set(members);
        self.uses = Self::reuse(&self.config, members.len());
        let targets = &self.targets;
        self.pool.keep(|server| targets.has(server));
    }

    fn pick(&mut self, env: &mut Env<'_>, _: &Ask<'_>) -> Pick {
        let now = env.now;
        let count = self.probes.next();
        for index in 0..self.targets.draw(env.rng, count).len() {
            env.probe(self.targets.servers[index], now);
        }
        self.pool.expire(now.saturating_sub(self.config.age.ns()));
        let Some(server) = self.choose(env) else { return Pick::Nobody };
        if let Some(feedback) = &mut self.feedback {
            feedback.sent(server);
        }
        Pick::Server(server)
    }

    fn ended(&mut self, env: &mut Env<'_>, ended: &Ended<'_>) {
        if let Some(feedback) = &mut self.feedback {
            feedback.ended(ended);
        }
        match (ended.outcome, ended.stamp) {
            (Outcome::Answered, stamp) => {
                self.ejections.succeeded(ended.server);
                if let Some(stamp) = stamp.filter(|_| self.config.piggyback) {
                    self.insert(env, ended.server, stamp);
                }
            }
            (Outcome::Failed, _) if self.config.aversion != Aversion::None => {
                self.pool.forget(ended.server);
                if self.config.aversion == Aversion::Eject {
                    self.ejections.failed(ended.server, env.now, self.targets.servers.len());
                }
            }
            (Outcome::Failed | Outcome::GivenUp, _) => {}
        }
    }

    fn probed(&mut self, env: &mut Env<'_>, server: ServerId, sent: u64, stamp: Option<&Stamp>) {
        if let Some(stamp) = stamp.filter(|_| env.now <= sent + self.config.timeout.ns())
            && self.targets.has(server)
        {
            self.insert(env, server, stamp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::prequal::Latency;
    use crate::policy::rig::Rig;
    use crate::policy::{Action, C3Config};
    use crate::span::SECOND;

    const MS: u64 = 1_000_000;

    fn stamp(in_flight: f32, latency_ms: f32) -> Stamp {
        Stamp { in_flight, latency_ns: latency_ms * 1e6, ..Stamp::default() }
    }

    fn rig(config: &PrequalConfig, servers: usize) -> Rig<Asynchronous> {
        config.check().unwrap();
        Rig::new(config.build(10), &vec![1; servers])
    }

    /// Only what the test itself says: no probes, no removals.
    fn quiet() -> PrequalConfig {
        PrequalConfig { probes: 0.0, removals: 0.0, ..PrequalConfig::default() }
    }

    #[test]
    fn it_probes_different_servers_at_random_at_the_given_rate() {
        let config = PrequalConfig { probes: 2.5, ..PrequalConfig::default() };
        let mut rig = rig(&config, 5);
        let mut tally = [0; 5];
        for round in 0..2_000 {
            rig.pick();
            let mut probed = [0; 5];
            for action in rig.actions.drain(..) {
                let Action::Probe { server, .. } = action else { panic!("{action:?}") };
                probed[server as usize] += 1;
                tally[server as usize] += 1;
            }
            assert_eq!(probed.iter().sum::<usize>(), 2 + round % 2);
            assert!(probed.iter().all(|&times| times <= 1), "without replacement");
        }
        assert!(tally.iter().all(|times| (900..1_100).contains(times)), "{tally:?}");
    }

    #[test]
    fn an_answer_is_used_as_often_as_equation_1_says() {
        let reuse = |probes, removals, servers| {
            let config = PrequalConfig { probes, removals, ..PrequalConfig::default() };
            Asynchronous::reuse(&config, servers)
        };
        assert!((reuse(3.0, 1.0, 100) - 2.0 / 1.52).abs() < 1e-9, "the paper's baseline");
        assert!((reuse(0.5, 0.25, 100) - 2.0 / 0.17).abs() < 1e-9, "figure 8's last step");
        assert!((reuse(4.0, 0.25, 100) - 1.0).abs() < 1e-9, "at least once");
        assert!((reuse(3.0, 1.0, 16) - MOST_USES).abs() < 1e-9, "no limit");
        let mut rng = fastrand::Rng::with_seed(1);
        let mean = (0..100_000).map(|_| f64::from(round(1.316, rng.f64()))).sum::<f64>() / 1e5;
        assert!((mean - 1.316).abs() < 0.01, "rounded so that the mean stays: {mean}");
    }

    #[test]
    fn each_request_counts_where_it_was_sent() {
        // Of two servers of equal latency the emptier: by turns, once they are equally full.
        let mut rig = rig(&PrequalConfig { latency: Latency::None, ..quiet() }, 20);
        rig.probed(3, 0, Some(stamp(4.0, 1.0)));
        rig.probed(7, 0, Some(stamp(2.0, 1.0)));
        let picked: Vec<ServerId> = (0..6).map(|_| rig.pick()).collect();
        assert_eq!(picked[..2], [7, 7]);
        assert_eq!(picked[2..].iter().filter(|&&server| server == 3).count(), 2, "{picked:?}");
    }

    #[test]
    fn the_cold_server_of_least_latency_is_chosen() {
        let mut rig = rig(&quiet(), 100);
        for in_flight in 0_u8..64 {
            // The distribution: 0 to 63, so above 53 is hot.
            rig.with(|policy, _| policy.recent.add(in_flight.into()));
        }
        rig.probed(1, 0, Some(stamp(55.0, 1.0)));
        rig.probed(2, 0, Some(stamp(40.0, 20.0)));
        rig.probed(3, 0, Some(stamp(1.0, 30.0)));
        assert_eq!(rig.pick(), 2);
    }

    #[test]
    fn with_one_answer_or_old_ones_the_choice_is_random() {
        let mut rig = rig(&quiet(), 10);
        rig.probed(4, 0, Some(stamp(0.0, 1.0)));
        let tally = rig.tally(10_000, 0);
        assert!(tally.iter().all(|times| (850..1_150).contains(times)), "{tally:?}");
        rig.probed(5, 0, Some(stamp(0.0, 2.0)));
        rig.now = SECOND;
        assert_eq!(rig.pick(), 4, "as old as may be");
        rig.now += 1;
        let tally = rig.tally(10_000, 0);
        assert!(tally.iter().all(|times| (850..1_150).contains(times)), "{tally:?}");
    }

    #[test]
    fn late_answers_and_those_of_leavers_are_not_used() {
        let mut rig = rig(&quiet(), 4);
        rig.now = 3 * MS;
        rig.probed(0, 0, Some(stamp(0.0, 1.0)));
        rig.now += 1;
        rig.probed(1, 0, Some(stamp(0.0, 1.0)));
        rig.probed(2, rig.now, Some(stamp(0.0, 1.0)));
        rig.probed(3, rig.now, None);
        rig.members(&[(0, 1), (1, 1)]);
        rig.probed(3, rig.now, Some(stamp(0.0, 1.0)));
        let known: Vec<_> = rig.policy.pool.answers().iter().map(|answer| answer.server).collect();
        assert_eq!(known, [0]);
        rig.members(&[]);
        assert_eq!(rig.ask(), Pick::Nobody);
    }

    #[test]
    fn stamps_serve_as_answers_where_they_may() {
        for piggyback in [false, true] {
            let mut rig = rig(&PrequalConfig { piggyback, latency: Latency::None, ..quiet() }, 3);
            assert_eq!(rig.needs().stamps, piggyback);
            let server = rig.pick();
            rig.answer(server, MS, Some(stamp(1.0, 1.0)));
            assert_eq!(rig.policy.pool.answers().len(), usize::from(piggyback));
        }
    }

    #[test]
    fn failures_are_believed_only_with_an_aversion() {
        for (aversion, left, ejected) in
            [(Aversion::None, 2, false), (Aversion::Forget, 1, false), (Aversion::Eject, 1, true)]
        {
            let mut rig = rig(&PrequalConfig { aversion, ..quiet() }, 20);
            rig.probed(0, 0, Some(stamp(9.0, 9.0)));
            rig.probed(1, 0, Some(stamp(0.0, 1.0)));
            assert_eq!(rig.pick(), 1);
            rig.end(1, Outcome::Failed, 0, None);
            assert_eq!(rig.policy.pool.answers().len(), left, "{aversion:?}");
            for _ in 0..4 {
                rig.probed(1, 0, Some(stamp(0.0, 1.0)));
                assert_eq!(rig.pick(), 1);
                rig.end(1, Outcome::Failed, 0, None);
            }
            rig.probed(1, 0, Some(stamp(0.0, 1.0)));
            assert_eq!(rig.policy.pool.answers().len() == 1, ejected, "{aversion:?}");
            let random = rig.policy.config.aversion == Aversion::Eject;
            assert_eq!(random && rig.tally(500, 0)[1] == 0, ejected, "left out of random choices");
        }
    }

    #[test]
    fn linear_and_c3_scores_choose_among_the_same_answers() {
        let linear = |rif_share| Score::Linear { rif_share, alpha: crate::span::Span::ms(75) };
        for (score, chosen) in [
            // 70 ms + 1 * 75 ms against 10 ms + 3 * 75 ms.
            (linear(0.5), 1),
            (linear(0.0), 2),
            (linear(1.0), 1),
            // (1 + 1)^3 * 70 ms against (1 + 3)^3 * 10 ms.
            (Score::C3(C3Config::default()), 1),
        ] {
            let mut rig = rig(&PrequalConfig { score: score.clone(), ..quiet() }, 20);
            rig.probed(1, 0, Some(stamp(1.0, 70.0)));
            rig.probed(2, 0, Some(stamp(3.0, 10.0)));
            rig.probed(3, 0, Some(stamp(9.0, 100.0)));
            assert_eq!(rig.pick(), chosen, "{score:?}");
        }
        // An own request there stands for one of each of ten clients.
        let score = Score::C3(C3Config::default());
        let mut rig = rig(&PrequalConfig { score, ..quiet() }, 20);
        rig.probed(1, 0, Some(stamp(1.0, 10.0)));
        rig.probed(2, 0, Some(stamp(6.0, 10.0)));
        assert_eq!([rig.pick(), rig.pick()], [1, 2]);
    }
}
