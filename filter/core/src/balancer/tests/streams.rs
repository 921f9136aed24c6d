//! Streams that stay open count for as long as a request might take, and then no more.

use super::informed::{IDLE, host, unasked};
use super::*;
use crate::load::Load;
use crate::test;

const SERVER: &str = "inbound|80||";

impl Rig {
    fn visit(&mut self, vm: usize) -> Visit {
        let id = self.vms[vm].twin(&self.proxy, SERVER).unwrap();
        self.vms[vm].set_time(self.now_ms * 1_000);
        self.vms[vm].arrive(&self.proxy, id)
    }

    fn in_flight(&mut self, vm: usize) -> f32 {
        let id = self.vms[vm].twin(&self.proxy, SERVER).unwrap();
        self.vms[vm].stamp(&self.proxy, id, None).load.in_flight
    }

    /// So many ticks; between two of them a request of 20 ms at each of these workers.
    fn busy_ticks(&mut self, workers: &[usize], ticks: usize) {
        for _ in 0..ticks {
            for vm in workers {
                let visit = self.visit(*vm);
                self.vms[*vm].set_time(self.now_ms * 1_000 + 20_000);
                self.vms[*vm].leave(&self.proxy, visit, Departure::Served);
            }
            self.ticks(1);
        }
    }

    fn counted(&self) -> i64 {
        self.proxy.leftovers().iter().map(|(_, milli)| milli).sum()
    }
}

#[test]
fn a_server_says_what_will_end_soon() {
    let mut rig = Rig::new(2, "{}");
    rig.busy_ticks(&[0, 1], 40);
    let streams: Vec<(usize, Visit)> =
        [0, 1].repeat(5).iter().map(|vm| (*vm, rig.visit(*vm))).collect();
    assert_eq!(rig.in_flight(0).round() as i32, 10);
    rig.busy_ticks(&[0, 1], 2);
    assert_eq!(rig.in_flight(0).round() as i32, 10, "half a second");
    rig.busy_ticks(&[0, 1], 40);
    assert_eq!((rig.in_flight(0).round() as i32, rig.counted()), (0, 0));
    // What one of them says of itself does not count it either.
    let id = rig.vms[0].twin(&rig.proxy, SERVER).unwrap();
    let request = rig.visit(1);
    let stamp = rig.vms[0].stamp(&rig.proxy, id, Some(&streams[0].1));
    assert_eq!(stamp.load.in_flight.round() as i32, 1);
    rig.vms[1].leave(&rig.proxy, request, Departure::Served);
    // And their ends take nothing away.
    let request = rig.visit(0);
    for (vm, visit) in streams {
        rig.vms[vm].leave(&rig.proxy, visit, Departure::Served);
    }
    assert_eq!(rig.in_flight(1).round() as i32, 1);
    rig.vms[0].leave(&rig.proxy, request, Departure::Served);
    assert_eq!(rig.proxy.leftovers(), []);
}

#[test]
fn a_server_that_has_stalled_is_as_full_as_it_is() {
    let mut rig = Rig::new(2, "{}");
    rig.busy_ticks(&[0, 1], 40);
    let visits: Vec<Visit> = (0..8).map(|_| rig.visit(1)).collect();
    rig.ticks(400);
    assert_eq!(rig.in_flight(0).round() as i32, 8);
    for visit in visits {
        rig.vms[1].leave(&rig.proxy, visit, Departure::Served);
    }
    assert_eq!(rig.proxy.leftovers(), []);
}

/// Two servers of 20 ms that report; time passes with a request and a report for each now and then.
fn reporting() -> Rig {
    let mut rig = Rig::new(1, &unasked(2));
    rig.hear_all(&[LOAD; 2]);
    rig
}

const LOAD: Load = Load { service_us: Some(20_000.0), slots: Some(4.0), ..IDLE };

fn seconds(rig: &mut Rig, seconds: usize, heard: &[usize]) {
    for _ in 0..seconds * 4 {
        for server in heard {
            rig.hear(0, *server, &LOAD);
        }
        rig.ticks(1);
    }
}

#[test]
fn a_proxy_counts_a_stream_for_a_while() {
    let mut rig = reporting();
    let calls: Vec<Call> = (0..4).map(|_| rig.start(0)).collect();
    // They have begun to answer.
    let calls: Vec<Call> = calls
        .into_iter()
        .map(|mut call| {
            let pick = rig.pick(0, &call);
            rig.served(0, &mut call, &pick, 1);
            call
        })
        .collect();
    rig.ticks(2);
    assert_eq!(rig.counted(), 4_000);
    seconds(&mut rig, 3, &[0, 1]);
    assert_eq!(rig.counted(), 0);
    let slot = calls[0].slot().unwrap();
    assert_eq!(rig.vms[0].counts_on(&calls[0], slot), Work::ZERO);
    // Their ends take nothing away from what came since.
    let request = rig.start(0);
    let slot = request.slot().unwrap();
    assert_eq!(rig.vms[0].counts_on(&request, slot), Work::ONE);
    for call in calls {
        rig.end(0, call, Ending::Answered);
    }
    assert_eq!(rig.counted(), 1_000);
    rig.end(0, request, Ending::Answered);
    assert_eq!(rig.proxy.leftovers(), []);
}

#[test]
fn what_a_stalled_server_does_not_answer_stays_counted() {
    let mut rig = reporting();
    let calls: Vec<Call> = (0..6).map(|_| rig.start(0)).collect();
    let before = rig.outstanding(0, &host(0));
    assert!(before > 0);
    // Nothing comes back from the first.
    seconds(&mut rig, 20, &[1]);
    assert_eq!(rig.outstanding(0, &host(0)), before);
    for call in calls {
        rig.end(0, call, Ending::Undecided);
    }
    assert_eq!(rig.proxy.leftovers(), []);
}

#[test]
fn of_whom_nothing_is_known_all_counts() {
    let mut rig = Rig::new(1, &unasked(2));
    let calls: Vec<Call> = (0..4).map(|_| rig.start(0)).collect();
    rig.ticks(400);
    assert_eq!(rig.counted(), 4_000);
    for call in calls {
        rig.end(0, call, Ending::Answered);
    }
    assert_eq!(rig.proxy.leftovers(), []);
}

/// Whatever comes and goes, at whatever age, whoever crashes: the gauges hold what counts still, and
/// nothing in the end.
#[test]
fn each_is_counted_once_and_taken_off_once_whoever_crashes() {
    for seed in 0..30 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut rig = Rig::new(3, r#"{"discovery":{"admin_cluster":""}}"#);
        rig.ticks(4);
        let mut open: Vec<(usize, Visit)> = Vec::new();
        let mut crashes = 0;
        for _ in 0..400 {
            let vm = 1 + dice.usize(..2);
            match dice.u32(..100) {
                0..30 => open.push((vm, rig.visit(vm))),
                30..55 if !open.is_empty() => {
                    let (vm, visit) = open.swap_remove(dice.usize(..open.len()));
                    rig.vms[vm].set_time(rig.now_ms * 1_000);
                    rig.vms[vm].leave(&rig.proxy, visit, Departure::Served);
                }
                55..57 => {
                    crashes += 1;
                    rig.vms[vm] = Balancer::new(100 * (seed + 1) + crashes, rig.now_ms);
                    open.retain(|(at, _)| *at != vm);
                }
                _ => rig.busy_ticks(&[1, 2], dice.usize(1..8)),
            }
        }
        // An epoch or two, in which all is counted as before.
        rig.busy_ticks(&[1, 2], 60);
        let counts = |rig: &Rig, (vm, visit): &(usize, Visit)| rig.vms[*vm].counts(visit);
        let counted = open.iter().filter(|visit| counts(&rig, visit)).count();
        assert_eq!(rig.counted(), 1_000 * i64::try_from(counted).unwrap(), "seed {seed}");
        let young: Vec<Visit> = (0..3).map(|_| rig.visit(1)).collect();
        for (vm, visit) in open {
            rig.vms[vm].leave(&rig.proxy, visit, Departure::Unknown);
        }
        assert_eq!(rig.counted(), 3_000, "seed {seed}");
        for visit in young {
            rig.vms[1].leave(&rig.proxy, visit, Departure::Unknown);
        }
        assert_eq!(rig.proxy.leftovers(), [], "seed {seed}");
    }
}
