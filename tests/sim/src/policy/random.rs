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
