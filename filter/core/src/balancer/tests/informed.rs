//! The choice by what servers report.

use super::*;
use crate::load::Load;
use crate::test;

/// What an idle server with one slot and a service time of 10 ms says.
pub(super) const IDLE: Load = Load {
    in_flight: 0.0,
    service_us: Some(10_000.0),
    slots: Some(1.0),
    draining: false,
    asks: 1.0,
    all: false,
};

pub(super) fn busy(in_flight: f32) -> Load {
    Load { in_flight, ..IDLE }
}

pub(super) fn host(n: usize) -> String {
    format!("10.0.0.{n}:80")
}

/// A configuration with so many endpoints, and what `more` adds to it.
pub(super) fn servers(count: usize, more: &str) -> String {
    let hosts: Vec<String> = (0..count).map(|n| format!("\"{}\"", host(n))).collect();
    format!(
        r#"{{"discovery":{{"admin_cluster":"","static":{{"c":[{}]}}}}{more}}}"#,
        hosts.join(",")
    )
}

/// The same, where nobody is asked.
pub(super) fn unasked(count: usize) -> String {
    servers(count, r#","probe":{"mode":"off"}"#)
}

impl Rig {
    /// Lets so many milliseconds pass, without a tick.
    pub(super) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        for vm in &mut self.vms {
            vm.set_time(self.now_ms * 1_000);
        }
    }

    pub(super) fn id(&mut self, vm: usize) -> ClusterId {
        let settings = self.config.cluster(CLUSTER);
        self.vms[vm].cluster(&self.proxy, CLUSTER, &settings).unwrap()
    }

    /// A report of a server by an answer to a probe.
    pub(super) fn hear(&mut self, vm: usize, n: usize, load: &Load) {
        let id = self.id(vm);
        let slot = self.vms[vm].slot_of(id, &host(n)).unwrap();
        self.vms[vm].heard(&self.proxy, id, slot, load, Work::ZERO);
    }

    /// The same of the first servers, after what is usual was brought up to date by them.
    pub(super) fn hear_all(&mut self, loads: &[Load]) {
        for vm in 0..self.vms.len() {
            (0..loads.len()).for_each(|n| self.hear(vm, n, &loads[n]));
        }
        self.ticks(1);
        for vm in 0..self.vms.len() {
            (0..loads.len()).for_each(|n| self.hear(vm, n, &loads[n]));
        }
    }

    /// The number of the server that is the pick.
    pub(super) fn picked(&self, vm: usize, call: &Call) -> usize {
        let pick = self.pick(vm, call);
        pick["10.0.0.".len()..pick.len() - 3].parse().unwrap()
    }

    /// Where each of so many requests would go, one at a time and without any effect.
    pub(super) fn picks(&mut self, vm: usize, requests: usize) -> Vec<usize> {
        let mut counts = Vec::new();
        for _ in 0..requests {
            let call = self.start(vm);
            let n = self.picked(vm, &call);
            counts.resize(counts.len().max(n + 1), 0);
            counts[n] += 1;
            self.end(vm, call, Ending::Undecided);
        }
        counts
    }
}

#[test]
fn fresh_reports_are_compared_by_what_a_request_would_cost() {
    let mut rig = Rig::new(1, &unasked(4));
    let fast = Load { service_us: Some(2_000.0), ..busy(3.0) };
    let wide = Load { slots: Some(8.0), ..busy(7.0) };
    // Waits of 20, 0 and 6 ms; the last is idle, and four times as slow.
    let slow = Load { service_us: Some(40_000.0), ..IDLE };
    rig.hear_all(&[busy(2.0), wide, fast, slow]);
    assert_eq!(rig.picks(0, 100), [0, 100]);
    // The second is full: 2 + 10/8 ms, then the third 6.4, then the slow one 8.
    let held: Vec<_> = (0..40).map(|_| rig.start(0)).collect();
    let hosts: Vec<String> = held.iter().map(|call| rig.pick(0, call)).collect();
    let count = |n: usize| hosts.iter().filter(|named| **named == host(n)).count();
    assert!(count(1) > count(2) && count(2) > count(0), "{hosts:?}");
    assert!((0..4).all(|n| count(n) > 0), "{hosts:?}");
    for call in held {
        rig.end(0, call, Ending::Answered);
    }
    assert_eq!(rig.proxy.leftovers(), []);
}

#[test]
fn waits_of_minutes_are_told_apart() {
    let mut rig = Rig::new(1, &unasked(2));
    let queue = |in_flight| Load { service_us: Some(60_000_000.0), ..busy(in_flight) };
    rig.hear_all(&[queue(20.0), queue(4.0)]);
    assert_eq!(rig.picks(0, 100), [0, 100]);
}

#[test]
fn one_stamp_of_a_server_is_asked_for_in_a_tenth_of_its_time_of_service() {
    let mut rig = Rig::new(1, &unasked(1));
    let stamped = |rig: &mut Rig| {
        let call = rig.start(0);
        let wants = call.wants_stamp();
        rig.end(0, call, Ending::Undecided);
        wants
    };
    assert!((0..3).all(|_| stamped(&mut rig)), "it has not reported");
    rig.hear_all(&[busy(2.0)]);
    assert_eq!([stamped(&mut rig), stamped(&mut rig)], [true, false]);
    rig.pass(1);
    assert_eq!([stamped(&mut rig), stamped(&mut rig)], [true, false]);
}

#[test]
fn where_envoy_chooses_every_request_asks_for_a_stamp_and_where_reports_are_off_none() {
    for (more, wants) in [
        (r#","rollout":{"mode":"shadow"}"#, true),
        (r#","rollout":{"percent":0}"#, true),
        (r#","estimate":{"reports":false}"#, false),
        (r#","enabled":false"#, false),
    ] {
        let mut rig = Rig::new(1, &servers(1, more));
        rig.hear_all(&[busy(2.0)]);
        for _ in 0..3 {
            let call = rig.start(0);
            assert_eq!(call.wants_stamp(), wants, "{more}");
            rig.end(0, call, Ending::Undecided);
        }
    }
}

#[test]
fn near_ties_are_spread_and_clear_differences_are_not() {
    let mut rig = Rig::new(1, &unasked(10));
    let service = |ms: f32| Load { service_us: Some(ms * 1_000.0), ..IDLE };
    let loads: Vec<Load> = (0..10).map(|n| service(if n < 5 { 10.0 } else { 10.1 })).collect();
    rig.hear_all(&loads);
    let picks = rig.picks(0, 5_000);
    assert_eq!(picks.len(), 10);
    // A hundredth is less than the jitter: still each gets its part.
    assert!(picks.iter().all(|n| (250..900).contains(n)), "{picks:?}");
    rig.hear_all(&[service(10.0), service(10.0), service(13.0)]);
    (3..10).for_each(|n| rig.hear(0, n, &service(13.0)));
    let picks = rig.picks(0, 1_000);
    assert!(picks.len() == 2 && picks.iter().all(|n| (400..600).contains(n)), "{picks:?}");
}

#[test]
fn many_proxies_that_heard_the_same_do_not_pick_the_same() {
    let mut firsts = Vec::new();
    for seed in 0..400 {
        let mut rig = Rig::new(1, &unasked(20));
        rig.vms = vec![Balancer::new(1_000 + seed, 0)];
        rig.hear_all(&[busy(3.0); 20]);
        rig.hear(0, 0, &IDLE);
        // News of several service times ago.
        rig.pass(45);
        let picks = rig.picks(0, 1);
        firsts.push(picks.len() - 1);
    }
    // The one that looked best may be among four drawn of twenty: a fifth, not all.
    let best = firsts.iter().filter(|n| **n == 0).count();
    assert!((40..=130).contains(&best), "{best} of 400");
    for n in 1..20 {
        assert!(firsts.iter().filter(|first| **first == n).count() < 50, "{firsts:?}");
    }
}

#[test]
fn what_is_fresh_takes_part_beside_a_few_that_are_not() {
    let mut rig = Rig::new(1, &unasked(20));
    rig.hear_all(&[busy(2.0); 20]);
    rig.pass(45);
    rig.hear(0, 7, &IDLE);
    assert_eq!(rig.picks(0, 200).len(), 8);
    // One that is fresh and busy is no better than those of whom that is only thought.
    rig.hear(0, 7, &busy(9.0));
    let picks = rig.picks(0, 400);
    assert!(picks.len() > 15 && picks[7] == 0, "{picks:?}");
}

/// How many of 600 requests, one at a time, each of six servers gets that have slots to spare, where
/// each response brings a report and there was only one of the first before.
fn served_one_at_a_time(config: &str) -> Vec<usize> {
    let spare = Load { slots: Some(20.0), ..busy(4.0) };
    let mut rig = Rig::new(1, config);
    rig.hear_all(&[spare]);
    let mut served = vec![0; 6];
    for _ in 0..600 {
        let mut call = rig.start(0);
        for slot in rig.asked(&call) {
            rig.answer(&mut call, slot, Some(spare));
        }
        rig.settle(&mut call);
        let n = rig.picked(0, &call);
        served[n] += 1;
        rig.pass(10);
        rig.hear(0, n, &spare);
        rig.end(0, call, Ending::Answered);
    }
    served
}

#[test]
fn a_server_as_good_as_any_is_not_the_only_one_that_is_heard_of() {
    for config in [servers(6, ""), unasked(6)] {
        let served = served_one_at_a_time(&config);
        assert!(served.iter().all(|requests| *requests >= 10), "{served:?}");
    }
}

#[test]
fn servers_that_drain_are_left_out_while_another_is_there() {
    let mut rig = Rig::new(1, &unasked(3));
    let drains = Load { draining: true, ..IDLE };
    rig.hear_all(&[drains, busy(5.0), drains]);
    assert_eq!(rig.picks(0, 50), [0, 50]);
    // Where all do, own counts decide as if none did.
    rig.hear(0, 1, &drains);
    assert_eq!(rig.picks(0, 100).len(), 3);
    // It is a report like any other: forgotten.
    rig.hear(0, 1, &busy(5.0));
    rig.ticks(41);
    assert_eq!(rig.picks(0, 100).len(), 3);
}

#[test]
fn a_newcomer_is_taken_for_one_as_good_as_the_others() {
    let mut rig = Rig::new(1, r#"{"probe":{"mode":"off"}}"#);
    let at = |n: usize| (host(n), 0, "HEALTHY");
    let listed = |count| {
        let hosts: Vec<_> = (0..count).map(at).collect();
        admin(
            &hosts.iter().map(|(host, p, health)| (host.as_str(), *p, *health)).collect::<Vec<_>>(),
        )
    };
    rig.admin = Some(listed(2));
    rig.id(0);
    rig.ticks(8);
    rig.hear_all(&[IDLE; 2]);
    rig.admin = Some(listed(3));
    rig.ticks(8);
    // It warms up, and says so.
    let cold = Load { service_us: Some(200_000.0), ..IDLE };
    let known_ms = rig.now_ms;
    rig.hear_all(&[IDLE, IDLE, cold]);
    let picks = rig.picks(0, 600);
    assert!(picks.iter().all(|n| (120..300).contains(n)), "{picks:?}");
    while rig.now_ms < known_ms + 3_500 {
        rig.hear_all(&[IDLE, IDLE, cold]);
    }
    assert_eq!(rig.picks(0, 600).len(), 2, "no newcomer any more");
}

#[test]
fn of_what_a_server_says_the_count_of_the_whole_proxy_is_taken_off() {
    let mut rig = Rig::new(2, &unasked(2));
    rig.hear_all(&[IDLE; 2]);
    // Four of ours at each, of both workers.
    let held: Vec<_> = (0..8).map(|n| (n % 2, rig.start(n % 2))).collect();
    for n in 0..2 {
        assert_eq!(rig.outstanding(0, &host(n)), 4_000);
    }
    // The second has others of one request more.
    rig.hear(0, 0, &busy(4.0));
    rig.hear(0, 1, &busy(5.0));
    assert_eq!(rig.picks(0, 100), [100]);
    // Ours went, and with it what is in flight there; reports of before tell of others still.
    for (vm, call) in held {
        rig.end(vm, call, Ending::Undecided);
    }
    assert_eq!(rig.picks(0, 100), [100]);
    // What carries a report is not in it.
    let id = rig.id(0);
    let call = rig.start(0);
    let slot = rig.vms[0].slot_of(id, &host(0)).unwrap();
    let carried = rig.vms[0].counts_on(&call, slot);
    assert_eq!(carried, Work::ONE);
    rig.vms[0].heard(&rig.proxy, id, slot, &busy(2.0), carried);
    rig.end(0, call, Ending::Undecided);
    assert_eq!(rig.picks(0, 100), [0, 100], "two others, and one at the second");
}
