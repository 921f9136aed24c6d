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
