use std::collections::HashSet;

use super::*;
use crate::engine::rate;
use crate::scenario::{Discipline, ServiceTime};
use crate::span::Span;

const FLEETS: u32 = 200;

#[test]
fn every_fleet_is_a_valid_scenario_within_its_bounds() {
    let fleets = Fleets::draw(0, FLEETS, 100).unwrap();
    assert_eq!((fleets.documents.len(), fleets.runs()), (200, 1_400));
    for document in &fleets.documents {
        let scenario = &document.scenario;
        let name = &scenario.name;
        let within = |value: f64, low: f64, high: f64, what: &str| {
            assert!((low..=high).contains(&value), "{name}: {what} {value}");
        };
        assert_eq!(document.variants.len(), 1);
        let servers: u32 = scenario.servers.iter().map(|group| group.count).sum();
        within(servers.into(), 2.0, 60.0, "servers");
        assert!((1..=3).contains(&scenario.servers.len()), "{name}");
        for (index, group) in scenario.servers.iter().enumerate() {
            assert_eq!(group.discipline, scenario.servers[0].discipline);
            within(group.count.into(), 1.0, 60.0, "servers of a group");
            within(group.slots.into(), 1.0, 128.0, "slots");
            let (slowest, fastest) = if index == 0 { (1.0, 1.0) } else { (0.3, 1.5) };
            within(group.speed, slowest, fastest, "speed");
        }
        let slots: f64 = scenario
            .servers
            .iter()
            .map(|group| f64::from(group.count * group.slots) * group.speed)
            .sum();
        let mean_ms = scenario.traffic.service.mean() / 1e6;
        within(mean_ms, (slots / 15.0).max(2.0), (slots / 15.0).max(300.0) + 0.1, "mean");
        within(scenario.traffic.load.unwrap(), 0.2, 0.97, "load");
        within(scenario.proxies.count.into(), 1.0, 150.0, "proxies");
        assert!([1, 2, 4].contains(&scenario.proxies.workers), "{name}");
        assert!([200, 500, 1_000].map(Span::us).contains(&scenario.network.delay), "{name}");

        let seconds = scenario.duration.seconds();
        within(seconds, 16.0, 90.0, "duration");
        within(scenario.warm_up.seconds() / seconds, 0.2499, 0.2501, "warm-up");
        let rate = rate(scenario).unwrap();
        within(rate, 0.0, 15_000.0, "rate");
        let requests = rate * seconds;
        let bound = [16.0, 90.0].iter().any(|bound| (seconds - bound).abs() < 1e-3);
        assert!(bound || (requests - 60_000.0).abs() < 60.0, "{name}: {requests} requests");
    }
}

#[test]
fn whatever_can_be_drawn_is_drawn() {
    let fleets = Fleets::draw(0, FLEETS, 100).unwrap();
    let count = |what: &dyn Fn(&Document) -> String| {
        fleets.documents.iter().map(what).collect::<HashSet<_>>().len()
    };
    assert_eq!(count(&|fleet| fleet.scenario.servers.len().to_string()), 3);
    assert_eq!(count(&|fleet| fleet.scenario.network.delay.to_string()), 3);
    assert_eq!(count(&|fleet| fleet.scenario.proxies.workers.to_string()), 3);
    let sharing = |fleet: &Document| fleet.scenario.servers[0].discipline == Discipline::Sharing;
    assert_eq!(count(&|fleet| sharing(fleet).to_string()), 2);
    let shape = |fleet: &Document| match &fleet.scenario.traffic.service {
        ServiceTime::LogNormal { sigma, .. } => format!("log-normal {sigma}"),
        other => format!("{other:?}").split(' ').next().unwrap().to_owned(),
    };
    assert_eq!(count(&shape), 6);
}

#[test]
fn the_seed_is_the_fleet() {
    let text = |number| fleet(number, 100).to_string();
    assert_eq!(text(42), text(42));
    let all: HashSet<_> =
        (0..1_000).map(|number| fleet(number, 100)["about"].to_string()).collect();
    assert_eq!(all.len(), 1_000);
    // Alone or among others.
    let names = |seed, count| -> Vec<String> {
        let fleets = Fleets::draw(seed, count, 100).unwrap();
        fleets.documents.into_iter().map(|document| document.scenario.name).collect()
    };
    assert_eq!(names(41, 2)[1..], names(42, 1));
    assert_eq!(names(u64::MAX, 2), ["fleet-18446744073709551615", "fleet-0"]);
    // Twins or not, the same servers.
    let (none, all) = (fleet(42, 0), fleet(42, 100));
    assert_eq!(none["servers"], all["servers"]);
    assert_ne!(none["reports"], all["reports"]);
}

fn outcome(number: u64, to_least_request: Option<f64>, mean: f64) -> Outcome {
    Outcome {
        number,
        about: "fifo 2x4".to_owned(),
        p99: Some(100.0),
        to_least_request,
        mean_to_least_request: Some(mean),
        to_rival: Some(("c3".to_owned(), 0.9)),
        to_limit: Some(2.0),
        errs: false,
    }
}

#[test]
fn the_worst_comes_first_and_is_in_the_summary() {
    let mut outcomes =
        [outcome(1, Some(0.5), 1.06), outcome(3, Some(2.0), 1.04), outcome(2, Some(2.0), 1.0)];
    sort(&mut outcomes);
    let text = markdown(&outcomes);
    let lines: Vec<&str> = text.lines().collect();
    let summary = "3 fleets: p99 is 1.26 of LEAST_REQUEST's and 2.00 of the limit's (geometric \
                   means); more than 5 % worse than LEAST_REQUEST: 2 by p99, 1 by mean; the worst: \
                   fleet 2, 2.00";
    assert_eq!(lines[0], summary);
    assert_eq!(lines[4], "| 2 | fifo 2x4 | 100 | 2.00 | 1.00 | 0.90 (c3) | 2.00 |");
    assert!(lines[5].starts_with("| 3 |") && lines[6].starts_with("| 1 |"), "{text}");
}

#[test]
fn what_cannot_be_compared_is_first_and_what_fails_is_said() {
    let mut outcomes = vec![outcome(1, Some(9.0), 1.0), outcome(2, None, 1.0)];
    outcomes[0].errs = true;
    sort(&mut outcomes);
    let text = markdown(&outcomes);
    assert!(text.contains("the worst: fleet 2, -; a rival answered more requests in fleet 1\n"));
    assert!(text.contains("| 2 | fifo 2x4 | 100 | - | 1.00 |"), "{text}");
    assert!(summary(&[]).starts_with("0 fleets: p99 is - of"));
}

#[test]
fn the_table_has_at_most_twenty_rows() {
    let outcomes: Vec<_> = (0..50).map(|number| outcome(number, Some(1.0), 1.0)).collect();
    assert_eq!(markdown(&outcomes).lines().count(), 4 + 20);
}
