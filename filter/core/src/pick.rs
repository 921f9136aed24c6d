//! The choice among endpoints: the least outstanding work for its weight, ties at random.
//!
//! What this VM itself has outstanding at an endpoint is known for free and is the least that all
//! workers together can have there; reading the rest costs a host call. So the lowest floor is
//! looked at first, and then only those whose floor is below what was found: the answer is that of
//! reading everything.

use core::mem;

use crate::config::Picker;

/// Most endpoints that one pick names: itself and its spares.
pub const MOST: usize = 9;
const NO_SLOT: u32 = u32::MAX;

/// An endpoint that may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its slot.
    pub slot: u32,
    /// Its load-balancing weight, at least 1.
    pub weight: u32,
}

/// A pick: the best slots, best first.
#[derive(Clone, Copy, Debug)]
pub struct Picks {
    slots: [u32; MOST],
}

impl Default for Picks {
    fn default() -> Self {
        Self { slots: [NO_SLOT; MOST] }
    }
}

impl Picks {
    /// The best slot.
    pub fn first(&self) -> Option<u32> {
        self.iter().next()
    }

    /// All of them, the best first.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.slots.iter().copied().take_while(|slot| *slot != NO_SLOT)
    }
}

/// Who takes part in one comparison: all of `eligible`, or, where looking at every endpoint would
/// cost more than it gains, a sample without repetition, in `room`, and `idle`, who may come twice.
pub fn candidates<'a>(
    eligible: &'a [Seat],
    idle: impl Iterator<Item = Seat>,
    picker: Picker,
    rng: &mut fastrand::Rng,
    room: &'a mut Vec<Seat>,
) -> &'a [Seat] {
    if eligible.len() <= picker.scan_limit.max(picker.samples) {
        return eligible;
    }
    // Floyd's algorithm: a uniform sample without repetition, in as many draws as its size.
    room.clear();
    for last in eligible.len() - picker.samples..eligible.len() {
        let draw = eligible.get(rng.usize(..=last)).filter(|seat| !room.contains(seat));
        room.extend(draw.or_else(|| eligible.get(last)));
    }
    room.extend(idle);
    room
}

/// An endpoint in the comparison. Smaller is better; `tie` is another in each comparison, so that
/// equals are equally likely whatever their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    load: u64,
    tie: u32,
    slot: u32,
}

impl Rank {
    const NOBODY: Self = Self { load: u64::MAX, tie: u32::MAX, slot: NO_SLOT };
}

/// The best `wanted` (1 to [`MOST`]) of `seats`.
///
/// `floors` has for each the least that it would have outstanding with this request, in thousandths
/// of a mean request, [for its weight](for_weight); `work` reads what it would have over all workers,
/// which is not less, or `None` where it must not be picked now. `salt` is a random number.
pub fn best(
    seats: &[Seat],
    floors: &[u64],
    wanted: usize,
    salt: u32,
    mut work: impl FnMut(u32) -> Option<u64>,
) -> Picks {
    let (mut lowest, mut equals, mut start) = (u64::MAX, 0_u32, 0);
    for (at, load) in floors.iter().enumerate() {
        if *load < lowest {
            (lowest, equals, start) = (*load, 1, at);
        } else if *load == lowest {
            equals += 1;
        }
    }
    if let Some(place @ 1..) = salt.checked_rem(equals) {
        let mut lowest = (0..floors.len()).filter(|at| floors.get(*at) == Some(&lowest));
        start = lowest.nth(place as usize).unwrap_or(start);
    }
    let mut found = [Rank::NOBODY; MOST];
    let found = found.split_at_mut(wanted.clamp(1, MOST)).0;
    // The better the first, the fewer of the others need be read.
    let (mut next, mut rest) = (Some(start), None);
    while let Some(at) = next {
        let Some((seat, least)) = seats.get(at).zip(floors.get(at)) else { break };
        let worst = found.last().map_or(0, |worst| worst.load);
        if worst <= lowest {
            break;
        }
        if worst > *least
            && !found.iter().any(|known| known.slot == seat.slot)
            && let Some(milli) = work(seat.slot)
        {
            let load = for_weight(milli, seat.weight);
            let mut rank = Rank { load, tie: mix(salt, seat.slot), slot: seat.slot };
            for place in &mut *found {
                if rank < *place {
                    mem::swap(&mut rank, place);
                }
            }
        }
        next = rest.get_or_insert_with(|| walk(seats.len(), salt)).find(|at| *at != start);
    }
    let mut picks = Picks::default();
    for (slot, rank) in picks.slots.iter_mut().zip(found) {
        *slot = rank.slot;
    }
    picks
}

/// The places of so many seats in an order that is another in each comparison. The first that is good
/// enough ends the search: in the order of the list, that of a busy start would fall on the list's
/// beginning, in every worker of every proxy alike.
fn walk(seats: usize, salt: u32) -> impl Iterator<Item = usize> {
    // An odd step visits every number below a power of two once before it repeats.
    let all = seats.next_power_of_two();
    let start = mix(salt, NO_SLOT) as usize;
    let step = mix(salt, NO_SLOT - 1) as usize | 1;
    let places = (0..all).map(move |nth| start.wrapping_add(nth.wrapping_mul(step)) & (all - 1));
    places.filter(move |at| *at < seats)
}

/// Evenly spread for each slot, as the salt is random, and unrelated between slots. (The finalizer
/// of `MurmurHash3`: cheaper than a draw for each endpoint.)
fn mix(salt: u32, slot: u32) -> u32 {
    let mut bits = salt ^ slot.wrapping_mul(0x9e37_79b9);
    bits = (bits ^ bits >> 16).wrapping_mul(0x85eb_ca6b);
    bits = (bits ^ bits >> 13).wrapping_mul(0xc2b2_ae35);
    bits ^ bits >> 16
}

/// From 0 to 1, evenly spread for each slot.
pub(crate) fn spread(salt: u32, slot: u32) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "any of 2^24 will do")]
    let bits = (mix(salt, slot) >> 8) as f32;
    bits / 16_777_216.0
}

/// Fixed point keeps a small load over a large weight apart from none.
pub fn for_weight(milli: u64, weight: u32) -> u64 {
    let load = milli.saturating_mul(1 << 16);
    if weight > 1 { load / u64::from(weight) } else { load }
}

#[cfg(test)]
mod tests;
