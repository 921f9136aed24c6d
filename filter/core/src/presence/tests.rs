//! VMs that crash, stall in the middle of anything and come back: the counts must be exact again
//! after a bounded number of ticks.

mod epochs;

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::lease::Lease;
use crate::memory::Memory;
use crate::pace::AS_USUAL;
use crate::test;
use crate::work::Work;

const CLUSTER: &str = "c";
const SLOTS: u32 = 3;

struct Vm {
    ledger: Ledger,
    presence: Presence,
    lease: Lease,
    undertaker: Undertaker,
    calls: Vec<u32>,
    /// How often it ticks, as it says.
    period_ms: u32,
}

impl Vm {
    fn new(me: u64) -> Self {
        let mut ledger = Ledger::default();
        ledger.open(CLUSTER);
        Self {
            ledger,
            presence: Presence::new(me),
            lease: Lease::new(me),
            undertaker: Undertaker { renew_after: 40, ..Undertaker::default() },
            calls: Vec::new(),
            period_ms: 250,
        }
    }

    fn up(&mut self, proxy: &Memory, slot: u32) {
        self.presence.ensure(proxy, &mut self.ledger);
        self.calls.push(slot);
        self.ledger.up(proxy, 0, slot, Work::ONE);
    }

    fn down(&mut self, proxy: &Memory, call: usize) {
        if !self.calls.is_empty() {
            let slot = self.calls.swap_remove(call % self.calls.len());
            self.ledger.down(proxy, 0, slot, Work::ONE);
        }
    }

    fn tick(&mut self, proxy: &Memory) {
        let period_ms = u64::from(self.period_ms);
        let span = Span::new(period_ms, period_ms);
        self.presence.tick(proxy, &mut self.ledger, self.period_ms);
        self.lease.tick(proxy, false, span, self.period_ms);
        if self.lease.is_held() {
            let Self { undertaker, ledger, .. } = self;
            undertaker.tick(proxy, span, |epoch| ledger.zero_other(proxy, 0, SLOTS, epoch));
        } else {
            self.undertaker.reset();
        }
    }
}

type Vms = Rc<Vec<RefCell<Vm>>>;

fn vms(count: u64) -> Vms {
    Rc::new((1..=count).map(|me| RefCell::new(Vm::new(me))).collect())
}

fn quiet(vms: &Vms, proxy: &Memory, ticks: usize) {
    for _ in 0..ticks {
        vms.iter().for_each(|vm| vm.borrow_mut().tick(proxy));
    }
}

/// What the gauges say over both sets, and what the living VMs have.
fn sums(vms: &Vms, proxy: &Memory) -> (i64, i64) {
    let gauges = (0..SLOTS).flat_map(|slot| [0, 1].map(|set| proxy.gauge(CLUSTER, slot, set)));
    let own = vms.iter().map(|vm| vm.borrow().calls.len()).sum::<usize>();
    (gauges.sum(), i64::try_from(own).unwrap() * 1000)
}

#[test]
fn a_crashed_vm_gives_back_what_it_had_within_ten_ticks() {
    let (proxy, vms) = (Memory::default(), vms(4));
    quiet(&vms, &proxy, 3);
    for vm in vms.iter() {
        (0..5).for_each(|call| vm.borrow_mut().up(&proxy, call % SLOTS));
    }
    quiet(&vms, &proxy, 3);
    assert_eq!(sums(&vms, &proxy), (20_000, 20_000));
    // The second VM is replaced by one that knows nothing.
    *vms[1].borrow_mut() = Vm::new(99);
    assert_eq!(sums(&vms, &proxy), (20_000, 15_000));
    quiet(&vms, &proxy, 10);
    assert_eq!(sums(&vms, &proxy), (15_000, 15_000));
}

#[test]
fn the_death_of_the_coordinator_is_survived_too() {
    let (proxy, vms) = (Memory::default(), vms(3));
    for vm in vms.iter() {
        vm.borrow_mut().up(&proxy, 0);
    }
    quiet(&vms, &proxy, 3);
    assert!(vms[0].borrow().lease.is_held());
    *vms[0].borrow_mut() = Vm::new(99);
    quiet(&vms, &proxy, 16);
    assert_eq!(vms.iter().filter(|vm| vm.borrow().lease.is_held()).count(), 1);
    assert_eq!(sums(&vms, &proxy), (2_000, 2_000));
}

#[test]
fn a_released_place_is_taken_by_the_next() {
    let proxy = Memory::default();
    let mut first = Vm::new(1);
    first.up(&proxy, 0);
    first.down(&proxy, 0);
    first.presence.release(&proxy);
    let mut second = Vm::new(2);
    second.up(&proxy, 0);
    assert_eq!(second.presence.place, Some(0));
}

#[test]
fn what_is_counted_without_a_record_is_counted_once() {
    let (proxy, vms) = (Memory::default(), vms(2));
    vms[0].borrow_mut().up(&proxy, 0);
    quiet(&vms, &proxy, 4);
    vms[1].borrow_mut().ledger.up(&proxy, 0, 0, Work::ONE);
    quiet(&vms, &proxy, 100);
    assert_eq!(vms[0].borrow_mut().ledger.outstanding(&proxy, 0, 0).milli(), 2_000);
}

#[test]
fn reads_never_fall_below_what_a_vm_has_itself() {
    let (proxy, vms) = (Memory::default(), vms(2));
    let mut vm = vms[0].borrow_mut();
    vm.up(&proxy, 0);
    proxy.work_gauge(CLUSTER, 0, 1).into_iter().for_each(|g| proxy.gauge_add(g, -5_000));
    assert_eq!(vm.ledger.outstanding(&proxy, 0, 0), Work::ONE);
}

/// Crashes, stalls between callbacks, and stalls within them at every single call of the store,
/// while the other VMs go on for long enough to bury the stalled one twice.
#[test]
fn counts_are_exact_whoever_crashes_or_stalls_where() {
    for seed in 0..150 {
        let proxy = Rc::new(Memory::default());
        let vms = vms(4);
        // Every second time some tick less often, or believe so.
        for vm in vms.iter().skip(1).step_by(2).filter(|_| seed % 2 == 1) {
            vm.borrow_mut().period_ms = 1_000;
        }
        let dice = Rc::new(RefCell::new(fastrand::Rng::with_seed(seed)));
        {
            let (vms, dice) = (Rc::clone(&vms), Rc::clone(&dice));
            let weak = Rc::downgrade(&proxy);
            proxy.interrupt(move || {
                let mut dice = dice.borrow_mut();
                if dice.u32(..40) != 0 {
                    return;
                }
                let Some(proxy) = weak.upgrade() else { return };
                // The VM whose call this is stays borrowed, and so stands still.
                for _ in 0..dice.u32(1..30) {
                    for vm in vms.iter() {
                        let Ok(mut vm) = vm.try_borrow_mut() else { continue };
                        vm.tick(&proxy);
                        match dice.u32(..4) {
                            0 => vm.up(&proxy, dice.u32(..SLOTS)),
                            1 => vm.down(&proxy, dice.usize(..)),
                            _ => {}
                        }
                    }
                }
            });
        }
        let mut next_name = 100;
        for _ in 0..600 {
            let (vm, what, slot, call) = {
                let mut dice = dice.borrow_mut();
                (dice.usize(..4), dice.u32(..100), dice.u32(..SLOTS), dice.usize(..))
            };
            match what {
                0..40 => vms[vm].borrow_mut().up(&proxy, slot),
                40..75 => vms[vm].borrow_mut().down(&proxy, call),
                75..98 => vms[vm].borrow_mut().tick(&proxy),
                _ => {
                    next_name += 1;
                    *vms[vm].borrow_mut() = Vm::new(next_name);
                }
            }
        }
        proxy.interrupt(|| {});
        quiet(&vms, &proxy, 90);
        // While an epoch begins, both sets hold counts: a few ticks later one does.
        let exact = (0..5).any(|_| {
            quiet(&vms, &proxy, 1);
            let (gauges, own) = sums(&vms, &proxy);
            gauges == own
        });
        assert!(exact, "seed {seed}: {:?}", sums(&vms, &proxy));
        for vm in vms.iter() {
            let mut vm = vm.borrow_mut();
            while !vm.calls.is_empty() {
                vm.down(&proxy, 0);
            }
        }
        quiet(&vms, &proxy, 5);
        assert_eq!(proxy.leftovers(), [], "seed {seed}");
    }
}
