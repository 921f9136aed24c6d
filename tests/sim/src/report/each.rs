//! leastload beside each other policy, scenario by scenario.

use std::fmt::Write as _;

use super::standing::{figure, ratio};
use super::summary::{Role, Row, Situation, Summary};

/// A table for each scenario where leastload ran, in Markdown: its p99 by that of every other policy,
/// the situation that is farthest from the limit first.
pub(super) fn markdown(summaries: &[Summary<'_>]) -> String {
    let mut text = String::new();
    for summary in summaries {
        let mut situations: Vec<&Situation<'_>> = summary.situations.iter().collect();
        situations.retain(|situation| ours(situation).is_some());
        let Some(first) = situations.first() else { continue };
        let others = || first.rows.iter().filter(|row| row.role != Role::Leastload);
        let by = |situation: &Situation<'_>, label: &str| {
            let other = row(situation, |row| row.entry.label() == label)?;
            Some(ours(situation)? / other).filter(|ratio| ratio.is_finite())
        };
        let badness = |situation: &Situation<'_>| {
            let limit = situation.by_rule("central");
            limit.and_then(|limit| by(situation, limit.entry.label())).unwrap_or(0.0)
        };
        situations.sort_by(|a, b| badness(b).total_cmp(&badness(a)));
        // Writing to a string cannot fail.
        let _ = write!(text, "\n**{}**\n\n| situation | p99 ms |", summary.document.scenario.name);
        for other in others() {
            let _ = write!(text, " {} |", other.entry.label());
        }
        let _ = writeln!(text, "\n|---|--:|{}", "--:|".repeat(others().count()));
        for situation in situations {
            let p99 = ours(situation).map_or("-".to_owned(), figure);
            let name = Some(summary.name(situation)).filter(|name| !name.is_empty());
            let _ = write!(text, "| {} | {p99} |", name.as_deref().unwrap_or("-"));
            for other in others() {
                let _ = write!(text, " {} |", ratio(by(situation, other.entry.label())));
            }
            text.push('\n');
        }
    }
    text
}

/// That of leastload.
fn ours(situation: &Situation<'_>) -> Option<f64> {
    row(situation, |row| row.role == Role::Leastload)
}

/// The median p99 of a policy in a situation, in ms.
fn row(situation: &Situation<'_>, wanted: impl Fn(&Row<'_>) -> bool) -> Option<f64> {
    Some(situation.rows.iter().find(|row| wanted(row))?.p99?.median)
}
