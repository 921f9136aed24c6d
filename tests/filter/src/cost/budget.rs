//! The committed budget, what differs from it, and the targets.

use core::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::figures::{Figures, Spread};
use super::scenario::{Arm, Scenario, Shape};
use super::{Counted, count};

/// Instructions above the budget that are put down to chance, in percent. The most expensive request
/// is shown, not compared: a hash table that is put in order may fall among those counted or not.
const FUEL_TOLERANCE: u64 = 10;
/// By how much mean host calls may differ: what random choices make of it.
const MEAN_TOLERANCE: f64 = 0.1;
/// Target: most value-returning host calls of a unary request.
const MOST_VALUES: usize = 3;
/// Target: bytes of memory that a VM with 1,000 endpoints stays below.
const MEMORY: usize = 4_000_000;

/// What compiled the modules: instructions depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    /// For readers.
    pub name: String,
    /// Size of the empty filter in bytes: with its instructions, what tells one from another.
    pub empty_bytes: u64,
    /// Instructions of a request through the empty filter.
    pub empty_fuel: u64,
}

impl Toolchain {
    /// That of the modules here.
    ///
    /// # Panics
    ///
    /// Where the empty filter was not counted and cannot be.
    pub fn here(name: &str, counted: &Counted) -> Self {
        let empty = Scenario { arm: Arm::Empty, shape: Shape::Unary, workers: 1, endpoints: 10 };
        let here = counted.get(&empty.to_string()).cloned();
        let figures =
            here.unwrap_or_else(|| count(&[empty]).into_values().next().expect("counted"));
        let file = fs::metadata(leastload_modules::empty()).expect("the empty filter is built");
        Self { name: name.to_owned(), empty_bytes: file.len(), empty_fuel: figures.fuel.median }
    }

    fn is_that_of(&self, other: &Self) -> bool {
        (self.empty_bytes, self.empty_fuel) == (other.empty_bytes, other.empty_fuel)
    }
}

/// Something to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether the build fails for it.
    pub fails: bool,
    /// What it is.
    pub text: String,
}

/// What requests may cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// What its instructions were counted with.
    pub toolchain: Toolchain,
    /// By the name of the scenario.
    pub scenarios: Counted,
}

impl Budget {
    /// The file with it.
    pub fn path() -> PathBuf {
        leastload_modules::root().join("tests/filter/cost-budget.json")
    }

    /// As committed; empty where the file is missing.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub fn read() -> Result<Self, String> {
        match fs::read(Self::path()) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
            Err(_) => Ok(Self::default()),
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// Why it cannot be written.
    ///
    /// # Panics
    ///
    /// Never: the figures are always JSON.
    pub fn write(&self) -> Result<(), String> {
        let mut text = serde_json::to_string_pretty(self).expect("figures are JSON");
        text.push('\n');
        fs::write(Self::path(), text).map_err(|error| error.to_string())
    }

    /// Scenarios that the file lacks, or has although they are no more.
    pub fn coverage(&self) -> Vec<Finding> {
        let names: Vec<String> = Scenario::all().iter().map(Scenario::to_string).collect();
        let unknown = self.scenarios.keys().filter(|name| !names.contains(name));
        let unknown = unknown.map(|name| fails(name, "is in the budget, but is no scenario"));
        let missing = names.iter().filter(|name| !self.scenarios.contains_key(*name));
        unknown.chain(missing.map(|name| fails(name, "has no budget"))).collect()
    }

    /// How these figures differ from the budget, and where they miss the targets.
    pub fn compare(&self, here: &Toolchain, counted: &Counted) -> Vec<Finding> {
        let mut findings = Vec::new();
        let same = self.toolchain.is_that_of(here);
        for (name, figures) in counted {
            if let Some(budget) = self.scenarios.get(name) {
                calls(name, budget, figures, &mut findings);
                memory(name, budget, figures, &mut findings);
                fuel(name, budget, figures, same, &mut findings);
            }
        }
        if !same {
            let text = format!(
                "the modules were built by another toolchain than the budget's ({}): their \
                 instructions are not held against it",
                self.toolchain.name
            );
            findings.push(Finding { fails: false, text });
        }
        findings.extend(targets(counted));
        findings
    }
}

fn fails(name: &str, what: &str) -> Finding {
    Finding { fails: true, text: format!("{name}: {what}") }
}

/// Lines that one list has more often than the other, by the callback they are in.
fn difference(budget: &[String], now: &[String]) -> String {
    let (budget, now) = (with_callback(budget), with_callback(now));
    let mut text = String::new();
    for (mark, from, other) in [('-', &budget, &now), ('+', &now, &budget)] {
        let mut left: Vec<&String> = other.iter().collect();
        for line in from {
            match left.iter().position(|known| *known == line) {
                Some(index) => drop(left.swap_remove(index)),
                None => drop(write!(text, "\n    {mark} {line}")),
            }
        }
    }
    text
}

fn with_callback(lines: &[String]) -> Vec<String> {
    let mut callback = "";
    let mut result = Vec::new();
    for line in lines {
        if let Some(call) = line.strip_prefix("  ") {
            result.push(format!("{callback}: {call}"));
        } else {
            callback = line;
            result.push(callback.to_owned());
        }
    }
    result
}

fn calls(name: &str, budget: &Figures, now: &Figures, findings: &mut Vec<Finding>) {
    if budget.typical != now.typical {
        let lines = difference(&budget.typical, &now.typical);
        findings.push(fails(name, &format!("the typical request has other host calls:{lines}")));
    }
    for (what, budget, now) in [
        ("mean host calls", budget.mean_calls, now.mean_calls),
        ("mean host calls with a value", budget.mean_values, now.mean_values),
    ] {
        if (budget - now).abs() > MEAN_TOLERANCE {
            findings.push(fails(name, &format!("{what}: {now}, budget {budget}")));
        }
    }
    if now.most_calls > budget.most_calls {
        let (now, budget) = (now.most_calls, budget.most_calls);
        findings
            .push(fails(name, &format!("most host calls of a request: {now}, budget {budget}")));
    }
}

fn memory(name: &str, budget: &Figures, now: &Figures, findings: &mut Vec<Finding>) {
    if now.pages > budget.pages {
        let text = format!("{} pages of memory, budget {}", now.pages, budget.pages);
        findings.push(fails(name, &text));
    }
    if now.growth_pages > 0 {
        let text = format!("memory grew by {} pages once warm", now.growth_pages);
        findings.push(fails(name, &text));
    }
}

fn fuel(name: &str, budget: &Figures, now: &Figures, same: bool, findings: &mut Vec<Finding>) {
    let mut lower = Vec::new();
    let mut check = |what: String, budget: u64, now: u64| {
        if now * 100 > budget * (100 + FUEL_TOLERANCE) {
            let text = format!("{name}: instructions, {what}: {now}, budget {budget}");
            findings.push(Finding { fails: same, text });
        } else if now * 100 < budget * (100 - FUEL_TOLERANCE) {
            lower.push(what);
        }
    };
    let mut all = |what: &str, budget: Spread, now: Spread| {
        check(format!("{what}, median"), budget.median, now.median);
        check(format!("{what}, mean"), budget.mean, now.mean);
    };
    all("request", budget.fuel, now.fuel);
    for (what, figures) in &now.beside {
        if let Some(budget) = budget.beside.get(what) {
            all(what, budget.fuel, figures.fuel);
        }
    }
    if !lower.is_empty() {
        let text = format!("{name}: instructions, well below the budget: {}", lower.join("; "));
        findings.push(Finding { fails: false, text });
    }
}

/// Targets that no budget can move.
fn targets(counted: &Counted) -> Vec<Finding> {
    let mut findings = Vec::new();
    for scenario in Scenario::all() {
        let name = scenario.to_string();
        let Some(figures) = counted.get(&name) else { continue };
        let steers = matches!(scenario.arm, Arm::Session | Arm::OverrideHost);
        if steers && scenario.shape == Shape::Unary && figures.values > MOST_VALUES {
            let text =
                format!("{} value-returning host calls, target {MOST_VALUES}", figures.values);
            findings.push(fails(&name, &text));
        }
        let bytes = figures.pages * 65_536;
        if scenario.endpoints == 1_000 && bytes >= MEMORY {
            findings.push(fails(&name, &format!("{bytes} bytes of memory, target {MEMORY}")));
        }
    }
    findings
}
