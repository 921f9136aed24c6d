//! Reads a scenario file and names every fault by its path.

use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

use super::variant::{self, Variant, expand};
use super::{Arrivals, Effect, Scenario, ServiceTime, size};
use crate::span::Span;

/// A scenario file as it was read.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file as it is.
    pub scenario: Scenario,
    /// The situations it stands for.
    pub variants: Vec<Variant>,
}

/// Something wrong with a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    path: String,
    what: String,
}

impl Fault {
    pub(super) fn new(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self { path: path.into(), what: what.into() }
    }

    pub(super) fn within(self, place: &str) -> Self {
        Self { path: self.path + place, what: self.what }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

/// Everything that is wrong with a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("; "))
    }
}

impl std::error::Error for Faults {}

/// Reads a file; samples lie beside it.
///
/// # Errors
/// Where it cannot be read, is no JSON, or is faulty.
pub fn read_file(path: &Path) -> Result<Document, Faults> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Faults(vec![Fault::new(path.display().to_string(), error.to_string())]))?;
    read(&text, path.parent().unwrap_or(Path::new(".")))
}

/// Reads a scenario. `folder`: where its samples lie.
///
/// # Errors
/// Where it is no JSON, or faulty.
pub fn read(text: &str, folder: &Path) -> Result<Document, Faults> {
    let document: Value = serde_json::from_str(text)
        .map_err(|error| Faults(vec![Fault::new("(file)", format!("no JSON: {error}"))]))?;
    let scenario = typed(document.clone()).map_err(Faults)?;
    let mut variants = expand(&document, &scenario.cases, &scenario.axes).map_err(Faults)?;
    for variant in &mut variants {
        if let ServiceTime::Samples(samples) = &mut variant.scenario.traffic.service {
            samples
                .load(folder)
                .map_err(|what| Faults(vec![Fault::new("traffic.service.samples.file", what)]))?;
        }
        let faults = size::check(&variant.scenario);
        if !faults.is_empty() {
            let place = variant::place(&variant.case);
            return Err(Faults(faults.into_iter().map(|fault| fault.within(&place)).collect()));
        }
        variant.scenario.cases.clear();
        variant.scenario.axes.clear();
    }
    Ok(Document { scenario, variants })
}

/// One situation from its JSON.
pub(super) fn typed(mut document: Value) -> Result<Scenario, Vec<Fault>> {
    // A rule's name stands for the rule with its defaults.
    if let Some(Value::Array(policies)) = document.get_mut("policies") {
        for policy in policies {
            if let Value::String(name) = policy {
                *policy = json!({"rule": {name.as_str(): {}}});
            }
        }
    }
    let scenario: Scenario = serde_path_to_error::deserialize(document)
        .map_err(|error| vec![Fault::new(error.path().to_string(), plain(error.inner()))])?;
    let faults = check(&scenario);
    if faults.is_empty() { Ok(scenario) } else { Err(faults) }
}

/// Serde's message in the words of JSON.
fn plain(error: &serde_json::Error) -> String {
    let mut message = error.to_string();
    for (rust, json) in [
        ("invalid type: unit variant, expected struct variant", "expected an object, maybe empty"),
        ("map with a single key", "an object with a single key"),
        ("invalid value: map", "an object with several keys"),
        ("invalid type: map", "invalid type: an object"),
        ("a sequence", "a list"),
        ("expected u16", "expected a whole number"),
        ("expected u32", "expected a whole number, 0 to 4294967295"),
        ("expected f64", "expected a number"),
        ("variant `", "name `"),
    ] {
        message = message.replace(rust, json);
    }
    message
}

/// Collects faults.
struct Check(Vec<Fault>);

impl Check {
    fn that(&mut self, holds: bool, path: impl Into<String>, expected: &str) {
        if !holds {
            self.0.push(Fault::new(path, format!("expected {expected}")));
        }
    }

    fn percent(&mut self, value: f64, path: impl Into<String>) {
        self.that((0.0..=100.0).contains(&value), path, "a percentage, 0 to 100");
    }

    fn range(&mut self, value: f64, (least, most): (f64, f64), path: impl Into<String>) {
        self.that((least..=most).contains(&value), path, &format!("{least} to {most}"));
    }
}

fn check(scenario: &Scenario) -> Vec<Fault> {
    let mut check = Check(Vec::new());
    check.that(scenario.warm_up < scenario.duration, "warm_up", "less than duration");
    check.that(!scenario.policies.is_empty(), "policies", "at least one");
    for (index, entry) in scenario.policies.iter().enumerate() {
        let twice = scenario.policies[..index].iter().any(|other| other.label() == entry.label());
        check.that(!twice, format!("policies[{index}].label"), "a label of its own");
        if let Err(what) = entry.rule.check() {
            check.0.push(Fault::new(format!("policies[{index}].rule.{}", entry.rule.name()), what));
        }
    }
    let proxies = &scenario.proxies;
    check.range(proxies.count.into(), (1.0, 100_000.0), "proxies.count");
    check.range(proxies.workers.into(), (1.0, 64.0), "proxies.workers");
    check.percent(proxies.filter_percent, "proxies.filter_percent");
    check.range(proxies.skew, (0.0, 10.0), "proxies.skew");
    check.percent(scenario.reports.twin_percent, "reports.twin_percent");
    check.percent(scenario.reports.lost_percent, "reports.lost_percent");
    check.that(scenario.reports.period >= Span::ms(10), "reports.period", "at least 10ms");
    check.percent(scenario.probes.lost_percent, "probes.lost_percent");
    servers(&mut check, scenario);
    traffic(&mut check, scenario);
    events(&mut check, scenario);
    check.0
}

fn servers(check: &mut Check, scenario: &Scenario) {
    let total: u64 = scenario.servers.iter().map(|group| u64::from(group.count)).sum();
    check.that((1..=100_000).contains(&total), "servers", "1 to 100000 servers in all");
    let present = scenario.servers.iter().any(|group| group.present && group.count > 0);
    check.that(present, "servers", "one that is present at the start");
    for (index, group) in scenario.servers.iter().enumerate() {
        let at = |field: &str| format!("servers[{index}].{field}");
        check.range(group.slots.into(), (1.0, 100_000.0), at("slots"));
        check.range(group.speed, (0.001, 1_000.0), at("speed"));
        check.range(group.weight.into(), (1.0, 128.0), at("weight"));
        if let Some(warm_up) = &group.warm_up {
            check.range(warm_up.from, (0.001, 1.0), at("warm_up.from"));
            check.that(warm_up.lasts > Span::ZERO, at("warm_up.for"), "more than nothing");
        }
        if let Some(antagonist) = &group.antagonist {
            let (least, most) = antagonist.takes;
            check.range(least, (0.0, most), at("antagonist.takes[0]"));
            check.range(most, (0.0, 1.0), at("antagonist.takes[1]"));
            let times = antagonist.on > Span::ZERO && antagonist.off > Span::ZERO;
            check.that(times, at("antagonist"), "on and off above 0");
        }
    }
}

fn traffic(check: &mut Check, scenario: &Scenario) {
    let traffic = &scenario.traffic;
    let closed = matches!(traffic.arrivals, Arrivals::Closed { .. });
    let given = usize::from(traffic.load.is_some()) + usize::from(traffic.rate.is_some());
    let expected = if closed {
        "no load and no rate where arrivals are closed"
    } else {
        "either load or rate"
    };
    check.that(given == usize::from(!closed), "traffic", expected);
    if let Some(load) = traffic.load {
        check.range(load, (0.0001, 100.0), "traffic.load");
    }
    if let Some(rate) = traffic.rate {
        check.range(rate, (0.001, 1e8), "traffic.rate");
    }
    match traffic.arrivals {
        Arrivals::Poisson => {}
        Arrivals::Bursts { on, off, low } => {
            check.that(on > Span::ZERO, "traffic.arrivals.bursts.on", "more than nothing");
            check.that(off > Span::ZERO, "traffic.arrivals.bursts.off", "more than nothing");
            check.range(low, (0.0, 1.0), "traffic.arrivals.bursts.low");
        }
        Arrivals::Ramp { from, to } => {
            check.range(from, (0.0, 100.0), "traffic.arrivals.ramp.from");
            check.range(to, (0.0, 100.0), "traffic.arrivals.ramp.to");
            check.that(from + to > 0.0, "traffic.arrivals.ramp", "more than no arrivals");
        }
        Arrivals::Closed { clients, .. } => {
            check.range(clients.into(), (1.0, 1e6), "traffic.arrivals.closed.clients");
        }
    }
    let positive = match &traffic.service {
        ServiceTime::Samples(_) => true,
        ServiceTime::LogNormal { sigma, .. } if !(0.0..=5.0).contains(sigma) => false,
        ServiceTime::Bimodal { heavy_percent, .. } if !(0.0..=100.0).contains(heavy_percent) => {
            false
        }
        ServiceTime::Uniform { low, high } if low > high => false,
        service => service.mean() > 0.0,
    };
    check.that(
        positive,
        "traffic.service",
        "a mean above 0, sigma 0 to 5, percentages, low <= high",
    );
    check.that(traffic.methods.len() <= 64, "traffic.methods", "at most 64");
    for (index, method) in traffic.methods.iter().enumerate() {
        let at = |field: &str| format!("traffic.methods[{index}].{field}");
        check.range(method.weight, (0.000_001, 1e6), at("weight"));
        check.range(method.cost, (0.001, 1e4), at("cost"));
        if let Some(stream) = &method.stream {
            check.range(stream.messages.into(), (1.0, 1e6), at("stream.messages"));
        }
    }
    let deadline = traffic.deadline.is_none_or(|deadline| deadline > Span::ZERO);
    check.that(deadline, "traffic.deadline", "more than nothing");
    check.range(traffic.retries.most.into(), (0.0, 20.0), "traffic.retries.most");
    check.percent(traffic.cancel.percent, "traffic.cancel.percent");
}

fn events(check: &mut Check, scenario: &Scenario) {
    for (index, event) in scenario.events.iter().enumerate() {
        let at = |field: &str| format!("events[{index}].{field}");
        if let Some(group) = &event.servers.group {
            let known = scenario.servers.iter().any(|known| known.name == *group);
            check.that(known, at("servers.group"), "the name of a group of servers");
        }
        check.that(event.at < scenario.duration, at("at"), "less than duration");
        if let Err(expected) = size::is_felt(scenario, event) {
            check.that(false, at("servers"), expected);
        }
        if let Some(every) = event.every {
            check.that(
                event.lasts.is_some_and(|lasts| lasts < every),
                at("for"),
                "less than every",
            );
        }
        let hit = scenario.servers.iter().filter(|group| event.servers.covers(group));
        let hit: u64 = hit.map(|group| u64::from(group.count)).sum();
        let anybody = hit > u64::from(event.servers.skip) && event.servers.count != Some(0);
        check.that(anybody, at("servers"), "at least one server");
        match event.effect {
            Effect::Drain { grace } => {
                let back = event.lasts.is_none_or(|lasts| lasts >= grace);
                check.that(back, at("for"), "at least the grace of the drain");
            }
            Effect::Speed { factor } => {
                check.range(factor, (0.0, 100.0), at("effect.speed.factor"));
            }
            Effect::Fail { percent, .. } => check.percent(percent, at("effect.fail.percent")),
            Effect::Lie { factor } => check.range(factor, (0.0, 1e6), at("effect.lie.factor")),
            Effect::Silence {} | Effect::Crash {} | Effect::Join {} => {}
        }
    }
}
