//! The whole page: one file without script, font or picture from elsewhere.

use std::fmt::Write as _;

use super::palette::{Mark, Palette};
use super::section;
use super::standing::{METHOD, Place, figure, percent, ratio};
use super::summary::Summary;
use super::trace::Trace;

const PAGE: &str = include_str!("report.html");
const STYLE: &str = include_str!("report.css");

/// Situations of the first table; the others are folded away.
const WORST: usize = 15;

/// What the page shows.
pub(super) struct Content<'a> {
    pub(super) summaries: &'a [Summary<'a>],
    pub(super) places: &'a [Place<'a>],
    /// For each scenario, the traced runs.
    pub(super) traces: &'a [Vec<Trace<'a>>],
    pub(super) seeds: &'a [u64],
}

/// The page.
pub(super) fn render(content: &Content<'_>) -> String {
    let palette = Palette::new(content.summaries);
    let mut sections = String::new();
    let mut contents = String::new();
    for (index, (summary, traces)) in content.summaries.iter().zip(content.traces).enumerate() {
        let name = escape(&summary.document.scenario.name);
        let _ = writeln!(contents, "<a href=\"#s{index}\">{name}</a>");
        sections += &section::render(index, summary, traces, &palette);
    }
    // What scenarios say comes last, so that nothing in it is taken for a gap of the template.
    PAGE.replace("{style}", &(palette.css() + STYLE))
        .replace("{lead}", &escape(&lead(content)))
        .replace("{method}", &escape(METHOD))
        .replace("{standing}", &standing(content.places, &palette))
        .replace("{contents}", &contents)
        .replace("{sections}", &sections)
}

fn lead(content: &Content<'_>) -> String {
    let situations = || content.summaries.iter().flat_map(|summary| &summary.situations);
    let policies: usize = situations().map(|situation| situation.rows.len()).sum();
    let seeds: Vec<String> = content.seeds.iter().map(ToString::to_string).collect();
    format!(
        "{} scenarios, {} situations, {} simulated runs with the seeds {}. Every policy of a \
         situation sees the same arrivals with the same work. Figures are medians of the seeds, \
         beside them the least and the most.",
        content.summaries.len(),
        situations().count(),
        policies * content.seeds.len(),
        seeds.join(", ")
    )
}

fn standing(places: &[Place<'_>], palette: &Palette) -> String {
    if places.is_empty() {
        return "<p>No policy labelled <b>leastload</b> ran.</p>\n".to_owned();
    }
    let (worst, others) = places.split_at(places.len().min(WORST));
    let mut html = table(worst, palette);
    if !others.is_empty() {
        let count = others.len();
        let others = table(others, palette);
        let _ = writeln!(html, "<details><summary>{count} more</summary>\n{others}</details>");
    }
    html
}

fn table(places: &[Place<'_>], palette: &Palette) -> String {
    let mut head = String::new();
    for name in ["situation", "best rival"] {
        let _ = write!(head, "<th scope=\"col\" class=\"words\">{name}</th>");
    }
    for name in ["by rival", "by limit", "p99 ms", "rival's", "errors %", "rival's"] {
        let _ = write!(head, "<th scope=\"col\">{name}</th>");
    }
    let rows: String = places.iter().map(|place| row(place, palette)).collect();
    format!(
        "<div class=\"wide\"><table class=\"standing\"><thead><tr>{head}</tr></thead><tbody>\n{rows}\
         </tbody></table></div>\n"
    )
}

fn row(place: &Place<'_>, palette: &Palette) -> String {
    let (rival, rivals_p99, rivals_errors) = place.rival.as_ref().map_or_else(
        || ("-".to_owned(), "-".to_owned(), "-".to_owned()),
        |rival| (policy(rival.label, palette), figure(rival.p99), percent(rival.errors)),
    );
    let p99 = place.p99.map_or("-".to_owned(), |p99| figure(p99.median));
    let class = |bad: bool, good: bool| match (bad, good) {
        (true, _) => " class=\"bad\"",
        (_, true) => " class=\"good\"",
        _ => "",
    };
    let to_rival = place.to_rival.unwrap_or(1.0);
    let fails = place.fewest_errors.is_some();
    let compared = class(to_rival > 1.005, to_rival < 0.995 && !fails);
    let failing = class(fails, false);
    let fewest = place.fewest_errors.map_or(String::new(), |fewest| {
        format!("<small>a rival: {}</small>", escape(&percent(fewest)))
    });
    format!(
        "<tr><th scope=\"row\"><a href=\"#s{}\">{}</a><small>{}</small></th>\
         <td class=\"words\">{rival}</td><td{compared}>{}</td><td>{}</td>\
         <td>{p99}</td><td>{rivals_p99}</td><td{failing}>{}{fewest}</td><td>{}</td></tr>\n",
        place.scenario,
        escape(place.name),
        escape(&place.situation),
        ratio(place.to_rival),
        ratio(place.to_limit),
        escape(&percent(place.errors)),
        escape(&rivals_errors),
    )
}

/// A policy's mark and name.
pub(super) fn policy(label: &str, palette: &Palette) -> String {
    let shape = match palette.mark(label) {
        Mark::Circle => "<circle cx=\"6\" cy=\"6\" r=\"4.5\"/>",
        Mark::Square => "<rect x=\"2\" y=\"2\" width=\"8\" height=\"8\"/>",
        Mark::Triangle => "<path d=\"M6 1L11 10H1Z\"/>",
        Mark::Cross => "<path class=\"cross\" d=\"M2 2L10 10M10 2L2 10\"/>",
    };
    format!(
        "<span class=\"policy\" style=\"--p: var(--p{})\"><svg viewBox=\"0 0 12 12\" \
         aria-hidden=\"true\">{shape}</svg>{}</span>",
        palette.number(label),
        escape(label)
    )
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
