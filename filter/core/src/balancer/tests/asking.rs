//! Requests that ask servers before they are decided.

use super::informed::{IDLE, busy, host, servers};
use super::*;
use crate::load::Load;
use crate::test;

/// Twenty servers of which nothing fresh is known, and which are not idle.
pub(super) fn stale(more: &str) -> Rig {
    let mut rig = Rig::new(1, &servers(20, more));
    rig.hear_all(&[busy(3.0); 20]);
    rig.pass(45);
    rig
}

impl Rig {
    pub(super) fn asked(&self, call: &Call) -> Vec<u32> {
        self.vms[0].questions(call).map(|(slot, _)| slot).collect()
    }

    /// The server in `slot` answers, with a report or without. Whether no other is awaited.
    pub(super) fn answer(&mut self, call: &mut Call, slot: u32, load: Option<Load>) -> bool {
        let id = self.id(0);
        match &load {
            Some(load) => self.vms[0].heard(&self.proxy, id, slot, load, Work::ZERO),
            None => self.vms[0].unheard(id, slot),
        }
        self.answered(call, slot, load.is_some())
    }

    pub(super) fn settle(&mut self, call: &mut Call) {
        let settings = self.config.cluster(CLUSTER);
        let ask = Ask { config: &self.config, settings: &settings, cost: Work::ONE };
        self.vms[0].settle(&self.proxy, call, ask);
    }

    /// How many of so many requests ask, each of which ends before it is decided.
    fn asking(&mut self, requests: usize) -> usize {
        let mut asking = 0;
        for _ in 0..requests {
            let call = self.start(0);
            asking += usize::from(call.verdict() == Verdict::Asking);
            self.end(0, call, Ending::Undecided);
        }
        asking
    }
}

#[test]
fn where_nothing_is_fresh_a_few_are_asked_and_the_best_of_them_serves() {
    let mut rig = stale("");
    let mut call = rig.start(0);
    assert_eq!((call.verdict(), rig.vms[0].override_hosts(&call).count()), (Verdict::Asking, 0));
    assert_eq!(rig.proxy.leftovers(), [], "counted nowhere yet");
    let asked = rig.asked(&call);
    assert_eq!(asked.len(), 3);
    let answers = [busy(3.0), busy(1.0), busy(2.0)];
    let last: Vec<bool> =
        (0..3).map(|n| rig.answer(&mut call, asked[n], Some(answers[n]))).collect();
    assert_eq!(last, [false, false, true]);
    rig.settle(&mut call);
    assert_eq!(rig.pick(0, &call), host(asked[1] as usize));
    assert_eq!(rig.outstanding(0, &host(asked[1] as usize)), 1_000);
    // Once only.
    rig.settle(&mut call);
    assert_eq!(rig.outstanding(0, &host(asked[1] as usize)), 1_000);
    rig.end(0, call, Ending::Answered);
    assert_eq!(rig.proxy.leftovers(), []);
}

#[test]
fn a_request_that_finds_a_good_server_asks_nobody() {
    let mut rig = stale("");
    rig.hear(0, 4, &IDLE);
    let call = rig.start(0);
    assert_eq!(rig.pick(0, &call), host(4));
    // Which is now busy, as nobody knows better than this proxy.
    let next = rig.start(0);
    assert_eq!(next.verdict(), Verdict::Asking);
    assert!(!rig.asked(&next).contains(&4), "there is nothing new to hear");
    rig.end(0, next, Ending::Undecided);
    rig.end(0, call, Ending::Undecided);
    // One that is idle and half as fast again is good enough; a slower one is not.
    for (ms, asks) in [(15.0, false), (17.0, true)] {
        let mut rig = stale("");
        rig.hear(0, 4, &Load { service_us: Some(ms * 1_000.0), ..IDLE });
        let call = rig.start(0);
        assert_eq!(call.verdict() == Verdict::Asking, asks, "{ms}");
        rig.end(0, call, Ending::Undecided);
    }
    // Where all is fresh there is nothing to ask, however busy they are.
    let mut rig = Rig::new(1, &servers(20, ""));
    rig.hear_all(&[busy(9.0); 20]);
    assert_eq!(rig.asking(20), 0);
}

#[test]
fn answers_that_come_in_part_or_late_are_used() {
    let mut rig = stale("");
    let mut call = rig.start(0);
    let asked = rig.asked(&call);
    assert!(!rig.answer(&mut call, asked[2], Some(busy(1.0))));
    rig.settle(&mut call);
    assert_eq!(rig.pick(0, &call), host(asked[2] as usize));
    // Too late for this one; the next has it.
    assert!(!rig.answer(&mut call, asked[0], Some(busy(2.0))));
    rig.answer(&mut call, asked[1], Some(IDLE));
    assert_eq!(rig.pick(0, &call), host(asked[2] as usize));
    let next = rig.start(0);
    assert_eq!(rig.pick(0, &next), host(asked[1] as usize));
    rig.end(0, next, Ending::Answered);
    rig.end(0, call, Ending::Answered);
    assert_eq!(rig.proxy.leftovers(), []);
}

#[test]
fn without_an_answer_in_time_some_are_compared_as_they_are_thought_to_be() {
    let mut rig = stale("");
    let mut picked = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let mut call = rig.start(0);
        assert_eq!(call.verdict(), Verdict::Asking);
        rig.settle(&mut call);
        picked.insert(rig.pick(0, &call));
        rig.end(0, call, Ending::Undecided);
        // Nobody is given up so that the next asks too.
        rig.hear_all(&[busy(3.0); 20]);
        rig.vms[0].budget = Budget::default();
        rig.ticks(20);
    }
    assert!(picked.len() > 15, "{picked:?}");
}

#[test]
fn where_few_answer_in_time_they_are_compared_with_others() {
    let mut rig = stale("");
    for _ in 0..20 {
        let mut call = rig.start(0);
        let asked = rig.asked(&call);
        // Far busier than the others were when they were heard of last.
        rig.answer(&mut call, asked[0], Some(busy(30.0)));
        rig.settle(&mut call);
        assert_ne!(rig.pick(0, &call), host(asked[0] as usize));
        rig.end(0, call, Ending::Undecided);
        rig.hear_all(&[busy(3.0); 20]);
        rig.vms[0].budget = Budget::default();
        rig.ticks(20);
    }
}

#[test]
fn where_answers_come_late_few_ask() {
    let mut rig = stale(r#","probe":{"budget":100000}"#);
    let mut waited = 0;
    for _ in 0..200 {
        rig.hear_all(&[busy(3.0); 20]);
        rig.pass(45);
        let mut call = rig.start(0);
        waited += usize::from(call.verdict() == Verdict::Asking);
        rig.settle(&mut call);
        rig.end(0, call, Ending::Undecided);
    }
    assert!((3..25).contains(&waited), "{waited}");
}

#[test]
fn nobody_waits_for_longer_than_a_quarter_of_a_service() {
    let longest_of = |ms: f32, more: &str| {
        let mut rig = Rig::new(1, &servers(2, more));
        let load = Load { service_us: (ms > 0.0).then_some(ms * 1_000.0), ..busy(3.0) };
        rig.hear_all(&[load; 2]);
        rig.vms[0].survey(1);
        let (id, settings) = (rig.id(0), rig.config.cluster(CLUSTER));
        let ask = Ask { config: &rig.config, settings: &settings, cost: Work::ONE };
        rig.vms[0].longest_wait_us(id, ask)
    };
    let longest = |ms: f32| longest_of(ms, "");
    assert_eq!([200.0, 40.0, 20.0, 8.0].map(longest), [10_000, 10_000, 5_000, 2_000]);
    assert_eq!(longest(0.5), 1_000, "less than a timer can count is nothing");
    assert_eq!(longest(0.0), 10_000, "nobody knows");
    for (told, us) in [("2ms", 2_000), ("10ms", 10_000), ("20ms", 20_000)] {
        let more = format!(r#","probe":{{"deadline":"{told}"}}"#);
        assert_eq!(longest_of(8.0, &more), us, "as it is told");
    }
}

#[test]
fn whoever_is_late_is_asked_less() {
    let mut rig = stale(r#","probe":{"fanout":8,"budget":100000}"#);
    let (mut before, mut after) = (0, 0);
    for round in 0..60 {
        rig.pass(45);
        let mut call = rig.start(0);
        let asked = rig.asked(&call);
        for slot in &asked {
            if *slot != 6 {
                rig.answer(&mut call, *slot, Some(busy(3.0)));
            }
        }
        rig.settle(&mut call);
        if asked.contains(&6) {
            *if round < 30 { &mut before } else { &mut after } += 1;
            // Its answers come when the request has left.
            rig.answer(&mut call, 6, Some(busy(3.0)));
        }
        rig.end(0, call, Ending::Undecided);
    }
    assert!(before >= 3 && after <= 2, "{before} {after}");
}

#[test]
fn nobody_is_asked_twice_nor_more_than_the_configuration_says() {
    for fanout in [1, 3, 8] {
        let mut rig = stale(&format!(r#","probe":{{"fanout":{fanout},"budget":100000}}"#));
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..400 {
            rig.pass(1);
            let call = rig.start(0);
            let asked = rig.asked(&call);
            let distinct: std::collections::BTreeSet<u32> = asked.iter().copied().collect();
            assert_eq!((asked.len(), distinct.len()), (fanout, fanout));
            seen.extend(distinct);
            rig.end(0, call, Ending::Undecided);
        }
        assert_eq!(seen.len(), 20, "all in turn");
    }
}

#[test]
fn who_is_silent_drains_or_is_set_aside_is_not_asked() {
    let mut rig = stale(r#","probe":{"fanout":8,"budget":100000}"#);
    let id = rig.id(0);
    rig.vms[0].unheard(id, 0);
    rig.hear(0, 1, &Load { draining: true, ..busy(3.0) });
    rig.hear(0, 2, &Load { asks: 0.0, ..busy(3.0) });
    rig.pass(45);
    rig.vms[0].clusters[0].endpoint_mut(3).unwrap().aside.failed(rig.now_ms);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        rig.pass(1);
        let call = rig.start(0);
        seen.extend(rig.asked(&call));
        rig.end(0, call, Ending::Undecided);
    }
    assert_eq!(seen, (4..20).collect());
}

#[test]
fn modes_say_who_asks() {
    for (mode, fresh, not) in [("off", 0, 0), ("auto", 0, 20), ("always", 20, 20)] {
        let more = format!(r#","probe":{{"mode":"{mode}","budget":100000}}"#);
        let mut rig = Rig::new(1, &servers(20, &more));
        rig.hear_all(&[busy(9.0); 20]);
        // To ask who is known tells nothing.
        assert_eq!(rig.asking(20), fresh, "{mode}");
        let mut rig = stale(&more);
        assert_eq!(rig.asking(20), not, "{mode}");
    }
    // Who was never heard of is asked in one mode only.
    for (mode, asks) in [("off", 0), ("auto", 0), ("always", 20)] {
        let more = format!(r#","probe":{{"mode":"{mode}","budget":100000}}"#);
        let mut rig = Rig::new(1, &servers(20, &more));
        rig.pass(100);
        assert_eq!(rig.asking(20), asks, "{mode}");
    }
}

#[test]
fn the_budget_bounds_what_is_asked_and_only_that() {
    assert_eq!(stale(r#","probe":{"budget":0}"#).asking(50), 0);
    let mut rig = stale(r#","probe":{"budget":300}"#);
    let mut asking = 0;
    for _ in 0..4_000 {
        rig.pass(1);
        rig.hear(0, 0, &busy(9.0));
        let call = rig.start(0);
        asking += rig.asked(&call).len();
        rig.end(0, call, Ending::Undecided);
        if rig.now_ms.is_multiple_of(250) {
            rig.vms[0].tick(&rig.proxy, &rig.config, rig.now_ms);
        }
    }
    assert!((1_100..=1_240).contains(&asking), "{asking} in four seconds");
}

#[test]
fn what_is_not_asked_costs_no_budget() {
    let mut rig = Rig::new(1, &servers(20, r#","probe":{"budget":30}"#));
    rig.hear_all(&[busy(9.0); 20]);
    rig.vms[0].clusters[0].endpoint_mut(3).unwrap().aside.failed(rig.now_ms);
    // All are fresh and busy but one, who must not be asked.
    assert_eq!(rig.asking(200), 0);
    rig.pass(45);
    assert_eq!(rig.asking(1), 1);
}

#[test]
fn a_request_that_ends_while_it_asks_leaves_nothing() {
    for ending in [Ending::Answered, Ending::Failed, Ending::Undecided, Ending::Erred] {
        for at in [None, Some(host(1)), Some("elsewhere:1".to_owned())] {
            let mut rig = stale("");
            let mut call = rig.start(0);
            let asked = rig.asked(&call);
            rig.answer(&mut call, asked[0], Some(IDLE));
            rig.vms[0].end(&rig.proxy, call, ending, at.as_deref());
            assert_eq!(rig.proxy.leftovers(), []);
        }
    }
}

#[test]
fn whatever_changes_meanwhile_the_request_goes_on_its_way() {
    // Who was asked is gone, and with it all others; then others are there.
    for (left, verdict) in [(0, Verdict::Aside), (2, Verdict::Steer)] {
        let mut rig = Rig::new(1, "{}");
        let hosts: Vec<String> = (0..6).map(host).collect();
        let list: Vec<_> = hosts.iter().map(|host| (host.as_str(), 0, "HEALTHY")).collect();
        rig.admin = Some(admin(&list[..4]));
        rig.id(0);
        rig.ticks(8);
        rig.hear_all(&[busy(3.0); 4]);
        rig.pass(45);
        let mut call = rig.start(0);
        assert_eq!(call.verdict(), Verdict::Asking);
        let asked = rig.asked(&call);
        rig.admin = Some(admin(&list[4..4 + left]));
        rig.ticks(8);
        for slot in &asked {
            rig.answer(&mut call, *slot, Some(IDLE));
        }
        rig.settle(&mut call);
        assert_eq!(call.verdict(), verdict);
        if left > 0 {
            assert!(hosts[4..].contains(&rig.pick(0, &call)), "never one that is gone");
        }
        rig.end(0, call, Ending::Answered);
        rig.ticks(8);
        assert_eq!(rig.proxy.leftovers(), []);
    }
    // Another configuration is in force.
    for config in
        [servers(20, r#","enabled":false"#), servers(20, r#","estimate":{"reports":false}"#)]
    {
        let mut rig = stale("");
        let mut call = rig.start(0);
        rig.config = Config::parse(config.as_bytes()).unwrap();
        rig.settle(&mut call);
        assert_eq!(call.verdict(), Verdict::Steer);
        rig.end(0, call, Ending::Answered);
        assert_eq!(rig.proxy.leftovers(), []);
    }
}

#[test]
fn where_no_answer_leaves_anybody_to_choose_own_counts_decide() {
    let drains = Load { draining: true, ..IDLE };
    for word in [Some(drains), None] {
        let mut rig = Rig::new(1, &servers(2, r#","probe":{"mode":"always"}"#));
        rig.pass(100);
        let mut call = rig.start(0);
        for slot in rig.asked(&call) {
            rig.answer(&mut call, slot, word);
        }
        rig.settle(&mut call);
        assert_eq!(call.verdict(), Verdict::Steer, "{word:?}");
        rig.end(0, call, Ending::Answered);
    }
}

#[test]
fn in_shadow_mode_nobody_waits() {
    let mut rig = stale(r#","rollout":{"mode":"shadow"}"#);
    for _ in 0..20 {
        let call = rig.start(0);
        assert_eq!(call.verdict(), Verdict::Shadow);
        rig.end(0, call, Ending::Answered);
    }
}

#[test]
fn where_the_proxy_chose_who_was_asked_silence_blames_nobody() {
    let blames = |anybody: bool| {
        let mut rig = stale(r#","probe":{"budget":100000}"#);
        for _ in 0..100 {
            let mut call = rig.start(0);
            if anybody {
                call.asks_anybody();
            }
            rig.settle(&mut call);
            rig.end(0, call, Ending::Undecided);
        }
        let cluster = &rig.vms[0].clusters[0];
        (0..20).any(|slot| cluster.endpoint(slot).unwrap().view.share() < 1.0)
    };
    assert!(!blames(true));
    assert!(blames(false));
}
