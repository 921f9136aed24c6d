//! Answers that are all a request needs.

use super::asking::stale;
use super::informed::{IDLE, busy, host, servers};
use super::*;
use crate::load::Load;
use crate::test;

impl Rig {
    /// As [`Balancer::answered`].
    pub(super) fn answered(&mut self, call: &mut Call, slot: u32, reported: bool) -> bool {
        let settings = self.config.cluster(CLUSTER);
        let ask = Ask { config: &self.config, settings: &settings, cost: Work::ONE };
        self.vms[0].answered(&self.proxy, call, ask, slot, reported)
    }

    fn share(&mut self, slot: u32) -> f32 {
        let id = self.id(0);
        self.vms[0].endpoint(id, slot).unwrap().view.share()
    }
}

#[test]
fn an_answer_that_is_good_enough_ends_the_wait() {
    let mut rig = stale(r#","probe":{"budget":100000}"#);
    for _ in 0..40 {
        let mut call = rig.start(0);
        let asked = rig.asked(&call);
        assert!(!rig.answer(&mut call, asked[0], Some(busy(3.0))));
        assert!(rig.answer(&mut call, asked[2], Some(IDLE)));
        rig.settle(&mut call);
        assert_eq!(rig.pick(0, &call), host(asked[2] as usize));
        // One of three answered, which is not to blame, and no reason to ask less.
        assert!((rig.share(asked[1]) - 1.0).abs() < f32::EPSILON);
        assert!(rig.vms[0].budget.allows(0.999));
        // Who answers now is known to the next.
        assert!(!rig.answer(&mut call, asked[1], Some(busy(2.0))));
        rig.end(0, call, Ending::Answered);
        rig.hear_all(&[busy(3.0); 20]);
        rig.pass(45);
    }
    assert_eq!(rig.proxy.leftovers(), []);
}

#[test]
fn no_other_answer_does() {
    let slow = Load { service_us: Some(20_000.0), ..IDLE };
    let draining = Load { draining: true, ..IDLE };
    for answer in [busy(1.0), slow, draining] {
        let mut rig = stale("");
        let mut call = rig.start(0);
        let asked = rig.asked(&call);
        assert!(!rig.answer(&mut call, asked[1], Some(answer)), "{answer:?}");
        assert!(!rig.answer(&mut call, asked[0], None), "it has no twin");
        rig.settle(&mut call);
        rig.end(0, call, Ending::Answered);
    }
}

#[test]
fn what_was_decided_meanwhile_counts() {
    let mut rig = Rig::new(1, &servers(3, ""));
    rig.hear_all(&[busy(3.0); 3]);
    rig.pass(45);
    let (mut first, mut second) = (rig.start(0), rig.start(0));
    assert!(rig.answer(&mut first, 1, Some(IDLE)));
    rig.settle(&mut first);
    assert_eq!(rig.pick(0, &first), host(1));
    // To the other it said the same, but now the first is on its way there.
    assert!(!rig.answered(&mut second, 1, true));
    rig.settle(&mut second);
    rig.end(0, first, Ending::Answered);
    rig.end(0, second, Ending::Answered);
    assert_eq!(rig.proxy.leftovers(), []);
}
