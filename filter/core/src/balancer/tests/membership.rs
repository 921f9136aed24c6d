//! Who is there, who may be picked, and who tells.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::membership::roster;
use crate::records;
use crate::test;

#[test]
fn membership_is_read_once_for_all_and_followed() {
    let mut rig = Rig::new(4, "{}");
    rig.admin = Some(admin(&[("10.0.0.1:80", 0, "HEALTHY"), ("10.0.0.2:80", 0, "HEALTHY")]));
    for vm in 0..3 {
        let call = rig.start(vm);
        assert_eq!(call.verdict(), Verdict::Unknown);
        rig.end(vm, call, Ending::Answered);
    }
    rig.ticks(8);
    for vm in 0..3 {
        assert_eq!(rig.call(vm, "x").0, Verdict::Steer);
    }
    assert!(rig.asked <= 3, "asked {} times in two seconds", rig.asked);
    assert!(!rig.vms[0].coordinates() && rig.vms[3].coordinates(), "the idle VM coordinates");
    rig.admin = Some(admin(&[("10.0.0.3:80", 0, "HEALTHY")]));
    rig.ticks(8);
    assert_eq!(rig.call(0, "x"), (Verdict::Steer, "10.0.0.3:80".to_owned()));
    assert_eq!(rig.proxy.figures.borrow()[&(CLUSTER.to_owned(), "Known".to_owned())], 1);
}

#[test]
fn only_the_highest_priority_with_a_healthy_host_is_picked_and_none_is_panic() {
    let mut rig = Rig::new(1, "{}");
    let set = |rig: &mut Rig, first, second| {
        rig.admin = Some(admin(&[("10.0.0.1:80", 0, first), ("10.0.0.2:80", 1, second)]));
        rig.ticks(12);
    };
    rig.call(0, "x");
    set(&mut rig, "HEALTHY", "HEALTHY");
    assert_eq!(rig.call(0, "x").1, "10.0.0.1:80");
    set(&mut rig, "UNHEALTHY", "HEALTHY");
    assert_eq!(rig.call(0, "x").1, "10.0.0.2:80");
    set(&mut rig, "DEGRADED", "UNHEALTHY");
    assert_eq!(rig.call(0, "x").1, "10.0.0.1:80");
    set(&mut rig, "UNHEALTHY", "UNHEALTHY");
    assert_eq!(rig.call(0, "x").0, Verdict::Panic);
}

#[test]
fn each_cluster_has_endpoints_of_its_own() {
    let mut rig = Rig::new(2, r#"{"discovery":{"static":{"c":["a:1"],"d":["b:1"]}}}"#);
    for vm in [0, 1, 0] {
        for (cluster, endpoint) in [("c", "a:1"), ("d", "b:1")] {
            let call = rig.start_at(vm, cluster, Work::ONE);
            assert_eq!(rig.pick(vm, &call), endpoint);
            rig.end(vm, call, Ending::Answered);
        }
        rig.ticks(2);
    }
}

#[test]
fn the_coordinator_may_die_and_membership_goes_on() {
    let mut rig = Rig::new(3, "{}");
    rig.admin = Some(admin(&[("10.0.0.1:80", 0, "HEALTHY")]));
    rig.call(0, "x");
    rig.call(1, "x");
    rig.ticks(8);
    assert!(rig.vms[2].coordinates());
    rig.vms.truncate(2);
    rig.admin = Some(admin(&[("10.0.0.2:80", 0, "HEALTHY")]));
    // Three intervals of a second are twelve ticks.
    rig.ticks(12);
    assert_eq!(rig.call(0, "x").1, "10.0.0.2:80");
}

#[test]
fn without_the_admin_interface_membership_is_learned_and_forgotten() {
    let mut rig = Rig::new(1, r#"{"discovery":{"admin_cluster":"","learn_percent":10}}"#);
    let mut dice = fastrand::Rng::with_seed(4);
    let mut rounds = |rig: &mut Rig, hosts: &[&str], count| {
        let mut steered = Vec::new();
        for n in 0..count {
            let (verdict, host) = rig.call(0, hosts[dice.usize(..hosts.len())]);
            if verdict == Verdict::Steer {
                steered.push(host);
            }
            if n % 50 == 0 {
                rig.ticks(1);
            }
        }
        steered
    };
    let steered = rounds(&mut rig, &["a:1", "b:1", "d:1"], 1_000);
    assert!(steered.len() > 800, "{}", steered.len());
    for host in ["a:1", "b:1", "d:1"] {
        assert!(steered.iter().filter(|h| *h == host).count() > 200, "{host}");
    }
    let steered = rounds(&mut rig, &["a:1", "b:1", "e:1"], 3_000);
    let late = &steered[steered.len() / 2..];
    assert!(late.iter().any(|host| host == "e:1"), "found");
    assert!(late.iter().all(|host| host != "d:1"), "forgotten");
}

#[test]
fn stale_membership_is_not_trusted() {
    let mut rig = Rig::new(1, "{}");
    rig.admin = Some(admin(&[("10.0.0.1:80", 0, "HEALTHY")]));
    rig.call(0, "x");
    rig.ticks(8);
    assert_eq!(rig.call(0, "x").0, Verdict::Steer);
    rig.admin = None;
    rig.ticks(4 * 9);
    assert_eq!(rig.call(0, "x").0, Verdict::Steer, "nine seconds old");
    rig.ticks(4 * 3);
    assert_eq!(rig.call(0, "10.0.0.1:80").0, Verdict::Stale);
    assert_eq!(rig.proxy.warnings.borrow().len(), 1, "said once");
}

#[test]
fn a_slot_is_used_again_only_after_its_quarantine_and_its_last_call() {
    let mut rig = Rig::new(2, "{}");
    rig.admin = Some(admin(&[("10.0.0.1:80", 0, "HEALTHY")]));
    rig.call(0, "x");
    rig.ticks(8);
    let held = rig.start(0);
    rig.admin = Some(admin(&[("10.0.0.2:80", 0, "HEALTHY")]));
    rig.ticks(4 * 60);
    assert_eq!(rig.proxy.gauge(CLUSTER, 0, 1), 1_000, "the call is still counted there");
    rig.admin = Some(admin(&[("10.0.0.3:80", 0, "HEALTHY")]));
    rig.ticks(12);
    rig.end(0, held, Ending::Answered);
    rig.ticks(4 * 40);
    rig.admin = Some(admin(&[("10.0.0.4:80", 0, "HEALTHY")]));
    rig.ticks(12);
    let (roster, _) = records::read::<Roster>(&rig.proxy, &records::roster_key(CLUSTER)).unwrap();
    let names: Vec<_> = roster.entries.iter().map(|entry| entry.endpoint.as_str()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names.contains(&"10.0.0.4:80"));
}

#[test]
fn what_is_known_of_an_endpoint_stays_with_it_and_goes_with_it() {
    let mut rig = Rig::new(1, THREE);
    for _ in 0..3 {
        let call = rig.start(0);
        rig.end(0, call, Ending::Failed);
    }
    assert_eq!(rig.call(0, "x").0, Verdict::Aside);
    let change = |rig: &mut Rig, what: fn(&mut records::Entry)| {
        roster::publish(&rig.proxy, CLUSTER, 0, |roster| {
            what(&mut roster.entries[1]);
            roster.version += 1;
            true
        });
        rig.ticks(1);
    };
    change(&mut rig, |entry| entry.weight = 2);
    assert_eq!(rig.call(0, "x").0, Verdict::Aside, "still the one that failed");
    change(&mut rig, |entry| entry.endpoint = "z:1".to_owned());
    assert_eq!(rig.call(0, "x"), (Verdict::Steer, "z:1".to_owned()), "another has its slot");
}

/// Two endpoints, of which the first fails until it is set aside for long.
fn one_fails(rig: &mut Rig) {
    rig.admin = Some(admin(&[("10.0.0.1:80", 0, "HEALTHY"), ("10.0.0.2:80", 0, "HEALTHY")]));
    rig.call(0, "x");
    rig.ticks(8);
    for _ in 0..400 {
        let call = rig.start(0);
        let fails = rig.pick(0, &call) == "10.0.0.1:80";
        rig.end(0, call, if fails { Ending::Failed } else { Ending::Answered });
        rig.ticks(1);
    }
}

/// How many of ten requests at a time the first gets.
fn first_gets(rig: &mut Rig) -> usize {
    let calls: Vec<Call> = (0..10).map(|_| rig.start(0)).collect();
    let first = calls.iter().filter(|call| rig.pick(0, call) == "10.0.0.1:80").count();
    for call in calls {
        rig.end(0, call, Ending::Undecided);
    }
    first
}

#[test]
fn one_that_failed_is_tried_as_soon_as_envoy_takes_it_for_well_again() {
    for (meanwhile, gets) in [("UNHEALTHY", 1), ("HEALTHY", 0)] {
        let mut rig = Rig::new(1, "{}");
        one_fails(&mut rig);
        for first in [meanwhile, "HEALTHY"] {
            rig.admin = Some(admin(&[("10.0.0.1:80", 0, first), ("10.0.0.2:80", 0, "HEALTHY")]));
            rig.ticks(8);
        }
        assert_eq!(first_gets(&mut rig), gets, "{meanwhile}");
    }
}

#[test]
fn whoever_comes_to_the_address_of_one_that_left_is_another() {
    let mut rig = Rig::new(1, "{}");
    one_fails(&mut rig);
    rig.admin = Some(admin(&[("10.0.0.2:80", 0, "HEALTHY")]));
    rig.ticks(8);
    assert_eq!(first_gets(&mut rig), 0);
    rig.admin = Some(admin(&[("10.0.0.1:80", 0, "HEALTHY"), ("10.0.0.2:80", 0, "HEALTHY")]));
    rig.ticks(8);
    assert_eq!(first_gets(&mut rig), 5);
}

#[test]
fn a_list_that_the_configuration_gives_later_holds_within_seconds() {
    let mut rig = Rig::new(1, r#"{"discovery":{"admin_cluster":""}}"#);
    rig.call(0, "a:1");
    let given = r#"{"discovery":{"admin_cluster":"","static":{"c":["b:1"]}}}"#;
    rig.config = Config::parse(given.as_bytes()).unwrap();
    rig.vms[0] = Balancer::new(99, rig.now_ms);
    assert_eq!(rig.call(0, "a:1").0, Verdict::Learn);
    rig.ticks(8);
    assert_eq!(rig.call(0, "x"), (Verdict::Steer, "b:1".to_owned()));
}

#[test]
fn what_was_learned_stays_while_the_admin_interface_says_nothing_of_the_cluster() {
    let mut rig = Rig::new(1, r#"{"discovery":{"learn_percent":0}}"#);
    let told = admin(&[("10.0.0.1:80", 0, "HEALTHY")]);
    rig.admin = Some(told.replace("\"c\"", "\"other\""));
    rig.call(0, "x");
    rig.ticks(8);
    for _ in 0..40 {
        rig.call(0, "a:1");
    }
    for _ in 0..3 {
        assert_eq!(rig.call(0, "x"), (Verdict::Steer, "a:1".to_owned()));
        rig.ticks(8);
    }
    let silent = rig.admin.replace(told);
    rig.ticks(8);
    assert_eq!(rig.call(0, "x"), (Verdict::Steer, "10.0.0.1:80".to_owned()));
    rig.admin = silent;
    rig.ticks(8);
    assert_eq!(rig.call(0, "10.0.0.1:80").0, Verdict::Learn, "what was told holds no longer");
}

#[test]
fn original_destinations_are_never_steered() {
    let mut rig = Rig::new(1, "{}");
    rig.admin = Some(
        admin(&[("10.0.0.1:80", 0, "HEALTHY")])
            .replace("\"weight\"", "\"hostname\":\"c10.0.0.1:80\",\"weight\""),
    );
    rig.call(0, "x");
    rig.ticks(8);
    assert_eq!(rig.call(0, "x").0, Verdict::Unbalanced);
}

#[test]
fn a_coordinator_that_serves_nothing_tells_the_outstanding_work_in_any_epoch() {
    let mut rig = Rig::new(3, THREE);
    let held = rig.start(0);
    let lost = rig.start(1);
    rig.ticks(8);
    assert!(rig.vms[2].coordinates());
    let told =
        |rig: &Rig| rig.proxy.figures.borrow()[&(CLUSTER.to_owned(), "Outstanding".to_owned())];
    assert_eq!(told(&rig), 2_000);
    drop(lost);
    rig.vms[1] = Balancer::new(99, 0);
    rig.ticks(16);
    assert_eq!(told(&rig), 1_000);
    rig.end(0, held, Ending::Answered);
    rig.ticks(8);
    assert_eq!(told(&rig), 0);
}

#[test]
fn beyond_the_last_cluster_requests_are_left_alone() {
    let mut rig = Rig::new(2, "{}");
    let settings = rig.config.cluster("x");
    let most = roster::MOST_CLUSTERS;
    for n in 0..most {
        assert!(rig.vms[0].cluster(&rig.proxy, &format!("c{n}"), &settings).is_some());
    }
    assert!(rig.vms[0].cluster(&rig.proxy, "one too many", &settings).is_none());
    assert!(rig.vms[1].cluster(&rig.proxy, "one too many", &settings).is_none());
    assert!(rig.vms[1].cluster(&rig.proxy, "c7", &settings).is_some(), "entered by another");
    let reads = Rc::new(Cell::new(0));
    let seen = Rc::clone(&reads);
    rig.proxy.interrupt(move || seen.set(seen.get() + 1));
    assert!(rig.vms[1].cluster(&rig.proxy, "one too many", &settings).is_none());
    assert_eq!(reads.get(), 0, "the full list is remembered");
}

#[test]
fn a_record_that_says_nothing_does_not_hide_what_the_configuration_says() {
    let mut rig = Rig::new(1, THREE);
    assert!(rig.proxy.shared_swap(&records::roster_key(CLUSTER), b"", None));
    assert_eq!(rig.call(0, "x").0, Verdict::Steer);
}

#[test]
fn a_worker_started_anew_steers_from_its_first_request() {
    let mut rig = Rig::new(2, "{}");
    rig.admin = Some(admin(&[("10.0.0.1:80", 0, "HEALTHY")]));
    rig.call(0, "x");
    rig.ticks(8);
    rig.vms[0] = Balancer::new(99, 0);
    assert_eq!(rig.call(0, "x").0, Verdict::Steer);
}

#[test]
fn a_call_counts_to_its_end_on_a_pick_that_left_the_cluster() {
    let mut rig = Rig::new(1, "{}");
    rig.admin = Some(admin(&[("10.0.0.1:80", 0, "HEALTHY")]));
    rig.call(0, "x");
    rig.ticks(8);
    let mut call = rig.start(0);
    rig.admin = Some(admin(&[("10.0.0.2:80", 0, "HEALTHY")]));
    rig.ticks(8);
    assert_eq!(rig.served(0, &mut call, "10.0.0.1:80", 1), Some(Fate::Honoured));
    assert_eq!(rig.proxy.gauge(CLUSTER, 0, 1), 1_000);
    rig.end(0, call, Ending::Answered);
    assert_eq!(rig.proxy.leftovers(), []);
}

#[test]
fn the_first_request_of_a_proxy_that_was_idle_for_long_waits_for_the_admin_interface() {
    let mut rig = Rig::new(2, "{}");
    rig.admin = Some(admin(&[("10.0.0.1:80", 0, "HEALTHY")]));
    rig.ticks(4 * 60);
    for _ in 0..40 {
        assert_eq!(rig.call(0, "10.0.0.9:80").0, Verdict::Unknown);
    }
    rig.ticks(8);
    assert_eq!(rig.call(0, "x"), (Verdict::Steer, "10.0.0.1:80".to_owned()));
}

/// Ticks until the admin interface is asked; the answer is still to come.
fn ask(rig: &mut Rig) {
    let asks = |rig: &mut Rig| {
        rig.now_ms += 250;
        rig.vms[0].tick(&rig.proxy, &rig.config, rig.now_ms).is_some()
    };
    assert!((0..10).any(|_| asks(rig)));
}

#[test]
fn a_cluster_that_came_after_the_question_waits_for_the_next_answer() {
    let mut rig = Rig::new(1, "{}");
    rig.call(0, "x");
    ask(&mut rig);
    let late = rig.start_at(0, "late", Work::ONE);
    rig.vms[0].end(&rig.proxy, late, Ending::Undecided, None);
    let body = admin(&[("10.0.0.1:80", 0, "HEALTHY")]);
    let length = body.len() as u64;
    rig.vms[0].admin_answered(&rig.proxy, &rig.config, body.as_bytes(), length).unwrap();
    assert_eq!(rig.call(0, "x").0, Verdict::Steer);
    let late = rig.start_at(0, "late", Work::ONE);
    assert_eq!(late.verdict(), Verdict::Unknown, "not taken for one that Envoy says nothing of");
    rig.vms[0].end(&rig.proxy, late, Ending::Undecided, None);
    rig.admin = Some(body.replace("\"c\"", "\"late\""));
    rig.ticks(2);
    let late = rig.start_at(0, "late", Work::ONE);
    assert_eq!(late.verdict(), Verdict::Steer, "asked for at once");
    rig.vms[0].end(&rig.proxy, late, Ending::Undecided, None);
}

#[test]
fn an_answer_that_came_too_late_changes_nothing() {
    let mut rig = Rig::new(1, "{}");
    rig.call(0, "x");
    ask(&mut rig);
    rig.vms[0].admin_failed(&rig.proxy, &rig.config);
    let body = admin(&[("10.0.0.1:80", 0, "HEALTHY")]);
    let length = body.len() as u64;
    rig.vms[0].admin_answered(&rig.proxy, &rig.config, body.as_bytes(), length).unwrap();
    assert_ne!(rig.call(0, "x").0, Verdict::Steer);
}

#[test]
fn a_vm_that_comes_while_the_admin_interface_fails_does_not_trust_a_list_of_any_age() {
    let mut rig = Rig::new(2, "{}");
    rig.admin = Some(admin(&[("10.0.0.1:80", 0, "HEALTHY")]));
    rig.call(0, "x");
    rig.ticks(8);
    assert_eq!(rig.call(0, "x").0, Verdict::Steer);
    rig.admin = None;
    rig.ticks(4);
    rig.vms[0] = Balancer::new(99, rig.now_ms);
    assert_eq!(rig.call(0, "x").0, Verdict::Stale);
    rig.admin = Some(admin(&[("10.0.0.1:80", 0, "HEALTHY")]));
    rig.ticks(16);
    assert_eq!(rig.call(0, "x").0, Verdict::Steer);
}
