use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::test;

/// A server of some slots whose queue is first in, first out, its twin, and a stream of requests.
struct Bench {
    rng: fastrand::Rng,
    twin: Twin,
    now: f64,
    ticked: f64,
    /// When each slot is free, and the latency and number of others of each request that is there,
    /// by its end: all in milliseconds.
    free: Vec<f64>,
    there: VecDeque<(f64, f64, usize)>,
}

const TICK_MS: f64 = 250.0;

impl Bench {
    fn new(slots: usize, seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            twin: Twin::default(),
            now: 0.0,
            ticked: 0.0,
            free: vec![0.0; slots],
            there: VecDeque::new(),
        }
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.rng.f64()).ln()
    }

    /// All that happens until `now`.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    fn catch_up(&mut self) {
        loop {
            let end = self.there.front().map_or(f64::MAX, |request| request.0);
            let tick = self.ticked + TICK_MS;
            if end.min(tick) > self.now {
                return;
            }
            if end <= tick {
                let Some((_, took, others)) = self.there.pop_front() else { return };
                self.twin.ended(others as f32, (took * 1_000.0) as f32);
            } else {
                self.ticked = tick;
                self.twin.tick(TICK_MS as f32, &TwinTuning::default());
            }
        }
    }

    /// Requests for so long, at `load` of what the server can serve, if they take `mean_ms` each.
    fn run(&mut self, seconds: f64, load: f64, mean_ms: f64) -> &mut Self {
        let (until, slots) = (self.now + seconds * 1_000.0, self.free.len());
        #[expect(clippy::cast_precision_loss)]
        let gap = mean_ms / load / slots as f64;
        while self.now < until {
            self.now += self.exponential(gap);
            self.catch_up();
            let service = self.exponential(mean_ms);
            let (now, others) = (self.now, self.there.len());
            let slot = self.free.iter_mut().min_by(|a, b| a.total_cmp(b)).unwrap();
            *slot = slot.max(now) + service;
            let at = self.there.partition_point(|request| request.0 < *slot);
            self.there.insert(at, (*slot, *slot - now, others));
        }
        self
    }

    /// What was learned: service time in ms, and slots.
    fn fit(&self) -> (f32, f32) {
        let fit = self.twin.model.learned().unwrap();
        (fit.service_us / 1_000.0, fit.slots)
    }
}

/// The middle of what some seeds find: service time in ms, and slots.
fn middle(fits: impl Fn(u64) -> (f32, f32)) -> (f32, f32) {
    let all: Vec<_> = (0..7).map(fits).collect();
    let of = |pick: fn(&(f32, f32)) -> f32| {
        let mut all: Vec<f32> = all.iter().map(pick).collect();
        all.sort_by(f32::total_cmp);
        all[3]
    };
    (of(|fit| fit.0), of(|fit| fit.1))
}

fn near(value: f32, truth: f32, by: f32) -> bool {
    (value / truth - 1.0).abs() <= by
}

#[test]
fn service_time_and_slots_are_found_from_latencies() {
    for (slots, truth) in [(1, 1.0), (4, 4.0), (16, 16.0)] {
        for load in [0.3, 0.5, 0.9] {
            let (service, found) =
                middle(|seed| Bench::new(slots, seed).run(20.0, load, 10.0).fit());
            assert!(near(service, 10.0, 0.15), "{slots} slots, load {load}: {service} ms");
            // More than are in use on average, and one, is believed of nobody who was not seen busy.
            let least = (truth * load + 1.0).min(0.85 * truth);
            assert!((least..1.15 * truth).contains(&f64::from(found)), "{slots}, {load}: {found}");
        }
    }
}

#[test]
fn for_a_second_and_for_three_times_of_service_nothing_is_told() {
    for (took_ms, early_ticks) in [(10.0, 4), (490.0, 6), (3.6e6, 40)] {
        let mut twin = Twin::default();
        for tick in 1..=early_ticks {
            twin.ended(0.0, took_ms * 1_000.0);
            assert_eq!(twin.load(1.0).service_us, None, "{took_ms} ms, tick {tick}");
            twin.tick(250.0, &TwinTuning::default());
        }
        assert!(twin.load(1.0).service_us.is_some(), "{took_ms} ms");
    }
}

#[test]
fn one_that_was_never_seen_idle_learns_its_slots_from_the_first_gap() {
    let (service, slots) = middle(|seed| Bench::new(4, seed).run(60.0, 0.97, 10.0).fit());
    assert!(near(service, 10.0, 0.15) && near(slots, 4.0, 0.15), "{service} ms, {slots}");
}

#[test]
fn overload_takes_nothing_away_from_what_was_known() {
    for (slots, truth) in [(1, 1.0), (4, 4.0), (16, 16.0)] {
        let (service, found) =
            middle(|seed| Bench::new(slots, seed).run(20.0, 0.7, 10.0).run(30.0, 1.3, 10.0).fit());
        assert!(near(service, 10.0, 0.2), "{slots} slots: {service} ms");
        assert!(near(found, truth, 0.2), "{slots} slots: {found}");
    }
}

#[test]
fn a_server_that_gets_more_than_it_can_do_is_not_taken_for_one_of_many_slots() {
    let mut bench = Bench::new(4, 1);
    let (_, before) = bench.run(20.0, 0.8, 10.0).fit();
    // More come within a quarter of a second than can end. Of those that found up to four hundred
    // there, the short ones have ended, each after 15 ms: 24 at a time.
    for others in 0..400_u16 {
        bench.twin.ended(f32::from(others), 15_000.0);
    }
    bench.twin.tick(250.0, &TwinTuning::default());
    let (_, slots) = bench.fit();
    assert!(slots < before.max(24.0) + 4.0, "{slots}, {before} before");
}

#[test]
fn what_was_learned_in_an_overload_does_not_outweigh_what_comes_after() {
    let mut twin = Twin::default();
    let mut quarters = |quarters: usize, others: u16, took_ms: f32, count: usize| {
        for _ in 0..quarters {
            (0..count).for_each(|_| twin.ended(f32::from(others), took_ms * 1_000.0));
            twin.tick(250.0, &TwinTuning::default());
        }
        twin.load(0.0).service_us.unwrap() / 1_000.0
    };
    // Ten seconds of four hundred a second, which share what serves sixteen in 40 ms.
    let alone = quarters(40, 1_000, 2_500.0, 100);
    assert!(alone > 300.0, "nothing shows how long one alone takes: {alone} ms");
    let alone = quarters(8, 4, 40.0, 5);
    assert!(alone < 80.0, "{alone} ms after forty requests that took 40");
}

/// What a twin tells to which `all` were told, each so many times: others in flight, and a mean of
/// exponential latencies in ms.
fn told(twin: &mut Twin, all: &[(u16, f32, usize)], rng: &mut fastrand::Rng) -> (f32, f32) {
    for (others, mean_ms, count) in all {
        for _ in 0..*count {
            twin.ended(f32::from(*others), -mean_ms * 1_000.0 * (1.0 - rng.f32()).ln());
        }
    }
    twin.tick(250.0, &TwinTuning::default());
    let fit = twin.model.learned().unwrap();
    (fit.service_us / 1_000.0, fit.slots)
}

#[test]
fn few_slots_that_were_learned_early_are_given_up_where_latencies_stay_the_same() {
    let rng = &mut fastrand::Rng::with_seed(1);
    // By these, a request that finds 52 others takes 106 ms: about what they do take.
    let early = [3_000.0, 1.5, 1.0, 10_000.0];
    let model = Model::of(&mut core::iter::empty(), (0.0, 0.0), &early);
    let mut twin = Twin { model, ..Twin::default() };
    let mut later = (0.0, 0.0);
    for _ in 0..60 {
        later = told(&mut twin, &[(44, 120.0, 40), (52, 120.0, 50), (60, 120.0, 20)], rng);
    }
    assert!(near(later.0, 120.0, 0.15) && later.1 > 40.0, "{later:?}");
}

#[test]
fn a_few_short_latencies_do_not_outweigh_thousands() {
    let rng = &mut fastrand::Rng::with_seed(1);
    let mut twin = Twin::default();
    for _ in 0..60 {
        told(&mut twin, &[(40, 120.0, 40), (60, 120.0, 60), (80, 120.0, 40)], rng);
    }
    // As in the first moments of a server, when only the short ones have ended.
    let all: Vec<_> = (10..20).map(|others| (others, 12.0, 2)).collect();
    let (service, slots) = told(&mut twin, &all, rng);
    assert!(near(service, 120.0, 0.2) && slots > 60.0, "{service} ms, {slots}");
}

#[test]
fn long_requests_that_end_last_do_not_make_a_server_slow() {
    let rng = &mut fastrand::Rng::with_seed(1);
    let mut twin = Twin::default();
    for _ in 0..40 {
        told(&mut twin, &[(4, 40.0, 25)], rng);
    }
    // No more come. Of those that are there, a few take their seconds, one after the other.
    for seconds in 1..10_u8 {
        twin.ended(f32::from(10 - seconds), 1e6 * f32::from(seconds));
        (0..4).for_each(|_| twin.tick(250.0, &TwinTuning::default()));
        let (service, _) = told(&mut twin, &[], rng);
        assert!(service < 60.0, "{service} ms after {seconds} s");
    }
}

#[test]
fn a_quiet_hour_takes_nothing_away_either() {
    let mut bench = Bench::new(16, 3);
    let (_, slots) = bench.run(20.0, 0.8, 10.0).fit();
    let later = bench.run(120.0, 0.02, 10.0).fit();
    assert!(near(later.0, 10.0, 0.2) && near(later.1, slots, 0.1), "{later:?}");
    bench.catch_up();
    bench.now += 3_600_000.0;
    bench.catch_up();
    let (service, slots) = bench.fit();
    assert!(near(service, 10.0, 0.2) && near(slots, later.1, 0.01), "{service} ms, {slots}");
    assert_eq!(bench.twin.rates(), Rates::default());
}

#[test]
fn speed_that_changes_is_noticed_within_five_seconds() {
    for slots in [1_usize, 4] {
        for (load, before, after) in [(0.3, 10.0, 20.0), (0.6, 20.0, 10.0)] {
            let later = load * after / before;
            let (service, _) = middle(|seed| {
                let mut bench = Bench::new(slots, seed);
                bench.run(20.0, load, before).run(5.0, later, after).fit()
            });
            let service = f64::from(service);
            assert!((service - after).abs() < 0.25 * after, "{service} ms, not {after}");
        }
    }
}

#[test]
fn streams_of_hours_poison_nothing() {
    let with_streams = |every: usize| {
        middle(|seed| {
            let mut bench = Bench::new(4, seed);
            for n in 0..200 {
                bench.run(0.1, 0.6, 10.0);
                if n % every == every - 1 {
                    bench.twin.ended(1.0, 3.6e9);
                }
            }
            bench.fit()
        })
    };
    // One in ten seconds, one in a second: of four thousand, or of two hundred and forty.
    for (every, by) in [(100, 0.1), (10, 0.15)] {
        let (service, slots) = with_streams(every);
        assert!(near(service, 10.0, by) && near(slots, 4.0, 0.25), "{service} ms, {slots}");
    }
}

#[test]
fn a_first_request_of_hours_is_forgotten() {
    let mut bench = Bench::new(4, 5);
    bench.twin.ended(0.0, 3.6e9);
    let (service, _) = bench.run(60.0, 0.6, 10.0).fit();
    assert!(near(service, 10.0, 0.5), "{service} ms after a minute");
    let (service, slots) = bench.run(120.0, 0.6, 10.0).fit();
    assert!(near(service, 10.0, 0.15) && near(slots, 4.0, 0.15), "{service} ms, {slots}");
}

fn any_number() -> impl Strategy<Value = f32> {
    prop_oneof![any::<f32>(), 0.0..1e4f32, 0.0..1e9f32, Just(f32::NAN), Just(f32::INFINITY)]
}

#[derive(Clone, Debug)]
enum Event {
    Ended(f32, f32),
    Failed,
    Asked,
    Tick(f32),
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (any_number(), any_number()).prop_map(|(others, took)| Event::Ended(others, took)),
        1 => Just(Event::Failed),
        1 => Just(Event::Asked),
        2 => any_number().prop_map(Event::Tick),
        2 => Just(Event::Tick(250.0)),
    ]
}

fn check(twin: &Twin) {
    let load = twin.load(1.0);
    assert!(load.service_us.is_none_or(|service| (1.0..=6e8).contains(&service)), "{load:?}");
    assert!(load.slots.is_none_or(|slots| (1.0..=65_536.0).contains(&slots)), "{load:?}");
    assert!((0.0..=1.0).contains(&load.asks), "{load:?}");
    let Rates { ended, failed, asked } = twin.rates();
    assert!([ended, failed, asked].iter().all(|rate| (0.0..2e15).contains(rate)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_is_bounded(events in prop::collection::vec(any_event(), 0..200)) {
        let (proxy, tuning) = (crate::memory::Memory::default(), TwinTuning::default());
        let (mut alone, mut shared) = (Twin::default(), Twin::default());
        for event in events {
            for twin in [&mut alone, &mut shared] {
                match event {
                    Event::Ended(others, took) => twin.ended(others, took),
                    Event::Failed => twin.failed(),
                    Event::Asked => twin.asked(),
                    Event::Tick(_) => {}
                }
            }
            if let Event::Tick(elapsed_ms) = event {
                alone.tick(elapsed_ms, &tuning);
                shared.exchange(&proxy, "twin:x", Some(elapsed_ms), &tuning).unwrap();
            }
            check(&alone);
            check(&shared);
        }
    }

    #[test]
    fn a_record_of_any_content_is_bounded(
        numbers in prop::array::uniform7(prop::collection::vec(any_number(), 0..300)),
        counts in prop::collection::vec(any::<u32>(), 0..5), share in any_number(),
    ) {
        use prost::Message as _;
        use crate::proxy::Proxy as _;
        let [sums, recent, fit, rates, ..] = numbers;
        let rates: Vec<_> = rates.into_iter().take(3).collect();
        let recent = recent.into_iter().take(2).collect();
        let fit = fit.into_iter().take(2).collect();
        let record = crate::records::Server { sums, recent, counts, fit, rates, share, unwell_ms: 0 };
        let proxy = crate::memory::Memory::default();
        let key = crate::records::server_key("twin:x");
        assert!(proxy.shared_swap(&key, &record.encode_to_vec(), None));
        let mut twin = Twin::default();
        for elapsed_ms in [None, Some(0.0), Some(250.0), Some(250.0)] {
            twin.ended(3.0, 1_000.0);
            twin.exchange(&proxy, "twin:x", elapsed_ms, &TwinTuning::default()).unwrap();
            check(&twin);
        }
    }
}
