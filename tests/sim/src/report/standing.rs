//! Where leastload stands: in each situation beside the limit and beside its best rival.

use std::cmp::Ordering;
use std::fmt::Write as _;

use super::summary::{Role, Row, Situation, Spread, Summary};

/// Percentage points of errors that make no difference.
pub const ERRORS_WITHIN: f64 = 0.1;

/// leastload in one situation.
#[derive(Debug)]
pub struct Place<'a> {
    /// Index of the scenario.
    pub scenario: usize,
    /// The scenario's name.
    pub name: &'a str,
    /// The situation in words; empty where the scenario has only one.
    pub situation: String,
    /// p99 in ms; `None` where nothing was answered.
    pub p99: Option<Spread>,
    /// p99 by that of the limit.
    pub to_limit: Option<f64>,
    /// p99 by that of the best rival.
    pub to_rival: Option<f64>,
    /// Errors in percent.
    pub errors: f64,
    /// The best rival.
    pub rival: Option<Rival<'a>>,
    /// The least errors of any rival, in percent, where that is clearly less than leastload's.
    pub fewest_errors: Option<f64>,
}

/// The best rival.
#[derive(Debug)]
pub struct Rival<'a> {
    /// Its label.
    pub label: &'a str,
    /// p99 in ms.
    pub p99: f64,
    /// Errors in percent.
    pub errors: f64,
}

impl Place<'_> {
    /// Worst first: more errors than a rival, then the ratio to the best rival.
    fn badness(&self) -> (bool, f64) {
        let ratio = match (self.p99, &self.rival) {
            (None, _) => f64::INFINITY,
            (_, None) => 0.0,
            _ => self.to_rival.unwrap_or(0.0),
        };
        (self.fewest_errors.is_some(), ratio)
    }
}

/// Every situation where leastload ran, worst first.
pub fn places<'a>(summaries: &'a [Summary<'a>]) -> Vec<Place<'a>> {
    let mut places = Vec::new();
    for (index, summary) in summaries.iter().enumerate() {
        for situation in &summary.situations {
            let ours = situation.rows.iter().find(|row| row.role == Role::Leastload);
            places.extend(ours.map(|ours| place(index, summary, situation, ours)));
        }
    }
    // Stable: equals stay in the order of the files.
    places.sort_by(|a, b| {
        let (a, b) = (a.badness(), b.badness());
        b.0.cmp(&a.0).then(b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal))
    });
    places
}

fn place<'a>(
    scenario: usize,
    summary: &'a Summary<'a>,
    situation: &'a Situation<'a>,
    ours: &Row<'_>,
) -> Place<'a> {
    let errors = ours.errors.median;
    let rival = best_rival(situation, errors);
    let to = |other: Option<f64>| match (ours.p99, other) {
        (Some(p99), Some(other)) if other > 0.0 => Some(p99.median / other),
        _ => None,
    };
    let limit = situation.by_rule("central").and_then(|row| row.p99).map(|p99| p99.median);
    let fewest = rivals(situation).map(|row| row.errors.median).fold(f64::INFINITY, f64::min);
    Place {
        scenario,
        name: &summary.document.scenario.name,
        situation: summary.name(situation),
        p99: ours.p99,
        to_limit: to(limit),
        to_rival: to(rival.as_ref().map(|rival| rival.p99)),
        errors,
        rival,
        fewest_errors: (fewest + ERRORS_WITHIN < errors).then_some(fewest),
    }
}

fn rivals<'a>(situation: &'a Situation<'a>) -> impl Iterator<Item = &'a Row<'a>> {
    situation.rows.iter().filter(|row| row.role == Role::Rival)
}

/// The least p99 of those rivals that answer as many requests; a policy that fails requests has
/// fewer left to wait for. Where all fail more, the one that fails least.
fn best_rival<'a>(situation: &'a Situation<'a>, errors: f64) -> Option<Rival<'a>> {
    let answering = || rivals(situation).filter_map(|row| Some((row, row.p99?.median)));
    let (row, p99) = answering()
        .filter(|(row, _)| row.errors.median <= errors + ERRORS_WITHIN)
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .or_else(|| answering().min_by(|a, b| a.0.errors.median.total_cmp(&b.0.errors.median)))?;
    Some(Rival { label: row.entry.label(), p99, errors: row.errors.median })
}

/// What the columns mean.
pub const METHOD: &str = "p99 latency in ms: median of the seeds. \"by the limit\": divided by that \
    of one central queue, which no balancer can have. \"by the best rival\": divided by the least \
    p99 of a policy without perfect knowledge whose errors are at most 0.1 percentage points more \
    than leastload's, or where all have more, of the one that has fewest; below 1, leastload is \
    faster. First come situations where a rival has clearly \
    fewer errors, then the others, the largest ratio to the best rival first.";

/// The table in Markdown.
pub fn markdown(places: &[Place<'_>]) -> String {
    if places.is_empty() {
        return "No policy labelled `leastload` ran.\n".to_owned();
    }
    let mut text = String::from(
        "| scenario | situation | p99 ms | by the limit | best rival | its p99 ms | by the best rival \
         | errors % | the rival's |\n|---|---|--:|--:|---|--:|--:|--:|--:|\n",
    );
    for place in places {
        let (label, p99, errors) = place
            .rival
            .as_ref()
            .map_or(("-".to_owned(), "-".to_owned(), "-".to_owned()), |rival| {
                (cell(rival.label), figure(rival.p99), percent(rival.errors))
            });
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {label} | {p99} | {} | {} | {errors} |",
            cell(place.name),
            cell(&place.situation),
            place.p99.map_or("-".to_owned(), |p99| figure(p99.median)),
            ratio(place.to_limit),
            ratio(place.to_rival),
            errors_cell(place),
        );
    }
    let _ = writeln!(text, "\n{METHOD}");
    text
}

/// Errors, and the fewest of any rival where these are clearly fewer.
fn errors_cell(place: &Place<'_>) -> String {
    let own = percent(place.errors);
    place
        .fewest_errors
        .map_or(own.clone(), |fewest| format!("**{own}** (a rival has {})", percent(fewest)))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Three digits, or all before the point: 0.42, 4.25, 42.5, 425, 4250.
pub fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        value if value < 0.1 => format!("{value:.3}"),
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// A percentage; what is hardly any is not shown as none.
pub fn percent(value: f64) -> String {
    match value {
        value if value <= 0.0 => "0".to_owned(),
        value if value < 0.01 => "<0.01".to_owned(),
        value => format!("{value:.2}"),
    }
}

/// A ratio, or a dash.
pub fn ratio(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.2}"))
}
