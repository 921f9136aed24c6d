//! All runs of a policy in a situation as one row: the median of the seeds, the least, the most.

use serde::Deserialize;
use serde_json::Value;

use crate::measure::{Figures, Latency, Line};
use crate::scenario::{Document, Entry, Variant};

/// One figure measured several times: over the seeds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Spread {
    /// Median.
    pub median: f64,
    /// Least.
    pub min: f64,
    /// Most.
    pub max: f64,
}

impl Spread {
    /// Of these values. `None` where there are none, or one is no number.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min: values[0], max: values[values.len() - 1] })
    }
}

/// Whom a policy stands for in the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What is labelled `leastload`.
    Leastload,
    /// Another setting of it.
    Variant,
    /// Knows what no proxy can know: a bound, no rival.
    Perfect,
    /// What leastload is compared with.
    Rival,
}

/// The role of a policy: by its rule, and for leastload by its label.
pub fn role(entry: &Entry) -> Role {
    let rule = entry.rule.name();
    if entry.label() == "leastload" {
        Role::Leastload
    } else if entry.label().starts_with("leastload") || rule.starts_with("leastload") {
        Role::Variant
    } else if ["join_shortest_queue", "shortest_expected_delay", "fresh_answers", "central"]
        .contains(&rule)
    {
        Role::Perfect
    } else {
        Role::Rival
    }
}

/// One policy in one situation.
#[derive(Debug)]
pub struct Row<'a> {
    /// The policy.
    pub entry: &'a Entry,
    /// Whom it stands for.
    pub role: Role,
    /// Latency in ms; `None` where nothing was answered. Of messages where there are only streams.
    pub p50: Option<Spread>,
    /// Likewise.
    pub p99: Option<Spread>,
    /// Likewise.
    pub p999: Option<Spread>,
    /// Likewise.
    pub mean: Option<Spread>,
    /// Requests that were not answered though they were wanted, in percent.
    pub errors: Spread,
    /// Mean number in flight at a server.
    pub in_flight: Spread,
    /// The largest of any server by the mean.
    pub max_over_mean: Spread,
    /// Jain's index, 0 to 1.
    pub fairness: Spread,
    /// Probes for a request.
    pub probes: Spread,
}

/// One situation of a scenario.
#[derive(Debug)]
pub struct Situation<'a> {
    /// Which.
    pub variant: &'a Variant,
    /// Its policies, in the order of the file.
    pub rows: Vec<Row<'a>>,
}

impl Situation<'_> {
    /// The row of the first policy with this rule.
    pub fn by_rule(&self, rule: &str) -> Option<&Row<'_>> {
        self.rows.iter().find(|row| row.entry.rule.name() == rule)
    }

    /// The value of an axis, or the case's name.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.variant.case.get(name)
    }
}

/// One scenario.
#[derive(Debug)]
pub struct Summary<'a> {
    /// Its file.
    pub document: &'a Document,
    /// Its situations, in the order of the file.
    pub situations: Vec<Situation<'a>>,
}

impl<'a> Summary<'a> {
    /// The names of what is varied: `case` where there are cases, then the axes.
    pub fn dimensions(&self) -> Vec<&str> {
        let scenario = &self.document.scenario;
        let case = (!scenario.cases.is_empty()).then_some("case");
        case.into_iter().chain(scenario.axes.iter().map(|axis| axis.name.as_str())).collect()
    }

    /// A situation in words: `crash, load 0.9`. Empty where nothing is varied.
    pub fn name(&self, situation: &Situation<'_>) -> String {
        self.words(situation, &self.dimensions())
    }

    /// Some of its dimensions in words.
    pub fn words(&self, situation: &Situation<'_>, dimensions: &[&str]) -> String {
        let word = |name: &&str| {
            let value = plain(situation.value(name)?);
            Some(if *name == "case" { value } else { format!("{name} {value}") })
        };
        dimensions.iter().filter_map(word).collect::<Vec<_>>().join(", ")
    }

    /// The most demanding situation: where the middle policy's p99 is longest; the first of
    /// equals.
    pub fn hardest(&self) -> &Situation<'a> {
        let middle = |situation: &Situation<'_>| {
            let p99 = situation.rows.iter().filter_map(|row| row.p99).map(|p99| p99.median);
            Spread::of(p99).map_or(0.0, |middle| middle.median)
        };
        let first = &self.situations[0];
        self.situations.iter().fold(first, |hardest, situation| {
            if middle(situation) > middle(hardest) { situation } else { hardest }
        })
    }
}

/// A value without quotes.
pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// Sums up the lines of [`crate::batch::tasks`] in its order: for each situation, policy and seed.
///
/// # Panics
/// Where a line is missing.
pub fn summaries<'a>(documents: &'a [Document], lines: &[Line], seeds: usize) -> Vec<Summary<'a>> {
    let mut groups = lines.chunks(seeds);
    let mut row = |entry: &'a Entry| {
        let Some(group) = groups.next() else { panic!("a run of {} is missing", entry.label()) };
        assert!(group.iter().all(|line| line.policy == entry.label()), "lines are out of order");
        row(entry, group)
    };
    let mut situation = |variant: &'a Variant| Situation {
        variant,
        rows: variant.scenario.policies.iter().map(&mut row).collect(),
    };
    let summary = |document: &'a Document| Summary {
        document,
        situations: document.variants.iter().map(&mut situation).collect(),
    };
    documents.iter().map(summary).collect()
}

/// What stands for a run's latency: that of messages where there are only streams.
fn latency(figures: &Figures) -> &Latency {
    match &figures.streams {
        Some(streams) if figures.latency_ms.max == 0.0 => &streams.message_ms,
        _ => &figures.latency_ms,
    }
}

fn row<'a>(entry: &'a Entry, lines: &[Line]) -> Row<'a> {
    let all = |figure: &dyn Fn(&Figures) -> f64| {
        Spread::of(lines.iter().map(|line| figure(&line.figures)))
    };
    let none = Spread { median: 0.0, min: 0.0, max: 0.0 };
    let number = |figure: &dyn Fn(&Figures) -> f64| all(figure).unwrap_or(none);
    let of_latency = |of: &dyn Fn(&Latency) -> f64| {
        all(&|figures| {
            let latency = latency(figures);
            if latency.max > 0.0 { of(latency) } else { f64::NAN }
        })
    };
    Row {
        entry,
        role: role(entry),
        p50: of_latency(&|latency| latency.p50),
        p99: of_latency(&|latency| latency.p99),
        p999: of_latency(&|latency| latency.p999),
        mean: of_latency(&|latency| latency.mean),
        errors: number(&errors),
        in_flight: number(&|figures| figures.in_flight.mean),
        max_over_mean: number(&|figures| figures.in_flight.max_over_mean),
        fairness: number(&|figures| figures.fairness),
        probes: number(&|figures| figures.probes.per_request),
    }
}

#[allow(clippy::cast_precision_loss)]
fn errors(figures: &Figures) -> f64 {
    100.0 * figures.errors.unwanted() as f64 / (figures.offered as f64).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middle_ones() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
        assert_eq!(spread(&[4.0, 1.0]).map(|spread| spread.median), Some(2.5));
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn roles_come_from_the_rule_and_for_leastload_from_the_label() {
        let role = |json: &str| role(&serde_json::from_str(json).unwrap());
        assert_eq!(role(r#"{"label": "leastload", "rule": {"random": {}}}"#), Role::Leastload);
        assert_eq!(role(r#"{"label": "leastload slow", "rule": {"random": {}}}"#), Role::Variant);
        assert_eq!(role(r#"{"label": "limit", "rule": {"central": {}}}"#), Role::Perfect);
        assert_eq!(role(r#"{"rule": {"round_robin": {}}}"#), Role::Rival);
    }
}
