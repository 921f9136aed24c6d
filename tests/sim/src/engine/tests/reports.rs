//! What servers say of themselves, and who hears of it.

use super::*;

#[test]
fn a_stamp_counts_the_others_in_flight() {
    // Three clients at one slot: whoever is answered leaves two behind.
    let closed = json!({"closed": {"clients": 3, "think": "0s"}});
    let changes = json!({"network": {"delay": "0s"}, "traffic": {"arrivals": closed}});
    let (log, figures) = recorded(changes);
    equals(figures.latency_ms.p50, 30.0);
    for told in log.told.iter().filter(|told| (SECOND..9 * SECOND).contains(&told.at)) {
        let stamp = told.stamp.unwrap();
        equals(stamp.in_flight.into(), 2.0);
        equals(stamp.service_ns.into(), 10e6);
    }
    // In the last full second.
    let late = log.told.iter().find(|told| told.at > 5 * SECOND).unwrap().stamp.unwrap();
    equals(late.utilization.into(), 1.0);
    assert!((late.rate - 100.0).abs() <= 1.0, "{late:?}");
    assert!(late.error_rate.abs() < 1e-6);
}

#[test]
fn lost_stamps_are_not_seen() {
    let share = |percent: u32| {
        let (log, _) = recorded(json!({"reports": {"lost_percent": percent}}));
        let seen = log.told.iter().filter(|told| told.stamp.is_some()).count();
        (seen, log.told.len())
    };
    let (seen, all) = share(0);
    assert_eq!(seen, all);
    assert_eq!(share(100).0, 0);
    about(share(25).0, 834.0 * 0.75);
}

#[test]
fn probes_are_answered_after_the_way_there_and_back_or_lost() {
    let (log, figures) = recorded(json!({}));
    // One for each pick, sent just before the request, so it finds the server idle.
    let answers = log.probed.iter().zip(&log.asked).filter(|((at, _, stamp), asked)| {
        *at == asked.at + 2 * MS && stamp.is_some_and(|stamp| stamp.in_flight < 0.5)
    });
    assert!(answers.count() >= log.asked.len() - 1);
    equals(figures.probes.per_request, 1.0);
    let (log, figures) = recorded(json!({"probes": {"lost_percent": 100}}));
    assert!(log.probed.is_empty());
    equals(figures.probes.per_request, 1.0);
    let (log, _) = recorded(json!({"probes": {"lost_percent": 40}}));
    about(log.probed.len(), 834.0 * 0.6);
}

#[test]
fn only_servers_with_a_twin_stamp_and_answer() {
    let changes = json!({"servers": [{"count": 4}, {"count": 2}], "reports": {"twin_percent": 50}});
    let (log, _) = recorded(changes);
    for server in 0..6 {
        let twin = [1, 3, 5].contains(&server);
        let told: Vec<_> = log.told.iter().filter(|told| told.server == server).collect();
        assert!(told.len() > 100 && told.iter().all(|told| told.stamp.is_some() == twin));
        let mut probed = log.probed.iter().filter(|(_, from, _)| *from == server);
        assert!(probed.all(|(_, _, stamp)| stamp.is_some() == twin));
    }
}

#[test]
fn a_liar_and_a_silent_server_deceive_for_a_while() {
    let closed = json!({"closed": {"clients": 3, "think": "0s"}});
    let (log, figures) = recorded(json!({
        "traffic": {"arrivals": closed},
        "events": [
            {"at": "2s", "for": "2s", "effect": {"lie": {"factor": 0.25}}},
            {"at": "6s", "for": "2s", "effect": {"silence": {}}},
        ],
    }));
    assert_eq!(figures.served, figures.offered, "they serve as well as ever");
    for (at, stamp) in log.told.iter().map(|told| (told.at, told.stamp)) {
        // When it was stamped.
        match (at - MS) / SECOND {
            2 | 3 => equals(stamp.unwrap().service_ns.into(), 2.5e6),
            6 | 7 => assert_eq!(stamp, None),
            _ => equals(stamp.unwrap().service_ns.into(), 10e6),
        }
    }
    let unanswered = log.probed.iter().filter(|(_, _, stamp)| stamp.is_none());
    assert!(unanswered.clone().count() > 100);
    assert!(unanswered.map(|(at, ..)| at - MS).all(|at| (6..=7).contains(&(at / SECOND))));
}

#[test]
fn proxies_hear_of_changes_late_each_at_its_own_time() {
    let (log, _) = recorded(json!({
        "proxies": {"count": 10},
        "servers": [{"count": 2}, {"name": "new", "count": 1, "present": false}],
        "membership": {"delay": "300ms", "jitter": "1s"},
        "events": [{"at": "5s", "servers": {"group": "new"}, "effect": {"join": {}}}],
    }));
    let (first, then) = log.members.split_at(10);
    assert!(first.iter().all(|(at, _, count)| (*at, *count) == (0, 2)));
    assert_eq!(then.len(), 10);
    let mut times: Vec<u64> = then.iter().map(|(at, ..)| *at).collect();
    assert!(times.iter().all(|at| (5_300 * MS..6_300 * MS).contains(at)), "{times:?}");
    assert!(times.last().unwrap() - times[0] > SECOND / 3, "{times:?}");
    times.dedup();
    assert_eq!(times.len(), 10);
    let mut proxies: Vec<usize> = then.iter().map(|(_, proxy, _)| *proxy).collect();
    proxies.sort_unstable();
    assert_eq!(proxies, (0..10).collect::<Vec<_>>());
    assert!(then.iter().all(|(.., count)| *count == 3));
}

#[test]
fn proxies_without_the_filter_do_not_run_the_policy() {
    // Prequal probes; Envoy's LEAST_REQUEST does not.
    let probes = |percent: u32| {
        let changes = json!({
            "proxies": {"count": 4, "filter_percent": percent},
            "servers": [{"count": 10}],
            "traffic": {"load": 0.5, "service": {"exponential": {"mean": "10ms"}}},
            "policies": ["prequal"],
        });
        figures(changes).probes.per_request
    };
    let all = probes(100);
    assert!(all > 1.0, "{all}");
    assert!(probes(0).abs() < 1e-9);
    assert!((probes(50) / all - 0.5).abs() < 0.05, "{}", probes(50));
    assert!((probes(25) / all - 0.25).abs() < 0.05, "{}", probes(25));
}

#[test]
fn shares_are_told_by_group_and_twin() {
    let groups = json!([{"name": "a", "count": 4}, {"name": "b", "count": 1}]);
    let (_, figures) = recorded(json!({"servers": groups, "reports": {"twin_percent": 50}}));
    // Everybody in turn: of a, half have a twin; of b's one server, none.
    let told: Vec<_> = figures.shares.iter().map(|s| (&s.group[..], s.twin, s.servers)).collect();
    assert_eq!(told, [("a", false, 2), ("a", true, 2), ("b", false, 1)]);
    for (share, fair) in figures.shares.iter().zip([0.4, 0.4, 0.2]) {
        assert!((share.sent - fair).abs() < 0.002, "{share:?}");
    }
    // One kind is no comparison.
    let (_, figures) = recorded(json!({}));
    assert_eq!(figures.shares, []);
}
