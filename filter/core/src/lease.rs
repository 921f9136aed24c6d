//! Who coordinates: one VM reads the admin interface for all and watches the others.
//!
//! Any VM can, because the main thread's is never started again after a crash. One that serves no
//! requests is preferred, so that no request waits behind a large membership: that is the main
//! thread's, which nothing else tells apart.

use prost::Message;

use crate::proxy::Proxy;
use crate::records::{self, LEASE, Lease as Record};

/// Own ticks without a beat after which the holder is taken for dead.
const DEAD_TICKS: u32 = 4;
/// What a VM that serves requests waits longer, so that an idle one takes over first.
const BUSY_TICKS: u32 = 2;

/// One VM's part in the election.
pub struct Lease {
    me: u64,
    seen: Record,
    unchanged: u32,
    held: bool,
}

impl Lease {
    /// `me`: this VM's random name, not 0.
    pub fn new(me: u64) -> Self {
        Self { me, seen: Record::default(), unchanged: 0, held: false }
    }

    /// Whether this VM coordinates.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Beats, takes over, or waits. `busy`: this VM serves requests.
    pub fn tick(&mut self, proxy: &dyn Proxy, busy: bool) {
        let found = records::read::<Record>(proxy, LEASE);
        let (record, cas) = found.map_or((Record::default(), None), |(r, cas)| (r, Some(cas)));
        if record == self.seen {
            self.unchanged = self.unchanged.saturating_add(1);
        } else {
            self.unchanged = 0;
            self.seen = record.clone();
        }
        let dead = if record.holder == 0 { 0 } else { DEAD_TICKS };
        let patience = dead + if busy { BUSY_TICKS } else { 0 };
        self.held = false;
        if record.holder == self.me || self.unchanged >= patience {
            let next = Record { holder: self.me, beat: record.beat.wrapping_add(1) };
            if proxy.shared_swap(LEASE, &next.encode_to_vec(), cas) {
                self.held = true;
                self.seen = next;
                self.unchanged = 0;
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
            let vacant = Record { holder: 0, beat: record.beat.wrapping_add(1) };
            proxy.shared_swap(LEASE, &vacant.encode_to_vec(), Some(cas));
        }
        self.held = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use crate::test;

    /// Which of these ticks, counted from 1, makes it the coordinator.
    fn elected_at(lease: &mut Lease, proxy: &Memory, busy: bool) -> Option<u32> {
        (1..=20).find(|_| {
            lease.tick(proxy, busy);
            lease.is_held()
        })
    }

    #[test]
    fn nobody_coordinates_yet_and_an_idle_vm_goes_first() {
        let proxy = Memory::default();
        let (mut busy, mut idle) = (Lease::new(1), Lease::new(2));
        busy.tick(&proxy, true);
        assert!(!busy.is_held());
        assert_eq!(elected_at(&mut idle, &proxy, false), Some(1));
        assert_eq!(elected_at(&mut Lease::new(3), &Memory::default(), true), Some(2));
    }

    #[test]
    fn the_coordinator_stays_while_it_beats() {
        let proxy = Memory::default();
        let (mut first, mut second) = (Lease::new(1), Lease::new(2));
        for _ in 0..50 {
            first.tick(&proxy, true);
            second.tick(&proxy, false);
            // Between two beats others may look more than once.
            second.tick(&proxy, false);
            assert_eq!((first.is_held(), second.is_held()), (false, true));
        }
    }

    #[test]
    fn the_dead_are_succeeded_by_the_idle_before_the_busy() {
        for (busy, at) in [(false, DEAD_TICKS + 1), (true, DEAD_TICKS + BUSY_TICKS + 1)] {
            let proxy = Memory::default();
            Lease::new(1).tick(&proxy, false);
            let mut heir = Lease::new(2);
            assert_eq!(elected_at(&mut heir, &proxy, busy), Some(at));
        }
    }

    #[test]
    fn one_that_was_taken_for_dead_sees_that_it_was_replaced() {
        let proxy = Memory::default();
        let (mut first, mut second) = (Lease::new(1), Lease::new(2));
        first.tick(&proxy, false);
        elected_at(&mut second, &proxy, false);
        assert!(first.is_held(), "it stalls");
        first.tick(&proxy, false);
        assert!(!first.is_held());
    }

    #[test]
    fn what_is_given_up_is_taken_at_once() {
        let proxy = Memory::default();
        let (mut first, mut second) = (Lease::new(1), Lease::new(2));
        first.tick(&proxy, false);
        second.tick(&proxy, false);
        // What is another's is not given up.
        second.release(&proxy);
        second.tick(&proxy, false);
        assert!(!second.is_held());
        first.tick(&proxy, false);
        first.release(&proxy);
        assert!(!first.is_held());
        assert_eq!(elected_at(&mut second, &proxy, false), Some(1));
        // One that slept does not give up what it has lost.
        let proxy = Memory::default();
        first.tick(&proxy, false);
        let mut heir = Lease::new(3);
        elected_at(&mut heir, &proxy, false);
        assert!(first.is_held());
        first.release(&proxy);
        assert!(!first.is_held());
        heir.tick(&proxy, false);
        assert!(heir.is_held());
        assert_eq!(elected_at(&mut Lease::new(4), &proxy, false), Some(DEAD_TICKS + 1));
    }
}
