//! Client-side weighted round robin (gRFC A58, `weighted_round_robin`; gRPC's
//! `src/core/load_balancing/weighted_round_robin/weighted_round_robin.cc`).
//!
//! A server's weight is what it does per utilisation, from its last report:
//! rate / (utilisation + errors / rate * penalty), its own averages, not smoothed here. Weights are
//! read once every `weight_update_period` into a scheduler ([`super::stride`]) that all workers
//! share, as all callers of a channel do. A report without rate or utilisation changes nothing.
//!
//! Reports come on responses; or, out of band, each server's stream is a probe on joining and one
//! every `oob_reporting_period`; the simulator counts these among the probes. Envoy's version
//! differs: the median in place of the mean, a schedule for each worker, and weights that act at
//! once. A retry is just the next turn. With the default blackout it is plain round robin for the
//! first 10 s.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stride::Stride;
use super::{Ask, Ended, Env, Member, Needs, Pick, Policy, ServerId, Stamp};
use crate::span::Span;

/// Parameters of gRFC A58, by its names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WeightedRoundRobinConfig {
    /// A server has to report for so long before its weight is used: after it joined, and after
    /// its weight expired.
    pub blackout_period: Span,
    /// So long after the last report a weight is no longer used.
    pub weight_expiration_period: Span,
    /// How often weights are taken over; at least 100ms.
    pub weight_update_period: Span,
    /// How much errors count beside utilisation; 0 or more.
    pub error_utilization_penalty: f64,
    /// Reports come out of band instead of on responses.
    pub enable_oob_load_report: bool,
    /// How often they come out of band; at least 10ms.
    pub oob_reporting_period: Span,
}

impl Default for WeightedRoundRobinConfig {
    fn default() -> Self {
        Self {
            blackout_period: Span::ms(10_000),
            weight_expiration_period: Span::ms(180_000),
            weight_update_period: Span::ms(1_000),
            error_utilization_penalty: 1.0,
            enable_oob_load_report: false,
            oob_reporting_period: Span::ms(10_000),
        }
    }
}

impl WeightedRoundRobinConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.weight_update_period < Span::ms(100) {
            return Err("weight_update_period: expected at least 100ms".into());
        }
        if self.oob_reporting_period < Span::ms(10) {
            return Err("oob_reporting_period: expected at least 10ms".into());
        }
        if !(0.0..=1e6).contains(&self.error_utilization_penalty) {
            return Err("error_utilization_penalty: expected 0 to 1e6".into());
        }
        Ok(())
    }

    pub(super) fn build(&self) -> WeightedRoundRobin {
        WeightedRoundRobin {
            config: self.clone(),
            members: Vec::new(),
            weights: Vec::new(),
            stride: Stride::default(),
            sequence: None,
        }
    }
}

/// Timers.
const UPDATE: u64 = 0;
const REPORTS: u64 = 1;

/// What a server's reports came to.
#[derive(Clone, Copy, Default)]
struct Weight {
    value: f64,
    /// The last report that counted.
    updated: Option<u64>,
    /// The first of them since it joined or expired.
    since: Option<u64>,
    member: bool,
}

impl Weight {
    fn report(&mut self, now: u64, stamp: &Stamp, penalty: f64) {
        let (rate, used) = (f64::from(stamp.rate), f64::from(stamp.utilization));
        if rate <= 0.0 || used <= 0.0 {
            return;
        }
        self.value = rate / (used + f64::from(stamp.error_rate) / rate * penalty);
        self.updated = Some(now);
        self.since.get_or_insert(now);
    }

    /// 0: none to be used.
    fn usable(&mut self, now: u64, config: &WeightedRoundRobinConfig) -> f64 {
        let longer = |from: Option<u64>, span: Span| from.is_some_and(|at| now - at >= span.ns());
        if self.updated.is_none() || longer(self.updated, config.weight_expiration_period) {
            self.since = None;
            return 0.0;
        }
        let blackout = config.blackout_period;
        if blackout == Span::ZERO || longer(self.since, blackout) { self.value } else { 0.0 }
    }
}

/// One proxy's weights and its place in the rounds.
pub(crate) struct WeightedRoundRobin {
    config: WeightedRoundRobinConfig,
    members: Vec<Member>,
    /// By server.
    weights: Vec<Weight>,
    stride: Stride,
    /// Starts at random, once the first members are known.
    sequence: Option<u32>,
}

impl WeightedRoundRobin {
    fn update(&mut self, now: u64) {
        let Self { config, members, weights, stride, .. } = self;
        for member in members.iter() {
            // Expiry shows when a weight is looked at.
            weights[member.server as usize].usable(now, config);
        }
        stride.set(members.iter().map(|member| {
            let mut weight = weights[member.server as usize];
            weight.usable(now, config)
        }));
    }

    fn report(&mut self, now: u64, server: ServerId, stamp: &Stamp) {
        let penalty = self.config.error_utilization_penalty;
        self.weights[server as usize].report(now, stamp, penalty);
    }
}

impl Policy for WeightedRoundRobin {
    fn needs(&self) -> Needs {
        // Out of band too: servers keep count of what they report only where somebody wants it.
        Needs { stamps: true, ..Needs::default() }
    }

    fn members(&mut self, env: &mut Env<'_>, members: &[Member]) {
        let oob = self.config.enable_oob_load_report;
        if self.sequence.is_none() {
            self.sequence = Some(env.rng.u32(..));
            env.timer(env.now + self.config.weight_update_period.ns(), UPDATE);
            if oob {
                env.timer(env.now + self.config.oob_reporting_period.ns(), REPORTS);
            }
        }
        self.members = members.to_vec();
        let before: Vec<bool> = self.weights.iter().map(|weight| weight.member).collect();
        let servers = members.iter().map(|member| member.server as usize + 1).max().unwrap_or(0);
        self.weights.resize(servers.max(before.len()), Weight::default());
        self.weights.iter_mut().for_each(|weight| weight.member = false);
        for member in members {
            let index = member.server as usize;
            self.weights[index].member = true;
            if !before.get(index).copied().unwrap_or(false) {
                self.weights[index].since = None;
                if oob {
                    env.probe(member.server, REPORTS);
                }
            }
        }
        self.update(env.now);
    }

    fn pick(&mut self, _: &mut Env<'_>, _: &Ask<'_>) -> Pick {
        let place = self.sequence.as_mut().and_then(|sequence| self.stride.pick(sequence));
        place.map_or(Pick::Nobody, |place| Pick::Server(self.members[place].server))
    }

    fn ended(&mut self, env: &mut Env<'_>, ended: &Ended<'_>) {
        if let Some(stamp) = ended.stamp.filter(|_| !self.config.enable_oob_load_report) {
            self.report(env.now, ended.server, stamp);
        }
    }

    fn probed(&mut self, env: &mut Env<'_>, server: ServerId, _: u64, stamp: Option<&Stamp>) {
        if let Some(stamp) = stamp {
            self.report(env.now, server, stamp);
        }
    }

    fn timer(&mut self, env: &mut Env<'_>, token: u64) {
        if token == UPDATE {
            self.update(env.now);
            env.timer(env.now + self.config.weight_update_period.ns(), UPDATE);
        } else {
            for member in &self.members {
                env.probe(member.server, REPORTS);
            }
            env.timer(env.now + self.config.oob_reporting_period.ns(), REPORTS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Action;
    use super::super::rig::Rig;
    use super::*;
    use crate::span::SECOND;

    fn says(rate: f32, utilization: f32, error_rate: f32) -> Stamp {
        Stamp { rate, error_rate, utilization, ..Stamp::default() }
    }

    /// Two servers report; the second needs three times as much for the same.
    fn reported(rig: &mut Rig<WeightedRoundRobin>) {
        for _ in 0..4 {
            let server = rig.pick();
            let utilization = if server == 0 { 0.2 } else { 0.6 };
            rig.answer(server, 1, Some(says(100.0, utilization, 0.0)));
        }
    }

    /// The timer is due at its time.
    fn update_at(rig: &mut Rig<WeightedRoundRobin>, now: u64) {
        rig.now = now;
        rig.timer(UPDATE);
    }

    #[test]
    fn weight_is_rate_by_utilisation_and_errors() {
        let weight = |stamp: Stamp, penalty| {
            let mut weight = Weight::default();
            weight.report(0, &stamp, penalty);
            weight.value
        };
        let near = |left: f64, right: f64| (left - right).abs() < right * 1e-6;
        assert!(near(weight(says(100.0, 0.5, 0.0), 1.0), 200.0));
        assert!(near(weight(says(100.0, 0.5, 50.0), 1.0), 100.0));
        assert!(near(weight(says(100.0, 0.5, 50.0), 3.0), 50.0));
        for nothing in [says(0.0, 0.5, 0.0), says(100.0, 0.0, 0.0)] {
            assert!(weight(nothing, 1.0) <= 0.0);
        }
    }

    #[test]
    fn weights_are_used_after_the_blackout_and_until_they_expire() {
        let mut rig = Rig::new(WeightedRoundRobinConfig::default().build(), &[1, 1]);
        reported(&mut rig);
        update_at(&mut rig, 9 * SECOND);
        // The blackout is from the first report, expiry from the last.
        reported(&mut rig);
        assert_eq!(rig.tally(400, 1), [200, 200], "blackout");
        rig.now = 10 * SECOND;
        assert_eq!(rig.tally(400, 1), [200, 200], "not before the update");
        update_at(&mut rig, 10 * SECOND);
        let tally = rig.tally(4_000, 1);
        assert!((2_990..3_010).contains(&tally[0]), "{tally:?}");
        update_at(&mut rig, 188 * SECOND);
        assert!(rig.tally(400, 1)[0] > 290);
        update_at(&mut rig, 189 * SECOND);
        assert_eq!(rig.tally(400, 1), [200, 200], "expired");
        reported(&mut rig);
        update_at(&mut rig, 198 * SECOND);
        assert_eq!(rig.tally(400, 1), [200, 200], "blackout again");
        update_at(&mut rig, 199 * SECOND);
        assert!(rig.tally(400, 1)[0] > 290);
    }

    #[test]
    fn whoever_joins_has_the_mean_until_its_blackout_is_over() {
        let blackout_period = Span::ms(2_000);
        let config = WeightedRoundRobinConfig { blackout_period, ..Default::default() };
        let mut rig = Rig::new(config.build(), &[1, 1, 1]);
        rig.members(&[(0, 1), (1, 1)]);
        reported(&mut rig);
        rig.now = 2 * SECOND;
        rig.members(&[(0, 1), (1, 1), (2, 1)]);
        let near = |tally: &[u32], shares: [u32; 3]| {
            tally.iter().zip(shares).all(|(&count, share)| count.abs_diff(share) < 20)
        };
        // 3 to 1, and 2 in the middle.
        let tally = rig.tally(6_000, 1);
        assert!(near(&tally, [3_000, 1_000, 2_000]), "{tally:?}");
        while rig.pick() != 2 {}
        rig.answer(2, 1, Some(says(100.0, 0.2, 0.0)));
        update_at(&mut rig, 4 * SECOND);
        let tally = rig.tally(7_000, 1);
        assert!(near(&tally, [3_000, 1_000, 3_000]), "{tally:?}");
        rig.members(&[(0, 1), (1, 1)]);
        rig.members(&[(0, 1), (1, 1), (2, 1)]);
        let tally = rig.tally(6_000, 1);
        assert!(near(&tally, [3_000, 1_000, 2_000]), "it is new again: {tally:?}");
        rig.members(&[]);
        assert_eq!(rig.ask(), Pick::Nobody);
    }

    #[test]
    fn out_of_band_asks_everyone_each_period_and_ignores_responses() {
        let config = WeightedRoundRobinConfig {
            enable_oob_load_report: true,
            oob_reporting_period: Span::ms(3_000),
            blackout_period: Span::ZERO,
            ..Default::default()
        };
        let mut rig = Rig::new(config.build(), &[1, 1]);
        assert!(rig.needs().stamps, "servers have to keep count");
        let expected = |from: u64| {
            let mut actions = vec![Action::Timer { at: from + 3 * SECOND, token: REPORTS }];
            actions.extend((0..2).map(|server| Action::Probe { server, token: REPORTS }));
            actions
        };
        let update = Action::Timer { at: SECOND, token: UPDATE };
        assert!(rig.actions.contains(&update));
        rig.actions.retain(|action| *action != update);
        assert_eq!(rig.actions, expected(0));
        reported(&mut rig);
        update_at(&mut rig, SECOND);
        assert_eq!(rig.tally(400, 1), [200, 200], "responses do not count");
        rig.actions.clear();
        rig.now = 3 * SECOND;
        rig.timer(REPORTS);
        rig.actions.rotate_right(1);
        assert_eq!(rig.actions, expected(3 * SECOND));
        rig.probed(0, REPORTS, Some(says(100.0, 0.2, 0.0)));
        rig.probed(1, REPORTS, Some(says(100.0, 0.6, 0.0)));
        rig.probed(1, REPORTS, None);
        update_at(&mut rig, 4 * SECOND);
        let tally = rig.tally(4_000, 1);
        assert!((2_990..3_010).contains(&tally[0]), "{tally:?}");
    }
}
