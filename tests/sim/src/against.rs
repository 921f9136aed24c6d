//! The simulator against real Envoys: the rows that `make fleet` measured, simulated.

use std::fmt::Write as _;

use rayon::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::engine::run;
use crate::measure::Latency;
use crate::report::summary::Spread;
use crate::scenario::{Entry, Scenario, read};

/// Seeds over which a simulated figure is the median.
const SEEDS: u64 = 9;

/// What of `dist/fleet/fleet.json` is needed here.
#[derive(Debug, Deserialize)]
pub struct Measured {
    spec: Spec,
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Spec {
    slots: u32,
    speeds: Vec<f64>,
    work: String,
    measured_s: f64,
    warm_up_s: f64,
}

#[derive(Debug, Deserialize)]
struct Row {
    policy: String,
    proxies: u32,
    load: f64,
    p50_ms: Spread,
    p99_ms: Spread,
    /// What is beside the servers; earlier files do not say, for there was nothing.
    #[serde(default)]
    twins: Option<String>,
    /// leastload's configuration.
    #[serde(default)]
    configuration: Value,
}

/// A row, measured and simulated.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The policy.
    pub policy: String,
    /// Proxies in front.
    pub proxies: u32,
    /// Offered work as a share of capacity.
    pub load: f64,
    measured: [Spread; 2],
    simulated: [f64; 2],
}

impl Compared {
    /// Simulated p99, in ms.
    pub fn simulated_p99(&self) -> f64 {
        self.simulated[1]
    }

    /// Simulated p99 by measured p99.
    pub fn p99_ratio(&self) -> f64 {
        self.simulated[1] / self.measured[1].median
    }
}

/// A service time as the fleet writes it: `exp:40ms`.
fn service(text: &str) -> Option<Value> {
    let (kind, arguments) = text.split_once(':')?;
    let part = |index: usize| arguments.split(',').nth(index).map(str::trim);
    let number = |index: usize| part(index)?.parse::<f64>().ok();
    Some(match kind {
        "const" => json!({"constant": {"value": part(0)?}}),
        "exp" => json!({"exponential": {"mean": part(0)?}}),
        "uniform" => json!({"uniform": {"low": part(0)?, "high": part(1)?}}),
        "lognormal" => json!({"log_normal": {"mean": part(0)?, "sigma": number(1)?}}),
        "bimodal" => json!({"bimodal":
            {"light": part(0)?, "heavy": part(1)?, "heavy_percent": number(2)? * 100.0}}),
        _ => return None,
    })
}

impl Measured {
    /// Reads `fleet.json`.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("no result of the fleet: {error}"))
    }

    fn scenario(&self, row: &Row) -> Result<Scenario, String> {
        let Spec { slots, speeds, work, measured_s, warm_up_s } = &self.spec;
        let service = service(work).ok_or_else(|| format!("unknown service time {work:?}"))?;
        let group = |speed: &f64| json!({"count": 1, "slots": slots, "speed": speed});
        let ms = |seconds: f64| format!("{:.0}ms", seconds * 1e3);
        let policy = match &row.configuration {
            Value::Object(config) if row.policy == "leastload" => {
                json!({"label": "leastload", "rule": {"leastload": {"config": config}}})
            }
            _ => json!(row.policy),
        };
        let document = json!({
            "name": "fleet", "about": "What the fleet measured.",
            "warm_up": ms(*warm_up_s), "duration": ms(warm_up_s + measured_s),
            "proxies": {"count": row.proxies},
            "servers": speeds.iter().map(group).collect::<Vec<_>>(),
            "traffic": {"load": row.load, "service": service},
            "reports": {"twin_percent": if row.twins.as_deref() == Some("module") { 100 } else { 0 }},
            "policies": [policy],
        });
        let read =
            read(&document.to_string(), ".".as_ref()).map_err(|faults| faults.to_string())?;
        Ok(read.scenario)
    }

    /// Simulates every row.
    ///
    /// # Errors
    /// Where a row cannot be simulated.
    pub fn compare(&self) -> Result<Vec<Compared>, String> {
        self.rows.iter().map(|row| self.compare_row(row)).collect()
    }

    fn compare_row(&self, row: &Row) -> Result<Compared, String> {
        let scenario = self.scenario(row)?;
        let [Entry { rule, .. }] = scenario.policies.as_slice() else {
            return Err("one policy was asked for".into());
        };
        let one = |seed| run(&scenario, rule, seed, None).latency_ms;
        let latencies: Vec<_> = (1..=SEEDS).into_par_iter().map(one).collect();
        let median = |figure: fn(&Latency) -> f64| {
            Spread::of(latencies.iter().map(figure)).map_or(0.0, |spread| spread.median)
        };
        Ok(Compared {
            policy: row.policy.clone(),
            proxies: row.proxies,
            load: row.load,
            measured: [row.p50_ms, row.p99_ms],
            simulated: [median(|latency| latency.p50), median(|latency| latency.p99)],
        })
    }
}

/// The comparison as a Markdown table.
pub fn table(rows: &[Compared]) -> String {
    let mut text = String::from(
        "| Policy | Proxies | Load | p50 measured, ms | simulated | p99 measured, ms | simulated | \
         p99 ratio |\n|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let Compared { policy, proxies, load, measured: [p50, p99], simulated, .. } = row;
        let spread = |s: &Spread| format!("{:.0} ({:.0}-{:.0})", s.median, s.min, s.max);
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {policy} | {proxies} | {load} | {} | {:.0} | {} | {:.0} | {:.2} |",
            spread(p50),
            simulated[0],
            spread(p99),
            simulated[1],
            row.p99_ratio()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_times_are_read_as_the_fleet_writes_them() {
        for (text, json) in [
            ("const:10ms", json!({"constant": {"value": "10ms"}})),
            ("exp:40ms", json!({"exponential": {"mean": "40ms"}})),
            ("uniform:10ms,50ms", json!({"uniform": {"low": "10ms", "high": "50ms"}})),
            ("lognormal:40ms,1.5", json!({"log_normal": {"mean": "40ms", "sigma": 1.5}})),
            (
                "bimodal:10ms,200ms,0.5",
                json!({"bimodal": {"light": "10ms", "heavy": "200ms", "heavy_percent": 50.0}}),
            ),
        ] {
            assert_eq!(service(text), Some(json));
        }
        assert!(service("exp").is_none() && service("pareto:1ms").is_none());
    }
}
