//! What happens to servers.

use super::*;

/// Requests at a server that has room for all of them, in a second.
fn steady() -> Value {
    json!({
        "servers": [{"count": 2, "slots": 100}],
        "traffic": {"rate": 200, "service": {"constant": {"value": "100ms"}}},
        "policies": ["round_robin"],
    })
}

fn with(event: &Value, more: Value) -> (Log, Figures) {
    let mut changes = steady();
    changes["events"] = json!([event]);
    merge(&mut changes, more);
    recorded(changes)
}

#[test]
fn a_crash_loses_what_is_there_and_fails_requests_until_the_news_arrives() {
    let crash = json!({"at": "4s", "for": "2s", "servers": {"count": 1}, "effect": {"crash": {}}});
    let (log, figures) = with(&crash, json!({"membership": {"delay": "500ms"}}));
    let failed: Vec<_> = log.told.iter().filter(|t| t.outcome == Outcome::Failed).collect();
    assert!(failed.iter().all(|told| told.server == 0 && told.stamp.is_none()));
    let (lost, refused): (Vec<_>, Vec<_>) =
        failed.into_iter().partition(|told| told.latency_ns > 2 * MS);
    // 100 a second: a tenth of a second's worth was there.
    about(lost.len(), 10.0);
    assert!(lost.iter().all(|told| told.at == 4_001 * MS));
    about(refused.len(), 50.0);
    assert!(refused.iter().all(|t| (4_000 * MS..4_503 * MS).contains(&t.at)));
    assert_eq!(figures.errors.failed, u64::try_from(lost.len() + refused.len()).unwrap());
    let after = |server| log.told.iter().filter(move |t| t.server == server && t.at > 7 * SECOND);
    about(after(0).count(), 300.0);
    about(after(1).count(), 300.0);
    assert_eq!(log.members.iter().map(|(.., count)| *count).collect::<Vec<_>>(), [2, 1, 2]);
}

#[test]
fn the_central_queue_survives_a_crash_too() {
    let figures = figures(json!({
        "servers": [{"count": 2, "slots": 2}],
        "traffic": {"load": 0.6, "retries": {"most": 1}},
        "policies": ["central"],
        "events": [
            {"at": "4s", "for": "2s", "servers": {"count": 1}, "effect": {"crash": {}}},
            {"at": "8s", "for": "1s", "effect": {"crash": {}}},
        ],
    }));
    assert_eq!(figures.served, figures.offered);
    assert!((800.0..1_050.0).contains(&figures.latency_ms.max), "{figures:?}");
}

#[test]
fn a_drain_fails_nothing_where_its_grace_is_longer_than_the_news() {
    let drain = |grace: &str, delay: &str| {
        let drain = json!({"drain": {"grace": grace}});
        let drain = json!({"at": "4s", "for": "2s", "servers": {"count": 1}, "effect": drain});
        with(&drain, json!({"membership": {"delay": delay}}))
    };
    let (log, figures) = drain("1s", "500ms");
    assert_eq!(figures.served, figures.offered);
    let there = log.told.iter().filter(|told| told.server == 0);
    let idle = there.clone().filter(|t| (4_700 * MS..6_500 * MS).contains(&t.at)).count();
    assert_eq!(idle, 0);
    about(there.filter(|told| told.at > 7 * SECOND).count(), 300.0);
    // What is there when it begins to refuse still ends.
    let (log, figures) = drain("500ms", "1s");
    about(usize::try_from(figures.errors.failed).unwrap(), 50.0);
    let mut failed = log.told.iter().filter(|told| told.outcome == Outcome::Failed);
    assert!(failed.all(|told| told.latency_ns == 2 * MS && told.server == 0));
}

#[test]
fn a_newcomer_warms_up() {
    let (log, figures) = recorded(json!({
        "servers": [
            {"count": 1, "slots": 100},
            {"name": "new", "count": 1, "slots": 100, "present": false,
                "warm_up": {"from": 0.2, "for": "2s"}},
        ],
        "traffic": {"rate": 200},
        "events": [{"at": "5s", "servers": {"group": "new"}, "effect": {"join": {}}}],
    }));
    for asked in &log.asked {
        // Its speed grows in twenty steps.
        #[allow(clippy::cast_precision_loss)]
        let since = asked.at as f64 / 1e9 - 5.0;
        let even = 0.2 + 0.8 * (since / 2.0).clamp(0.0, 1.0);
        if since > 0.0 {
            assert!((even - asked.speeds[1]).abs() <= 0.041, "{asked:?}");
        }
    }
    let slowest = log.told.iter().filter(|told| told.server == 1).map(|told| told.latency_ns);
    let slowest = slowest.max().unwrap();
    assert!((40 * MS..53 * MS).contains(&slowest), "{slowest}");
    let [joined] = figures.joined.as_slice() else { panic!("{figures:?}") };
    assert_eq!(joined.server, 1);
    equals(joined.at_s, 5.0);
    // Half of the picks are more than its share while it is slow: a sixth, and more with time.
    equals(joined.to_fair_share_s.unwrap(), 0.25);
    assert!((2.0..3.5).contains(&joined.most_of_fair_share), "{joined:?}");
}

#[test]
fn a_pause_stops_everything_and_loses_nothing() {
    let pause = json!([{"at": "5s", "for": "1s", "effect": {"speed": {"factor": 0}}}]);
    let (work, figures) = worked(json!({"events": pause}));
    assert_eq!(figures.served, figures.offered);
    assert!((1_000.0..=1_013.5).contains(&figures.latency_ms.max), "{figures:?}");
    equals(figures.latency_ms.p999, figures.latency_ms.max);
    equals(figures.latency_ms.p99, 12.0);
    assert_eq!(figures.offered, 9_000_u64.div_ceil(12));
    // Nine seconds could be worked, and the last request ended a little later.
    assert!((9e9..9.02e9).contains(&work[0].1), "{work:?}");
}

#[test]
fn half_the_speed_takes_twice_the_time() {
    let slow = json!([{"at": "0s", "effect": {"speed": {"factor": 0.5}}}]);
    let figures = figures(json!({"servers": [{"count": 1, "speed": 2}], "events": slow}));
    equals(figures.latency_ms.max, 12.0);
    let slow = json!([{"at": "0s", "every": "1s", "for": "500ms",
        "effect": {"speed": {"factor": 0.5}}}]);
    let (work, _) = worked(json!({"events": slow}));
    assert!((work[0].1 / 7.5e9 - 1.0).abs() < 0.005, "three quarters on average: {work:?}");
}

#[test]
fn an_event_repeats_and_staggers() {
    let (log, _) = recorded(json!({
        "servers": [{"count": 4, "slots": 9}],
        "traffic": {"rate": 5_000},
        "events": [{
            "at": "1s", "for": "100ms", "every": "2s", "stagger": "200ms",
            "servers": {"skip": 1, "count": 2},
            "effect": {"speed": {"factor": 0}}
        }],
    }));
    for asked in &log.asked {
        let within = asked.at % (2 * SECOND);
        let paused = |from: u64| (from * MS..(from + 100) * MS).contains(&within);
        let expected = [false, paused(1_000), paused(1_200), false];
        let seen: Vec<bool> = asked.speeds.iter().map(|speed| *speed == 0.0).collect();
        assert_eq!(seen, expected, "{asked:?}");
    }
}

#[test]
fn a_neighbour_takes_its_share_as_long_as_it_is_there() {
    let (work, figures) = worked(json!({
        "duration": "4000s",
        "servers": [{"count": 4, "antagonist":
            {"on": "1s", "off": "3s", "takes": [0.2, 0.6]}}],
        "traffic": {"rate": 1},
        "network": {"delay": "0s"},
    }));
    let speed: f64 = work.iter().map(|work| work.1 / 4e12 / 4.0).sum();
    assert!((speed - 0.9).abs() < 0.005, "0.4 on average, a quarter of the time: {speed}");
    equals(figures.latency_ms.p50, 10.0);
    assert!((16.0..=25.0).contains(&figures.latency_ms.p99), "{figures:?}");
}

#[test]
fn who_fails_fast_looks_idle() {
    let fail = |percent: u32| {
        let fail = json!({"fail": {"percent": percent, "after": "1ms"}});
        with(&json!({"at": "5s", "servers": {"count": 1}, "effect": fail}), json!({}))
    };
    let (log, figures) = fail(100);
    about(usize::try_from(figures.errors.failed).unwrap(), 500.0);
    let failed = |told: &&Told| told.outcome == Outcome::Failed;
    for told in log.told.iter().filter(failed).filter(|told| told.at > 5_200 * MS) {
        assert_eq!((told.server, told.latency_ns), (0, 3 * MS));
        assert!(told.stamp.unwrap().in_flight.abs() < 1e-6);
    }
    let late = log.told.iter().rfind(failed).unwrap().stamp.unwrap();
    assert!((75.0..125.0).contains(&late.error_rate) && late.utilization < 0.01, "{late:?}");
    about(usize::try_from(fail(20).1.errors.failed).unwrap(), 100.0);
}

#[test]
fn every_whole_percentage_of_a_hundred_has_so_many_twins() {
    for percent in 0..=100 {
        let scenario = scenario(json!({
            "servers": [{"count": 100}],
            "reports": {"twin_percent": percent},
        }));
        let fleet = crate::engine::fleet::Fleet::new(&scenario);
        let twins = fleet.hosts.iter().filter(|host| host.twin.is_some()).count();
        assert_eq!(twins, percent, "percent");
    }
}

#[test]
fn whoever_never_was_there_does_not_come_back_from_a_crash_or_a_drain() {
    for effect in [json!({"crash": {}}), json!({"drain": {"grace": "1s"}})] {
        let (log, _) = recorded(json!({
            "servers": [{"count": 2}, {"name": "new", "count": 3, "present": false}],
            "traffic": {"rate": 10},
            "events": [
                {"at": "2s", "for": "1s", "effect": effect},
                {"at": "6s", "servers": {"group": "new", "count": 1}, "effect": {"join": {}}},
                {"at": "8s", "for": "1s", "effect": effect},
            ],
        }));
        let last_by = |at: u64| log.members.iter().rfind(|(when, ..)| *when <= at * SECOND);
        let counts = [1, 4, 7, 9].map(|at| last_by(at).unwrap().2);
        assert_eq!(counts, [2, 2, 3, 3], "{effect}");
    }
}
