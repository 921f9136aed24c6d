//! The least of all; of equals, any.

use fastrand::Rng;

use super::{Member, ServerId};

/// The member of the least `load`; equals are as likely as each other. `None` where nobody is there.
pub(super) fn least<L: PartialOrd>(
    rng: &mut Rng,
    members: &[Member],
    load: impl Fn(ServerId) -> L,
) -> Option<ServerId> {
    let (first, others) = members.split_first()?;
    let mut best = (load(first.server), first.server);
    let mut equals = 1_u32;
    for &Member { server, .. } in others {
        let load = load(server);
        if load < best.0 {
            best = (load, server);
            equals = 1;
        } else if load == best.0 {
            equals += 1;
            // The k-th equal replaces the one kept so far with probability 1 / k: reservoir sampling.
            if rng.u32(..equals) == 0 {
                best.1 = server;
            }
        }
    }
    Some(best.1)
}
