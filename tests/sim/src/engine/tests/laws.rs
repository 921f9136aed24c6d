//! What holds for every run.

use super::*;

/// Every rule with its defaults.
const RULES: [&str; 14] = crate::policy::Rule::NAMES;

fn fleet(rule: &str) -> Value {
    json!({
        "warm_up": "1s",
        "duration": "4s",
        "proxies": {"count": 3, "workers": 2},
        "servers": [{"count": 4, "slots": 2}, {"count": 4, "slots": 2, "speed": 0.5}],
        "traffic": {"load": 0.7, "service": {"exponential": {"mean": "10ms"}}},
        "policies": [rule],
    })
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
    for rule in RULES {
        let scenario = scenario(fleet(rule));
        let line = |seed| {
            let figures = run(&scenario, &scenario.policies[0].rule, seed, None);
            serde_json::to_string(&figures).unwrap()
        };
        assert_eq!(line(1), line(1), "{rule}");
        assert_ne!(line(1), line(2), "{rule}");
    }
}

#[test]
fn a_trace_shows_every_sample_and_changes_nothing() {
    let scenario = scenario(fleet("least_request"));
    let mut trace = Vec::new();
    let figures = run(&scenario, &scenario.policies[0].rule, 1, Some(&mut trace));
    let plain = run(&scenario, &scenario.policies[0].rule, 1, None);
    assert_eq!(serde_json::to_string(&figures).unwrap(), serde_json::to_string(&plain).unwrap());
    let lines: Vec<Value> =
        trace.split(|byte| *byte == b'\n').filter_map(|l| serde_json::from_slice(l).ok()).collect();
    assert_eq!(lines.len(), 3 * 32, "32 a second");
    assert_eq!(lines[0]["t_s"], 1.0);
    let servers = lines.iter().flat_map(|line| line["in_flight"].as_array().unwrap());
    let sum: u64 = servers.map(|n| n.as_u64().unwrap()).sum();
    #[allow(clippy::cast_precision_loss)]
    let mean = sum as f64 / (96.0 * 8.0);
    assert!((mean - figures.in_flight.mean).abs() < 0.001, "{mean} {figures:?}");
}

#[test]
fn every_policy_gets_the_same_requests_with_the_same_work() {
    let mut all = Vec::new();
    for rule in RULES {
        let (work, figures) = worked(fleet(rule));
        assert_eq!(figures.served, figures.offered, "{rule}");
        all.push((figures.offered, work.iter().map(|work| work.0).sum::<f64>()));
    }
    for (offered, work) in &all {
        assert_eq!(*offered, all[0].0);
        assert!((work / all[0].1 - 1.0).abs() < 1e-6, "{all:?}");
    }
}

#[test]
fn a_request_alone_takes_its_service_and_the_way_there_and_back() {
    let (log, figures) = recorded(json!({}));
    assert_eq!(figures.served, 10_000_u64.div_ceil(12), "one after the other");
    equals(figures.latency_ms.p50, 12.0);
    equals(figures.latency_ms.mean, 12.0);
    equals(figures.latency_ms.max, 12.0);
    assert!(log.told.iter().all(|told| told.latency_ns == 12 * MS));
    equals(figures.utilization, 10.0 / 12.0);
    equals(figures.in_flight.mean, 10.0 / 12.0);
}

#[test]
fn jitter_comes_on_top_each_way() {
    let changes = json!({"duration": "100s", "network": {"delay": "1ms", "jitter": "2ms"}});
    let (log, figures) = recorded(changes);
    assert!((figures.latency_ms.mean - 16.0).abs() < 0.2, "{figures:?}");
    assert!(log.told.iter().all(|told| told.latency_ns >= 12 * MS));
}

#[test]
fn a_run_may_be_cut_off_at_any_time() {
    // Requests that were given up still have to leave their servers.
    for seed in 0..40 {
        let scenario = scenario(json!({
            "duration": "5s",
            "drain": "0s",
            "traffic": {"rate": 5, "deadline": "50ms", "service": {"constant": {"value": "1s"}}},
            "network": {"delay": "200ms"},
        }));
        let figures = run(&scenario, &scenario.policies[0].rule, seed, None);
        assert_eq!(figures.errors.deadline + figures.errors.unfinished, figures.offered);
    }
}

#[test]
fn what_does_not_end_in_time_is_unfinished() {
    let pause = json!([{"at": "5s", "effect": {"speed": {"factor": 0}}}]);
    let figures = figures(json!({"drain": "2s", "events": pause}));
    assert_eq!(figures.errors.unfinished, 1);
    assert_eq!(figures.served, figures.offered - 1);
    assert_eq!(figures.errors.unwanted(), 1);
}

#[test]
fn a_wave_at_the_period_of_reports_is_an_oscillation() {
    let oscillation = |events: Value| {
        let changes = json!({
            "duration": "40s",
            "servers": [{"count": 4, "slots": 4}],
            "traffic": {"load": 0.3, "service": {"exponential": {"mean": "20ms"}}},
            "events": events,
        });
        figures(changes).in_flight.oscillation.unwrap()
    };
    let still = oscillation(json!([]));
    assert!(still < 0.05, "{still}");
    let pause = json!({"speed": {"factor": 0}});
    let wave = oscillation(json!([{"at": "0s", "every": "1s", "for": "400ms", "effect": pause}]));
    assert!(wave > 0.5, "{wave}");
}

#[test]
fn nothing_leaks_when_everything_happens_at_once() {
    // The laws are asserted at the end of each run.
    let stream =
        |direction: &str| json!({"direction": direction, "messages": 4, "interval": "15ms"});
    for (nth, discipline) in ["fifo", "sharing"].into_iter().enumerate() {
        for rule in RULES {
            let scenario = scenario(json!({
                "duration": "6s",
                "drain": "2s",
                "proxies": {"count": 3, "workers": 2, "skew": 0.5, "filter_percent": 70},
                "servers": [
                    {"name": "a", "count": 3, "slots": 2, "queue": 3, "discipline": discipline,
                        "warm_up": {"from": 0.1, "for": "1s"},
                        "antagonist": {"on": "100ms", "off": "300ms", "takes": [0, 1]}},
                    {"name": "b", "count": 2, "slots": 3, "discipline": discipline},
                    {"name": "late", "count": 1, "slots": 4, "present": false},
                ],
                "traffic": {
                    "load": 0.9,
                    "service": {"log_normal": {"mean": "10ms", "sigma": 1}},
                    "methods": [
                        {"name": "/a/unary", "weight": 6},
                        {"name": "/a/server", "stream": stream("server")},
                        {"name": "/a/bidi", "stream": stream("bidi")}
                    ],
                    "deadline": "120ms",
                    "retries": {"most": 2, "backoff": "3ms"},
                    "cancel": {"percent": 20, "after": "25ms"},
                },
                "network": {"delay": "1ms", "jitter": "2ms"},
                "membership": {"delay": "50ms", "jitter": "100ms"},
                "reports": {"twin_percent": 60, "lost_percent": 10, "period": "250ms"},
                "probes": {"lost_percent": 10},
                "events": [
                    {"at": "500ms", "for": "300ms", "every": "700ms", "stagger": "110ms",
                        "servers": {"group": "a"}, "effect": {"crash": {}}},
                    {"at": "600ms", "for": "90ms", "every": "400ms",
                        "servers": {"group": "b"}, "effect": {"speed": {"factor": 0}}},
                    {"at": "1s", "for": "400ms", "every": "900ms", "servers": {"group": "b",
                        "count": 1}, "effect": {"drain": {"grace": "150ms"}}},
                    {"at": "1s", "for": "200ms", "every": "1s",
                        "effect": {"fail": {"percent": 30, "after": "2ms"}}},
                    {"at": "2s", "for": "1s", "servers": {"group": "late"},
                        "effect": {"join": {}}},
                ],
                "policies": [rule],
            }));
            for seed in 0..3 {
                let rule = &scenario.policies[0].rule;
                let seed = seed * 2 + nth as u64;
                let mut simulation = Simulation::new(&scenario, rule, seed, None);
                simulation.start();
                simulation.run();
                for host in &simulation.fleet.hosts {
                    assert_eq!((host.in_flight, host.streams.len()), (0, 0), "{rule:?}");
                }
                let figures = simulation.finish();
                let errors = figures.errors;
                assert!(errors.failed > 0 && errors.deadline > 0 && errors.cancelled > 0);
                assert!(figures.served > figures.offered / 4, "{figures:?}");
                assert_eq!(errors.unfinished, 0, "{figures:?}");
            }
        }
    }
}
