//! A VM that dies takes its counts along, within a bound. docs/architecture.md states these bounds.

use core::time::Duration;

use leastload_filter_tests::lab::{
    CLUSTER, TICK, answer, answered, assert_idle, call, sidecar, ticks, warm,
};
use leastload_filter_tests::stats::{leftovers, work, work_in};
use leastload_testhost::{Call, Callback, FailurePolicy, Fault, Proxy};
use serde_json::json;

/// Ticks from the crash of a worker until its counts are given back: 1 until its last beat is seen,
/// 4 without another, 1 until all others have moved to the new epoch, 1 until the old set is zeroed.
const BOUND: u32 = 7;
/// The same where the coordinator died too: first 1 until its last beat is seen and 6 without
/// another, until a VM that serves requests takes over.
const BOUND_WITHOUT_COORDINATOR: u32 = 13;

/// So many calls under way from a worker.
fn hold(proxy: &Proxy, worker: usize, calls: usize) -> Vec<Call> {
    (0..calls).map(|_| call(proxy, worker)).collect()
}

/// Ticks, of the four in a second, until the gauges say `expected`, and no more than that is left.
fn ticks_until(proxy: &Proxy, expected: i64) -> u32 {
    let at = (0..100).find(|_| {
        let done = work(proxy) == expected;
        if !done {
            ticks(proxy, 1);
        }
        done
    });
    at.unwrap_or_else(|| panic!("never {expected}: {:?}", leftovers(proxy)))
}

#[test]
fn one_of_four_dies_and_its_counts_are_given_back_within_the_bound() {
    // Whenever between two ticks it happens.
    for after_tick in [0, 1, 100, 249] {
        let proxy = warm(sidecar(json!({})).workers(4));
        let others: Vec<Call> = (0..3).flat_map(|worker| hold(&proxy, worker, 3)).collect();
        let lost = hold(&proxy, 3, 5);
        proxy.advance(TICK + Duration::from_millis(after_tick));
        proxy.worker(3).crash();
        assert_eq!(work(&proxy), 14_000, "nobody takes them back at once");
        let ticks = ticks_until(&proxy, 9_000);
        assert!(ticks <= BOUND, "{ticks} ticks");
        answer(&others);
        drop(lost);
        assert_eq!(leftovers(&proxy), []);
    }
}

#[test]
fn the_others_pick_by_what_is_left_one_tick_earlier() {
    let proxy = warm(sidecar(json!({})).workers(2));
    let lost = hold(&proxy, 1, 1);
    let host = lost[0].asked().expect("steered");
    proxy.worker(1).crash();
    let is_avoided = |proxy: &Proxy| {
        let calls = hold(proxy, 0, 2);
        let avoided = calls.iter().all(|call| call.asked().as_ref() != Some(&host));
        let third = call(proxy, 0);
        answer(calls.iter().chain([&third]));
        avoided && third.asked().as_ref() == Some(&host)
    };
    assert!((0..5).all(|_| is_avoided(&proxy)), "the lost call still counts");
    ticks(&proxy, BOUND - 1);
    assert!(!(0..20).all(|_| is_avoided(&proxy)), "it does not any more");
    drop(lost);
}

#[test]
fn the_bound_is_in_ticks_whatever_they_last() {
    let config = json!({"discovery": {"interval": "100ms"}});
    let proxy = warm(sidecar(config).workers(4));
    let lost = hold(&proxy, 2, 4);
    proxy.worker(2).crash();
    proxy.advance(Duration::from_millis(25) * BOUND);
    assert_eq!(work(&proxy), 0);
    drop(lost);
}

#[test]
fn the_coordinators_death_alone_loses_nothing() {
    let proxy = warm(sidecar(json!({})).workers(4));
    let calls: Vec<Call> = (0..4).flat_map(|worker| hold(&proxy, worker, 2)).collect();
    proxy.main().crash();
    for _ in 0..40 {
        ticks(&proxy, 1);
        assert_eq!(work(&proxy), 8_000);
    }
    answer(&calls);
    assert_eq!(leftovers(&proxy), []);
}

#[test]
fn a_worker_and_the_coordinator_die_together() {
    let proxy = warm(sidecar(json!({})).workers(4));
    let others = hold(&proxy, 0, 3);
    let lost = hold(&proxy, 3, 3);
    ticks(&proxy, 3);
    proxy.main().crash();
    proxy.worker(3).crash();
    let ticks = ticks_until(&proxy, 3_000);
    assert!(ticks <= BOUND_WITHOUT_COORDINATOR, "{ticks} ticks");
    answer(&others);
    drop(lost);
    assert_eq!(leftovers(&proxy), []);
}

#[test]
fn a_worker_that_coordinates_dies() {
    let proxy = warm(sidecar(json!({})).workers(3));
    proxy.main().crash();
    ticks(&proxy, 20);
    let held: Vec<Call> = (0..3).flat_map(|worker| hold(&proxy, worker, 2)).collect();
    // Whichever of the three coordinates, each dies in turn.
    for dead in 0..2 {
        proxy.worker(dead).crash();
        let left = i64::try_from(2 - dead).expect("few") * 2_000;
        let ticks = ticks_until(&proxy, left);
        assert!(ticks <= BOUND_WITHOUT_COORDINATOR, "{ticks} ticks");
    }
    answer(held[4..].iter());
    assert_eq!(leftovers(&proxy), []);
}

#[test]
fn every_vm_dies_and_new_ones_begin_at_zero() {
    let builder = sidecar(json!({})).workers(4).failure_policy(FailurePolicy::FailReload);
    let proxy = warm(builder);
    let lost: Vec<Call> = (0..4).flat_map(|worker| hold(&proxy, worker, 3)).collect();
    proxy.workers().iter().chain([&proxy.main()]).for_each(leastload_testhost::Worker::crash);
    drop(lost);
    proxy.advance(Duration::from_secs(1));
    (0..4).for_each(|worker| drop(answered(&proxy, worker)));
    let ticks = ticks_until(&proxy, 0);
    assert!(ticks <= BOUND_WITHOUT_COORDINATOR, "{ticks} ticks");
    assert!(call(&proxy, 2).asked().is_some());
}

#[test]
fn a_reloaded_vm_counts_beside_its_predecessors_rest() {
    let builder = sidecar(json!({})).workers(2).failure_policy(FailurePolicy::FailReload);
    let proxy = warm(builder);
    let lost = hold(&proxy, 1, 3);
    proxy.worker(1).crash();
    proxy.advance(Duration::from_secs(1));
    let new = hold(&proxy, 1, 2);
    assert!(new.iter().all(|call| call.asked().is_some()), "it steers from its first request on");
    ticks_until(&proxy, 2_000);
    answer(&new);
    drop(lost);
    assert_idle(&proxy);
}

#[test]
fn a_vm_may_die_at_any_point_of_a_request_or_a_tick() {
    for callback in [
        Callback::OnContextCreate,
        Callback::OnRequestHeaders,
        Callback::OnResponseHeaders,
        Callback::OnResponseTrailers,
        Callback::OnLog,
        Callback::OnDelete,
        Callback::OnTick,
    ] {
        let builder = sidecar(json!({})).workers(3).failure_policy(FailurePolicy::FailReload);
        let proxy = warm(builder);
        let mine = hold(&proxy, 1, 2);
        proxy.fault(Fault::in_callback(callback).worker(1).traps());
        answer(&mine);
        drop(answered(&proxy, 1));
        ticks(&proxy, 1);
        let died = proxy.logs().iter().filter(|line| line.text.contains("Wasm VM failed")).count();
        assert_eq!(died, 1, "{callback}");
        drop(mine);
        ticks(&proxy, BOUND);
        assert_eq!(leftovers(&proxy), [], "{callback}");
        assert!(answered(&proxy, 1).asked().is_some(), "{callback}: a new VM");
    }
}

#[test]
fn twenty_crashes_in_a_row_leave_nothing() {
    let builder = sidecar(json!({})).workers(4).failure_policy(FailurePolicy::FailReload);
    let proxy = warm(builder);
    for round in 0..20_usize {
        let calls: Vec<Call> = (0..4).flat_map(|worker| hold(&proxy, worker, 2)).collect();
        proxy.worker(round * 7 % 4).crash();
        if round % 5 == 4 {
            proxy.main().crash();
            proxy.main().restart();
        }
        ticks(&proxy, 1 + u32::try_from(round).expect("few") % 9);
        answer(&calls);
    }
    ticks(&proxy, BOUND_WITHOUT_COORDINATOR);
    assert_eq!(leftovers(&proxy), []);
}

#[test]
fn the_abandoned_set_is_emptied_too() {
    let proxy = warm(sidecar(json!({})).workers(2));
    let lost = hold(&proxy, 1, 3);
    proxy.worker(1).crash();
    ticks(&proxy, BOUND);
    let sets =
        [0, 1].map(|set| (0..3).map(|slot| work_in(&proxy, CLUSTER, slot, set)).sum::<i64>());
    assert_eq!(sets, [0, 0]);
    drop(lost);
}
