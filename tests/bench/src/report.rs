//! The table and the JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::{
    arm::Arm,
    machine::Machine,
    micro::Micro,
    run::Outcome,
    summary::{Row, STEADY, Spread, StampCost, rows, steady},
    waits::{self, BOUND_US, Quantiles},
};

/// Most CPU per request of leastload, in that of the empty filter.
const TARGET_RATIO: f64 = 1.10;
/// What was hoped for.
const HOPED_RATIO: f64 = 1.08;

/// Everything of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where it was measured.
    pub machine: Machine,
    /// Each comparison, with every sample.
    pub comparisons: Vec<Comparison>,
    /// How long requests wait whose questions nobody answers.
    pub waits: Vec<waits::Row>,
    /// The benchmarks of core.
    pub micro: Vec<Micro>,
}

/// One comparison and its summary.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// What was measured.
    pub outcome: Outcome,
    /// By arm.
    pub rows: Vec<Row>,
    /// Whether the reference cost about the same in all rounds.
    pub steady: bool,
}

impl Comparison {
    /// Sums it up.
    pub fn new(outcome: Outcome) -> Self {
        let rows = rows(&outcome);
        Self { steady: steady(&rows), outcome, rows }
    }
}

impl Report {
    /// The table for people.
    pub fn text(&self) -> String {
        let mut text = self.machine.text();
        for comparison in &self.comparisons {
            text.push('\n');
            text.push_str(&comparison.text());
        }
        if !self.waits.is_empty() {
            text.push('\n');
            text.push_str(&waits_text(&self.waits));
        }
        if !self.micro.is_empty() {
            text.push('\n');
            text.push_str(&micro_text(&self.micro));
        }
        text
    }
}

impl Machine {
    fn text(&self) -> String {
        let Self { cores, processor, kernel, envoy, leastload, module_bytes, empty_bytes } = self;
        format!(
            "leastload {leastload}, {module_bytes} bytes (empty filter {empty_bytes}); \
             Envoy {envoy}; {cores} cores of {processor}, Linux {kernel}\n"
        )
    }
}

impl Comparison {
    fn text(&self) -> String {
        let plan = &self.outcome.plan;
        let total = plan.requests * plan.rounds;
        let mut text = format!(
            "{} endpoint{}, {} worker{}: {total} requests per arm in {} rounds, {} at a time over \
             {} connections; {}\n",
            plan.endpoints,
            if plan.endpoints == 1 { "" } else { "s" },
            plan.workers,
            if plan.workers == 1 { "" } else { "s" },
            plan.rounds,
            plan.streams,
            plan.connections,
            self.outcome.cores,
        );
        let _ = writeln!(
            text,
            "{:<37} {:>22}  {:>21}  {:>13}  {:>7} {:>5} {:>5} {:>6} {:>8} {:>8} {:>9}",
            "",
            "CPU us/request (range)",
            "ratio to empty (range)",
            "95 % interval",
            "req/s",
            "busy",
            "load",
            "reads",
            "steered",
            "stamped",
            "idle ms/s"
        );
        for row in &self.rows {
            text.push_str(&row.text());
        }
        let _ = writeln!(
            text,
            "others used {:.1} % of the cores, the hypervisor took {:.1} %",
            100.0 * self.outcome.others,
            100.0 * self.outcome.stolen
        );
        for row in &self.rows {
            text.extend(row.stamps.map(|cost| cost.text(row.arm)));
        }
        for row in self.rows.iter().filter(|row| row.arm == Arm::StatefulSession) {
            let word = match row.ratio.median {
                ratio if ratio <= HOPED_RATIO => "reached",
                ratio if ratio <= TARGET_RATIO => "reached, the hoped-for 1.08 not",
                _ => "missed",
            };
            let ratio = row.ratio.median;
            let _ = writeln!(
                text,
                "leastload costs {ratio:.3} of the empty filter; target 1.10: {word}"
            );
        }
        if !self.steady {
            let _ = writeln!(
                text,
                "NOT STEADY: the empty filter's highest round is more than {STEADY} times its \
                 lowest; something else kept the machine busy, so trust none of the above"
            );
        }
        text
    }
}

impl Row {
    fn text(&self) -> String {
        let range = |of: &Spread, digits: usize| {
            format!("{:.digits$} ({:.digits$}-{:.digits$})", of.median, of.low, of.high)
        };
        let interval = |of: &Spread| {
            of.confident.map_or("-".into(), |(low, high)| format!("{low:.3}-{high:.3}"))
        };
        let share = |of: Option<f64>| {
            of.map_or_else(|| "-".into(), |share| format!("{:.2} %", 100.0 * share))
        };
        format!(
            "{:<37} {:>22}  {:>21}  {:>13}  {:>7.0} {:>5.2} {:>5.2} {:>6.2} {:>8} {:>8} {:>9.1}\n",
            self.arm.title(),
            range(&self.cpu_us, 2),
            range(&self.ratio, 3),
            interval(&self.ratio),
            self.rate,
            self.workers_busy,
            self.load_busy,
            self.reads,
            share(self.steered),
            share(self.stamped),
            self.idle
        )
    }
}

impl StampCost {
    fn text(self, arm: Arm) -> String {
        let Self { us: Spread { median, low, high, confident }, target_us } = self;
        let proxy = if arm.asks() { "client's" } else { "server's" };
        let interval = confident.map_or_else(String::new, |(low, high)| {
            format!(", 95 % interval {low:.2} to {high:.2}")
        });
        let figures = format!(
            "{median:.2} us of CPU a request at the {proxy} proxy ({low:.2} to {high:.2}{interval})"
        );
        match target_us {
            Some(target) => {
                let word = if median <= target { "reached" } else { "missed" };
                format!("stamps cost {figures}; target {target:.0}: {word}\n")
            }
            None => format!("of a filter that only sets and removes them {figures}\n"),
        }
    }
}

fn waits_text(rows: &[waits::Row]) -> String {
    let mut text = format!(
        "waits for answers that never come: by how much they were longer than probe.deadline, in \
         milliseconds, and the share of those that were so by more than {BOUND_US} us; beside them \
         what requests took that did not wait\n{:<8} {:<9} {:>7} {:>6} {:>35} {:>8} {:>36}\n",
        "deadline",
        "timers",
        "at once",
        "waits",
        "late: p50, p99, p99.9, most",
        "beyond",
        "did not wait: p50, p99, p99.9, most"
    );
    for row in rows {
        let four = |Quantiles { p50, p99, p999, most, .. }: Quantiles| {
            let [p50, p99, p999, most] = [p50, p99, p999, most].map(|us| us as f64 / 1e3);
            format!("{p50:.2} {p99:>7.2} {p999:>7.2} {most:>7.2}")
        };
        let _ = writeln!(
            text,
            "{:<8} {:<9} {:>7} {:>6} {:>35} {:>8} {:>36}",
            format!("{} ms", row.deadline_ms),
            if row.precise { "precise" } else { "usual" },
            row.streams,
            row.late_us.count,
            four(row.late_us),
            format!("{:.2} %", 100.0 * row.beyond),
            four(row.others_us),
        );
    }
    text
}

fn micro_text(micro: &[Micro]) -> String {
    let mut text = String::from("core, natively: median (95 % interval), in nanoseconds\n");
    for one in micro {
        let (low, high) = one.confident_ns;
        let target = one.target_ns.map_or_else(String::new, |target| {
            let word = if one.median_ns <= target { "reached" } else { "missed" };
            format!("  target {target:.0}: {word}")
        });
        let range = format!("({low:.0}-{high:.0})");
        let _ = writeln!(text, "{:<26} {:>10.0} {range:<20}{target}", one.name, one.median_ns);
    }
    text
}
