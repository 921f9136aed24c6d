//! What this proxy saw itself, beside what servers say; and how each part is switched off.

use super::informed::{IDLE, busy, host, servers, unasked};
use super::*;
use crate::load::Load;
use crate::test;

impl Rig {
    /// A request to a server, from its start; whatever the choice would be.
    fn send(&mut self, vm: usize, n: usize) -> Call {
        for _ in 0..10_000 {
            let call = self.start(vm);
            if self.pick(vm, &call) == host(n) {
                return call;
            }
            self.end(vm, call, Ending::Undecided);
        }
        panic!("no request goes to {n}");
    }

    /// After how many requests that took so long at the first server nobody goes there, while servers
    /// say this.
    fn first_is_avoided_after(&mut self, took_ms: u64, loads: &[Load]) -> usize {
        for requests in 0..100 {
            if self.picks(0, 1).len() > 1 {
                return requests;
            }
            let call = self.send(0, 0);
            self.pass(took_ms);
            self.end(0, call, Ending::Answered);
            self.hear_all(loads);
        }
        panic!("believed for ever");
    }
}

/// The configuration with a part of the estimate switched off for the cluster, or for another.
fn without(count: usize, part: &str, cluster: &str) -> String {
    servers(
        count,
        &format!(
            r#","probe":{{"mode":"off"}},
            "clusters":{{"{cluster}":{{"estimate":{{"{part}":false}}}}}}"#
        ),
    )
}

#[test]
fn a_server_that_says_it_is_idle_and_returns_nothing_loses() {
    let mut rig = Rig::new(1, &unasked(3));
    rig.hear_all(&[IDLE, busy(4.0), busy(4.0)]);
    let held: Vec<_> = (0..2).map(|_| rig.send(0, 0)).collect();
    // Without what is seen it is by far the best for ever: what is in flight there is told as ours.
    for ms in 1..=40 {
        rig.pass(10);
        rig.hear(0, 0, &busy(2.0));
        (1..3).for_each(|n| rig.hear(0, n, &busy(4.0)));
        let first = rig.picks(0, 1).len() == 1;
        // Eight times of what two requests and one more take, and some to be the worst.
        assert!(first || ms > 24, "after {} ms", ms * 10);
        assert!(!first || ms < 30, "after {} ms", ms * 10);
    }
    // It is tried again, less and less: the last request left after 290 ms at most.
    let mut trials = Vec::new();
    for ms in 41..=400 {
        rig.pass(10);
        rig.hear(0, 0, &busy(2.0));
        (1..3).for_each(|n| rig.hear(0, n, &busy(4.0)));
        if rig.picks(0, 1).len() == 1 {
            trials.push(ms * 10);
        }
    }
    assert!(trials.len() == 3, "{trials:?}");
    assert!(trials.windows(2).all(|two| two[1] >= 2 * two[0] - 20), "{trials:?}");
    // It was slow, and is there again.
    for call in held {
        rig.end(0, call, Ending::Answered);
    }
    assert_eq!(rig.picks(0, 50), [50]);
}

#[test]
fn what_other_workers_have_under_way_is_no_stall_that_this_one_sees() {
    let mut rig = Rig::new(2, &unasked(2));
    rig.hear_all(&[IDLE, busy(4.0)]);
    for _ in 0..200 {
        // This worker itself has had nothing there for long, or ever.
        let call = rig.send(1, 0);
        rig.pass(10);
        rig.hear(0, 0, &busy(1.0));
        rig.hear(0, 1, &busy(4.0));
        assert_eq!(rig.picks(0, 1), [1]);
        rig.end(1, call, Ending::Answered);
    }
}

#[test]
fn a_stream_that_stays_open_is_no_stall() {
    let mut rig = Rig::new(1, &unasked(2));
    rig.hear_all(&[IDLE, IDLE]);
    let streams = [rig.send(0, 0), rig.send(0, 1)];
    let mut served = [0; 2];
    for _ in 0..1_000 {
        let call = rig.start(0);
        let at = usize::from(rig.pick(0, &call) == host(1));
        // Ten milliseconds of work, ten a second.
        rig.pass(10);
        rig.hear(0, at, &busy(1.0));
        rig.end(0, call, Ending::Answered);
        rig.pass(90);
        served[at] += 1;
    }
    assert!(served.iter().all(|n| *n > 250), "{served:?}");
    for call in streams {
        rig.end(0, call, Ending::Answered);
    }
}

#[test]
fn a_server_whose_requests_take_longer_than_it_says_is_believed_less() {
    for servers in [2, 3, 20] {
        let mut rig = Rig::new(1, &unasked(servers));
        let mut loads = vec![Load { service_us: Some(15_000.0), ..IDLE }; servers];
        loads[0] = IDLE;
        rig.hear_all(&loads);
        // It says ten milliseconds and takes a hundred; then nobody goes there.
        let requests = rig.first_is_avoided_after(100, &loads);
        assert!(requests < 20, "among {servers}");
        assert!(requests > 1, "one request is no proof");
        // It fades, and so it is tried again.
        let ticks = (0..400).find(|_| {
            rig.hear_all(&loads);
            rig.picks(0, 1).len() == 1
        });
        assert!(ticks.is_some_and(|ticks| ticks > 4), "{ticks:?}");
    }
}

/// For a second after its first answer a server says how many requests it has, not how long they take.
#[test]
fn a_busy_server_that_tells_no_time_of_service_loses_to_one_that_does() {
    let young = Load { service_us: None, slots: None, ..busy(2.0) };
    for order in [[0, 1], [1, 0]] {
        let mut rig = Rig::new(1, &unasked(2));
        let loads = [young, IDLE];
        rig.pass(1);
        for n in order {
            rig.hear(0, n, &loads[n]);
        }
        assert_eq!(rig.picks(0, 30), [0, 30], "before what is usual was found anew");
        for _ in 0..60 {
            // Its requests take much longer than it says, as all do where networks and proxies are
            // slow: those of the other would too, of which nothing is promised.
            let call = rig.send(0, 1);
            rig.pass(300);
            rig.end(0, call, Ending::Answered);
            for n in order {
                rig.hear(0, n, &loads[n]);
            }
        }
        rig.hear_all(&loads);
        assert_eq!(rig.picks(0, 30), [0, 30]);
    }
}

#[test]
fn a_server_is_held_to_its_own_time_of_service_from_when_it_tells_it() {
    let mut rig = Rig::new(1, &unasked(2));
    let young = Load { service_us: None, slots: None, ..IDLE };
    let loads = [young, busy(1.0)];
    rig.hear_all(&loads);
    // Before, to that of others: where its requests take twenty times as long, nobody goes there.
    assert!(rig.first_is_avoided_after(200, &loads) < 40);
    rig.hear_all(&[IDLE, busy(1.0)]);
    assert_eq!(rig.picks(0, 30), [30]);
}

/// A server that fails at once and says that it is idle: whether the others are preferred.
fn failing(config: &str) -> bool {
    let mut rig = Rig::new(1, config);
    let loads = [IDLE, busy(2.0), busy(2.0)];
    rig.hear_all(&loads);
    for _ in 0..20 {
        let call = rig.send(0, 0);
        // With a status that sets nobody aside.
        rig.end(0, call, Ending::Erred);
        (0..3).for_each(|n| rig.hear(0, n, &loads[n]));
        if rig.picks(0, 1).len() > 1 {
            return true;
        }
    }
    false
}

#[test]
fn failing_fast_costs_more_than_it_looks() {
    assert!(failing(&unasked(3)));
    for part in ["reports", "speed"] {
        assert!(part == "reports" || failing(&without(3, part, CLUSTER)), "{part}");
    }
    assert!(!failing(&without(3, "failures", CLUSTER)));
    assert!(failing(&without(3, "failures", "another")));
}

#[test]
fn where_failures_do_not_matter_nobody_is_set_aside() {
    for (cluster, avoided) in [(CLUSTER, false), ("another", true)] {
        let mut rig = Rig::new(1, &without(3, "failures", cluster));
        rig.hear_all(&[IDLE, busy(2.0), busy(2.0)]);
        let call = rig.send(0, 0);
        rig.end(0, call, Ending::Failed);
        assert_eq!(rig.picks(0, 1).len() > 1, avoided);
    }
}

#[test]
fn without_reports_own_counts_decide() {
    for (cluster, used) in [(CLUSTER, false), ("another", true)] {
        let mut rig = Rig::new(1, &without(3, "reports", cluster));
        rig.hear_all(&[IDLE, busy(2.0), busy(2.0)]);
        let picks = rig.picks(0, 300);
        assert_eq!(picks.len() == 1, used, "{picks:?}");
        assert!(used || picks.iter().all(|n| *n > 60), "{picks:?}");
        // Nor does anybody ask, whatever the mode is.
        let all = format!(
            r#","probe":{{"mode":"always"}},"clusters":{{"{cluster}":{{"estimate":{{"reports":false}}}}}}"#
        );
        let mut rig = Rig::new(1, &servers(3, &all));
        rig.pass(100);
        let call = rig.start(0);
        assert_eq!(call.verdict() == Verdict::Asking, used);
        rig.end(0, call, Ending::Undecided);
    }
}

#[test]
fn without_speeds_the_numbers_in_flight_decide() {
    let fast = Load { service_us: Some(1_000.0), slots: Some(8.0), ..busy(2.0) };
    for (cluster, used) in [(CLUSTER, false), ("another", true)] {
        let mut rig = Rig::new(1, &without(3, "speed", cluster));
        rig.hear_all(&[busy(1.0), fast, busy(3.0)]);
        assert_eq!(rig.picks(0, 100), if used { vec![0, 100] } else { vec![100] });
    }
}
