use super::*;

const MS: u64 = 1_000_000;

fn meter() -> Meter {
    let scenario = serde_json::json!({
        "name": "x", "about": "x", "warm_up": "1s", "duration": "2s",
        "servers": [{"count": 2}],
        "traffic": {"load": 0.5, "service": {"constant": {"value": "1ms"}}},
        "policies": ["random"],
    });
    let document = crate::scenario::read(&scenario.to_string(), std::path::Path::new(".")).unwrap();
    Meter::new(&document.variants[0].scenario, 2)
}

#[test]
#[allow(clippy::float_cmp)]
fn what_arrives_before_or_after_the_measured_time_is_not_counted() {
    let mut meter = meter();
    for (arrives, ends) in [(0, 10), (999, 1_000), (1_000, 1_004), (1_999, 2_001), (2_001, 2_002)] {
        meter.begins(arrives * MS);
        meter.ends(ends * MS, arrives * MS, Fate::Answered, false);
    }
    meter.check(0);
    let figures = meter.figures(&[(1.0, 2.0), (2.0, 2.0)], Vec::new());
    assert_eq!((figures.offered, figures.served, figures.errors), (2, 2, Errors::default()));
    assert_eq!(figures.latency_ms.max, 4.001, "to three digits");
    assert_eq!(figures.utilization, 0.75);
    // Jain: 1.5^2 / (2 * 1.25).
    assert_eq!(figures.fairness, 0.9);
}

#[test]
fn littles_law_holds_for_requests_that_overlap() {
    let mut meter = meter();
    meter.begins(10);
    meter.begins(15);
    meter.ends(30, 10, Fate::Answered, false);
    meter.begins(30);
    meter.ends(31, 30, Fate::Failed, false);
    meter.ends(40, 15, Fate::Deadline, false);
    meter.check(0);
}

#[test]
#[should_panic(expected = "Little's law does not hold")]
fn littles_law_is_broken_by_a_wrong_time_of_arrival() {
    let mut meter = meter();
    meter.begins(10);
    meter.ends(30, 11, Fate::Answered, false);
    meter.check(0);
}

#[test]
#[should_panic(expected = "a request never ended")]
fn a_request_without_an_end_is_noticed() {
    let mut meter = meter();
    meter.begins(10);
    meter.check(0);
}

#[test]
#[should_panic(expected = "an attempt is still counted at a server")]
fn an_attempt_without_an_end_is_noticed() {
    meter().check(1);
}

#[test]
#[allow(clippy::float_cmp)]
fn samples_where_nothing_is_in_flight_have_no_largest() {
    let mut meter = meter();
    for (a, b) in [(0, 0), (3, 1), (1, 1), (0, 0)] {
        meter.sample([(0, a), (1, b)].into_iter());
    }
    let in_flight = meter.figures(&[(1.0, 1.0); 2], Vec::new()).in_flight;
    assert_eq!(in_flight.mean, 0.75);
    assert_eq!(in_flight.max_over_mean, 1.25, "1.5 and 1");
    assert_eq!(&meter.depths[..4], [4, 3, 0, 1]);
}
