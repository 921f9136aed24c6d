use proptest::prelude::*;

use super::*;
use crate::test;

/// Own work, all workers' work, weight; by slot.
type Load = (u64, u64, u32);

/// Compares endpoints; what was read, in order, comes along.
fn search(loads: &[Load], wanted: usize, salt: u32) -> (Vec<u32>, Vec<u32>) {
    let seats = seats(loads);
    let floors: Vec<u64> = loads.iter().map(|load| for_weight(load.0, load.2)).collect();
    let mut read = Vec::new();
    let picks = super::best(&seats, &floors, wanted, salt, |slot| {
        read.push(slot);
        Some(loads[slot as usize].1)
    });
    (picks.iter().collect(), read)
}

fn seats(loads: &[Load]) -> Vec<Seat> {
    (0..).zip(loads).map(|(slot, load)| Seat { slot, weight: load.2 }).collect()
}

fn of_weight_1(slots: &[u32]) -> Vec<Seat> {
    slots.iter().map(|slot| Seat { slot: *slot, weight: 1 }).collect()
}

fn drawn(eligible: &[Seat], idle: &[u32], picker: Picker, rng: &mut fastrand::Rng) -> Vec<u32> {
    let idle = of_weight_1(idle);
    let mut room = Vec::new();
    let seats = candidates(eligible, idle.into_iter(), picker, rng, &mut room);
    seats.iter().map(|seat| seat.slot).collect()
}

fn best(loads: &[Load], wanted: usize, rng: &mut fastrand::Rng) -> Vec<u32> {
    search(loads, wanted, rng.u32(..)).0
}

/// Loads that are all this VM's own.
fn own(milli: &[u64]) -> Vec<Load> {
    milli.iter().map(|milli| (*milli, *milli, 1)).collect()
}

#[test]
fn least_work_wins_and_spares_follow_in_order() {
    let mut rng = fastrand::Rng::with_seed(1);
    let loads = own(&[3000, 1000, 2000, 500]);
    assert_eq!(best(&loads, 1, &mut rng), [3]);
    assert_eq!(best(&loads, 3, &mut rng), [3, 1, 2]);
    assert_eq!(best(&loads, 9, &mut rng), [3, 1, 2, 0]);
    assert_eq!(best(&loads, 0, &mut rng), [3]);
    assert_eq!(best(&own(&[1; 20]), 99, &mut rng).len(), MOST);
    assert!(best(&[], 2, &mut rng).is_empty());
}

#[test]
fn the_work_of_all_workers_decides() {
    let mut rng = fastrand::Rng::with_seed(1);
    // Idle as far as this VM knows, but others are busy there.
    assert_eq!(best(&[(0, 9000, 1), (2000, 2000, 1), (1000, 3000, 1)], 2, &mut rng), [1, 2]);
}

#[test]
fn nothing_is_read_that_cannot_change_the_answer() {
    assert_eq!(search(&own(&[3000, 1000, 2000, 500]), 1, 1), (vec![3], vec![3]));
    // The lowest floor first, then any that may still be better.
    let loads = [(1000, 2500, 1), (2000, 2200, 1), (2100, 2100, 1), (2501, 9000, 1)];
    for salt in 0..32 {
        let (picks, read) = search(&loads, 1, salt);
        assert_eq!((picks, read[0]), (vec![2], 0));
        assert!(read.contains(&2) && !read.contains(&3), "{read:?}");
    }
    let (picks, read) = search(&own(&[3000, 1000, 2000, 500]), 2, 1);
    assert_eq!((picks, read[0]), (vec![3, 1], 3));
}

#[test]
fn weight_divides_the_work() {
    let mut rng = fastrand::Rng::with_seed(1);
    assert_eq!(best(&[(4000, 4000, 1), (6000, 6000, 2)], 1, &mut rng), [1]);
    assert_eq!(best(&[(2000, 4000, 1), (3000, 6000, 2)], 1, &mut rng), [1]);
    assert_eq!(best(&[(1000, 1000, 1), (2000, 2000, u32::MAX)], 1, &mut rng), [1]);
    assert_eq!(best(&[(1, 1, 65_000), (0, 0, 65_000)], 1, &mut rng), [1], "little is not none");
}

#[test]
fn ties_fall_on_each_equally_often() {
    let mut rng = fastrand::Rng::with_seed(7);
    // Where this VM knows of the work, and where only reading tells it.
    for floor in [1000, 0] {
        let mut hits = [0_u32; 5];
        for _ in 0..50_000 {
            hits[best(&[(floor, 1000, 1); 5], 1, &mut rng)[0] as usize] += 1;
        }
        // Five standard deviations of a binomial with p = 1/5.
        assert!(hits.iter().all(|&hit| hit.abs_diff(10_000) < 450), "{hits:?}");
    }
}

#[test]
fn where_other_workers_are_busy_the_idle_share_what_comes() {
    let mut rng = fastrand::Rng::with_seed(7);
    // Half of them are busy, as only reading tells, in a pattern that the walk must not follow.
    let busy = [0, 1, 2, 3, 9, 10, 11, 15, 18, 19];
    let loads: Vec<Load> = (0..20).map(|slot| (0, u64::from(busy.contains(&slot)), 1)).collect();
    let mut hits = [0_i32; 20];
    for _ in 0..100_000 {
        hits[best(&loads, 1, &mut rng)[0] as usize] += 1;
    }
    for (slot, hits) in (0..).zip(hits) {
        let expected = if busy.contains(&slot) { 0 } else { 10_000 };
        assert!((hits - expected).abs() <= expected / 4, "slot {slot}: {hits}");
    }
}

#[test]
fn a_walk_visits_each_seat_once() {
    for count in [0, 1, 2, 3, 8, 20, 128, 1000] {
        for salt in 0..32 {
            let mut seen: Vec<usize> = walk(count, salt).collect();
            seen.sort_unstable();
            assert!(seen.into_iter().eq(0..count), "{count} seats, salt {salt}");
        }
    }
}

#[test]
fn whoever_must_not_be_picked_is_not() {
    let seats = of_weight_1(&[4, 5, 6]);
    let only = |wanted: u32| {
        let work = |slot| (slot == wanted).then_some(9000);
        super::best(&seats, &[0; 3], 3, 1, work).iter().collect::<Vec<_>>()
    };
    assert_eq!(only(5), [5]);
    assert!(only(7).is_empty());
}

#[test]
fn a_large_cluster_is_sampled_evenly_without_repetition() {
    let picker = Picker { scan_limit: 128, samples: 8, idle: 0 };
    let mut rng = fastrand::Rng::with_seed(3);
    let eligible = of_weight_1(&(0..1000).collect::<Vec<_>>());
    let mut hits = vec![0_u32; 1000];
    for _ in 0..20_000 {
        let mut seen = drawn(&eligible, &[], picker, &mut rng);
        assert_eq!(seen.len(), 8);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 8);
        for slot in seen {
            hits[slot as usize] += 1;
        }
    }
    assert!(hits.iter().all(|&hit| hit.abs_diff(160) < 80), "160 expected of each");
}

#[test]
fn the_idle_are_looked_at_beside_the_sample_only_where_one_is_drawn() {
    let mut rng = fastrand::Rng::with_seed(3);
    let picker = Picker { scan_limit: 4, samples: 2, idle: 4 };
    let seen = drawn(&of_weight_1(&[1, 2, 3, 4, 5, 6]), &[6], picker, &mut rng);
    assert_eq!((seen.len(), seen.last()), (3, Some(&6)));
    assert_eq!(drawn(&of_weight_1(&[1, 2, 3, 4]), &[4], picker, &mut rng), [1, 2, 3, 4]);
}

#[test]
fn an_endpoint_that_is_sampled_and_idle_is_named_once() {
    let seats = of_weight_1(&[2, 1, 3, 1, 2, 3]);
    for salt in 0..100 {
        let picks = super::best(&seats, &[0; 6], MOST, salt, |slot| Some(u64::from(slot)));
        assert_eq!(picks.iter().collect::<Vec<_>>(), [1, 2, 3]);
    }
}

#[test]
fn the_same_seed_picks_the_same() {
    let picks = |seed| {
        let mut rng = fastrand::Rng::with_seed(seed);
        (0..64).map(|_| best(&own(&[1, 1, 1]), 1, &mut rng)[0]).collect()
    };
    let (one, two, other): (Vec<u32>, Vec<u32>, Vec<u32>) = (picks(9), picks(9), picks(10));
    assert_eq!(one, two);
    assert_ne!(one, other);
}

#[test]
fn ties_are_mixed_by_the_finalizer_of_murmur_hash_3() {
    // Its hashes of no bytes at all, where the seed goes through the finalizer alone.
    assert_eq!([0, 1, u32::MAX].map(|salt| mix(salt, 0)), [0, 0x514e_28b7, 0x81f1_6f39]);
    // The slots lie apart by 2^32 over the golden ratio.
    let apart: [u32; 3] = [0, 0x9e37_79b9, 0x3c6e_f372];
    for (slot, offset) in (0..).zip(apart) {
        assert_eq!(mix(0x1234_5678, slot), mix(0x1234_5678 ^ offset, 0), "slot {slot}");
    }
}

proptest! {
    /// Reading in order and stopping early finds what reading everything finds.
    #[test]
    fn the_search_is_exact(
        loads in prop::collection::vec((0..6_u64, 0..4_u64, 1..4_u32), 0..40),
        wanted in 1..=MOST,
        seed: u64,
    ) {
        let loads: Vec<_> = loads.iter().map(|(o, more, w)| (*o, o + more, *w)).collect();
        let mut rng = fastrand::Rng::with_seed(seed);
        let found = best(&loads, wanted, &mut rng);
        let load = |slot: u32| for_weight(loads[slot as usize].1, loads[slot as usize].2);
        let mut all: Vec<u64> = (0..).take(loads.len()).map(load).collect();
        all.sort_unstable();
        all.truncate(wanted);
        prop_assert_eq!(found.iter().map(|slot| load(*slot)).collect::<Vec<_>>(), all);
    }
}
