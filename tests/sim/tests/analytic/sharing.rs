//! One server that works on all requests at once.

use serde_json::{Value, json};

use super::harness::{Situation, exponential, mean_agrees, span, tail_agrees};
use super::theory::{Mmk, Sharing};

fn sharing(slots: u32, load: f64, service: &Value, measured: f64) -> Situation {
    Situation {
        servers: json!({"count": 1, "slots": slots, "discipline": "sharing"}),
        traffic: json!({"load": load, "service": service}),
        measured,
        ..Situation::default()
    }
}

#[test]
fn exponential_service() {
    for (load, measured, upto) in [(0.5, 500_000.0, 0.999), (0.8, 700_000.0, 0.99)] {
        let runs = sharing(1, load, &exponential(), measured).run();
        let theory = Sharing::new(load);
        let name = format!("M/M/1-PS, load {load}");
        mean_agrees(&name, &runs, 1.0 / (1.0 - load));
        tail_agrees(&name, &runs, upto, |t| theory.tail(t));
    }
}

#[test]
fn several_slots() {
    // The number in the system is that of M/M/k, and so is the mean time by Little's law.
    let runs = sharing(4, 0.8, &exponential(), 200_000.0).run();
    mean_agrees("M/M/4-PS, load 0.8", &runs, Mmk::new(4, 0.8).mean());
}

#[test]
fn the_mean_does_not_depend_on_the_distribution() {
    let load = 0.7;
    let (light, heavy) = (span(0.5), span(5.5));
    for (name, service) in [
        ("constant", json!({"constant": {"value": span(1.0)}})),
        ("bimodal", json!({"bimodal": {"light": light, "heavy": heavy, "heavy_percent": 10}})),
    ] {
        let runs = sharing(1, load, &service, 500_000.0).run();
        mean_agrees(&format!("M/G/1-PS, {name}, load {load}"), &runs, 1.0 / (1.0 - load));
    }
}
