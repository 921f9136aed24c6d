//! Fresh answers from a few servers: what probing could be worth at best, and by which score to
//! choose. It sees the truth about so many servers, drawn at random for each request, without asking
//! and without delay. Nobody can; synchronous probing comes near (`prequal_sync`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Ask, Ended, Env, Member, Pick, Policy, Truth};

/// How many answers, and how they are compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FreshAnswersConfig {
    /// Servers seen for each request, without repetition; 0: all.
    pub servers: u32,
    /// The least of what is best.
    pub score: FreshScore,
}

/// What is least at the best server.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FreshScore {
    /// Requests outstanding with this one, by a power of the speed.
    Count {
        /// 0: speed does not matter; 1: it divides.
        speed_exponent: f64,
    },
    /// Expected wait for a slot, and a part of the service time. Weight 1 is the shortest expected
    /// delay; near 0 a free slot counts most, wherever it is, and among free ones the fastest.
    Wait {
        /// Weight of the service time, 0 to 1.
        service_weight: f64,
    },
}

impl Default for FreshAnswersConfig {
    fn default() -> Self {
        Self { servers: 5, score: FreshScore::Wait { service_weight: 0.25 } }
    }
}

impl FreshAnswersConfig {
    pub(super) fn check(&self) -> Result<(), String> {
        let (value, path, most) = match self.score {
            FreshScore::Count { speed_exponent } => (speed_exponent, "count.speed_exponent", 10.0),
            FreshScore::Wait { service_weight } => (service_weight, "wait.service_weight", 1.0),
        };
        let fits = (0.0..=most).contains(&value);
        if fits { Ok(()) } else { Err(format!("score.{path}: expected 0 to {most}")) }
    }

    pub(super) fn build(&self) -> FreshAnswers {
        FreshAnswers { config: self.clone(), members: Vec::new() }
    }
}

impl FreshScore {
    /// In mean service times at speed 1; infinite where nothing moves.
    fn of(self, truth: &Truth) -> f64 {
        let with_this = f64::from(truth.outstanding) + 1.0;
        match self {
            _ if truth.speed <= 0.0 => f64::INFINITY,
            Self::Count { speed_exponent } => with_this / truth.speed.powf(speed_exponent),
            Self::Wait { service_weight } => {
                let slots = f64::from(truth.slots.max(1));
                ((with_this - slots).max(0.0) / slots + service_weight) / truth.speed
            }
        }
    }
}

/// At one proxy.
pub(crate) struct FreshAnswers {
    config: FreshAnswersConfig,
    members: Vec<Member>,
}

impl Policy for FreshAnswers {
    fn members(&mut self, _: &mut Env<'_>, members: &[Member]) {
        self.members = members.to_vec();
    }

    fn pick(&mut self, env: &mut Env<'_>, _: &Ask<'_>) -> Pick {
        let all = self.members.len();
        let seen = match self.config.servers as usize {
            0 => all,
            some => some.min(all),
        };
        let mut best = None;
        for place in 0..seen {
            // The first places become a sample without repetition (Fisher and Yates).
            let drawn = env.rng.usize(place..all);
            self.members.swap(place, drawn);
            let server = self.members[place].server;
            let score = self.config.score.of(&env.truth[server as usize]);
            // The order is random, so the first of equals is any of them.
            if best.is_none_or(|(least, _)| score < least) {
                best = Some((score, server));
            }
        }
        best.map_or(Pick::Nobody, |(_, server)| Pick::Server(server))
    }

    fn ended(&mut self, _: &mut Env<'_>, _: &Ended<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::*;

    fn rig(servers: u32, score: FreshScore, truth: &[(u32, f64)]) -> Rig<FreshAnswers> {
        let config = FreshAnswersConfig { servers, score };
        let mut rig = Rig::new(config.build(), &vec![1; truth.len()]);
        let truth = truth.iter();
        rig.truth =
            truth.map(|&(outstanding, speed)| Truth { outstanding, slots: 4, speed }).collect();
        rig
    }

    /// The only server that is picked, where all are seen.
    fn best(score: FreshScore, truth: &[(u32, f64)]) -> usize {
        let tally = rig(0, score, truth).tally(100, 1);
        let best = tally.iter().position(|&count| count == 100);
        best.unwrap_or_else(|| panic!("{tally:?}"))
    }

    #[test]
    fn the_weight_of_service_decides_between_a_free_slow_slot_and_a_short_wait() {
        // A fast server with one request waiting already: 2/4 of a service time to wait. A slow one
        // with a free slot takes one service time longer.
        let truth = [(5, 1.0), (0, 0.5)];
        assert_eq!(best(FreshScore::Wait { service_weight: 1.0 }, &truth), 0);
        assert_eq!(best(FreshScore::Wait { service_weight: 0.25 }, &truth), 1);
        // Where both are free, the fast one, whatever is in flight there.
        assert_eq!(best(FreshScore::Wait { service_weight: 0.01 }, &[(3, 1.0), (0, 0.5)]), 0);
    }

    #[test]
    fn counts_know_no_slots() {
        assert_eq!(best(FreshScore::Count { speed_exponent: 0.0 }, &[(3, 1.0), (0, 0.5)]), 1);
        assert_eq!(best(FreshScore::Count { speed_exponent: 1.0 }, &[(1, 1.0), (1, 0.5)]), 0);
        assert_eq!(best(FreshScore::Count { speed_exponent: 1.0 }, &[(0, 0.0), (9, 0.5)]), 1);
    }

    #[test]
    fn so_many_are_seen_and_any_of_equals_is_picked() {
        let score = FreshScore::Wait { service_weight: 0.25 };
        let mut two = rig(2, score, &[(0, 1.0), (9, 1.0), (9, 1.0), (9, 1.0)]);
        // Half of all samples of two in four hold the free one.
        let tally = two.tally(10_000, 1);
        assert!((4_800..5_200).contains(&tally[0]), "{tally:?}");
        let tally = rig(9, score, &[(0, 1.0); 4]).tally(10_000, 1);
        assert!(tally.iter().all(|&count| (2_300..2_700).contains(&count)), "{tally:?}");
        assert_eq!(rig(3, score, &[]).ask(), Pick::Nobody);
    }
}
