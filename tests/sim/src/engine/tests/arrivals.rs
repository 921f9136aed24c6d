//! When requests arrive, and what.

use super::super::arrivals::{Source, rate};
use super::*;

fn times(arrivals: &Value, seconds: u64) -> Vec<u64> {
    let scenario = scenario(json!({
        "duration": format!("{seconds}s"),
        "traffic": {"rate": 1_000, "arrivals": arrivals},
    }));
    let mut source = Source::new(&scenario, 1);
    let times: Vec<u64> = std::iter::from_fn(|| source.next_time()).collect();
    assert!(times.is_sorted() && times.last().is_some_and(|last| *last < seconds * SECOND));
    times
}

/// Variance of the counts in windows over their mean.
#[allow(clippy::cast_precision_loss)]
fn dispersion(times: &[u64], window: u64) -> f64 {
    let count = usize::try_from(times.last().unwrap() / window).unwrap();
    let mut counts = vec![0.0; count];
    for time in times {
        if let Some(count) = counts.get_mut(usize::try_from(time / window).unwrap()) {
            *count += 1.0;
        }
    }
    let mean = counts.iter().sum::<f64>() / count as f64;
    counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / count as f64 / mean
}

#[test]
fn poisson_arrivals_are_dispersed_as_such_at_every_scale() {
    let times = times(&json!("poisson"), 2_000);
    about(times.len(), 2e6);
    // The standard error is sqrt(2 / windows).
    for (window, error) in [(MS, 0.001), (10 * MS, 0.003_2), (100 * MS, 0.01), (SECOND, 0.032)] {
        let index = dispersion(&times, window);
        assert!((index - 1.0).abs() < 4.0 * error, "{window}: {index}");
    }
    #[allow(clippy::cast_precision_loss)]
    let long = times.windows(2).filter(|pair| pair[1] - pair[0] > 3 * MS).count() as f64;
    let share = long / 2e6;
    assert!((share / (-3f64).exp() - 1.0).abs() < 0.02, "exponential gaps: {share}");
}

#[test]
fn bursts_have_both_rates_and_the_average() {
    let bursts = json!({"bursts": {"on": "100ms", "off": "300ms", "low": 0.2}});
    let times = times(&bursts, 400);
    let on = times.iter().filter(|time| *time % (400 * MS) < 100 * MS).count();
    // The average of 0.2 for three quarters of the time and 3.4 for one.
    about(on, 340_000.0);
    about(times.len() - on, 60_000.0);
    assert!(dispersion(&times, 50 * MS) > 10.0);
    assert!((dispersion(&times, 400 * MS) - 1.0).abs() < 0.2, "whole cycles are Poisson");
}

#[test]
fn bursts_may_pause_altogether() {
    let bursts = json!({"bursts": {"on": "100ms", "off": "300ms", "low": 0}});
    let times = times(&bursts, 100);
    about(times.len(), 100_000.0);
    assert!(times.iter().all(|time| *time % (400 * MS) <= 100 * MS));
}

#[test]
fn a_ramp_rises_evenly() {
    let times = times(&json!({"ramp": {"from": 0.5, "to": 2.5}}), 100);
    for tenth in 0..10_u32 {
        let from = u64::from(tenth) * 10 * SECOND;
        let count = times.iter().filter(|time| (from..from + 10 * SECOND).contains(time)).count();
        about(count, 10_000.0 * (0.6 + 0.2 * f64::from(tenth)));
    }
}

#[test]
fn load_is_a_share_of_what_is_there_at_the_start() {
    let scenario = scenario(json!({
        "servers": [
            {"count": 3, "slots": 2},
            {"count": 2, "slots": 4, "speed": 0.5},
            {"count": 50, "present": false}
        ],
        "traffic": {"load": 0.5, "methods": [
            {"name": "/a/light", "weight": 3},
            {"name": "/a/heavy", "cost": 5},
            {"name": "/a/stream", "weight": 0.5, "stream":
                {"direction": "server", "messages": 8, "interval": "1s"}}
        ]},
    }));
    // 10 slots of speed 1, half of them; (3 * 1 + 1 * 5 + 0.5 * 8) / 4.5 times 10 ms.
    let expected = 5.0 / (0.01 * 12.0 / 4.5);
    assert!((rate(&scenario).unwrap() / expected - 1.0).abs() < 1e-9);
}

#[test]
fn methods_proxies_and_workers_get_their_shares() {
    let scenario = scenario(json!({
        "proxies": {"count": 3, "workers": 4, "skew": 1},
        "traffic": {"rate": 1, "methods": [
            {"name": "/a/light", "weight": 3, "cost": 0.5}, {"name": "/a/heavy", "cost": 4}
        ]},
    }));
    let mut source = Source::new(&scenario, 1);
    let (mut proxies, mut workers, mut methods) = ([0; 3], [0; 4], [0; 2]);
    for _ in 0..120_000 {
        let arrival = source.next();
        proxies[arrival.proxy as usize] += 1;
        workers[usize::from(arrival.worker)] += 1;
        methods[usize::from(arrival.method)] += 1;
        let cost = [0.5, 4.0][usize::from(arrival.method)];
        assert!((arrival.size - 10e6 * cost).abs() < 1e-6);
    }
    // Zipf: 1, 1/2 and 1/3.
    for (count, share) in proxies.into_iter().zip([6.0, 3.0, 2.0]) {
        about(count, 120_000.0 * share / 11.0);
    }
    for count in workers {
        about(count, 30_000.0);
    }
    about(methods[0], 90_000.0);
    about(methods[1], 30_000.0);
}

/// A policy that loses and fails differently many requests than another changes nobody's world.
#[test]
fn neighbours_and_impatient_clients_are_the_same_whoever_balances() {
    let scenario = scenario(json!({
        "proxies": {"count": 2},
        "servers": [{"count": 4, "antagonist": {"on": "50ms", "off": "50ms", "takes": [0.1, 0.9]}}],
        "traffic": {"rate": 100, "cancel": {"percent": 30, "after": "0s"}, "retries": {"most": 2}},
        "events": [{"at": "0s", "servers": {"count": 1}, "effect": {"fail": {"percent": 50}}}],
        "reports": {"lost_percent": 50},
        "policies": ["random", "c3", "round_robin"],
    }));
    let worlds = scenario.policies.iter().map(|policy| {
        let mut simulation = Simulation::new(&scenario, &policy.rule, 1, None);
        simulation.start();
        simulation.run();
        let possible: Vec<f64> =
            simulation.work.iter().map(|(_, possible)| possible.round()).collect();
        (possible, simulation.finish().errors.cancelled)
    });
    let worlds: Vec<_> = worlds.collect();
    assert!(worlds.iter().all(|world| *world == worlds[0]), "{worlds:?}");
    assert!(worlds[0].1 > 200, "{worlds:?}");
}
