//! One server, first come first served.

use serde_json::json;

use super::harness::{
    SERVICE_MS, Situation, agrees, exponential, mean_agrees, pooled, span, tail_agrees,
};
use super::theory::{Mmk, erlang_b, pollaczek_khinchine, refused, repairman};

fn mmk(slots: u32, load: f64, measured: f64, upto: f64) {
    let situation = Situation {
        servers: json!({"count": 1, "slots": slots}),
        traffic: json!({"load": load, "service": exponential()}),
        measured,
        ..Situation::default()
    };
    let runs = situation.run();
    let theory = Mmk::new(slots, load);
    let name = format!("M/M/{slots}, load {load}");
    mean_agrees(&name, &runs, theory.mean());
    tail_agrees(&name, &runs, upto, |t| theory.tail(t));
    agrees(&format!("{name}, utilization"), &runs, |run| run.utilization, load);
    for run in &runs {
        assert_eq!(run.served, run.offered, "nobody is refused");
    }
}

#[test]
fn one_slot_half_busy() {
    mmk(1, 0.5, 500_000.0, 0.999);
}

#[test]
fn one_slot_at_seven_tenths() {
    mmk(1, 0.7, 500_000.0, 0.99);
}

#[test]
fn one_slot_at_seventeen_twentieths() {
    mmk(1, 0.85, 1_000_000.0, 0.99);
}

#[test]
fn four_slots() {
    mmk(4, 0.8, 200_000.0, 0.99);
}

#[test]
fn sixteen_slots() {
    mmk(16, 0.85, 50_000.0, 0.999);
}

#[test]
fn constant_service() {
    let load = 0.8;
    let service = json!({"constant": {"value": span(1.0)}});
    let traffic = json!({"load": load, "service": service});
    let runs = Situation { traffic, ..Situation::default() }.run();
    mean_agrees("M/D/1, load 0.8", &runs, pollaczek_khinchine(load, 1.0));
}

#[test]
fn heavy_tailed_service() {
    let (load, sigma) = (0.7, 1.0_f64);
    let service = json!({"log_normal": {"mean": span(1.0), "sigma": sigma}});
    let traffic = json!({"load": load, "service": service});
    let runs = Situation { traffic, measured: 800_000.0, ..Situation::default() }.run();
    let theory = pollaczek_khinchine(load, (sigma * sigma).exp());
    mean_agrees("M/G/1, log-normal (sigma 1), load 0.7", &runs, theory);
}

#[test]
#[allow(clippy::cast_precision_loss)]
fn a_bounded_queue_refuses_as_many_as_theory_says() {
    for (slots, queue, load, theory) in [
        (1, 4, 0.9, refused(5, 0.9)),
        (1, 9, 0.9, refused(10, 0.9)),
        (8, 0, 0.75, erlang_b(8, 6.0)),
        (20, 0, 1.2, erlang_b(20, 24.0)),
    ] {
        for discipline in ["fifo", "sharing"] {
            let servers = json!({
                "count": 1, "slots": slots, "queue": queue, "discipline": discipline
            });
            let traffic = json!({"load": load, "service": exponential()});
            let measured = 400_000.0 / f64::from(slots);
            let runs = Situation { servers, traffic, measured, ..Situation::default() }.run();
            let name = format!("M/M/{slots}/{}, load {load}, {discipline}, refused", slots + queue);
            agrees(&name, &runs, |run| run.errors.failed as f64 / run.offered as f64, theory);
        }
    }
}

#[test]
#[allow(clippy::cast_precision_loss)]
fn a_closed_loop_is_the_machine_repairman() {
    for (clients, think) in [(5, 4.0), (20, 10.0), (20, 40.0)] {
        let arrivals = json!({"closed": {"clients": clients, "think": span(think)}});
        let traffic = json!({"arrivals": arrivals, "service": exponential()});
        let situation = Situation { traffic, measured: 200_000.0, ..Situation::default() };
        let runs = situation.run();
        let throughput = repairman(clients, think);
        let name = format!("{clients} clients that think for {think}");
        let seconds = situation.seconds();
        let per_service = |offered: u64| offered as f64 / seconds * SERVICE_MS / 1e3;
        agrees(&format!("{name}, throughput"), &runs, |run| per_service(run.offered), throughput);
        mean_agrees(&name, &runs, f64::from(clients) / throughput - think);
        // The interactive law holds in every single run: X = N / (R + Z). Thinking is random too.
        let (law, _) = pooled(&runs, |run| {
            per_service(run.offered) * (run.latency_ms.mean / SERVICE_MS + think)
        });
        assert!((law / f64::from(clients) - 1.0).abs() < 0.01, "{name}: {law}");
    }
}
