//! What is counted of a VM that ends, of requests that are none of ours, and what others taught.

use super::*;
use crate::records::{self, LEASE, Lease as LeaseRecord, Presence as PresenceRecord, presence_key};
use crate::test;

fn holders(rig: &Rig) -> (bool, bool) {
    let lease = records::read::<LeaseRecord>(&rig.proxy, LEASE).unwrap().0;
    let place = records::read::<PresenceRecord>(&rig.proxy, &presence_key(0)).unwrap().0;
    (lease.holder != 0, place.holder != 0)
}

#[test]
fn a_vm_that_ends_gives_its_places_back() {
    let mut rig = Rig::new(1, THREE);
    rig.call(0, "x");
    rig.ticks(8);
    assert_eq!(holders(&rig), (true, true));
    rig.vms[0].release(&rig.proxy);
    assert_eq!(holders(&rig), (false, false));
}

#[test]
fn a_vm_that_ends_amid_a_request_is_buried_with_its_count() {
    let mut rig = Rig::new(2, THREE);
    rig.ticks(1);
    let held = rig.start(0);
    rig.ticks(8);
    rig.vms[0].release(&rig.proxy);
    assert!(holders(&rig).1, "its record says that there is something to take off");
    assert_eq!(rig.proxy.leftovers().len(), 1);
    drop(held);
    rig.vms.remove(0);
    rig.ticks(16);
    assert_eq!(rig.proxy.leftovers(), []);
}

#[test]
fn the_pick_is_the_least_busy_over_all_workers_though_this_one_has_most_there() {
    let mut rig = Rig::new(2, r#"{"discovery":{"static":{"c":["a:1","b:1"]}}}"#);
    let own: Vec<_> = (0..2).map(|_| rig.start(0)).collect();
    let mine = rig.pick(0, &own[0]);
    let mut others: Vec<_> = (0..6).map(|_| rig.start(1)).collect();
    let busy = if mine == "a:1" { "b:1" } else { "a:1" };
    for call in &mut others {
        rig.served(1, call, busy, 1);
    }
    for (outstanding, endpoint) in [(1_000, mine.as_str()), (7_000, busy)] {
        assert_eq!(rig.outstanding(0, endpoint), outstanding);
    }
    rig.end(0, own.into_iter().next_back().unwrap(), Ending::Answered);
    let next = rig.start(0);
    assert_eq!(rig.pick(0, &next), mine);
}

#[test]
fn the_request_itself_weighs_too_so_that_idle_endpoints_of_more_weight_go_first() {
    let mut rig = Rig::new(1, "{}");
    let body = admin(&[("10.0.0.1:80", 0, "HEALTHY"), ("10.0.0.2:80", 0, "HEALTHY")]);
    rig.admin = Some(body.replacen("\"weight\":1", "\"weight\":8", 1));
    rig.call(0, "x");
    rig.ticks(8);
    // With the eighth, the first would have as much for its weight as the second with one.
    for n in 1..8 {
        let call = rig.start(0);
        assert_eq!(rig.pick(0, &call), "10.0.0.1:80", "request {n}");
    }
}

#[test]
fn a_request_that_is_not_watched_counts_nowhere_whatever_is_told_of_it() {
    let mut rig =
        Rig::new(1, r#"{"enabled":false,"discovery":{"static":{"c":["a:1","b:1","d:1"]}}}"#);
    let mut call = rig.start(0);
    assert_eq!((call.verdict(), call.wants_address()), (Verdict::Disabled, false));
    assert_eq!(rig.served(0, &mut call, "a:1", 1), None);
    assert_eq!(rig.proxy.leftovers(), []);
    rig.end(0, call, Ending::Answered);
}

#[test]
fn what_another_vm_learned_is_no_reason_to_steer_before_it_was_confirmed() {
    let mut rig = Rig::new(2, r#"{"discovery":{"admin_cluster":"","learn_percent":0}}"#);
    rig.ticks(1);
    for host in ["a:1", "b:1", "d:1"] {
        rig.call(0, host);
    }
    let first_steered =
        |rig: &mut Rig, vm| (1..=100).find(|_| rig.call(vm, "a:1").0 == Verdict::Steer);
    // Ten draws and five more for each endpoint that is known.
    assert_eq!(first_steered(&mut rig, 1), Some(26));
}

#[test]
fn verdicts_have_names_of_their_own() {
    let all = [
        Verdict::Steer,
        Verdict::Shadow,
        Verdict::Disabled,
        Verdict::Excluded,
        Verdict::Percent,
        Verdict::Unknown,
        Verdict::Stale,
        Verdict::Panic,
        Verdict::Unbalanced,
        Verdict::Learn,
        Verdict::Aside,
        Verdict::Deaf,
    ];
    assert_eq!(all.len(), Verdict::COUNT);
    let docs = include_str!("../../../../../docs/metrics.md");
    for verdict in all {
        let name = verdict.name();
        assert!(docs.contains(&format!("`{name}`")), "docs/metrics.md does not say {name:?}");
        assert_eq!(all.iter().filter(|other| other.name() == name).count(), 1, "{name}");
    }
}
