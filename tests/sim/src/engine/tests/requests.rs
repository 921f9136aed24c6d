//! The life of a request.

use super::*;

#[test]
fn a_deadline_takes_the_work_away() {
    let (work, figures) = worked(json!({
        "traffic": {"service": {"constant": {"value": "100ms"}}, "deadline": "50ms"},
    }));
    assert_eq!((figures.served, figures.errors.deadline), (0, figures.offered));
    assert_eq!(figures.offered, 200, "one every 50 ms");
    // It works on each for 50 ms: the way is as long for the request as for the news of its end.
    equals(work[0].0, 200.0 * 50e6);
    equals(figures.utilization, 1.0);
    let (work, figures) = worked(json!({
        "traffic": {"service": {"constant": {"value": "100ms"}}, "deadline": "102ms"},
    }));
    assert_eq!(figures.errors.deadline, figures.offered, "the time is up at the very end");
    assert!(work[0].0 > 9.7e9, "{work:?}");
    let figures = worked(json!({"traffic": {"deadline": "13ms"}})).1;
    assert_eq!(figures.served, figures.offered);
}

#[test]
fn who_waits_is_withdrawn_as_well() {
    // Two clients; the second never gets the slot before it gives up.
    let closed = json!({"closed": {"clients": 2, "think": "0s"}});
    let (log, figures) = recorded(json!({
        "duration": "1s",
        "traffic": {
            "arrivals": closed, "service": {"constant": {"value": "1s"}}, "deadline": "100ms"
        },
    }));
    assert_eq!(figures.errors.deadline, 20);
    assert!(log.told.iter().all(|told| told.outcome == Outcome::GivenUp));
    assert!(log.told.iter().all(|told| told.latency_ns == 100 * MS && told.stamp.is_none()));
    // Whether works or waits, all are in flight.
    equals(figures.in_flight.max_over_mean, 1.0);
    assert!(figures.in_flight.mean > 1.8, "{figures:?}");
}

#[test]
fn failures_are_retried_after_a_pause_and_then_told() {
    let fail = json!([{"at": "0s", "effect": {"fail": {"percent": 100, "after": "3ms"}}}]);
    let (log, figures) = recorded(json!({
        "servers": [{"count": 2}],
        "traffic": {"retries": {"most": 2, "backoff": "20ms"}},
        "events": fail,
    }));
    assert_eq!((figures.served, figures.errors.failed), (0, figures.offered));
    equals(figures.attempts_per_request, 3.0);
    assert!(log.told.iter().all(|told| told.outcome == Outcome::Failed));
    assert!(log.told.iter().all(|told| told.latency_ns == 5 * MS), "there, 3 ms, and back");
    for request in log.asked.chunks(3) {
        let at = request[0].at;
        assert_eq!(request[0].failed, [0; 0]);
        assert_eq!((request[1].at, request[1].failed.len()), (at + 25 * MS, 1));
        assert_eq!((request[2].at, request[2].failed.len()), (at + 50 * MS, 2));
        assert_ne!(request[2].failed[0], request[2].failed[1], "in turn");
    }
    // 55 ms each.
    assert_eq!(figures.offered, 182);
}

#[test]
fn a_retry_may_succeed_and_its_latency_counts_from_the_arrival() {
    let fail = json!({"fail": {"percent": 100}});
    let (_, figures) = recorded(json!({
        "servers": [{"count": 2}],
        "traffic": {"retries": {"most": 1}},
        "events": [{"at": "0s", "servers": {"count": 1}, "effect": fail}],
    }));
    assert_eq!(figures.served, figures.offered);
    // The policy takes turns: failed and retried; again and again.
    assert!(figures.attempts_per_request > 1.4, "{figures:?}");
    equals(figures.latency_ms.max, 14.0);
}

#[test]
fn a_deadline_includes_retries_and_ends_while_no_server_has_it() {
    let fail = json!([{"at": "0s", "effect": {"fail": {"percent": 100}}}]);
    let (log, figures) = recorded(json!({
        "traffic": {"retries": {"most": 20, "backoff": "20ms"}, "deadline": "30ms"},
        "events": fail,
    }));
    assert_eq!(figures.errors.deadline, figures.offered);
    equals(figures.attempts_per_request, 2.0);
    assert_eq!(log.abandoned, usize::try_from(figures.offered).unwrap(), "between two attempts");
}

#[test]
fn some_clients_cancel_what_takes_too_long() {
    let cancel =
        |after: &str| figures(json!({"traffic": {"cancel": {"percent": 30, "after": after}}}));
    let figures = cancel("5ms");
    assert_eq!(figures.served + figures.errors.cancelled, figures.offered);
    assert_eq!(figures.errors.unwanted(), 0);
    // Mean of 12 and 5 ms, by their shares.
    about(usize::try_from(figures.offered).unwrap(), 10_000.0 / 9.9);
    about(usize::try_from(figures.errors.cancelled).unwrap(), 10_000.0 / 9.9 * 0.3);
    assert_eq!(cancel("13ms").errors.cancelled, 0);
}

#[test]
fn a_full_queue_refuses() {
    let closed = json!({"closed": {"clients": 3, "think": "0s"}});
    let changes = |queue: u32| {
        json!({
            "servers": [{"count": 1, "queue": queue}],
            "traffic": {"arrivals": closed, "retries": {"most": 1, "backoff": "1ms"}},
        })
    };
    let full = figures(changes(1));
    assert!(full.errors.failed > 1_000, "{full:?}");
    // Its own service and at most one other's; or an attempt that failed, and another.
    assert!(full.latency_ms.max <= 22.0 + 3.1, "{full:?}");
    assert_eq!(figures(changes(2)).errors.failed, 0);
}

fn stream(direction: &str) -> Figures {
    let stream = json!({"direction": direction, "messages": 5, "interval": "100ms"});
    figures(json!({
        "traffic": {"methods": [{"name": "/a/Stream", "cost": 2, "stream": stream}]},
    }))
}

#[test]
fn messages_of_streams_are_late_by_their_work_and_the_way() {
    for (direction, late) in [("server", 21.0), ("bidi", 22.0)] {
        let figures = stream(direction);
        // 1 ms there, 400 until the last message, 20 of work, 1 back.
        assert_eq!(figures.offered, 10_000_u64.div_ceil(422));
        assert_eq!(figures.served, figures.offered);
        let streams = figures.streams.unwrap();
        assert_eq!(streams.count, figures.offered);
        // Messages that are due after the end are not measured.
        assert!((figures.offered * 5 - 5..=figures.offered * 5).contains(&streams.messages));
        equals(streams.message_ms.mean, late);
        equals(streams.message_ms.max, late);
        assert!(figures.latency_ms.max.abs() < 1e-9, "a stream's time is no latency");
        assert!((0.97..1.0).contains(&figures.in_flight.mean), "{figures:?}");
    }
}

#[test]
fn an_empty_cluster_fails_everything() {
    let (log, figures) = recorded(json!({
        "traffic": {"rate": 100},
        "events": [{"at": "5s", "effect": {"drain": {"grace": "1s"}}}],
    }));
    assert_eq!(figures.served + figures.errors.failed, figures.offered);
    assert!(log.asked.iter().filter(|asked| asked.at > 5 * SECOND).count() > 300);
    assert!(log.told.iter().all(|told| told.outcome == Outcome::Answered));
    assert_eq!(log.abandoned, usize::try_from(figures.errors.failed).unwrap());
    about(log.abandoned, 500.0);
}

#[test]
fn costs_samples_and_workers_are_as_said() {
    let methods = json!([{"name": "/a/light", "weight": 3}, {"name": "/a/heavy", "cost": 4}]);
    let (log, _) = recorded(json!({
        "duration": "100s", "proxies": {"workers": 3}, "traffic": {"methods": methods}
    }));
    let heavy = log.told.iter().filter(|told| told.method == 1);
    assert!(heavy.clone().all(|told| told.latency_ns == 42 * MS));
    let light = log.told.iter().filter(|told| told.method == 0);
    assert!(light.clone().all(|told| told.latency_ns == 12 * MS));
    #[allow(clippy::cast_precision_loss)]
    let all = log.told.len() as f64;
    about(heavy.count(), all / 4.0);
    about(light.count(), all * 0.75);
    for worker in 0..3 {
        about(log.asked.iter().filter(|asked| asked.worker == worker).count(), all / 3.0);
    }

    let file = std::env::temp_dir().join(format!("leastload-engine-{}", std::process::id()));
    std::fs::write(&file, "5\n15\n").unwrap();
    let (log, _) = recorded(json!({"traffic": {"service": {"samples":
        {"file": file.to_str().unwrap()}}}}));
    std::fs::remove_file(file).unwrap();
    about(log.told.iter().filter(|told| told.latency_ns == 7 * MS).count(), 416.0);
    about(log.told.iter().filter(|told| told.latency_ns == 17 * MS).count(), 416.0);
}

#[test]
fn a_closed_loop_without_thought_outlives_the_last_server() {
    let closed = json!({"closed": {"clients": 2, "think": "0s"}});
    let figures = figures(json!({
        "duration": "2s",
        "traffic": {"arrivals": closed},
        "events": [{"at": "1s", "effect": {"crash": {}}}],
    }));
    // One a millisecond for each client, once nobody is left.
    assert!((1_990..=2_010).contains(&figures.errors.failed), "{figures:?}");
}
