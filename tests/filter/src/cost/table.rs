//! What was counted, for readers.

use core::fmt;

use super::Counted;
use super::figures::Figures;
use super::scenario::Scenario;

/// Writes all of it.
///
/// # Errors
///
/// Those of the writer.
pub fn print(counted: &Counted, out: &mut impl fmt::Write) -> fmt::Result {
    let scenarios: Vec<(String, &Figures)> = Scenario::all()
        .iter()
        .map(Scenario::to_string)
        .filter_map(|name| counted.get(&name).map(|figures| (name, figures)))
        .collect();
    requests(&scenarios, out)?;
    beside(&scenarios, out)?;
    typical(&scenarios, out)
}

fn requests(scenarios: &[(String, &Figures)], out: &mut impl fmt::Write) -> fmt::Result {
    writeln!(
        out,
        "{:<56} {:>7} {:>11} {:>13} {:>5} {:>29} {:>9}",
        "requests",
        "entries",
        "host calls",
        "mean",
        "most",
        "instructions: median/mean/most",
        "memory"
    )?;
    for (name, figures) in scenarios {
        let calls = format!("{} ({})", figures.calls, figures.values);
        let mean = format!("{:.2} ({:.2})", figures.mean_calls, figures.mean_values);
        let fuel = figures.fuel;
        let memory = format!("{} KiB", 64 * figures.pages);
        let (entries, most) = (figures.entries, figures.most_calls);
        write!(
            out,
            "{name:<56} {entries:>7} {calls:>11} {mean:>13} {most:>5} {fuel:>29} {memory:>9}"
        )?;
        match figures.growth_pages {
            0 => writeln!(out)?,
            pages => writeln!(out, " +{} KiB", 64 * pages)?,
        }
    }
    writeln!(out, "(of host calls, in brackets: those for which the host allocates in the VM)\n")
}

fn beside(scenarios: &[(String, &Figures)], out: &mut impl fmt::Write) -> fmt::Result {
    let columns = ["idle worker", "busy worker", "coordinator", "admin answer"];
    write!(out, "{:<56}", "beside requests: host calls/instructions, median")?;
    columns.iter().try_for_each(|column| write!(out, " {column:>18}"))?;
    writeln!(out)?;
    for (name, figures) in scenarios.iter().filter(|(name, _)| name.contains("unary")) {
        if figures.beside.is_empty() {
            continue;
        }
        write!(out, "{name:<56}")?;
        for column in columns {
            let cell = figures.beside.get(column);
            let cell = cell.map(|f| format!("{} / {}", f.calls.median, f.fuel.median));
            write!(out, " {:>18}", cell.unwrap_or_default())?;
        }
        writeln!(out)?;
    }
    writeln!(out)
}

/// The typical request of each kind, once.
fn typical(scenarios: &[(String, &Figures)], out: &mut impl fmt::Write) -> fmt::Result {
    let wanted = |name: &str| name.ends_with("1 worker, 10 endpoints");
    for (name, figures) in scenarios.iter().filter(|(name, _)| wanted(name)) {
        writeln!(out, "{name} ({} % of the requests were exactly so)", figures.typical_percent)?;
        for line in &figures.typical {
            let callback = line.split(" x").next().unwrap_or(line);
            match figures.fuel_of.get(callback) {
                Some(fuel) => writeln!(out, "  {line:<60} {fuel:>25}")?,
                None => writeln!(out, "  {line}")?,
            }
        }
        writeln!(out)?;
    }
    Ok(())
}
