//! One scenario: what it is, its plots, its figures.

use std::fmt::Write as _;

use serde_json::Value;

use super::axis::Axis;
use super::page::{escape, policy};
use super::palette::Palette;
use super::plot::{Group, Point, Series, lines, marks, timeline};
use super::standing::{figure, percent};
use super::summary::{Role, Row, Situation, Spread, Summary, plain};
use super::trace::Trace;
use crate::span::Span;

/// Plots shown at once; more are folded away.
const SHOWN: usize = 6;
/// Situations in one plot of marks.
const GROUPS: usize = 4;

/// The section.
pub(super) fn render(
    index: usize,
    summary: &Summary<'_>,
    traces: &[Trace<'_>],
    palette: &Palette,
) -> String {
    let scenario = &summary.document.scenario;
    let legend: String =
        scenario.policies.iter().map(|entry| policy(entry.label(), palette)).collect();
    format!(
        "<section id=\"s{index}\" class=\"scenario\">\n<h2>{}</h2>\n<p>{}</p>\n\
         <div class=\"legend\">{legend}</div>\n{}{}{}</section>\n",
        escape(&scenario.name),
        escape(&scenario.about),
        plots(summary, palette),
        in_flight(summary, traces, palette),
        tables(summary, palette),
    )
}

/// A value as a number: numbers, and lengths of time in ms.
fn number(value: &Value) -> Option<f64> {
    let span = |text: &str| text.parse::<Span>().ok().map(|span| span.seconds() * 1e3);
    value.as_f64().or_else(|| value.as_str().and_then(span))
}

/// The numeric axis with most values.
fn numeric_axis<'a>(summary: &'a Summary<'_>) -> Option<&'a str> {
    let axes = summary.document.scenario.axes.iter();
    let numeric = axes
        .filter(|axis| axis.values.len() > 1 && axis.values.iter().all(|v| number(v).is_some()));
    // The first of equals.
    let most = numeric.rev().max_by_key(|axis| axis.values.len())?;
    Some(&most.name)
}

fn plots(summary: &Summary<'_>, palette: &Palette) -> String {
    let figures = numeric_axis(summary)
        .map_or_else(|| mark_plots(summary, palette), |axis| line_plots(summary, axis, palette));
    let (shown, folded) = figures.split_at(figures.len().min(SHOWN));
    let mut html = format!("<div class=\"plots\">\n{}</div>\n", shown.concat());
    if !folded.is_empty() {
        let _ = writeln!(
            html,
            "<details><summary>{} more plots</summary><div class=\"plots\">\n{}</div></details>",
            folded.len(),
            folded.concat()
        );
    }
    html
}

fn caption(title: &str, about: &str, svg: &str) -> String {
    format!(
        "<figure><figcaption>{}<small>{}</small></figcaption>\n{svg}</figure>\n",
        escape(title),
        escape(about)
    )
}

type Percentile = fn(&Row<'_>) -> Option<Spread>;

/// p50 and p99 against the axis, for each value of what else is varied.
fn line_plots(summary: &Summary<'_>, axis: &str, palette: &Palette) -> Vec<String> {
    let others: Vec<&str> = summary.dimensions().into_iter().filter(|name| *name != axis).collect();
    let mut facets: Vec<(String, Vec<&Situation<'_>>)> = Vec::new();
    for situation in &summary.situations {
        let name = summary.words(situation, &others);
        match facets.iter_mut().find(|(other, _)| *other == name) {
            Some((_, situations)) => situations.push(situation),
            None => facets.push((name, vec![situation])),
        }
    }
    let place = |situation: &Situation<'_>| {
        let value = situation.value(axis)?;
        Some((number(value)?, plain(value)))
    };
    let mut places: Vec<(f64, String)> = summary.situations.iter().filter_map(place).collect();
    places.sort_by(|a, b| a.0.total_cmp(&b.0));
    places.dedup_by(|a, b| a.0.total_cmp(&b.0).is_eq());
    let x = Axis::values(&places);
    let percentiles: [(&str, Percentile); 2] = [("p50", |row| row.p50), ("p99", |row| row.p99)];
    let mut figures = Vec::new();
    for (facet, situations) in &facets {
        for (name, percentile) in percentiles {
            let y = latencies(situations.iter().copied(), percentile);
            let title = if facet.is_empty() { name.to_owned() } else { format!("{name}, {facet}") };
            let about = format!("{title}: latency by {axis}");
            let series = series(summary, situations, percentile, &place);
            let svg = lines(palette, &about, x.clone(), y, &series);
            figures.push(caption(&title, &format!("by {axis}"), &svg));
        }
    }
    figures
}

/// An axis that has room for all of these.
fn latencies<'a>(
    situations: impl Iterator<Item = &'a Situation<'a>>,
    percentile: Percentile,
) -> Axis {
    let rows = situations.flat_map(|situation| &situation.rows);
    Axis::latency(rows.filter_map(percentile).flat_map(|spread| [spread.min, spread.max]))
}

fn series<'a>(
    summary: &'a Summary<'_>,
    situations: &[&Situation<'_>],
    percentile: Percentile,
    place: &dyn Fn(&Situation<'_>) -> Option<(f64, String)>,
) -> Vec<Series<'a>> {
    let points = |label: &str| {
        let point = |situation: &&Situation<'_>| {
            let row = situation.rows.iter().find(|row| row.entry.label() == label)?;
            Some(point(place(situation)?.0, percentile(row)?))
        };
        let mut points: Vec<Point> = situations.iter().filter_map(point).collect();
        points.sort_by(|a, b| a.at.total_cmp(&b.at));
        points
    };
    let policies = summary.document.scenario.policies.iter();
    policies.map(|entry| Series { label: entry.label(), points: points(entry.label()) }).collect()
}

fn point(at: f64, spread: Spread) -> Point {
    Point { at, value: spread.median, range: (spread.min, spread.max) }
}

/// p99 of each policy in each situation.
fn mark_plots(summary: &Summary<'_>, palette: &Palette) -> Vec<String> {
    let x = latencies(summary.situations.iter(), |row| row.p99).thinned();
    let group = |situation: &Situation<'_>| {
        let value = |row: &Row<'_>| Some((row.entry.label().to_owned(), point(0.0, row.p99?)));
        let points: Vec<_> = situation.rows.iter().filter_map(value).collect();
        (summary.name(situation), points)
    };
    let groups: Vec<(String, Vec<(String, Point)>)> =
        summary.situations.iter().map(group).collect();
    let figure = |groups: &[(String, Vec<(String, Point)>)]| {
        let groups: Vec<Group<'_>> = groups
            .iter()
            .map(|(name, points)| Group {
                name: name.clone(),
                points: points.iter().map(|(label, point)| (label.as_str(), *point)).collect(),
            })
            .collect();
        let svg = marks(palette, "p99 latency of each policy", &x, &groups);
        caption("p99", "and the range of the seeds", &svg)
    };
    groups.chunks(GROUPS).map(figure).collect()
}

fn in_flight(summary: &Summary<'_>, traces: &[Trace<'_>], palette: &Palette) -> String {
    let samples = || traces.iter().flat_map(|trace| &trace.samples);
    if samples().next().is_none() {
        return String::new();
    }
    let most = samples().map(|sample| sample.most).fold(0.0, f64::max);
    let from = samples().map(|sample| sample.at).fold(f64::INFINITY, f64::min);
    let until = samples().map(|sample| sample.at).fold(0.0, f64::max);
    let name = summary.name(summary.hardest());
    let panel = |trace: &Trace<'_>| {
        let about = format!("Requests in flight over time with {}", trace.label);
        let axes = (Axis::seconds(from, until), Axis::in_flight(most));
        let svg = timeline(palette, &about, axes, trace.label, &trace.samples);
        let title = policy(trace.label, palette);
        format!("<figure><figcaption>{title}</figcaption>\n{svg}</figure>\n")
    };
    let panels = traces.iter().map(panel).collect::<Vec<_>>().concat();
    let place = if name.is_empty() { String::new() } else { format!(", {}", escape(&name)) };
    format!(
        "<h3>In flight at servers over time{place}</h3>\n<p class=\"note\">Coloured: the server \
         that has most; grey: the mean over all servers. One seed, logarithmic.</p>\n\
         <div class=\"plots small\">\n{panels}</div>\n"
    )
}

fn tables(summary: &Summary<'_>, palette: &Palette) -> String {
    let mut html = String::from("<h3>In figures</h3>\n");
    let hardest = std::ptr::from_ref(summary.hardest());
    for situation in &summary.situations {
        let name = summary.name(situation);
        let name = if name.is_empty() { "all policies".to_owned() } else { name };
        let open = if std::ptr::eq(hardest, situation) { " open" } else { "" };
        let _ = writeln!(
            html,
            "<details{open}><summary><b>{}</b>{}</summary>\n{}</details>",
            escape(&name),
            escape(&brief(situation)),
            table(situation, palette)
        );
    }
    html
}

/// The best of all and leastload, for those who do not open the table.
fn brief(situation: &Situation<'_>) -> String {
    let p99 = |row: &Row<'_>| row.p99.map(|p99| p99.median);
    let ours = situation.rows.iter().find(|row| row.role == Role::Leastload).and_then(p99);
    let limit = situation.by_rule("central").and_then(p99);
    let mut brief = String::new();
    for (name, value) in [("leastload", ours), ("limit", limit)] {
        if let Some(value) = value {
            let separator = if brief.is_empty() { ": p99 of " } else { ", of " };
            let _ = write!(brief, "{separator}{name} {} ms", figure(value));
        }
    }
    brief
}

fn table(situation: &Situation<'_>, palette: &Palette) -> String {
    let mut rows: Vec<&Row<'_>> = situation.rows.iter().collect();
    let p99 = |row: &Row<'_>| row.p99.map_or(f64::INFINITY, |p99| p99.median);
    rows.sort_by(|a, b| p99(a).total_cmp(&p99(b)));
    let mut head = String::from("<th scope=\"col\">policy, by p99</th>");
    for name in [
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "errors %",
        "in flight",
        "most by mean",
        "fairness",
        "probes by request",
    ] {
        let _ = write!(head, "<th scope=\"col\">{name}</th>");
    }
    let mut body = String::new();
    for row in rows {
        let class = match row.role {
            Role::Leastload => " class=\"ours\"",
            Role::Perfect => " class=\"perfect\"",
            Role::Variant | Role::Rival => "",
        };
        let mut cells = format!("<th scope=\"row\">{}</th>", policy(row.entry.label(), palette));
        for latency in [row.p50, row.p99, row.p999] {
            cells += &latency.map_or("<td>-</td>".to_owned(), |spread| cell(spread, figure));
        }
        cells += &cell(row.errors, percent);
        cells += &cell(row.in_flight, figure);
        cells += &cell(row.max_over_mean, figure);
        cells += &cell(row.fairness, |value| format!("{value:.3}"));
        cells += &cell(row.probes, figure);
        let _ = writeln!(body, "<tr{class}>{cells}</tr>");
    }
    format!(
        "<div class=\"wide\"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>\
         </div>\n"
    )
}

/// The median, below it the range where there is one.
fn cell(spread: Spread, text: impl Fn(f64) -> String) -> String {
    let (least, most) = (text(spread.min), text(spread.max));
    let range = if least == most { String::new() } else { format!("{least}-{most}") };
    format!("<td>{}<small>{}</small></td>", escape(&text(spread.median)), escape(&range))
}
