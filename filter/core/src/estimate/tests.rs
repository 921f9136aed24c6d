use proptest::prelude::*;

use super::*;
use crate::load::{LONGEST_SERVICE_US, MOST_IN_FLIGHT};
use crate::test;

const NOW: u64 = 50_000_000;
const TUNING: Tuning = Tuning {
    service_weight: 0.2,
    jitter: 0.1,
    fresh: 0.5,
    fade: 3.0,
    stale_samples: 4,
    ask_pool: 10,
    good_enough: 1.6,
    caution: 0.85,
    stamp_every: 0.1,
    spread: 3.0,
};
const USUAL: Usual = Usual {
    service_us: 20_000.0,
    slots: 2.0,
    others: 3.0,
    fastest_us: 5_000.0,
    ratio: 1.0,
    faults: 0.0,
    judged: 1.0,
    timed: 1.0,
    own_part: 0.5,
};

fn load(in_flight: f32) -> Load {
    Load {
        in_flight,
        service_us: Some(10_000.0),
        slots: Some(4.0),
        draining: false,
        asks: 1.0,
        all: false,
    }
}

/// A view that has heard `load` at [`NOW`].
fn heard(load: &Load, own: f32) -> View {
    let mut view = View::default();
    view.hear(load, own, NOW);
    view
}

/// What it tells so many microseconds later.
fn later(view: &View, us: u64) -> Sight {
    view.sight(NOW + us, &USUAL, &TUNING)
}

/// For how many microseconds it is as good as known what others have there.
fn fresh_for(view: &View) -> u64 {
    later(view, 0).fresh_until_us - NOW
}

/// A server that has just said how it is, on its own.
const SURE: Sight = Sight {
    fresh_until_us: NOW,
    others: 0.0,
    spread: 0.0,
    own_part: 0.0,
    service_us: 10_000.0,
    slots: 4.0,
};

/// What a request costs there that finds so many of this proxy.
fn cost_us(sight: Sight, own: f32) -> f32 {
    sight.outlook(&TUNING).cost_us(own)
}

/// How long it takes.
fn expected_us(sight: Sight, own: f32) -> f32 {
    sight.outlook(&TUNING).expected_us(own)
}

/// How many others it finds.
fn others_beside(sight: Sight, own: f32) -> f32 {
    sight.outlook(&TUNING).in_flight(own) - own - 1.0
}

fn near(a: f32, b: f32) -> bool {
    (a - b).abs() <= 1e-3 * b.abs().max(1.0)
}

#[test]
fn the_cost_is_the_wait_and_a_part_of_the_service_time() {
    let sight = Sight { others: 2.0, ..SURE };
    // Free slots: no wait, whatever is in flight.
    for own in [0.0, 1.0] {
        assert!(near(cost_us(sight, own), 2_000.0), "{own}");
        assert!(near(expected_us(sight, own), 10_000.0), "{own}");
    }
    // Two requests for each slot: one service time of waiting.
    assert!(near(cost_us(sight, 5.0), 12_000.0));
    assert!(near(expected_us(sight, 5.0), 20_000.0));
    let heavier = Tuning { service_weight: 1.0, ..TUNING };
    assert!(near(sight.outlook(&heavier).cost_us(5.0), 20_000.0));
    // A busy fast server may be better than an idle slow one.
    let slow = Sight { others: 0.0, service_us: 100_000.0, ..sight };
    assert!(cost_us(sight, 5.0) < cost_us(slow, 0.0));
}

#[test]
fn of_many_slots_some_are_left_out() {
    let wide = Sight { slots: 24.0, ..SURE };
    assert!(near(cost_us(wide, 20.0), 2_000.0));
    assert!(near(cost_us(wide, 41.0), 12_000.0));
    // It is about the choice alone.
    assert!(near(expected_us(wide, 23.0), 10_000.0));
    for slots in [1.0, 2.5, 4.0] {
        let few = Sight { slots, ..wide };
        assert!(near(cost_us(few, slots - 1.0), 2_000.0), "{slots}");
    }
}

#[test]
fn where_reports_are_stale_own_requests_tell_of_others() {
    // Of nine requests this proxy has one on average, and others eight.
    let fresh = Sight { others: 8.0, own_part: 0.125, ..SURE };
    let stale = Sight { spread: 3.0, ..fresh };
    for own in [0.0, 1.0, 8.0] {
        assert!(near(others_beside(fresh, own), 8.0), "{own}");
    }
    assert!(near(others_beside(stale, 1.0), 8.0), "as many as usual");
    assert!(near(others_beside(stale, 0.0), 2.0));
    assert!(near(others_beside(stale, 4.0), 26.0));
    // Others may use this endpoint alone.
    let skewed = Sight { others: 20.0, own_part: 1.0, ..stale };
    assert!(near(others_beside(skewed, 0.0), 5.0));
    // The more is uncertain, the more they tell.
    let (unsure, known) = (Sight { spread: 1.0, ..stale }, Sight { spread: 1e-3, ..stale });
    assert!(others_beside(unsure, 4.0) < others_beside(stale, 4.0));
    assert!(others_beside(known, 4.0) < others_beside(unsure, 4.0));
    // A proxy that is alone has no others, however much it has.
    let alone = Sight { others: 0.0, own_part: 1e3, ..stale };
    assert!(near(others_beside(alone, 100.0), 0.0));

    let view = heard(&load(8.0), 0.0);
    for (services, spread) in [(0, 0.0), (15, 1.5), (30, 3.0), (300, 3.0)] {
        assert!(near(later(&view, services * 1_000).spread, spread), "{services} tenths");
    }
    assert!(near(View::default().sight(NOW, &USUAL, &TUNING).spread, 3.0));
}

#[test]
fn how_long_a_request_takes_is_not_known_where_the_time_of_service_is_not() {
    let unknown = Sight { service_us: 0.0, ..SURE };
    assert!(near(expected_us(unknown, 100.0), 0.0));
    // Counts decide then.
    assert!(cost_us(unknown, 9.0) > cost_us(unknown, 6.0));
}

#[test]
fn a_stamp_is_wanted_where_none_was_asked_for_a_moment_ago() {
    let wants = |view: &mut View, us| view.wants_stamp(us, false, &TUNING);
    let mut view = View::default();
    // Who has not reported is asked each time: it may have no twin, which three answers show.
    assert!((0..5).all(|us| wants(&mut view, NOW + us)));
    view.hear(&load(0.0), 0.0, NOW);
    let wanted = [10, 11, 1_009, 1_010, 1_011, 2_010].map(|us| wants(&mut view, NOW + us));
    assert_eq!(wanted, [true, false, false, true, false, true], "a tenth of 10 ms");
    // It does not say how long requests take.
    view.hear(&Load { service_us: None, ..load(0.0) }, 0.0, NOW + 3_000);
    assert!((0..5).all(|us| wants(&mut view, NOW + 3_010 + us)));
    let forgotten = NOW + 3_000 + LONGEST_US + 1;
    assert!((0..5).all(|_| wants(&mut view, forgotten)));
    // Who has no twin may get one.
    let mut seldom = |ms: u64| view.wants_stamp(forgotten + ms * 1_000, true, &TUNING);
    assert_eq!([0, 249, 250, 499, 500].map(&mut seldom), [false, false, true, false, true]);
    // Once it has one it is asked as often as the others.
    view.hear(&load(0.0), 0.0, forgotten + 510_000);
    assert_eq!([0, 1].map(|us| wants(&mut view, forgotten + 511_000 + us)), [true, false]);
}

#[test]
fn of_what_is_reported_this_proxys_own_is_taken_off() {
    for (in_flight, own, others) in [(7.0, 2.0, 5.0), (7.0, 7.0, 0.0), (3.0, 9.0, 0.0)] {
        assert!(near(later(&heard(&load(in_flight), own), 0).others, others));
    }
}

#[test]
fn the_older_the_news_the_greater_the_doubt() {
    // Then half a request of others may have come or gone unseen: of four after an eighth of 10 ms.
    for (others, us) in [(4.0, 1_247), (0.5, 9_804), (0.45, 50_000), (0.25, 250_000)] {
        let fresh_for = fresh_for(&heard(&load(others), 0.0));
        assert!(fresh_for.abs_diff(us) <= 1, "{others}: {fresh_for}");
    }
    // Where nobody else sent, hardly anything goes unseen, for fifty times of service.
    assert!(fresh_for(&heard(&load(4.0), 4.0)).abs_diff(500_000) <= 1);
    // Where others usually send, an empty server is no news for long.
    let mut busy = View::default();
    for _ in 0..50 {
        busy.hear(&load(8.0), 0.0, NOW);
    }
    busy.hear(&load(0.0), 0.0, NOW);
    assert!((1..1_000).contains(&fresh_for(&busy)));
}

#[test]
fn what_others_have_goes_back_to_what_they_usually_have() {
    let mut view = heard(&load(10.0), 0.0);
    view.hear(&load(0.0), 0.0, NOW);
    // The newest report adds a fifth to the usual.
    assert!(near(later(&view, 0).others, 0.0));
    let a_fade = later(&view, 30_000).others;
    assert!(near(a_fade, 8.0 * (1.0 - (-1.0_f32).exp())), "{a_fade}");
    assert!(near(later(&view, LONGEST_US).others, 8.0));
    // From above as from below.
    let mut view = heard(&load(0.0), 0.0);
    view.hear(&load(10.0), 0.0, NOW);
    assert!(near(later(&view, 0).others, 10.0) && near(later(&view, LONGEST_US).others, 2.0));
}

#[test]
fn of_whom_nothing_is_known_the_usual_is_thought() {
    let sight = View::default().sight(NOW, &USUAL, &TUNING);
    assert!(near(sight.others, 3.0) && sight.fresh_until_us == 0);
    let alone = View::default().sight(NOW, &Usual { others: 0.5, ..USUAL }, &TUNING);
    assert_eq!(alone.fresh_until_us, u64::MAX, "there is hardly anybody else");
    assert!(near(sight.service_us, 20_000.0) && near(sight.slots, 2.0));
    // One that does not know its own speed is taken for as fast as the others.
    let unsure = Load { service_us: None, ..load(1.0) };
    let sight = later(&heard(&unsure, 0.0), 0);
    assert!(near(sight.others, 1.0));
    assert!(near(sight.service_us, 20_000.0) && near(sight.slots, 2.0));
    // Without slots it serves one at a time.
    assert!(near(later(&heard(&Load { slots: None, ..load(1.0) }, 0.0), 0).slots, 1.0));
    // Before anything is usual, all cost the same, and not nothing.
    let blank = View::default().sight(NOW, &Usual::default(), &TUNING);
    assert!(cost_us(blank, 0.0) > 0.0 && cost_us(blank, 1.0).is_finite());
}

#[test]
fn a_report_is_forgotten() {
    let view = heard(&Load { draining: true, ..load(9.0) }, 0.0);
    assert!(!View::default().is_known(NOW) && !View::default().is_draining(NOW));
    for (us, known) in [(0, true), (LONGEST_US, true), (LONGEST_US + 1, false)] {
        assert_eq!(view.is_known(NOW + us), known, "{us}");
        assert_eq!(view.is_draining(NOW + us), known, "{us}");
        assert_eq!(near(later(&view, us).service_us, 10_000.0), known, "{us}");
    }
    // A clock that went back makes nothing old.
    assert!(view.is_known(0) && near(view.sight(0, &USUAL, &TUNING).others, 9.0));
    // What it said before it was forgotten is not its usual.
    let mut view = view;
    view.hear(&load(1.0), 0.0, NOW + LONGEST_US + 1);
    assert!(!view.is_draining(NOW + LONGEST_US + 1));
    assert!(near(view.sight(NOW + 2 * LONGEST_US, &USUAL, &TUNING).others, 1.0));
}

#[test]
fn whoever_does_not_answer_is_asked_less_but_never_not_at_all() {
    let mut view = heard(&Load { asks: 0.5, ..load(0.0) }, 0.0);
    assert!(near(view.share(), 0.5));
    view.missed();
    assert!(near(view.share(), 0.25));
    (0..100).for_each(|_| view.missed());
    assert!(near(view.share(), 0.5 / 64.0));
    // Half a minute of ticks later it may be asked as before.
    (0..120).for_each(|_| view.fade());
    assert!(near(view.share(), 0.5));
    view.missed();
    view.answered();
    assert!(near(view.share(), 0.5));
}

#[test]
fn what_is_usual_is_the_mean_of_those_who_say() {
    let mut service = [Some(10_000.0), None, Some(30_000.0), None];
    // In whatever order.
    for turn in 0..4 {
        service.rotate_left(1);
        let mut usual = Usual::default();
        for (count, service_us) in [1.0, 2.0, 3.0, 4.0].into_iter().zip(service) {
            let said = Load { service_us, ..load(2.0) };
            heard(&said, 0.0).add_to(&mut usual, count, false);
        }
        assert!(near(usual.others, 2.0));
        assert!(near(usual.service_us, 20_000.0), "turn {turn}: {usual:?}");
        assert!(near(usual.slots, 4.0), "turn {turn}: {usual:?}");
        assert!(near(usual.fastest_us, 10_000.0));
        // A newcomer's speed says little of what is usual.
        let cold = Load { service_us: Some(1_000.0), slots: Some(9.0), ..load(2.0) };
        heard(&cold, 0.0).add_to(&mut usual, 5.0, true);
        assert!(near(usual.service_us, 20_000.0) && near(usual.fastest_us, 10_000.0));
        assert!(near(usual.slots, 4.0) && near(usual.others, 2.0));
    }
}

fn any_load() -> impl Strategy<Value = Load> {
    let number = |most: f32| prop_oneof![Just(0.0), Just(most), 0.0..most];
    let service = prop_oneof![Just(1.0), number(LONGEST_SERVICE_US).prop_map(|us| us.max(1.0))];
    let slots = number(MOST_IN_FLIGHT).prop_map(|slots| slots.max(1.0));
    (
        number(MOST_IN_FLIGHT),
        proptest::option::of(service),
        proptest::option::of(slots),
        any::<bool>(),
        0.0_f32..=1.0,
    )
        .prop_map(|(in_flight, service_us, slots, draining, asks)| Load {
            in_flight,
            service_us,
            slots,
            draining,
            asks,
            all: false,
        })
}

fn any_time() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), any::<u64>(), 0..100_000_000_u64]
}

proptest! {
    #[test]
    fn whatever_is_heard_whenever_every_number_stays_one(
        news in proptest::collection::vec((any_load(), 0.0_f32..1e12, any_time()), 1..20),
        looks in proptest::collection::vec((any_time(), 0.0_f32..1e12), 1..10),
    ) {
        let (mut view, mut usual) = (View::default(), Usual::default());
        for (load, own, now_us) in news {
            view.hear(&load, own, now_us);
            view.add_to(&mut usual, 1.0, false);
            for (now_us, own) in &looks {
                for usual in [&usual, &Usual::default(), &USUAL] {
                    let sight = view.sight(*now_us, usual, &TUNING);
                    let cost = cost_us(sight, *own);
                    prop_assert!(cost.is_finite() && cost > 0.0, "{cost}");
                    prop_assert!(expected_us(sight, *own) >= sight.service_us);
                    prop_assert!(sight.others >= 0.0 && sight.slots >= 1.0);
                    // One more never costs less.
                    prop_assert!(cost_us(sight, own + 1.0) >= cost);
                }
            }
        }
        prop_assert!((0.0..=1.0).contains(&view.share()));
    }
}
