//! Envoy's `LEAST_REQUEST` (`source/extensions/load_balancing_policies/least_request`).
//!
//! Active requests are counted for the whole proxy, over its workers, and for no other proxy. Equal
//! weights: the least of a few drawn at random with replacement (`N_CHOICES`), or of all
//! (`FULL_SCAN`). Weights that differ: neither, but each worker's schedule ([`super::edf`]) with
//! weight / (active + 1) ^ bias, taken when a server is picked and put back. Not modelled: slow
//! start, locality weights, priorities, panic. A retry chooses anew; it may meet a server that has
//! failed the request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::edf::Turns;
use super::least::least;
use super::{Ask, Ended, Env, Member, Pick, Policy, ServerId};

/// Parameters of Envoy's `LEAST_REQUEST` with `N_CHOICES`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LeastRequestConfig {
    /// How many are drawn, with replacement; at least 2.
    pub choice_count: u32,
    /// Exponent of active requests where weights differ; 0: weighted round robin.
    pub active_request_bias: f64,
}

impl Default for LeastRequestConfig {
    fn default() -> Self {
        Self { choice_count: 2, active_request_bias: 1.0 }
    }
}

impl LeastRequestConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.choice_count < 2 {
            return Err("choice_count: expected at least 2".into());
        }
        check_bias(self.active_request_bias)
    }

    pub(super) fn build(&self) -> LeastRequest {
        LeastRequest {
            selection: Selection::Choices(self.choice_count),
            bias: self.active_request_bias,
            ..LeastRequest::default()
        }
    }
}

/// Parameters of Envoy's `LEAST_REQUEST` with `FULL_SCAN`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FullScanConfig {
    /// Exponent of active requests where weights differ; 0: weighted round robin.
    pub active_request_bias: f64,
}

impl Default for FullScanConfig {
    fn default() -> Self {
        Self { active_request_bias: 1.0 }
    }
}

impl FullScanConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        check_bias(self.active_request_bias)
    }

    pub(super) fn build(&self) -> LeastRequest {
        LeastRequest {
            selection: Selection::All,
            bias: self.active_request_bias,
            ..LeastRequest::default()
        }
    }
}

fn check_bias(bias: f64) -> Result<(), String> {
    if (0.0..=100.0).contains(&bias) {
        Ok(())
    } else {
        Err("active_request_bias: expected 0 to 100".into())
    }
}

enum Selection {
    Choices(u32),
    All,
}

/// The proxy's active requests and the choice by them.
pub(crate) struct LeastRequest {
    selection: Selection,
    bias: f64,
    members: Vec<Member>,
    /// By server.
    active: Vec<u32>,
    turns: Turns,
}

impl Default for LeastRequest {
    fn default() -> Self {
        Self {
            selection: Selection::Choices(2),
            bias: 1.0,
            members: Vec::new(),
            active: Vec::new(),
            turns: Turns::default(),
        }
    }
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

    /// Envoy's choice at one of its workers; it is not counted yet.
    pub(crate) fn choose(&mut self, env: &mut Env<'_>, worker: u16) -> Option<ServerId> {
        let Self { selection, bias, members, active, turns } = self;
        if members.is_empty() {
            return None;
        }
        if turns.weighted() {
            let weight = weight(members, active, *bias);
            let place = turns.scheduled(env.rng, worker, members.len(), weight)?;
            return Some(members[place].server);
        }
        match selection {
            Selection::Choices(choices) => Some(least_of(*choices, members, active, env)),
            Selection::All => least(env.rng, members, |server| active_at(active, server)),
        }
    }
}

fn active_at(active: &[u32], server: ServerId) -> u32 {
    active.get(server as usize).copied().unwrap_or(0)
}

fn weight(members: &[Member], active: &[u32], bias: f64) -> impl Fn(usize) -> f64 {
    move |index| {
        let Member { server, weight } = members[index];
        let requests = f64::from(active_at(active, server)) + 1.0;
        // The default is no power: it is slow.
        let divisor = if bias.to_bits() == 1f64.to_bits() { requests } else { requests.powf(bias) };
        f64::from(weight.max(1)) / divisor
    }
}

/// Of equals, the one drawn first.
fn least_of(choices: u32, members: &[Member], active: &[u32], env: &mut Env<'_>) -> ServerId {
    let mut draw = || {
        let server = members[env.rng.usize(..members.len())].server;
        (active_at(active, server), server)
    };
    let mut best = draw();
    for _ in 1..choices {
        let next = draw();
        if next.0 < best.0 {
            best = next;
        }
    }
    best.1
}

impl Policy for LeastRequest {
    fn members(&mut self, _: &mut Env<'_>, members: &[Member]) {
        self.members = members.to_vec();
        self.turns.members(members, weight(&self.members, &self.active, self.bias));
    }

    fn pick(&mut self, env: &mut Env<'_>, ask: &Ask<'_>) -> Pick {
        let Some(server) = self.choose(env, ask.worker) else { return Pick::Nobody };
        self.sent(server);
        Pick::Server(server)
    }

    fn ended(&mut self, _: &mut Env<'_>, ended: &Ended<'_>) {
        self.finished(ended.server);
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::*;

    #[test]
    fn the_busier_of_two_wins_when_it_is_drawn_twice() {
        // Envoy's own documentation: with two servers, 25 % of the time.
        let mut rig = Rig::new(LeastRequest::default(), &[1, 1]);
        rig.policy.sent(0);
        let busier = f64::from(rig.tally(40_000, 1)[0]) / 40_000.0;
        assert!((0.24..0.26).contains(&busier), "{busier}");
    }

    #[test]
    fn more_choices_find_the_idle_one_more_often() {
        for (choice_count, expected) in [(2, 0.36), (5, 0.672_32)] {
            let config = LeastRequestConfig { choice_count, ..LeastRequestConfig::default() };
            let mut rig = Rig::new(config.build(), &[1; 5]);
            for busy in 1..5 {
                rig.policy.sent(busy);
            }
            // 1 - 0.8 ^ choices.
            let idle = f64::from(rig.tally(40_000, 1)[0]) / 40_000.0;
            assert!((idle - expected).abs() < 0.01, "{choice_count}: {idle}");
        }
    }

    #[test]
    fn a_full_scan_takes_the_least_and_any_of_equals() {
        let mut rig = Rig::new(FullScanConfig::default().build(), &[1; 6]);
        rig.policy.sent(0);
        rig.policy.sent(4);
        let tally = rig.tally(40_000, 1);
        assert_eq!((tally[0], tally[4]), (0, 0));
        for idle in [1, 2, 3, 5] {
            assert!((9_600..10_400).contains(&tally[idle]), "{tally:?}");
        }
        for _ in 0..10 {
            rig.pick();
        }
        assert_eq!(rig.policy.active, [2; 6], "it fills up evenly");
    }

    #[test]
    fn where_weights_differ_the_schedule_follows_weights_and_requests() {
        let config = LeastRequestConfig::default();
        let mut rig = Rig::new(config.build(), &[1, 3]);
        assert_eq!(rig.tally(4_000, 1), [1_000, 3_000], "no request is under way at a pick");
        // Two requests that stay make the second as good as the first.
        rig.policy.sent(1);
        rig.policy.sent(1);
        rig.tally(10, 1);
        assert_eq!(rig.tally(4_000, 1), [2_000, 2_000]);

        let config = LeastRequestConfig { active_request_bias: 0.0, ..config };
        let mut rig = Rig::new(config.build(), &[1, 3]);
        rig.policy.sent(1);
        assert_eq!(rig.tally(4_000, 1), [1_000, 3_000], "no bias: requests do not matter");
    }

    #[test]
    fn requests_are_those_of_all_workers() {
        let mut rig = Rig::new(FullScanConfig::default().build(), &[1; 4]);
        let mut picks: Vec<_> = (0..4).map(|worker| rig.ask_as(worker, &[])).collect();
        picks.sort_by_key(|pick| format!("{pick:?}"));
        assert_eq!(picks, (0..4).map(Pick::Server).collect::<Vec<_>>());
        rig.members(&[]);
        assert_eq!(rig.ask(), Pick::Nobody);
    }
}
