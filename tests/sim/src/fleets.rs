//! Fleets drawn at random: is leastload worse than `LEAST_REQUEST` in any? Scenarios that somebody
//! thought of cannot tell.

mod draw;

use std::fmt::Write as _;

use crate::batch::{run_all, tasks};
use crate::measure::Line;
use crate::report::standing::{figure, places, ratio};
use crate::report::summary::{Row, Spread, summaries};
use crate::scenario::{Document, Faults, read};

pub use draw::fleet;

/// From this ratio on, leastload counts as worse.
const WORSE: f64 = 1.05;
/// Most rows of the table.
const ROWS: usize = 20;

/// Fleets with consecutive numbers. A fleet's number is the seed it is drawn from, and that of its
/// run.
#[derive(Debug)]
pub struct Fleets {
    first: u64,
    documents: Vec<Document>,
}

/// leastload in one fleet. Ratios are `None` where one of both answered nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The fleet's number.
    pub number: u64,
    /// The fleet in words.
    pub about: String,
    /// p99 in ms.
    pub p99: Option<f64>,
    /// p99 by that of `LEAST_REQUEST`.
    pub to_least_request: Option<f64>,
    /// Mean latency by that of `LEAST_REQUEST`.
    pub mean_to_least_request: Option<f64>,
    /// Label of the best rival, and p99 by that of it.
    pub to_rival: Option<(String, f64)>,
    /// p99 by that of the limit.
    pub to_limit: Option<f64>,
    /// Whether a rival left clearly fewer requests unanswered.
    pub errs: bool,
}

impl Fleets {
    /// The fleets `seed`, `seed + 1` and so on; so many percent of each group's servers have a twin.
    ///
    /// # Errors
    /// Where one is no valid scenario: then what is drawn is wrong.
    pub fn draw(seed: u64, count: u32, twin_percent: u8) -> Result<Self, Faults> {
        let one = |index| read(&fleet(number(seed, index), twin_percent).to_string(), ".".as_ref());
        let documents = (0..u64::from(count)).map(one).collect::<Result<_, _>>()?;
        Ok(Self { first: seed, documents })
    }

    /// How many runs [`Fleets::run`] makes.
    pub fn runs(&self) -> usize {
        self.documents.iter().map(|document| document.scenario.policies.len()).sum()
    }

    /// Simulates all, on all cores; `done` hears of each run as it ends. The worst by
    /// `LEAST_REQUEST` comes first.
    pub fn run(&self, done: impl Fn(&Line) + Sync) -> Vec<Outcome> {
        let each = (0..).zip(&self.documents);
        let tasks: Vec<_> = each
            .flat_map(|(index, document)| {
                tasks(std::slice::from_ref(document), &[number(self.first, index)])
            })
            .collect();
        let lines = run_all(&tasks, done);
        let summaries = summaries(&self.documents, &lines, 1);
        let mut outcomes: Vec<_> = places(&summaries)
            .into_iter()
            .map(|place| {
                let situation = &summaries[place.scenario].situations[0];
                let by = |figure: fn(&Row<'_>) -> Option<Spread>| {
                    let of = |rule| situation.by_rule(rule).and_then(figure);
                    Some(of("leastload")?.median / of("least_request")?.median)
                };
                Outcome {
                    number: number(self.first, place.scenario as u64),
                    about: summaries[place.scenario].document.scenario.about.clone(),
                    p99: place.p99.map(|p99| p99.median),
                    to_least_request: by(|row| row.p99),
                    mean_to_least_request: by(|row| row.mean),
                    to_rival: place.rival.map(|rival| rival.label.to_owned()).zip(place.to_rival),
                    to_limit: place.to_limit,
                    errs: place.fewest_errors.is_some(),
                }
            })
            .collect();
        sort(&mut outcomes);
        outcomes
    }
}

/// Whatever seed: after the last number comes the first.
fn number(seed: u64, index: u64) -> u64 {
    seed.wrapping_add(index)
}

/// Worst first; equals by number. Where there is nothing to compare, something is worth a look.
fn sort(outcomes: &mut [Outcome]) {
    let badness = |outcome: &Outcome| outcome.to_least_request.unwrap_or(f64::INFINITY);
    outcomes.sort_by(|a, b| badness(b).total_cmp(&badness(a)).then(a.number.cmp(&b.number)));
}

/// A summary in one line, and a table of the worst in Markdown. The outcomes are sorted.
pub fn markdown(outcomes: &[Outcome]) -> String {
    let mut text = summary(outcomes);
    text += "\n\n| fleet | servers, proxies, load, service | p99 ms | by LEAST_REQUEST | mean by \
             LEAST_REQUEST's | p99 by the best rival | by the limit |\n\
             |--:|---|--:|--:|--:|--:|--:|\n";
    for outcome in outcomes.iter().take(ROWS) {
        let Outcome { number, about, p99, .. } = outcome;
        let rival = outcome.to_rival.as_ref();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {number} | {about} | {} | {} | {} | {} | {} |",
            p99.map_or("-".to_owned(), figure),
            ratio(outcome.to_least_request),
            ratio(outcome.mean_to_least_request),
            rival.map_or("-".to_owned(), |(label, by)| format!("{by:.2} ({label})")),
            ratio(outcome.to_limit),
        );
    }
    text
}

fn summary(outcomes: &[Outcome]) -> String {
    let of = |ratio: fn(&Outcome) -> Option<f64>| outcomes.iter().filter_map(ratio);
    let worse = |ratio| of(ratio).filter(|ratio| *ratio > WORSE).count();
    let mut text = format!(
        "{} fleets: p99 is {} of LEAST_REQUEST's and {} of the limit's (geometric means); more than \
         5 % worse than LEAST_REQUEST: {} by p99, {} by mean",
        outcomes.len(),
        ratio(geometric_mean(of(|outcome| outcome.to_least_request))),
        ratio(geometric_mean(of(|outcome| outcome.to_limit))),
        worse(|outcome| outcome.to_least_request),
        worse(|outcome| outcome.mean_to_least_request),
    );
    if let Some(worst) = outcomes.first() {
        let _ =
            write!(text, "; the worst: fleet {}, {}", worst.number, ratio(worst.to_least_request));
    }
    // Nothing fails here and loads are below 1, so there is hardly ever any.
    let err: Vec<_> = outcomes.iter().filter(|o| o.errs).map(|o| o.number.to_string()).collect();
    if !err.is_empty() {
        let _ = write!(text, "; a rival answered more requests in fleet {}", err.join(", "));
    }
    text
}

/// `None` of nothing.
fn geometric_mean(ratios: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) =
        ratios.fold((0.0, 0.0), |(sum, count), ratio| (sum + ratio.ln(), count + 1.0));
    (count > 0.0).then(|| f64::exp(sum / count))
}

#[cfg(test)]
mod tests;
