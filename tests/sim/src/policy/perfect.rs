//! Two rivals that know the truth about every server at the moment of each request, whichever proxy
//! it came to. Nobody can know that; they show what knowledge alone is worth. Both look at all
//! servers and pick any of equals; a retry chooses anew.

use super::least::least;
use super::{Ask, Ended, Env, Member, Pick, Policy, Truth};

/// Join the shortest queue: the fewest requests outstanding, from all proxies (Winston, "Optimality
/// of the shortest line discipline", 1977: best for equal servers of one slot).
#[derive(Default)]
pub(crate) struct JoinShortestQueue {
    members: Vec<Member>,
}

impl Policy for JoinShortestQueue {
    fn members(&mut self, _: &mut Env<'_>, members: &[Member]) {
        self.members = members.to_vec();
    }

    fn pick(&mut self, env: &mut Env<'_>, _: &Ask<'_>) -> Pick {
        let truth = env.truth;
        least(env.rng, &self.members, |server| truth[server as usize].outstanding)
            .map_or(Pick::Nobody, Pick::Server)
    }

    fn ended(&mut self, _: &mut Env<'_>, _: &Ended<'_>) {}
}

/// Shortest expected delay: as the shortest queue, but in time (Banawan and Zahorjan, "Load sharing
/// in heterogeneous queueing systems", 1989), for servers of several slots. It knows speeds and
/// slots, not how much of the work under way is left.
#[derive(Default)]
pub(crate) struct ShortestExpectedDelay {
    members: Vec<Member>,
}

/// Expected time until one more request would end, in mean service times at speed 1; infinite
/// where nothing moves.
///
/// A free slot: its service alone. None: first one of the slots, which end `slots` times as often
/// as one, has to end for each of those that wait and for the newcomer.
fn expected_delay(truth: &Truth) -> f64 {
    if truth.speed <= 0.0 {
        return f64::INFINITY;
    }
    let slots = truth.slots.max(1);
    let waits = match truth.outstanding.checked_sub(slots) {
        None => 0.0,
        Some(waiting) => f64::from(waiting + 1) / f64::from(slots),
    };
    (1.0 + waits) / truth.speed
}

impl Policy for ShortestExpectedDelay {
    fn members(&mut self, _: &mut Env<'_>, members: &[Member]) {
        self.members = members.to_vec();
    }

    fn pick(&mut self, env: &mut Env<'_>, _: &Ask<'_>) -> Pick {
        let truth = env.truth;
        // Where nothing moves anywhere, all delays are infinite and so equal.
        least(env.rng, &self.members, |server| expected_delay(&truth[server as usize]))
            .map_or(Pick::Nobody, Pick::Server)
    }

    fn ended(&mut self, _: &mut Env<'_>, _: &Ended<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::*;

    fn truth(outstanding: u32, slots: u32, speed: f64) -> Truth {
        Truth { outstanding, slots, speed }
    }

    #[test]
    fn the_shortest_queue_is_joined_whatever_its_speed() {
        let mut rig = Rig::new(JoinShortestQueue::default(), &[1; 4]);
        rig.truth = vec![truth(3, 4, 1.0), truth(2, 1, 0.1), truth(5, 8, 1.0), truth(2, 1, 9.0)];
        let tally = rig.tally(10_000, 1);
        assert_eq!((tally[0], tally[2]), (0, 0));
        assert!((4_800..5_200).contains(&tally[1]), "ties at random: {tally:?}");
        assert_eq!((rig.pick() + rig.pick()), 4, "both of the two, then all have 3 or more");
        rig.members(&[]);
        assert_eq!(rig.ask(), Pick::Nobody);
    }

    #[test]
    fn delay_counts_slots_and_speed() {
        for (truth, expected) in [
            (truth(0, 4, 1.0), 1.0),
            (truth(3, 4, 0.5), 2.0),
            (truth(4, 4, 1.0), 1.25),
            (truth(11, 4, 0.5), 6.0),
            (truth(0, 1, 0.0), f64::INFINITY),
        ] {
            let delay = expected_delay(&truth);
            assert!(delay.total_cmp(&expected).is_eq(), "{truth:?}: {delay}");
        }
    }

    #[test]
    fn a_busy_fast_server_is_preferred_to_an_idle_slow_one() {
        let mut rig = Rig::new(ShortestExpectedDelay::default(), &[1; 3]);
        rig.truth = vec![truth(0, 1, 0.25), truth(2, 1, 1.0), truth(0, 1, 0.0)];
        // Delays: 4 and 3, 4; then 5: so the fast one, either, the one that is left.
        assert_eq!(rig.pick(), 1);
        assert_eq!(rig.pick() + rig.pick(), 1);
        rig.truth = vec![truth(9, 1, 0.0); 3];
        let tally = rig.tally(3_000, 1);
        assert!(tally.iter().all(|&count| (900..1_100).contains(&count)), "{tally:?}");
    }
}
