use std::cell::RefCell;

use proptest::prelude::*;

use super::*;
use crate::test;

const ALL: Picker = Picker { scan_limit: 1_000, samples: 8, idle: 0 };

/// Searches among (own, all workers', weight) by slot; what was read, in order, comes along.
fn search(
    loads: &[(u64, u64, u32)],
    wanted: usize,
    picker: Picker,
    rng: &mut fastrand::Rng,
) -> (Vec<u32>, Vec<u32>) {
    let eligible: Vec<u32> = (0..u32::try_from(loads.len()).unwrap()).collect();
    let mut search = Search::default();
    search.begin(&eligible, &[], picker, rng, |slot| {
        let (own, _, weight) = loads[slot as usize];
        Some((own, weight))
    });
    let read = RefCell::new(Vec::new());
    let picks = search.best(wanted, |slot| {
        read.borrow_mut().push(slot);
        loads[slot as usize].1
    });
    (picks.iter().collect(), read.into_inner())
}

fn best(loads: &[(u64, u64, u32)], wanted: usize, rng: &mut fastrand::Rng) -> Vec<u32> {
    search(loads, wanted, ALL, rng).0
}

/// Loads that are all this VM's own.
fn own(milli: &[u64]) -> Vec<(u64, u64, u32)> {
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
    let mut rng = fastrand::Rng::with_seed(1);
    let (pick, read) = search(&own(&[3000, 1000, 2000, 500]), 1, ALL, &mut rng);
    assert_eq!((pick, read), (vec![3], vec![3]));
    let (pick, read) = search(
        &[(1000, 2500, 1), (2000, 2200, 1), (2100, 2100, 1), (2101, 9000, 1)],
        1,
        ALL,
        &mut rng,
    );
    assert_eq!((pick, read), (vec![2], vec![0, 1, 2]));
    let (pick, read) = search(&own(&[3000, 1000, 2000, 500]), 2, ALL, &mut rng);
    assert_eq!((pick, read), (vec![3, 1], vec![3, 1]));
}

#[test]
fn weight_divides_the_work() {
    let mut rng = fastrand::Rng::with_seed(1);
    assert_eq!(best(&[(4000, 4000, 1), (6000, 6000, 2)], 1, &mut rng), [1]);
    assert_eq!(best(&[(2000, 4000, 1), (3000, 6000, 2)], 1, &mut rng), [1]);
    assert_eq!(best(&[(1000, 1000, 1), (2000, 2000, u32::MAX)], 1, &mut rng), [1]);
    assert_eq!(best(&[(1, 1, u32::MAX), (0, 0, u32::MAX)], 1, &mut rng), [1], "one is not none");
}

#[test]
fn ties_fall_on_each_equally_often() {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut hits = [0_u32; 5];
    for _ in 0..50_000 {
        hits[best(&own(&[1000; 5]), 1, &mut rng)[0] as usize] += 1;
    }
    // Five standard deviations of a binomial with p = 1/5.
    assert!(hits.iter().all(|&hit| hit.abs_diff(10_000) < 450), "{hits:?}");
}

#[test]
fn whoever_is_left_out_is_never_picked() {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut search = Search::default();
    search.begin(&[4, 5, 6], &[], ALL, &mut rng, |slot| (slot == 5).then_some((9000, 1)));
    assert_eq!(search.best(3, |_| 9000).iter().collect::<Vec<_>>(), [5]);
    search.begin(&[4, 5, 6], &[], ALL, &mut rng, |_| None);
    assert_eq!(search.best(3, |_| 0).first(), None, "nothing of the last search is left");
}

#[test]
fn a_large_cluster_is_sampled_evenly_without_repetition() {
    let picker = Picker { scan_limit: 128, samples: 8, idle: 0 };
    let mut rng = fastrand::Rng::with_seed(3);
    let mut hits = vec![0_u32; 1000];
    // Everybody's floor is below what is read, so that all of the sample are read.
    let loads = vec![(0, 1000, 1); 1000];
    for _ in 0..20_000 {
        let mut seen = search(&loads, 1, picker, &mut rng).1;
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
    let looked = |eligible: &[u32], idle: &[u32], rng: &mut fastrand::Rng| {
        let seen = RefCell::new(Vec::new());
        Search::default().begin(eligible, idle, picker, rng, |slot| {
            seen.borrow_mut().push(slot);
            None
        });
        seen.into_inner()
    };
    let seen = looked(&[1, 2, 3, 4, 5, 6], &[6], &mut rng);
    assert_eq!((seen.len(), seen.last()), (3, Some(&6)));
    assert_eq!(looked(&[1, 2, 3, 4], &[4], &mut rng), [1, 2, 3, 4]);
}

#[test]
fn an_endpoint_that_is_sampled_and_idle_is_named_once() {
    let mut rng = fastrand::Rng::with_seed(3);
    let picker = Picker { scan_limit: 1, samples: 2, idle: 4 };
    let mut search = Search::default();
    for _ in 0..100 {
        search.begin(&[1, 2, 3], &[1, 2, 3], picker, &mut rng, |_| Some((0, 1)));
        let mut picks: Vec<_> = search.best(MOST, u64::from).iter().collect();
        picks.sort_unstable();
        assert_eq!(picks, [1, 2, 3]);
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
