//! The outcome as a table for the terminal.

// Written once: clarity before allocations.
#![allow(clippy::format_push_string, clippy::format_collect)]

use super::result::{FAIR_SHARE, Outcome, Spread};

/// Lines of text, at most about 110 columns with six servers.
pub fn render(outcome: &Outcome) -> String {
    let settings = &outcome.settings;
    let mut head = vec![String::new()];
    head.extend(settings.servers.iter().map(|server| {
        if (server.speed - 1.0).abs() < f64::EPSILON {
            server.name.clone()
        } else {
            format!("{} (x{})", server.name, server.speed)
        }
    }));
    head.extend(
        ["in flight", "max", "p50 ms", "p99 ms", "p99.9 ms", "errors"].map(ToOwned::to_owned),
    );
    let mut rows = vec![head];
    for arm in &outcome.arms {
        let mut row = vec![arm.name.clone()];
        row.extend(arm.servers.iter().map(|server| server.calls.to_string()));
        let mean = arm.servers.iter().map(|server| server.mean_in_flight).fold(0.0, f64::max);
        let max = arm.servers.iter().map(|server| server.max_in_flight).max().unwrap_or(0);
        row.push(format!("{mean:.1}"));
        row.push(max.to_string());
        let figures = [arm.p50_ms, arm.p99_ms, arm.p999_ms].map(spread);
        row.extend(figures.iter().map(|(median, _)| median.clone()));
        row.push(if arm.failed == 0 {
            "0".into()
        } else {
            format!("{:.1} %", 100.0 * arm.failed as f64 / arm.calls as f64)
        });
        rows.push(row);
        let mut below = vec!["  of fair share, spread".to_owned()];
        below.extend(arm.servers.iter().map(|server| format!("{:.2}", server.of_fair_share)));
        below.extend([String::new(), String::new()]);
        below.extend(figures.map(|(_, range)| range));
        rows.push(below);
    }
    let mut text = align(&rows);
    text.push('\n');
    text.push_str(FAIR_SHARE);
    text.push_str(
        "\nIn flight: time average and maximum of calls at the busiest server, waiting ones \
         included.\nLatencies: of calls that ended well, from the intended send time; median of the \
         rounds, below it the lowest and highest.\n\n",
    );
    for check in &outcome.checks {
        let mark = if check.holds { "ok  " } else { "FAIL" };
        text.push_str(&format!("{mark} {}: {}\n", check.what, check.found));
    }
    text
}

/// `88.2` and `86.9-90.1`; no range for a single round.
pub(crate) fn spread(spread: Spread) -> (String, String) {
    let number = |value: f64| {
        if value >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.1}") }
    };
    let single = (spread.max - spread.min).abs() < f64::EPSILON;
    let range = format!("{}-{}", number(spread.min), number(spread.max));
    (number(spread.median), if single { String::new() } else { range })
}

/// Columns of equal width: the first to the left, the others to the right.
pub(crate) fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            if column == 0 {
                text.push_str(&format!("{cell:<width$}"));
            } else {
                text.push_str(&format!("  {cell:>width$}"));
            }
        }
        text.push('\n');
    }
    text
}
