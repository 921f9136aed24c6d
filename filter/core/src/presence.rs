//! Exact counts although a VM may crash, stall or be replaced at any moment.
//!
//! A VM that crashes never gives back what it counted. So each VM keeps a record that it beats at
//! every tick, and counts in the gauge set of the current epoch. When a record stops beating, the
//! coordinator starts a new epoch on the other, zeroed set, and every living VM brings its own
//! counts along; what the dead one had stays behind in the abandoned set.
//!
//! Rules that make it exact, whoever stalls where:
//! - An epoch ends only when every living record is in it, so a VM is at most one epoch behind.
//! - A VM counts in no set before its record is visible, and beats a new epoch only after its
//!   counts are in that set.
//! - A VM that was taken for dead while it stalled finds its record gone, claims another one and
//!   brings its counts along again. What it counted between waking and its tick may be in either
//!   set: it asks for one more epoch, which heals any such error.
//! - No lock: ending an epoch is one compare and swap. Who fails it may have zeroed a live set, and
//!   asks for one more epoch too.

use prost::Message;

use crate::ledger::Ledger;
use crate::pace::{Span, TICK};
use crate::proxy::Proxy;
use crate::records::{self, EPOCH, Epoch, Presence as Record, presence_key};

/// Ticks without a beat after which a VM is taken for dead: the observer's, or where that ticks more
/// often, of the length that the VM announced.
pub const DEAD_TICKS: u32 = 4;
/// Ticks after which an epoch ends although nobody died: ten minutes at four ticks a second. A VM
/// that stalls through two epochs, counts, and dies before its next tick leaves an error that no
/// record shows; nothing else is known to, but a count that is off must not be off for ever.
const RENEW_TICKS: u32 = 2_400;
/// Most VMs that can count in one process: workers, and modules that are being replaced.
const PLACES: u32 = 512;

/// One VM's record, and the epoch it counts in.
pub struct Presence {
    me: u64,
    place: Option<u32>,
    epoch: u32,
    beat: u64,
    period_ms: u32,
    places: u32,
}

impl Presence {
    /// How many VMs may serve requests, about: at least 1.
    pub fn places(&self) -> u32 {
        self.places.max(1)
    }

    /// `me`: this VM's random name, not 0.
    pub fn new(me: u64) -> Self {
        Self { me, place: None, epoch: 0, beat: 0, period_ms: 0, places: 1 }
    }

    /// Claims a record if there is none yet: before the first count. Where it cannot be had (the
    /// table is full), the VM counts for itself alone.
    pub fn ensure(&mut self, proxy: &dyn Proxy, ledger: &mut Ledger) {
        if self.place.is_none() && !ledger.is_local() && !self.claim(proxy, ledger) {
            proxy.warn("no place for another worker: it balances on its own counts alone");
            ledger.stay_local();
        }
    }

    /// Beats, and follows the epoch. The next tick is to come within `period_ms`.
    pub fn tick(&mut self, proxy: &dyn Proxy, ledger: &mut Ledger, period_ms: u32) {
        self.period_ms = period_ms;
        let epoch = records::read::<Epoch>(proxy, EPOCH).map(|(epoch, _)| epoch);
        self.places = epoch.as_ref().map_or(self.places, |epoch| epoch.places);
        let current = epoch.map_or(self.epoch, |epoch| epoch.epoch);
        let Some(place) = self.place else {
            // A coordinator that serves no requests reads counts too.
            if current != self.epoch {
                ledger.carry_over(proxy, current);
                self.epoch = current;
            }
            return;
        };
        let key = presence_key(place);
        if let Some((record, cas)) = records::read::<Record>(proxy, &key)
            && record.holder == self.me
        {
            if current != self.epoch {
                ledger.carry_over(proxy, current);
                self.epoch = current;
            }
            self.beat = self.beat.wrapping_add(1);
            let next = self.record(self.epoch);
            if proxy.shared_swap(&key, &next.encode_to_vec(), Some(cas)) {
                return;
            }
        }
        // Taken for dead: the counts are in an abandoned set.
        self.place = None;
        if self.claim(proxy, ledger) {
            ask_to_heal(proxy);
        } else {
            ledger.stay_local();
        }
    }

    /// Frees the record, at the end of a VM that has nothing outstanding.
    pub fn release(&mut self, proxy: &dyn Proxy) {
        let Some(place) = self.place.take() else { return };
        let key = presence_key(place);
        if let Some((record, cas)) = records::read::<Record>(proxy, &key)
            && record.holder == self.me
        {
            proxy.shared_swap(&key, &Record::default().encode_to_vec(), Some(cas));
        }
    }

    fn claim(&mut self, proxy: &dyn Proxy, ledger: &mut Ledger) -> bool {
        let Some(before) = current_epoch(proxy) else { return false };
        let bytes = self.record(before).encode_to_vec();
        let free = (0..PLACES).find(|&place| {
            let key = presence_key(place);
            match records::read::<Record>(proxy, &key) {
                None => proxy.shared_swap(&key, &bytes, None),
                Some((found, cas)) if found.holder == 0 => {
                    proxy.shared_swap(&key, &bytes, Some(cas))
                }
                Some(_) => false,
            }
        });
        let Some(place) = free else { return false };
        let counted = records::update::<Epoch>(proxy, EPOCH, |epoch| {
            let grown = epoch.places <= place;
            epoch.places = epoch.places.max(place + 1);
            grown
        });
        // Read after the record is visible: from here on at most one more epoch can begin before
        // this VM's next tick.
        self.epoch = counted.map_or(before, |epoch| epoch.epoch);
        self.place = Some(place);
        ledger.carry_over(proxy, self.epoch);
        if self.epoch != before {
            self.tick(proxy, ledger, self.period_ms);
        }
        true
    }

    fn record(&self, epoch: u32) -> Record {
        let Self { me, beat, period_ms, .. } = *self;
        Record { holder: me, beat, epoch, period_ms }
    }
}

/// The coordinator's part: notices the dead and ends epochs.
pub struct Undertaker {
    /// Every record, and for how many thousandths of a tick it has not changed.
    seen: Vec<(Record, u32)>,
    /// The epoch in which this coordinator has zeroed the set that is not used. Whoever ended the
    /// epoch before it may have stopped coordinating without doing so.
    zeroed: Option<u32>,
    /// Ticks since this epoch began, as far as this coordinator saw, and after how many it ends
    /// without a reason.
    age: u32,
    renew_after: u32,
}

impl Default for Undertaker {
    fn default() -> Self {
        Self { seen: Vec::new(), zeroed: None, age: 0, renew_after: RENEW_TICKS }
    }
}

impl Undertaker {
    /// One look at every record, `span` after the last. `zero` zeroes the set that the given epoch does
    /// not use.
    pub fn tick(&mut self, proxy: &dyn Proxy, span: Span, mut zero: impl FnMut(u32)) {
        let Some((now, cas)) = records::read::<Epoch>(proxy, EPOCH) else { return };
        let mut dead = Vec::new();
        let mut all_moved = true;
        self.seen.resize_with(now.places as usize, Default::default);
        for (place, (seen, unchanged)) in (0..now.places).zip(self.seen.iter_mut()) {
            let key = presence_key(place);
            let Some((record, cas)) = records::read::<Record>(proxy, &key) else { continue };
            if record.holder == 0 {
                *unchanged = 0;
            } else if record == *seen {
                *unchanged = unchanged.saturating_add(span.ticks(record.period_ms));
            } else {
                *unchanged = 0;
            }
            if *unchanged >= DEAD_TICKS * TICK {
                dead.push((key, cas));
            } else if record.holder != 0 && record.epoch != now.epoch {
                all_moved = false;
            }
            *seen = record;
        }
        if !all_moved {
            return;
        }
        self.age = self.age.saturating_add(1);
        if dead.is_empty() && !now.heal && self.age < self.renew_after {
            // Nobody uses the other set any more: leave nothing in it that looks outstanding. In
            // the first epoch nobody ever did.
            if now.epoch > 1 && self.zeroed.replace(now.epoch) != Some(now.epoch) {
                zero(now.epoch);
                if current_epoch(proxy) != Some(now.epoch) {
                    ask_to_heal(proxy);
                }
            }
            return;
        }
        self.age = 0;
        zero(now.epoch);
        let next = Epoch { epoch: now.epoch.wrapping_add(1), heal: false, ..now.clone() };
        if proxy.shared_swap(EPOCH, &next.encode_to_vec(), Some(cas)) {
            for (key, cas) in dead {
                // Fails where it beat in the meantime: then it lives, and moves at its next tick.
                proxy.shared_swap(&key, &Record::default().encode_to_vec(), Some(cas));
            }
        } else if current_epoch(proxy) != Some(now.epoch) {
            ask_to_heal(proxy);
        }
    }

    /// Forgets what it saw: another VM coordinates.
    pub fn reset(&mut self) {
        self.seen.clear();
        self.zeroed = None;
        self.age = 0;
    }
}

/// The epoch, which begins at 1 with the first VM that asks.
fn current_epoch(proxy: &dyn Proxy) -> Option<u32> {
    let begin = |epoch: &mut Epoch| {
        let first = epoch.epoch == 0;
        epoch.epoch = epoch.epoch.max(1);
        first
    };
    records::update(proxy, EPOCH, begin).map(|epoch| epoch.epoch)
}

fn ask_to_heal(proxy: &dyn Proxy) {
    let ask = |epoch: &mut Epoch| !core::mem::replace(&mut epoch.heal, true);
    records::update(proxy, EPOCH, ask);
}

#[cfg(test)]
mod tests;
