//! Races between workers: every write to the shared store lost once, and every host call with
//! another worker's tick right before or after it.

use leastload_filter_tests::lab::{
    CLUSTER, TICK, answer, answered, assert_idle, call, sidecar, ticks,
};
use leastload_filter_tests::stats::{leftovers, work};
use leastload_testhost::{Call, Fault, HostCall, Proxy, Status, Thread};
use serde_json::json;

fn start(seed: u64) -> Proxy {
    sidecar(json!({})).workers(3).seed(seed).canary(false).start()
}

/// The beginning of three workers, a crash, and what the others make of it. The worker that dies
/// is left out where `crash` is false.
fn live(proxy: &Proxy, crash: bool) -> Vec<Call> {
    let mut held: Vec<Call> = (0..3).map(|worker| call(proxy, worker)).collect();
    ticks(proxy, 4);
    held.extend((0..3).map(|worker| call(proxy, worker)));
    if crash {
        proxy.worker(2).crash();
    }
    ticks(proxy, 9);
    held.extend((0..2).map(|worker| call(proxy, worker)));
    held
}

/// Ends everything and looks.
fn settle(proxy: &Proxy, held: Vec<Call>, what: &str) {
    proxy.clear_faults();
    proxy.advance(TICK * 16);
    let steered = held.iter().filter(|call| !call.is_over() && call.attempts() > 0).count();
    assert!(work(proxy) <= i64::try_from(steered).expect("few") * 1_000, "{what}");
    for worker in 0..2 {
        assert!(answered(proxy, worker).asked().is_some(), "{what}: worker {worker} steers");
    }
    answer(&held);
    drop(held);
    proxy.advance(TICK * 16);
    assert_eq!(leftovers(proxy), [], "{what}");
}

/// How often a host call is made on a thread.
fn how_often(call: HostCall, crash: bool) -> u64 {
    let proxy = start(0);
    live(&proxy, crash);
    proxy.take_trace().count(call) as u64
}

#[test]
fn every_write_to_the_store_loses_its_race_once() {
    for crash in [false, true] {
        for nth in 1..=how_often(HostCall::SetSharedData, crash) {
            let proxy = start(nth);
            proxy.fault(Fault::at(HostCall::SetSharedData).nth(nth).returns(Status::CasMismatch));
            let held = live(&proxy, crash);
            settle(&proxy, held, &format!("write {nth}, crash {crash}"));
        }
    }
}

#[test]
fn every_second_write_to_the_store_loses_its_race() {
    for start_at in 1..=2 {
        let proxy = start(start_at);
        for nth in 0..200 {
            let lost = Fault::at(HostCall::SetSharedData).nth(start_at + 2 * nth);
            proxy.fault(lost.returns(Status::CasMismatch));
        }
        let held = live(&proxy, true);
        settle(&proxy, held, "every second write");
    }
}

/// Another thread's tick at the n-th host call of a kind.
fn interleaved(call: HostCall, nth: u64, before: bool, crash: bool) {
    let proxy = start(nth);
    let victim = Fault::at(call).worker(0).nth(nth);
    let hook = move |proxy: &Proxy| {
        for other in [proxy.main(), proxy.worker(1)] {
            (0..=nth % 3).for_each(|_| other.tick());
        }
    };
    proxy.fault(if before { victim.then_before(hook) } else { victim.then_after(hook) });
    let held = live(&proxy, crash);
    settle(&proxy, held, &format!("{call} {nth}, before {before}, crash {crash}"));
}

#[test]
fn others_tick_before_and_after_every_call_of_the_store() {
    for nth in 1..=60 {
        for (before, crash) in [(true, true), (false, true), (true, false), (false, false)] {
            interleaved(HostCall::GetSharedData, nth, before, crash);
            if nth <= 20 {
                interleaved(HostCall::SetSharedData, nth, before, crash);
            }
        }
    }
}

#[test]
fn others_tick_before_and_after_every_change_of_a_gauge() {
    for nth in 1..=10 {
        for (before, crash) in [(true, true), (false, true), (true, false), (false, false)] {
            interleaved(HostCall::IncrementMetric, nth, before, crash);
            interleaved(HostCall::GetMetric, nth, before, crash);
        }
    }
}

#[test]
fn a_request_begins_on_another_worker_between_any_two_calls_of_one() {
    for nth in 1..=40 {
        let proxy = start(nth);
        let begun = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let more = std::rc::Rc::clone(&begun);
        let victim = Fault::at(HostCall::GetSharedData).worker(0).nth(nth);
        proxy.fault(victim.then_after(move |proxy| more.borrow_mut().push(call(proxy, 1))));
        let mut held = live(&proxy, false);
        held.append(&mut begun.borrow_mut());
        settle(&proxy, held, &format!("call {nth}"));
    }
}

#[test]
fn the_coordinator_is_interrupted_at_every_call_of_the_store_in_its_tick() {
    for nth in 1..=40 {
        let proxy = start(nth);
        let mut held: Vec<Call> = (0..3).map(|worker| call(&proxy, worker)).collect();
        ticks(&proxy, 6);
        proxy.worker(2).crash();
        let victim = Fault::at(HostCall::GetSharedData).thread(Thread::Main).nth(nth);
        proxy.fault(victim.then_before(|proxy| {
            (0..6).for_each(|_| (0..2).for_each(|worker| proxy.worker(worker).tick()));
        }));
        ticks(&proxy, 12);
        held.extend((0..2).map(|worker| call(&proxy, worker)));
        assert!(held[3].asked().is_some());
        settle(&proxy, held, &format!("call {nth}"));
    }
}

#[test]
fn two_membership_changes_at_once() {
    let proxy = start(1);
    answered(&proxy, 0);
    let late = "10.0.0.9:80";
    proxy.fault(Fault::at(HostCall::SetSharedData).with("roster").then_before(move |proxy| {
        proxy.edit_cluster(CLUSTER, |cluster| cluster.hosts.push(late.into()));
    }));
    ticks(&proxy, 12);
    let calls: Vec<Call> = (0..4).map(|_| call(&proxy, 0)).collect();
    assert!(calls.iter().any(|call| call.asked().as_deref() == Some(late)));
    drop(calls);
    assert_idle(&proxy);
}
