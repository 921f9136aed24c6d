//! How often the admin interface is asked, how long its word holds, and what the coordinator tells.

use super::*;
use crate::records::{self, Entry, Roster, Standing};
use crate::test;

const ONE: [(&str, u32, &str); 1] = [("10.0.0.1:80", 0, "HEALTHY")];

/// One tick of the only VM; whether it asks the admin interface, whose answer is still to come.
fn asks(rig: &mut Rig) -> bool {
    rig.now_ms += 250;
    rig.vms[0].tick(&rig.proxy, &rig.config, rig.now_ms).is_some()
}

/// In how many ticks the next question comes.
fn next_question(rig: &mut Rig) -> usize {
    (1..=1_000).find(|_| asks(rig)).unwrap()
}

fn answer(rig: &mut Rig, length: u64) {
    let body = admin(&ONE);
    rig.vms[0].admin_answered(&rig.proxy, &rig.config, body.as_bytes(), length).unwrap();
}

/// A VM that has asked for the first time.
fn asking(config: &str) -> Rig {
    let mut rig = Rig::new(1, config);
    rig.call(0, "x");
    next_question(&mut rig);
    rig
}

fn figure(rig: &Rig, name: &str) -> u64 {
    rig.proxy.figures.borrow()[&(CLUSTER.to_owned(), name.to_owned())]
}

#[test]
fn nobody_asks_where_no_cluster_is_in_use_or_the_admin_interface_is_switched_off() {
    let mut rig = Rig::new(2, "{}");
    rig.ticks(100);
    assert_eq!(rig.asked, 0);
    let mut rig = Rig::new(2, r#"{"discovery":{"admin_cluster":""}}"#);
    rig.call(0, "x");
    rig.ticks(100);
    assert_eq!(rig.asked, 0);
}

#[test]
fn the_admin_interface_is_asked_once_an_interval() {
    for (config, ticks) in [("{}", 4), (r#"{"discovery":{"interval":"3s"}}"#, 12)] {
        let mut rig = asking(config);
        for _ in 0..5 {
            answer(&mut rig, 1_000);
            rig.call(0, "x");
            assert_eq!(next_question(&mut rig), ticks, "{config}");
        }
        rig.vms[0].admin_failed(&rig.proxy, &rig.config);
        assert_eq!(next_question(&mut rig), ticks, "after a failure, {config}");
    }
}

#[test]
fn a_long_answer_is_asked_for_less_often() {
    let mut rig = asking("{}");
    // A megabyte a second.
    for (length, ticks) in [(1_000_000, 4), (1_250_000, 5), (5_000_000, 20), (1_000, 4)] {
        answer(&mut rig, length);
        assert_eq!(next_question(&mut rig), ticks, "{length} bytes");
    }
}

#[test]
fn what_is_asked_for_less_often_holds_longer() {
    for (length, seconds) in [(1_000, 10), (5_000_000, 15), (20_000_000, 60)] {
        let mut rig = asking("{}");
        answer(&mut rig, length);
        rig.ticks(4 * seconds);
        assert_eq!(rig.call(0, "x").0, Verdict::Steer, "{length} bytes, {seconds} s");
        rig.ticks(1);
        assert_eq!(rig.call(0, "x").0, Verdict::Stale, "{length} bytes, {seconds} s");
    }
}

#[test]
fn an_answer_that_does_not_come_is_given_up_and_asked_for_again() {
    let mut rig = asking("{}");
    // Ten seconds, then the interval.
    assert_eq!(next_question(&mut rig), 44);
    assert_eq!(rig.proxy.warnings.borrow().len(), 1);
    answer(&mut rig, 1_000);
    assert_eq!(rig.call(0, "x").0, Verdict::Steer);
}

#[test]
fn a_newcomer_is_asked_for_at_once_unless_nobody_answers() {
    let mut rig = asking("{}");
    answer(&mut rig, 1_000);
    let late = rig.start_at(0, "late", Work::ONE);
    rig.end(0, late, Ending::Answered);
    assert_eq!(next_question(&mut rig), 1);
    rig.vms[0].admin_failed(&rig.proxy, &rig.config);
    assert!(!asks(&mut rig));
    let later = rig.start_at(0, "later", Work::ONE);
    rig.end(0, later, Ending::Answered);
    assert_eq!(next_question(&mut rig), 3, "an interval after the failure");
}

#[test]
fn a_failure_ends_the_wait_and_is_said_once_each_time_it_begins() {
    let mut rig = asking("{}");
    assert_eq!(rig.call(0, "x").0, Verdict::Unknown);
    let said = |rig: &Rig| rig.proxy.warnings.borrow().len();
    for times in 1..3 {
        for _ in 0..3 {
            rig.vms[0].admin_failed(&rig.proxy, &rig.config);
            next_question(&mut rig);
        }
        assert_eq!(said(&rig), times);
        answer(&mut rig, 1_000);
        next_question(&mut rig);
    }
}

#[test]
fn the_coordinator_tells_each_clusters_figures() {
    let mut rig = Rig::new(2, "{}");
    rig.admin = Some(admin(&[
        ("10.0.0.1:80", 0, "HEALTHY"),
        ("10.0.0.2:80", 0, "HEALTHY"),
        ("10.0.0.3:80", 0, "UNHEALTHY"),
    ]));
    rig.call(0, "x");
    rig.ticks(8);
    let held = rig.start_at(0, CLUSTER, Work::from_milli(2_500));
    rig.ticks(4);
    let figures = |rig: &Rig| ["Known", "Eligible", "Outstanding"].map(|name| figure(rig, name));
    assert_eq!(figures(&rig), [3, 2, 2_500]);
    rig.admin = Some(admin(&[("10.0.0.1:80", 0, "HEALTHY"), ("10.0.0.3:80", 0, "UNHEALTHY")]));
    rig.ticks(8);
    assert_eq!(figures(&rig), [2, 1, 2_500], "who left is not known, but may be busy");
    rig.end(0, held, Ending::Answered);
    rig.admin = Some(admin(&[("10.0.0.3:80", 0, "UNHEALTHY")]));
    rig.ticks(8);
    assert_eq!(figures(&rig), [1, 0, 0]);
    assert!(figure(&rig, "Age") <= 1_000);
    rig.admin = None;
    rig.ticks(4 * 7);
    assert!((6_000..=8_000).contains(&figure(&rig, "Age")));
}

#[test]
fn the_coordinators_slow_work_is_done_once_a_second() {
    let mut rig = Rig::new(1, THREE);
    rig.now_ms = 3_600_000;
    rig.call(0, "x");
    rig.ticks(8);
    let tells = |rig: &mut Rig| {
        rig.proxy.figures.borrow_mut().clear();
        rig.ticks(1);
        !rig.proxy.figures.borrow().is_empty()
    };
    assert_eq!((0..40).filter(|_| tells(&mut rig)).count(), 10);
}

#[test]
fn a_slot_waits_half_a_minute_each_time_its_endpoint_goes() {
    let mut rig = Rig::new(2, "{}");
    let mut slots = |host: u32, seconds: usize| {
        rig.admin = Some(admin(&[(&format!("10.0.0.{host}:80"), 0, "HEALTHY")]));
        rig.call(0, "x");
        rig.ticks(4 * seconds);
        let key = records::roster_key(CLUSTER);
        records::read::<Roster>(&rig.proxy, &key).unwrap().0.entries.len()
    };
    assert_eq!(slots(1, 60), 1);
    assert_eq!(slots(2, 20), 2);
    assert_eq!(slots(1, 20), 2, "the first is back");
    assert_eq!(slots(2, 20), 2);
    assert_eq!(slots(3, 20), 3, "the first is gone for twenty seconds");
    assert_eq!(slots(4, 2), 3, "the first is gone for forty");
    assert_eq!(slots(5, 2), 4, "the second and the third are not");
}

#[test]
fn in_panic_none_is_eligible_and_a_list_has_no_age() {
    let mut rig = Rig::new(2, r#"{"panic_threshold":60}"#);
    rig.admin = Some(admin(&[("10.0.0.1:80", 0, "HEALTHY"), ("10.0.0.2:80", 0, "UNHEALTHY")]));
    rig.call(0, "x");
    rig.ticks(8);
    assert_eq!((figure(&rig, "Known"), figure(&rig, "Eligible")), (2, 0));
    let mut rig = Rig::new(2, THREE);
    rig.call(0, "x");
    rig.ticks(40);
    assert_eq!((figure(&rig, "Known"), figure(&rig, "Age")), (3, 0));
}

#[test]
fn a_learned_endpoint_that_refuses_three_times_in_a_row_is_forgotten() {
    let mut rig = Rig::new(1, r#"{"discovery":{"admin_cluster":"","learn_percent":0}}"#);
    for host in ["a:1", "b:1"].repeat(20) {
        rig.call(0, host);
    }
    let standing = |rig: &Rig| {
        let key = records::roster_key(CLUSTER);
        records::read::<Roster>(&rig.proxy, &key).unwrap().0.entries[0].standing()
    };
    // Refused, served, and refused three times.
    for (served_by, left) in [
        ("b:1", Standing::Eligible),
        ("b:1", Standing::Eligible),
        ("a:1", Standing::Eligible),
        ("b:1", Standing::Eligible),
        ("b:1", Standing::Eligible),
        ("b:1", Standing::Gone),
    ] {
        // The other one is busy, so that the pick falls on the first.
        let busy: Vec<_> = (0..2).map(|_| rig.start(0)).collect();
        let (mut first, mut other) = (None, None);
        for call in busy {
            if rig.pick(0, &call) == "a:1" { first = Some(call) } else { other = Some(call) }
        }
        let mut call = first.unwrap();
        rig.served(0, &mut call, served_by, 1);
        rig.end(0, call, Ending::Answered);
        rig.end(0, other.unwrap(), Ending::Answered);
        rig.now_ms += 60_000;
        rig.ticks(1);
        assert_eq!(standing(&rig), left);
    }
}

#[test]
fn what_became_idle_last_is_remembered_up_to_a_bound() {
    let of_four = || {
        let mut roster = Roster::default();
        let standings =
            [Standing::Known, Standing::Eligible, Standing::Eligible, Standing::Eligible];
        for (slot, standing) in standings.into_iter().enumerate() {
            let endpoint = format!("10.0.0.{slot}:80");
            roster.entries.push(Entry { endpoint, weight: 1, standing: standing.into() });
        }
        let mut cluster = Cluster::new(CLUSTER, 0, 0);
        cluster.load(roster, 0);
        cluster
    };
    let mut cluster = of_four();
    for (slot, idle) in [(1, &[1][..]), (2, &[1, 2]), (1, &[2, 1]), (3, &[1, 3]), (3, &[1, 3])] {
        cluster.became_idle(slot, 2);
        assert_eq!(cluster.idle, idle);
    }
    cluster.became_idle(0, 2);
    cluster.became_idle(4, 2);
    assert_eq!(cluster.idle, [1, 3], "only those that a pick may name");
    let mut cluster = of_four();
    cluster.became_idle(1, 0);
    assert!(cluster.idle.is_empty());
}

#[test]
fn in_a_large_cluster_the_idle_are_found() {
    let hosts: Vec<String> = (0..60).map(|n| format!("\"10.0.0.{n}:80\"")).collect();
    let config = format!(
        r#"{{"picker":{{"scan_limit":2,"samples":2,"idle":2}},"discovery":{{"static":{{"c":[{}]}}}}}}"#,
        hosts.join(",")
    );
    let mut rig = Rig::new(1, &config);
    rig.ticks(1);
    let mut calls: Vec<_> = (0..2_000).map(|_| rig.start(0)).collect();
    for n in [7, 30, 59] {
        let name = format!("10.0.0.{n}:80");
        let (there, others): (Vec<_>, Vec<_>) =
            calls.into_iter().partition(|call| rig.pick(0, call) == name);
        assert!(!there.is_empty());
        for call in there {
            rig.end(0, call, Ending::Answered);
        }
        let call = rig.start(0);
        assert_eq!(rig.pick(0, &call), name);
        calls = others;
        calls.push(call);
    }
    for call in calls {
        rig.end(0, call, Ending::Answered);
    }
    assert_eq!(rig.proxy.leftovers(), []);
}
