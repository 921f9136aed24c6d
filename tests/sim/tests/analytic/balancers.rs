//! A thousand servers of one slot behind one proxy: how many of them have at least so many in
//! flight.

use serde_json::json;

use super::harness::{Situation, TOLERANCE, agrees_within, exponential};

/// The share of the servers with at least 1, 2, 3, 4 in flight.
fn depths(policy: &'static str, load: f64, (warm_up, measured): (f64, f64), theory: [f64; 4]) {
    let situation = Situation {
        servers: json!({"count": 1_000}),
        traffic: json!({"load": load, "service": exponential()}),
        policy,
        warm_up,
        measured,
        sample_every: 1.0,
        seeds: 8,
    };
    let runs = situation.run();
    for (least, theory) in (1..).zip(theory) {
        #[allow(clippy::cast_precision_loss)]
        let share = |depths: &[u64]| {
            depths[least..].iter().sum::<u64>() as f64 / depths.iter().sum::<u64>() as f64
        };
        let name = format!("{policy}, load {load}, at least {least} in flight");
        // Theory is about infinitely many servers; a thousand are off by something of the order of a
        // thousandth of all servers, which shows where it speaks of a few of them.
        let tolerance = if theory < 0.01 { 0.06 } else { TOLERANCE };
        agrees_within(tolerance, &name, &runs, |run| share(&run.depths), theory);
    }
}

#[test]
fn at_random() {
    // Each is an M/M/1 by itself.
    for (load, times) in [(0.7, (200.0, 600.0)), (0.9, (1_000.0, 1_500.0_f64))] {
        depths("random", load, times, [1, 2, 3, 4].map(|least| f64::powi(load, least)));
    }
}

#[test]
fn the_better_of_two() {
    // Mitzenmacher, "The power of two choices in randomized load balancing", 2001; Vvedenskaya,
    // Dobrushin and Karpelevich, 1996.
    for load in [0.7, 0.9] {
        let theory = [1, 3, 7, 15].map(|power| f64::powi(load, power));
        depths("least_request", load, (100.0, 1_000.0), theory);
    }
}
