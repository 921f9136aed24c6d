//! A server at random: what every other policy has to be better than.

use super::{Ask, Ended, Env, Member, Pick, Policy};

/// Every server is as likely as any other (Envoy's `RANDOM`).
#[derive(Default)]
pub(crate) struct Random {
    members: Vec<Member>,
}

impl Policy for Random {
    fn members(&mut self, _: &mut Env<'_>, members: &[Member]) {
        self.members = members.to_vec();
    }

    fn pick(&mut self, env: &mut Env<'_>, _: &Ask<'_>) -> Pick {
        if self.members.is_empty() {
            return Pick::Nobody;
        }
        Pick::Server(self.members[env.rng.usize(..self.members.len())].server)
    }

    fn ended(&mut self, _: &mut Env<'_>, _: &Ended<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::*;

    #[test]
    fn every_member_gets_its_share_whatever_its_weight() {
        let mut rig = Rig::new(Random::default(), &[1, 5, 1, 1]);
        let tally = rig.tally(40_000, 1);
        assert!(tally.iter().all(|&count| (9_600..10_400).contains(&count)), "{tally:?}");
        rig.members(&[(3, 1)]);
        assert_eq!(rig.pick(), 3);
        rig.members(&[]);
        assert_eq!(rig.ask(), Pick::Nobody);
    }
}
