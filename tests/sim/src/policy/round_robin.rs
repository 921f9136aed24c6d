//! Envoy's `ROUND_ROBIN` (`source/extensions/load_balancing_policies/round_robin`).
//!
//! Every worker takes turns by itself, from a random start. Equal weights: in the members' order.
//! Weights that differ: by the schedule of [`super::edf`], begun anew whenever the members change.
//! Not modelled: slow start, locality weights, priorities, panic. A retry is just the next turn; it
//! may meet a server that has failed the request.

use super::edf::Turns;
use super::{Ask, Ended, Env, Member, Pick, Policy};

/// Everyone in turn.
#[derive(Default)]
pub(crate) struct RoundRobin {
    members: Vec<Member>,
    turns: Turns,
}

fn weight(members: &[Member]) -> impl Fn(usize) -> f64 {
    |index| members[index].weight.max(1).into()
}

impl Policy for RoundRobin {
    fn members(&mut self, _: &mut Env<'_>, members: &[Member]) {
        self.members = members.to_vec();
        self.turns.members(members, weight(&self.members));
    }

    fn pick(&mut self, env: &mut Env<'_>, ask: &Ask<'_>) -> Pick {
        let count = self.members.len();
        let place = if count == 0 {
            None
        } else if self.turns.weighted() {
            self.turns.scheduled(env.rng, ask.worker, count, weight(&self.members))
        } else {
            Some(self.turns.rotate(env.rng, ask.worker, count))
        };
        place.map_or(Pick::Nobody, |place| Pick::Server(self.members[place].server))
    }

    fn ended(&mut self, _: &mut Env<'_>, _: &Ended<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::super::ServerId;
    use super::super::rig::Rig;
    use super::*;

    fn picks(rig: &mut Rig<RoundRobin>, worker: u16, times: u32) -> Vec<ServerId> {
        let server = |pick| if let Pick::Server(server) = pick { server } else { u32::MAX };
        (0..times).map(|_| server(rig.ask_as(worker, &[]))).collect()
    }

    #[test]
    fn everyone_in_turn_whatever_they_have_under_way() {
        let mut rig = Rig::new(RoundRobin::default(), &[1; 5]);
        let picks = picks(&mut rig, 0, 20);
        for (before, after) in picks.iter().zip(&picks[1..]) {
            assert_eq!(*after, (before + 1) % 5);
        }
    }

    #[test]
    fn each_worker_has_its_own_turn_from_a_random_start() {
        let mut rig = Rig::new(RoundRobin::default(), &[1; 100]);
        let starts: Vec<ServerId> = (0..8).flat_map(|worker| picks(&mut rig, worker, 1)).collect();
        let steps: Vec<ServerId> = (0..8).flat_map(|worker| picks(&mut rig, worker, 1)).collect();
        for (start, step) in starts.iter().zip(&steps) {
            assert_eq!(*step, (start + 1) % 100, "nobody else's picks moved it on");
        }
        let mut distinct = starts.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() >= 6, "{starts:?}");
    }

    #[test]
    fn weights_that_differ_are_kept_exactly() {
        let mut rig = Rig::new(RoundRobin::default(), &[1, 3, 6]);
        assert_eq!(rig.tally(1_000, 1), [100, 300, 600]);
        rig.members(&[(0, 1), (2, 1)]);
        assert_eq!(rig.tally(10, 1), [5, 0, 5]);
        rig.members(&[]);
        assert_eq!(rig.ask(), Pick::Nobody);
    }
}
