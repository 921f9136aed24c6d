//! The limit: one queue in front of all servers. A request goes to a server only when one is free,
//! the fastest of them, so nobody waits behind anybody while a server is idle. No balancer that
//! chooses on arrival can be expected to be better.

use super::{Ask, Ended, Env, Member, Pick, Policy};

/// The simulation keeps the queue.
#[derive(Default)]
pub(crate) struct Central;

impl Policy for Central {
    fn members(&mut self, _: &mut Env<'_>, _: &[Member]) {}

    fn pick(&mut self, _: &mut Env<'_>, _: &Ask<'_>) -> Pick {
        Pick::Central
    }

    fn ended(&mut self, _: &mut Env<'_>, _: &Ended<'_>) {}
}
