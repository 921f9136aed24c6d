//! Questions that the proxy cannot send: they tell nothing of how soon answers come.

use super::informed::{busy, servers};
use super::*;
use crate::config::ProbeMode;
use crate::test;

/// Of twenty servers nothing fresh is known; each request would ask three.
fn rig() -> Rig {
    let mut rig = Rig::new(1, &servers(20, r#","probe":{"mode":"always"}"#));
    assert_eq!(rig.config.cluster(CLUSTER).probe_mode, ProbeMode::Always);
    rig.hear_all(&[busy(1.0); 20]);
    rig
}

/// A request that asks, and whom.
fn asking(rig: &mut Rig) -> (Call, Vec<u32>) {
    for _ in 0..1_000 {
        rig.pass(100);
        rig.hear_all(&[busy(1.0); 20]);
        let call = rig.start(0);
        if call.verdict() == Verdict::Asking {
            let asked = rig.vms[0].questions(&call).map(|(slot, _)| slot).collect();
            return (call, asked);
        }
        rig.end(0, call, Ending::Undecided);
    }
    panic!("nobody asks");
}

fn settle(rig: &mut Rig, mut call: Call) {
    let settings = rig.config.cluster(CLUSTER);
    let ask = Ask { config: &rig.config, settings: &settings, cost: Work::ONE };
    rig.vms[0].settle(&rig.proxy, &mut call, ask);
    assert_eq!(call.verdict(), Verdict::Steer);
    rig.end(0, call, Ending::Answered);
    assert_eq!(rig.proxy.leftovers(), []);
}

/// Whether so large a part of requests may ask.
fn may_ask(rig: &Rig, part: f64) -> bool {
    rig.vms[0].budget.allows(part)
}

#[test]
fn where_none_can_be_sent_nothing_came_in_time() {
    let mut rig = rig();
    (0..40).for_each(|_| rig.vms[0].budget.waited(false));
    assert!(!may_ask(&rig, 0.02));
    for _ in 0..50 {
        let (mut call, asked) = asking(&mut rig);
        for slot in asked {
            rig.vms[0].unsent(&mut call, slot);
        }
        settle(&mut rig, call);
    }
    assert!(!may_ask(&rig, 0.02), "fewer asked because answers came late, and still do");
    // Nor did it come late.
    (0..60).for_each(|_| rig.vms[0].budget.waited(true));
    for _ in 0..50 {
        let (mut call, asked) = asking(&mut rig);
        for slot in asked {
            rig.vms[0].unsent(&mut call, slot);
        }
        settle(&mut rig, call);
    }
    assert!(may_ask(&rig, 0.99));
}

#[test]
fn where_some_can_be_sent_they_alone_tell() {
    // Of three one is not sent; how many of the others answer in time, and whether that is most.
    for (answers, in_time) in [(2, true), (1, false), (0, false)] {
        let mut rig = rig();
        let (mut call, asked) = asking(&mut rig);
        assert_eq!(asked.len(), 3);
        rig.vms[0].unsent(&mut call, asked[0]);
        for slot in &asked[1..=answers] {
            assert_eq!(rig.answered(&mut call, *slot, true), *slot == asked[2]);
        }
        settle(&mut rig, call);
        assert_eq!(may_ask(&rig, 0.99), in_time, "{answers}");
    }
}

#[test]
fn who_cannot_be_reached_is_asked_less() {
    let mut rig = rig();
    let (mut call, asked) = asking(&mut rig);
    rig.vms[0].unsent(&mut call, asked[0]);
    let share = |rig: &mut Rig, slot| {
        let id = rig.id(0);
        rig.vms[0].endpoint(id, slot).unwrap().view.share()
    };
    assert!(share(&mut rig, asked[0]) < share(&mut rig, asked[1]));
    settle(&mut rig, call);
    // Once its request is decided, it is too late for anything.
    let (mut call, asked) = asking(&mut rig);
    let before = share(&mut rig, asked[0]);
    call.verdict = Verdict::Steer;
    rig.vms[0].unsent(&mut call, asked[0]);
    assert!((share(&mut rig, asked[0]) - before).abs() < f32::EPSILON);
    rig.end(0, call, Ending::Answered);
}
