use proptest::prelude::*;

use super::*;
use crate::test;

const USUAL: Usual = Usual {
    service_us: 10_000.0,
    slots: 1.0,
    others: 0.0,
    fastest_us: 10_000.0,
    ratio: 1.0,
    faults: 0.0,
    judged: 1.0,
    timed: 1.0,
    own_part: 0.0,
};

/// One whose requests took so many times as long as expected, often enough to be sure.
fn slower(times: f32) -> Experience {
    let mut seen = Experience::default();
    (0..400).for_each(|_| seen.took(times * 1_000.0, 1_000.0));
    seen
}

fn near(a: f32, b: f32) -> bool {
    (a - b).abs() <= 0.02 * b
}

#[test]
fn a_liar_is_held_against_what_is_usual() {
    assert!(near(Experience::default().mistrust(&USUAL), 1.0));
    assert!(near(slower(1.9).mistrust(&USUAL), 1.0), "models differ by so much");
    assert!(near(slower(4.0).mistrust(&USUAL), 4.0));
    // Where everybody takes longer than expected, that is no lie.
    assert!(near(slower(4.0).mistrust(&Usual { ratio: 3.0, ..USUAL }), 1.0));
    assert!(near(slower(8.0).mistrust(&Usual { ratio: 2.0, ..USUAL }), 4.0));
    // A faster one is not trusted more.
    assert!(near(slower(0.2).mistrust(&USUAL), 1.0));
}

#[test]
fn one_of_two_does_not_make_its_own_delays_usual() {
    for (servers, known) in [(2, true), (3, true), (20, true), (2, false)] {
        let mut all = vec![slower(1.0); servers];
        all[0] = slower(8.0);
        let mut usual = Usual::default();
        for (count, seen) in (1_u8..).zip(&mut all) {
            seen.add_to(&mut usual, f32::from(count), true);
        }
        if known {
            assert!(near(all[0].mistrust(&usual), 8.0), "of {servers}");
            assert!(near(all[1].mistrust(&usual), 1.0), "of {servers}");
        } else {
            // As one of the others is compared.
            all[0].leave_out();
            assert!(near(all[0].mistrust(&Usual { ratio: 4.0, ..usual }), 1.0));
        }
    }
    // Who is alone cannot be compared with anybody; nor who stands beside those that say nothing of how
    // long they take.
    for others in [0_u8, 1, 20] {
        let (mut alone, mut usual) = (slower(8.0), Usual::default());
        assert!(near(alone.mistrust(&usual), 1.0));
        alone.add_to(&mut usual, 1.0, true);
        for other in 0..others {
            Experience::default().add_to(&mut usual, f32::from(other) + 2.0, false);
        }
        assert!(near(alone.mistrust(&usual), 1.0), "beside {others}");
    }
}

#[test]
fn mistrust_is_bounded_and_takes_more_than_a_few_requests() {
    assert!(near(slower(1e9).mistrust(&USUAL), MOST));
    assert!(near(slower(1e9).mistrust(&Usual { ratio: 0.0, ..USUAL }), MOST));
    let mut seen = Experience::default();
    seen.took(1e9, 1_000.0);
    assert!(near(seen.mistrust(&USUAL), 1.0), "one outlier");
    seen.took(1e9, 1_000.0);
    assert!(seen.mistrust(&USUAL) > 2.0, "two in a row");
    // Where nothing was expected nothing is learned.
    let mut seen = Experience::default();
    (0..400).for_each(|_| seen.took(1e9, 0.0));
    assert!(near(seen.mistrust(&USUAL), 1.0));
}

#[test]
fn what_is_held_against_a_server_fades() {
    let mut seen = slower(16.0);
    (0..400).for_each(|_| seen.failed(true));
    let (mistrust, cost) = (seen.mistrust(&USUAL), seen.fault_cost(&USUAL));
    (0..40).for_each(|_| seen.fade(&USUAL));
    assert!(seen.mistrust(&USUAL) < 0.6 * mistrust && seen.fault_cost(&USUAL) < 0.6 * cost);
    // All of it within half a minute or so.
    (0..120).for_each(|_| seen.fade(&USUAL));
    assert!(near(seen.mistrust(&USUAL), 1.0));
    assert_eq!(seen.fault_cost(&USUAL).to_bits(), 0);
    // By what is seen, sooner.
    let mut seen = slower(16.0);
    (0..60).for_each(|_| seen.took(1_000.0, 1_000.0));
    assert!(near(seen.mistrust(&USUAL), 1.0));
}

#[test]
fn failures_cost_more_than_they_save_where_others_do_not_fail() {
    let mut seen = Experience::default();
    assert_eq!(seen.fault_cost(&USUAL).to_bits(), 0);
    (0..2).for_each(|_| seen.failed(true));
    assert_eq!(seen.fault_cost(&USUAL).to_bits(), 0, "within what is alike");
    (0..400).for_each(|_| seen.failed(true));
    assert!(near(seen.fault_cost(&USUAL), 20.0), "twenty times of service at most");
    assert_eq!(seen.fault_cost(&Usual { faults: 0.95, ..USUAL }).to_bits(), 0, "all fail");
    let half = seen.fault_cost(&Usual { faults: 0.5, ..USUAL });
    assert!(near(half, 10.0));
    (0..60).for_each(|_| seen.failed(false));
    assert_eq!(seen.fault_cost(&USUAL).to_bits(), 0);
}

#[test]
fn nothing_that_comes_back_is_a_stall_that_is_tried_again_less_and_less() {
    let stalled = |seen: &Experience, ms: u64| seen.stalled_us(ms * 1_000, 10_000.0) > 0.0;
    let mut seen = Experience::default();
    assert!(!stalled(&seen, 1_000_000), "nothing was sent");
    seen.sent(0);
    assert!(!stalled(&seen, 80) && stalled(&seen, 81));
    assert!((seen.stalled_us(100_000, 10_000.0) - 20_000.0).abs() < 1.0);
    // Twice as patient as before it is tried once more.
    assert!(stalled(&seen, 159) && !stalled(&seen, 160) && !stalled(&seen, 100_000));
    seen.sent(200_000);
    assert!(stalled(&seen, 200) && stalled(&seen, 399) && !stalled(&seen, 400));
    seen.sent(400_000);
    assert!(stalled(&seen, 799) && !stalled(&seen, 800));
    // One came back. The others may be streams.
    seen.returned();
    assert!(!stalled(&seen, 801) && !stalled(&seen, 1_000_000));
    seen.sent(1_000_000);
    assert!(!stalled(&seen, 1_080) && stalled(&seen, 1_081));
    assert!(!stalled(&seen, 0), "a clock that went back");
}

#[test]
fn three_answers_without_a_report_are_those_of_a_silent_server() {
    let mut seen = Experience::default();
    for silent in [false, false, true, true] {
        seen.unreported();
        assert_eq!(seen.is_silent(), silent);
    }
    seen.reported();
    seen.unreported();
    assert!(!seen.is_silent());
    seen.silence();
    assert!(seen.is_silent());
    (0..1_000).for_each(|_| seen.unreported());
    assert!(seen.is_silent());
}

proptest! {
    #[test]
    fn whatever_is_seen_every_number_stays_one_and_within_bounds(
        events in proptest::collection::vec((0..6_u8, 0.0_f32..1e15, 0.0_f32..1e15), 0..200),
        now_us in any::<u64>(),
        since_us in any::<u64>(),
    ) {
        let (mut seen, mut usual) = (Experience::default(), Usual::default());
        for (count, (what, a, b)) in (1_u8..).zip(events) {
            match what {
                0 => seen.took(a, b),
                1 => seen.took(a, 0.0),
                2 => seen.failed(true),
                3 => seen.failed(false),
                4 => seen.fade(&usual),
                _ => seen.add_to(&mut usual, f32::from(count), a < b),
            }
            let mistrust = seen.mistrust(&usual);
            prop_assert!((1.0..=MOST).contains(&mistrust), "{mistrust}");
            prop_assert!((0.0..=20.0).contains(&seen.fault_cost(&usual)));
        }
        seen.sent(since_us);
        let stalled = seen.stalled_us(now_us, 1_000.0);
        prop_assert!(stalled.is_finite() && stalled >= 0.0);
    }
}
