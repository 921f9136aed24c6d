//! What a fleet is drawn from.

use std::fmt::Write as _;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::random::stream;

/// What sets these draws apart from those of a run with the same seed.
const PURPOSE: u64 = 9;
/// About so many requests arrive in a run: several hundred beyond its p99.
const REQUESTS: f64 = 60_000.0;
/// Most requests a second, lest the shortest run take long.
const MOST_RATE: f64 = 15_000.0;
/// Length of a run in seconds: leastload has settled in a quarter of the shortest.
const SECONDS: (f64, f64) = (16.0, 90.0);
/// Who balances.
const POLICIES: [&str; 7] =
    ["leastload", "least_request", "full_scan", "peak_ewma", "c3", "prequal_sync", "central"];

/// The fleet with this number, as a scenario file has it; so many percent of each group's servers
/// have a twin. All is rounded as it is drawn, so that its description says exactly what it is.
pub fn fleet(number: u64, twin_percent: u8) -> Value {
    let mut draw = Draw(stream(number, PURPOSE));
    let discipline = draw.one(["fifo", "sharing"]);
    let groups = draw.groups();
    let slots: f64 = groups.iter().map(Kind::capacity).sum();
    let mean_ms = draw.log_between(2.0, 300.0).max(slots / MOST_RATE * 1e3);
    let tenths = (mean_ms * 10.0).ceil();
    let (shape, service) = draw.service(tenths * 100.0);
    let load = draw.load();
    let (proxies, workers) = (draw.whole(1, 150), draw.one([1, 1, 2, 4]));
    let delay = draw.one(["200us", "200us", "500us", "1ms"]);

    let rate = load * slots / tenths * 1e4;
    let ms = (REQUESTS / rate).clamp(SECONDS.0, SECONDS.1) * 1e3;
    let about = format!(
        "{discipline} {}, {} of {}, {load}, {shape} {} ms, network {delay}",
        groups.iter().map(Kind::words).collect::<Vec<_>>().join(" + "),
        several(proxies, "proxy", "proxies"),
        several(workers, "worker", "workers"),
        tenths / 10.0,
    );
    let servers = ["first", "second", "third"].iter().zip(&groups).map(|(name, group)| {
        json!({
            "name": name, "count": group.count, "slots": group.slots, "speed": group.speed,
            "discipline": discipline,
        })
    });
    json!({
        "name": format!("fleet-{number}"), "about": about,
        "duration": format!("{ms:.0}ms"), "warm_up": format!("{:.0}ms", ms / 4.0),
        "proxies": {"count": proxies, "workers": workers},
        "servers": servers.collect::<Vec<_>>(),
        "traffic": {"load": load, "service": service},
        "network": {"delay": delay},
        "reports": {"twin_percent": twin_percent},
        "policies": POLICIES,
    })
}

fn several(count: u32, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Servers that are equal.
struct Kind {
    count: u32,
    slots: u32,
    speed: f64,
}

impl Kind {
    /// In slots of speed 1.
    fn capacity(&self) -> f64 {
        f64::from(self.count) * f64::from(self.slots) * self.speed
    }

    fn words(&self) -> String {
        let mut words = format!("{}x{}", self.count, self.slots);
        if (self.speed - 1.0).abs() > 1e-9 {
            // Writing to a string cannot fail.
            let _ = write!(words, " at {}", self.speed);
        }
        words
    }
}

struct Draw(Rng);

impl Draw {
    fn one<T: Copy, const N: usize>(&mut self, of: [T; N]) -> T {
        of[self.0.usize(..N)]
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.f64()
    }

    /// As likely below the geometric mean of the two as above.
    fn log_between(&mut self, low: f64, high: f64) -> f64 {
        low * (high / low).powf(self.0.f64())
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn whole(&mut self, low: u32, high: u32) -> u32 {
        self.log_between(low.into(), high.into()).round() as u32
    }

    fn groups(&mut self) -> Vec<Kind> {
        let mut left = self.whole(2, 60);
        let kinds = self.one([1, 2, 2, 3]).min(left);
        let slots = self.whole(1, 64);
        let mut groups = Vec::new();
        for others in (0..kinds).rev() {
            let count = if others == 0 { left } else { self.0.u32(1..=left - others) };
            left -= count;
            let slots = match self.0.f64() {
                chance if chance < 0.15 => (slots / 2).max(1),
                chance if chance < 0.3 => slots * 2,
                _ => slots,
            };
            let speed =
                if groups.is_empty() { 1.0 } else { hundredths(self.log_between(0.3, 1.5)) };
            groups.push(Kind { count, slots, speed });
        }
        groups
    }

    /// A distribution with this mean, and its name.
    fn service(&mut self, mean_us: f64) -> (String, Value) {
        let us = |factor: f64| format!("{:.0}us", mean_us * factor);
        let kind = self.one(["exponential", "log_normal", "constant", "bimodal"]);
        let (parameters, shape) = match kind {
            "constant" => (json!({"value": us(1.0)}), kind.to_owned()),
            // 0.9 * 0.5 + 0.1 * 5.5 = 1.
            "bimodal" => {
                let parameters = json!({"light": us(0.5), "heavy": us(5.5), "heavy_percent": 10});
                (parameters, kind.to_owned())
            }
            "log_normal" => {
                let sigma = self.one([1.0, 1.5, 2.0]);
                (json!({"mean": us(1.0), "sigma": sigma}), format!("log-normal({sigma})"))
            }
            _ => (json!({"mean": us(1.0)}), kind.to_owned()),
        };
        (shape, json!({kind: parameters}))
    }

    /// Half of all fleets are busy: there the policies differ.
    fn load(&mut self) -> f64 {
        let (low, high) = self.one([(0.2, 0.97), (0.7, 0.95)]);
        hundredths(self.between(low, high))
    }
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
