//! The report's charts as SVG. Colours come from the page's CSS, so that they follow its scheme.

use std::fmt::Write as _;

use super::result::{ArmResult, Settings};

/// A linear map from a value (already transformed) to pixels.
struct Axis {
    from: (f64, f64),
    to: (f64, f64),
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        let share = (value - self.from.0) / (self.from.1 - self.from.0);
        self.to.0 + share.clamp(0.0, 1.0) * (self.to.1 - self.to.0)
    }
}

/// Room around a plot: left, top, right, bottom.
type Margins = (f64, f64, f64, f64);

fn polyline(class: &str, points: impl Iterator<Item = (f64, f64)>, title: &str) -> String {
    let points: Vec<String> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    format!(
        "<polyline class=\"{class}\" points=\"{}\"><title>{title}</title></polyline>\n",
        points.join(" ")
    )
}

fn text(class: &str, anchor: &str, (x, y): (f64, f64), words: &str) -> String {
    format!(
        "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{words}</text>\n"
    )
}

fn line(class: &str, from: (f64, f64), to: (f64, f64)) -> String {
    format!(
        "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>\n",
        from.0, from.1, to.0, to.1
    )
}

fn open(class: &str, width: f64, height: f64, label: &str) -> String {
    format!(
        "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"{label}\">\n"
    )
}

/// Calls in flight at every server over time, for one arm. `most` is the highest value of all arms:
/// they share an axis, logarithmic above 1.
pub(super) fn load_over_time(arm: &ArmResult, settings: &Settings, most: f64) -> String {
    let (width, height) = (300.0, 270.0);
    let (left, top, right, bottom): Margins = (38.0, 12.0, 10.0, 34.0);
    // ln(1 + n): equal steps for equal factors, and 0 has a place.
    let y = Axis { from: (0.0, most.max(10.0).ln_1p()), to: (height - bottom, top) };
    let x = Axis { from: (0.0, settings.measured_s), to: (left, width - right) };
    let mut svg = open(
        "load",
        width,
        height,
        &format!("Calls in flight at each server over time with {}", arm.name),
    );
    for tick in [0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0_f64] {
        if tick <= most.max(10.0) {
            let at = y.at(tick.ln_1p());
            svg += &line("grid", (left, at), (width - right, at));
            svg += &text("tick", "end", (left - 6.0, at + 4.0), &format!("{tick:.0}"));
        }
    }
    for (tick, anchor) in [(0.0, "start"), (settings.measured_s, "end")] {
        svg += &text("tick", anchor, (x.at(tick), height - 16.0), &format!("{tick:.0} s"));
    }
    let slots = settings.servers.first().map_or(0, |server| server.slots);
    let at = y.at((slots as f64).ln_1p());
    svg += &line("slots", (left, at), (width - right, at));
    // The slow server last, so that it lies on top.
    let mut order: Vec<usize> = (0..arm.servers.len()).collect();
    order.sort_by(|a, b| settings.servers[*b].speed.total_cmp(&settings.servers[*a].speed));
    for index in order {
        let (server, info) = (&arm.servers[index], &settings.servers[index]);
        let class = if info.speed < 1.0 { "series slow" } else { "series fast" };
        let title = format!(
            "{}: mean {:.1}, at most {} in flight",
            info.name, server.mean_in_flight, server.max_in_flight
        );
        let points = server.timeline.iter().map(|(s, n)| (x.at(*s), y.at(n.ln_1p())));
        svg += &polyline(class, points, &title);
    }
    svg + "</svg>\n"
}

/// Latency by percentile for all arms: percentiles by their number of nines, both axes logarithmic.
pub(super) fn latency(arms: &[ArmResult]) -> String {
    let (width, height) = (1_100.0, 400.0);
    let (left, top, right, bottom): Margins = (70.0, 14.0, 150.0, 46.0);
    let all = || arms.iter().flat_map(|arm| &arm.curve).map(|(_, ms)| ms.max(0.1));
    let (low, high) = (all().fold(f64::MAX, f64::min), all().fold(1.0, f64::max));
    // From a tenth of the median region up; the fastest calls say nothing about balancing.
    let from = low.min(high / 10.0).max(5.0).log10();
    let y = Axis { from: (from, (high * 1.15).log10()), to: (height - bottom, top) };
    let x = Axis { from: (0.0, 4.0), to: (left, width - right) };
    let nines = |percentile: f64| -(1.0 - percentile / 100.0).log10();
    let mut svg = open("latency", width, height, "Latency by percentile for each way of balancing");
    for power in 0..6 {
        for step in [1.0, 2.0, 5.0] {
            let ms = step * 10_f64.powi(power);
            if ms.log10() >= y.from.0 && ms.log10() <= y.from.1 {
                let at = y.at(ms.log10());
                svg += &line("grid", (left, at), (width - right, at));
                let words =
                    if ms >= 1e3 { format!("{:.0} s", ms / 1e3) } else { format!("{ms:.0} ms") };
                svg += &text("tick", "end", (left - 8.0, at + 4.0), &words);
            }
        }
    }
    for percentile in [0.0, 50.0, 90.0, 99.0, 99.9, 99.99] {
        let at = x.at(nines(percentile));
        svg += &line("grid", (at, top), (at, height - bottom));
        let words = if percentile == 0.0 { "min".into() } else { format!("p{percentile}") };
        svg += &text("tick", "middle", (at, height - bottom + 20.0), &words);
    }
    let mut labels: Vec<(f64, &ArmResult)> = Vec::new();
    for arm in arms {
        // The last tenth of a thousand calls is one call: no curve beyond 99.99.
        let points: Vec<(f64, f64)> = arm
            .curve
            .iter()
            .filter(|(percentile, _)| nines(*percentile) <= 4.0)
            .map(|(percentile, ms)| (x.at(nines(*percentile)), y.at(ms.max(0.1).log10())))
            .collect();
        let title = format!("{}: p99 {:.1} ms", arm.name, arm.p99_ms.median);
        svg += &polyline(&format!("series {}", arm.key), points.iter().copied(), &title);
        if let Some((end_x, end_y)) = points.last() {
            svg += &line(&format!("leader {}", arm.key), (*end_x, *end_y), (width - right, *end_y));
            labels.push((*end_y, arm));
        }
    }
    // Names at the ends of the curves, pushed apart where curves end close together.
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = f64::MIN;
    for (at, arm) in labels {
        let at = at.max(free);
        free = at + 17.0;
        let class = format!("name {}", arm.key);
        svg += &text(&class, "start", (width - right + 10.0, at + 4.0), &arm.name);
    }
    let _ = write!(svg, "</svg>");
    svg
}
