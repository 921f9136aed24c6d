//! Clusters in which only some servers report.

use super::informed::{IDLE, busy, host, unasked};
use super::*;
use crate::load::Load;
use crate::test;

/// A closed loop of so many requests at once over `servers`, of which the first `reporting` report
/// on every answer.
struct Loop {
    rig: Rig,
    servers: usize,
    reporting: usize,
    /// By server, milliseconds that a request takes once it is served; one at a time.
    takes: Vec<u64>,
    drains: Vec<usize>,
    /// By server, how many requests the ones that came found there, in all.
    found: Vec<usize>,
}

impl Loop {
    fn new(servers: usize, reporting: usize) -> Self {
        let rig = Rig::new(1, &unasked(servers));
        Self {
            rig,
            servers,
            reporting,
            takes: vec![10; servers],
            drains: Vec::new(),
            found: vec![0; servers],
        }
    }

    fn report(&self, n: usize, in_flight: usize) -> Load {
        let milliseconds = u16::try_from(self.takes[n]).unwrap();
        Load {
            service_us: Some(f32::from(milliseconds) * 1_000.0),
            draining: self.drains.contains(&n),
            ..busy(f32::from(u16::try_from(in_flight).unwrap()))
        }
    }

    /// Runs until so many requests were served: how many each served.
    fn run(&mut self, at_once: usize, requests: usize) -> Vec<usize> {
        let mut dice = fastrand::Rng::with_seed(7);
        // By server: calls under way, the oldest first, and when that one ends.
        let mut queues: Vec<Vec<Call>> = (0..self.servers).map(|_| Vec::new()).collect();
        let mut ends = vec![u64::MAX; self.servers];
        let (mut served, mut under_way, mut tick) = (vec![0; self.servers], 0, self.rig.now_ms);
        let mut done = 0;
        self.found.fill(0);
        while done < requests {
            while under_way < at_once {
                let call = self.rig.start(0);
                let n = self.rig.picked(0, &call);
                if queues[n].is_empty() {
                    ends[n] = self.rig.now_ms + dice.u64(1..2 * self.takes[n]);
                }
                self.found[n] += queues[n].len();
                queues[n].push(call);
                under_way += 1;
            }
            let (at, n) = ends.iter().copied().zip(0..).min().unwrap();
            self.rig.pass(at - self.rig.now_ms);
            while tick + 250 <= self.rig.now_ms {
                tick += 250;
                self.rig.vms[0].tick(&self.rig.proxy, &self.rig.config, self.rig.now_ms);
            }
            let call = queues[n].remove(0);
            if n < self.reporting {
                let load = self.report(n, queues[n].len());
                let id = self.rig.id(0);
                let slot = self.rig.vms[0].slot_of(id, &host(n)).unwrap();
                let carried = self.rig.vms[0].counts_on(&call, slot);
                self.rig.vms[0].heard(&self.rig.proxy, id, slot, &load, carried);
            }
            self.rig.end(0, call, Ending::Answered);
            ends[n] =
                if queues[n].is_empty() { u64::MAX } else { at + dice.u64(1..2 * self.takes[n]) };
            under_way -= 1;
            served[n] += 1;
            done += 1;
        }
        for call in queues.into_iter().flatten() {
            self.rig.end(0, call, Ending::Undecided);
        }
        served
    }
}

fn sum(of: &[usize]) -> f64 {
    f64::from(u32::try_from(of.iter().sum::<usize>()).unwrap())
}

/// The part of the first of so many servers.
fn share(served: &[usize], first: usize) -> f64 {
    sum(&served[..first]) / sum(served)
}

/// The first ones' requests find as many before them as the others' do, give or take a part.
fn alike(run: &Loop, served: &[usize], within: f64) -> bool {
    let found = |of: core::ops::Range<usize>| sum(&run.found[of.clone()]) / sum(&served[of]);
    let (first, second) = (found(0..run.reporting), found(run.reporting..run.servers));
    (first - second).abs() <= within * (first + second) / 2.0 + 0.1
}

#[test]
fn each_half_gets_its_part_where_only_one_reports() {
    for at_once in [1, 3, 10, 20, 60, 200] {
        let mut run = Loop::new(20, 10);
        let served = run.run(at_once, 10_000);
        let share = share(&served, 10);
        assert!((0.45..=0.55).contains(&share), "{share} with {at_once}: {served:?}");
        assert!(alike(&run, &served, 0.1), "{at_once}: {:?} of {served:?}", run.found);
    }
    for reporting in [1, 19] {
        let mut run = Loop::new(20, reporting);
        let served = run.run(30, 10_000);
        let (share, fair) = (share(&served, reporting), [0.05, 0.95][usize::from(reporting > 1)]);
        assert!((share - fair).abs() < 0.1 * fair, "{share} of {reporting}: {served:?}");
    }
}

#[test]
fn a_server_that_nobody_should_use_does_not_draw_requests_to_its_half() {
    // Nine and ten are left.
    let mut drained = Loop::new(20, 10);
    drained.drains = vec![0];
    drained.run(60, 2_000);
    let served = drained.run(60, 10_000);
    assert!(served[0] < 5 && alike(&drained, &served, 0.15), "{:?} of {served:?}", drained.found);
    // One is slow, and hardly used.
    let mut slow = Loop::new(20, 10);
    slow.takes[0] = 1_000;
    slow.run(60, 2_000);
    let served = slow.run(60, 10_000);
    assert!(served[0] < 150 && alike(&slow, &served, 0.25), "{:?} of {served:?}", slow.found);
}

#[test]
fn the_first_that_reports_does_not_get_all() {
    let mut rig = Rig::new(1, &unasked(20));
    // Nobody reports.
    for _ in 0..400 {
        rig.call(0, "x");
    }
    rig.hear(0, 4, &IDLE);
    let picks = rig.picks(0, 1_000);
    assert!(picks[4] < 130, "{picks:?}");
    rig.ticks(1);
    rig.hear(0, 4, &IDLE);
    let picks = rig.picks(0, 1_000);
    assert!(picks[4] < 130, "{picks:?}");
}

#[test]
fn whoever_is_first_heard_of_is_no_worse_than_those_who_are_not() {
    let mut rig = Rig::new(1, &unasked(4));
    rig.hear(0, 2, &IDLE);
    let picks = rig.picks(0, 1_000);
    assert!(picks.len() == 4 && picks[2] > 150, "{picks:?}");
}

#[test]
fn a_server_that_gets_a_twin_is_silent_no_more() {
    let mut rig = Rig::new(1, &unasked(2));
    for _ in 0..40 {
        rig.call(0, "x");
    }
    rig.hear_all(&[busy(3.0), IDLE]);
    assert_eq!(rig.picks(0, 100), [0, 100]);
}
