//! When an epoch ends, what is zeroed then, and what two coordinators at once do to the counts.

use super::*;
use crate::test;

fn epoch(proxy: &Memory) -> u32 {
    records::read::<Epoch>(proxy, EPOCH).unwrap().0.epoch
}

/// The record that the VM in the first place shows the others.
fn first_record(proxy: &Memory) -> Record {
    records::read::<Record>(proxy, &presence_key(0)).unwrap().0
}

/// What a coordinator that counts nothing itself does.
fn zero(proxy: &Memory, epoch: u32) {
    let mut ledger = Ledger::default();
    ledger.open(CLUSTER);
    ledger.zero_other(proxy, 0, SLOTS, epoch);
}

#[test]
fn an_epoch_ends_after_ten_minutes_although_nobody_died() {
    let proxy = Memory::default();
    let mut vm = Vm::new(1);
    vm.up(&proxy, 0);
    let mut undertaker = Undertaker::default();
    for tick in 1..=2 * RENEW_TICKS {
        vm.presence.tick(&proxy, &mut vm.ledger, 250);
        undertaker.tick(&proxy, AS_USUAL, |_| {});
        assert_eq!(epoch(&proxy), 1 + tick / RENEW_TICKS, "tick {tick}");
    }
}

#[test]
fn the_abandoned_set_is_zeroed_once_when_all_have_left_it() {
    let proxy = Memory::default();
    let mut vm = Vm::new(1);
    vm.up(&proxy, 0);
    let mut undertaker = Undertaker { renew_after: 5, ..Undertaker::default() };
    let mut zeroed = Vec::new();
    for tick in 1..=9 {
        // The VM stalls while the epoch begins.
        if !(5..=6).contains(&tick) {
            vm.presence.tick(&proxy, &mut vm.ledger, 250);
        }
        undertaker.tick(&proxy, AS_USUAL, |epoch| zeroed.push((tick, epoch)));
    }
    // The set that epoch 2 will use, before; the one that epoch 1 used, when the VM has moved.
    assert_eq!(zeroed, [(5, 1), (7, 2)]);
}

#[test]
fn the_dead_are_buried_after_four_looks_of_the_same_coordinator() {
    let proxy = Memory::default();
    let mut vm = Vm::new(1);
    vm.up(&proxy, 0);
    let mut undertaker = Undertaker::default();
    let mut look = |times: u32| {
        (0..times).for_each(|_| undertaker.tick(&proxy, AS_USUAL, |_| {}));
        epoch(&proxy)
    };
    assert_eq!(look(DEAD_TICKS), 1, "the first look only learns of it");
    assert_eq!(look(1), 2);
    assert_eq!(first_record(&proxy).holder, 0);

    let mut vm = Vm::new(2);
    vm.up(&proxy, 0);
    undertaker.reset();
    (0..DEAD_TICKS).for_each(|_| undertaker.tick(&proxy, AS_USUAL, |_| {}));
    // Another VM coordinated meanwhile: what was seen before tells nothing.
    undertaker.reset();
    (0..DEAD_TICKS).for_each(|_| undertaker.tick(&proxy, AS_USUAL, |_| {}));
    assert_eq!(first_record(&proxy).holder, 2);
    undertaker.tick(&proxy, AS_USUAL, |_| {});
    assert_eq!(first_record(&proxy).holder, 0);
}

#[test]
fn a_record_says_which_set_holds_the_counts_though_an_epoch_begins_during_the_claim() {
    // The epoch begins before the n-th call of the store that the claim makes.
    for call in 0..12 {
        let proxy = Rc::new(Memory::default());
        current_epoch(&*proxy);
        let weak = Rc::downgrade(&proxy);
        let mut left = call;
        proxy.interrupt(move || {
            let proxy = weak.upgrade().unwrap();
            if left == 0 {
                let begin = |epoch: &mut Epoch| {
                    epoch.epoch += 1;
                    true
                };
                records::update::<Epoch>(&*proxy, EPOCH, begin);
            }
            left -= 1;
        });
        let mut vm = Vm::new(1);
        vm.up(&proxy, 0);
        proxy.interrupt(|| {});
        let set = (first_record(&proxy).epoch & 1) as usize;
        assert_eq!(proxy.gauge(CLUSTER, 0, set), 1000, "before call {call}");
        assert_eq!(proxy.gauge(CLUSTER, 0, 1 - set), 0, "before call {call}");
    }
}

/// A coordinator stalls in the middle of ending an epoch; the next one ends it, and everybody moves
/// on; then the first wakes up and zeroes the set that counts by now.
#[test]
fn a_live_set_that_a_stalled_coordinator_zeroed_is_healed() {
    let proxy = Memory::default();
    let (mut living, mut dead) = (Vm::new(1), Vm::new(2));
    living.up(&proxy, 0);
    dead.up(&proxy, 0);
    let [mut stalled, mut next] = [Undertaker::default(), Undertaker::default()];
    for _ in 0..DEAD_TICKS {
        living.presence.tick(&proxy, &mut living.ledger, 250);
        stalled.tick(&proxy, AS_USUAL, |_| {});
        next.tick(&proxy, AS_USUAL, |_| {});
    }
    assert_eq!(epoch(&proxy), 1);
    stalled.tick(&proxy, AS_USUAL, |epoch| {
        next.tick(&proxy, AS_USUAL, |epoch| zero(&proxy, epoch));
        living.presence.tick(&proxy, &mut living.ledger, 250);
        zero(&proxy, epoch);
    });
    assert_eq!((epoch(&proxy), proxy.gauge(CLUSTER, 0, 0)), (2, 0), "the live set is zeroed");
    for _ in 0..3 {
        next.tick(&proxy, AS_USUAL, |epoch| zero(&proxy, epoch));
        living.presence.tick(&proxy, &mut living.ledger, 250);
    }
    assert_eq!(proxy.leftovers(), [(format!("{CLUSTER}/0/1"), 1000)]);
}

/// The same while the abandoned set is zeroed, one epoch later.
#[test]
fn a_live_set_that_was_zeroed_for_an_epoch_that_is_over_is_healed() {
    let proxy = Memory::default();
    let mut living = Vm::new(1);
    living.up(&proxy, 0);
    let [mut stalled, mut next] =
        [Undertaker { renew_after: 1, ..Undertaker::default() }, Undertaker::default()];
    stalled.tick(&proxy, AS_USUAL, |epoch| zero(&proxy, epoch));
    stalled.renew_after = RENEW_TICKS;
    living.presence.tick(&proxy, &mut living.ledger, 250);
    assert_eq!(epoch(&proxy), 2);
    next.renew_after = 1;
    stalled.tick(&proxy, AS_USUAL, |epoch| {
        next.tick(&proxy, AS_USUAL, |epoch| zero(&proxy, epoch));
        living.presence.tick(&proxy, &mut living.ledger, 250);
        zero(&proxy, epoch);
    });
    next.renew_after = RENEW_TICKS;
    assert_eq!((epoch(&proxy), proxy.gauge(CLUSTER, 0, 1)), (3, 0), "the live set is zeroed");
    for _ in 0..3 {
        next.tick(&proxy, AS_USUAL, |epoch| zero(&proxy, epoch));
        living.presence.tick(&proxy, &mut living.ledger, 250);
    }
    assert_eq!(proxy.leftovers(), [(format!("{CLUSTER}/0/0"), 1000)]);
}
