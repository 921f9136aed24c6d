//! Who coordinates: one VM reads the admin interface for all and watches the others.
//!
//! Any VM can, because the main thread's is never started again after a crash. One that serves no
//! requests is preferred, so that no request waits behind a large membership: that is the main
//! thread's, which nothing else tells apart.

use prost::Message;

use crate::pace::{Span, TICK};
use crate::proxy::Proxy;
use crate::records::{self, LEASE, Lease as Record};

/// Ticks without a beat after which the holder is taken for dead: own ones, or where the holder
/// announced longer ones, of that length.
const DEAD_TICKS: u32 = 4;
/// Own ticks that a VM which serves requests waits longer, so that an idle one takes over first.
const BUSY_TICKS: u32 = 2;

/// One VM's part in the election.
pub struct Lease {
    me: u64,
    seen: Record,
    /// For how many thousandths of a tick.
    unchanged: u32,
    /// For how many own ticks it could have taken over.
    overdue: u32,
    held: bool,
}

impl Lease {
    /// `me`: this VM's random name, not 0.
    pub fn new(me: u64) -> Self {
        Self { me, seen: Record::default(), unchanged: 0, overdue: 0, held: false }
    }

    /// Whether this VM coordinates.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Beats, takes over, or waits, `span` after the last tick; the next is to come within `period_ms`.
    /// `busy`: this VM serves requests.
    pub fn tick(&mut self, proxy: &dyn Proxy, busy: bool, span: Span, period_ms: u32) {
        let found = records::read::<Record>(proxy, LEASE);
        let (record, cas) = found.map_or((Record::default(), None), |(r, cas)| (r, Some(cas)));
        let dead = if record.holder == 0 { 0 } else { DEAD_TICKS * TICK };
        if record == self.seen {
            self.overdue = self.overdue.saturating_add(u32::from(self.unchanged >= dead));
            self.unchanged = self.unchanged.saturating_add(span.ticks(record.period_ms));
        } else {
            (self.unchanged, self.overdue) = (0, 0);
            self.seen = record.clone();
        }
        let patience = if busy { BUSY_TICKS } else { 0 };
        let gone = self.unchanged >= dead && self.overdue >= patience;
        self.held = false;
        if record.holder == self.me || gone {
            let beat = record.beat.wrapping_add(1);
            let next = Record { holder: self.me, beat, period_ms };
            if proxy.shared_swap(LEASE, &next.encode_to_vec(), cas) {
                self.held = true;
                self.seen = next;
                (self.unchanged, self.overdue) = (0, 0);
            }
        }
    }

    /// Gives the lease up, if held: at the end of the VM, or when it began to serve requests.
    pub fn release(&mut self, proxy: &dyn Proxy) {
        if !self.held {
            return;
        }
        if let Some((record, cas)) = records::read::<Record>(proxy, LEASE)
            && record.holder == self.me
        {
            let beat = record.beat.wrapping_add(1);
            let vacant = Record { beat, ..Record::default() };
            proxy.shared_swap(LEASE, &vacant.encode_to_vec(), Some(cas));
        }
        self.held = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use crate::pace::AS_USUAL;
    use crate::test;

    /// Which of these ticks, counted from 1, makes it the coordinator.
    fn elected_at(lease: &mut Lease, proxy: &Memory, busy: bool) -> Option<u32> {
        (1..=20).find(|_| {
            lease.tick(proxy, busy, AS_USUAL, 250);
            lease.is_held()
        })
    }

    #[test]
    fn nobody_coordinates_yet_and_an_idle_vm_goes_first() {
        let proxy = Memory::default();
        let (mut busy, mut idle) = (Lease::new(1), Lease::new(2));
        busy.tick(&proxy, true, AS_USUAL, 250);
        assert!(!busy.is_held());
        assert_eq!(elected_at(&mut idle, &proxy, false), Some(1));
        assert_eq!(elected_at(&mut Lease::new(3), &Memory::default(), true), Some(2));
    }

    #[test]
    fn the_coordinator_stays_while_it_beats() {
        let proxy = Memory::default();
        let (mut first, mut second) = (Lease::new(1), Lease::new(2));
        for _ in 0..50 {
            first.tick(&proxy, true, AS_USUAL, 250);
            second.tick(&proxy, false, AS_USUAL, 250);
            // Between two beats others may look more than once.
            second.tick(&proxy, false, AS_USUAL, 250);
            assert_eq!((first.is_held(), second.is_held()), (false, true));
        }
    }

    #[test]
    fn the_dead_are_succeeded_by_the_idle_before_the_busy() {
        for (busy, at) in [(false, DEAD_TICKS + 1), (true, DEAD_TICKS + BUSY_TICKS + 1)] {
            let proxy = Memory::default();
            Lease::new(1).tick(&proxy, false, AS_USUAL, 250);
            let mut heir = Lease::new(2);
            assert_eq!(elected_at(&mut heir, &proxy, busy), Some(at));
        }
    }

    #[test]
    fn one_that_was_taken_for_dead_sees_that_it_was_replaced() {
        let proxy = Memory::default();
        let (mut first, mut second) = (Lease::new(1), Lease::new(2));
        first.tick(&proxy, false, AS_USUAL, 250);
        elected_at(&mut second, &proxy, false);
        assert!(first.is_held(), "it stalls");
        first.tick(&proxy, false, AS_USUAL, 250);
        assert!(!first.is_held());
    }

    #[test]
    fn what_is_given_up_is_taken_at_once() {
        let proxy = Memory::default();
        let (mut first, mut second) = (Lease::new(1), Lease::new(2));
        first.tick(&proxy, false, AS_USUAL, 250);
        second.tick(&proxy, false, AS_USUAL, 250);
        // What is another's is not given up.
        second.release(&proxy);
        second.tick(&proxy, false, AS_USUAL, 250);
        assert!(!second.is_held());
        first.tick(&proxy, false, AS_USUAL, 250);
        first.release(&proxy);
        assert!(!first.is_held());
        assert_eq!(elected_at(&mut second, &proxy, false), Some(1));
        // One that slept does not give up what it has lost.
        let proxy = Memory::default();
        first.tick(&proxy, false, AS_USUAL, 250);
        let mut heir = Lease::new(3);
        elected_at(&mut heir, &proxy, false);
        assert!(first.is_held());
        first.release(&proxy);
        assert!(!first.is_held());
        heir.tick(&proxy, false, AS_USUAL, 250);
        assert!(heir.is_held());
        assert_eq!(elected_at(&mut Lease::new(4), &proxy, false), Some(DEAD_TICKS + 1));
    }
}
