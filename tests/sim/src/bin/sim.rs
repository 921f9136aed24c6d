//! `make sim`, `make sim-fleets` and `make sim-report`.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use clap::{Parser, Subcommand};
use leastload_sim::against::{Measured, table};
use leastload_sim::batch::{Task, run_all, tasks};
use leastload_sim::fleets::{Fleets, fleet, markdown};
use leastload_sim::report::Report;
use leastload_sim::report::check::{Error, WIDTHS, look};
use leastload_sim::scenario::{self, Document, Scenario};

/// Simulates load balancing; docs/simulator.md is the guide.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints a JSON line for each policy in each situation of a scenario.
    Run {
        /// The scenario's file.
        scenario: PathBuf,
        /// Seed of all that is random.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Only this policy, by its label.
        #[arg(long)]
        policy: Option<String>,
        /// Folder for time series of what servers have in flight: a file for each run.
        #[arg(long, value_name = "FOLDER")]
        trace: Option<PathBuf>,
    },
    /// Simulates fleets drawn at random, and prints those where leastload does worst.
    Fleets {
        /// How many.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        count: u32,
        /// Number of the first; a fleet's number is its seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Percent of each group's servers that have a twin.
        #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(..=100))]
        twins: u8,
        /// Simulates nothing and writes the only fleet as a scenario file.
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
    /// Simulates what `make fleet` measured, and prints both side by side.
    Against {
        /// Its result.
        #[arg(default_value = "dist/fleet/fleet.json")]
        fleet: PathBuf,
    },
    /// Runs scenarios with several seeds and writes a page, a table and all lines.
    Report {
        /// The scenarios' files.
        #[arg(required = true)]
        scenarios: Vec<PathBuf>,
        /// Seeds, separated by commas.
        #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 3])]
        seeds: Vec<u64>,
        /// Folder for report.html, standing.md and lines.jsonl.
        #[arg(long, default_value = "dist/sim")]
        out: PathBuf,
        /// Fails, in the end, where it all took longer.
        #[arg(long, default_value_t = 600)]
        max_seconds: u64,
    },
    /// Prints the JSON schema of scenarios.
    Schema,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { scenario, seed, policy, trace } => {
            one(&scenario, seed, policy.as_deref(), trace.as_deref())
        }
        Command::Fleets { count: 1, seed, twins, write: Some(path) } => {
            write_fleet(seed, twins, &path)
        }
        Command::Fleets { write: Some(_), .. } => Err("--write takes one fleet: --count 1".into()),
        Command::Fleets { count, seed, twins, write: None } => fleets(seed, count, twins),
        Command::Against { fleet } => against(&fleet),
        Command::Report { scenarios, seeds, out, max_seconds } => {
            report(&scenarios, &seeds, &out, max_seconds)
        }
        Command::Schema => schema(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sim: {error}");
            ExitCode::from(2)
        }
    }
}

fn read(path: &Path) -> Result<Document, String> {
    let file = path.display().to_string();
    scenario::read_file(path).map_err(|faults| {
        let faults = faults.to_string();
        if faults.starts_with(&file) { faults } else { format!("{file}: {faults}") }
    })
}

/// A reader that has seen enough (`| head`) is no error.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn one(path: &Path, seed: u64, policy: Option<&str>, trace: Option<&Path>) -> Result<(), String> {
    let documents = [read(path)?];
    let mut tasks = tasks(&documents, &[seed]);
    if let Some(only) = policy {
        tasks.retain(|task| task.entry.label() == only);
        if tasks.is_empty() {
            return Err(format!("{} has no policy {only:?}", path.display()));
        }
    }
    if let Some(folder) = trace {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        return tasks.iter().enumerate().try_for_each(|(index, task)| traced(task, index, folder));
    }
    for line in run_all(&tasks, |_| ()) {
        say(&serde_json::to_string(&line).map_err(|error| error.to_string())?);
    }
    Ok(())
}

/// One run, and what its servers had in flight.
fn traced(task: &Task<'_>, index: usize, folder: &Path) -> Result<(), String> {
    let path = folder.join(format!("{index:03}-{}.jsonl", task.entry.label().replace('/', "_")));
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = BufWriter::new(File::create(&path).map_err(failed)?);
    let line = task.run_traced(&mut file);
    file.flush().map_err(failed)?;
    say(&serde_json::to_string(&line).map_err(|error| error.to_string())?);
    Ok(())
}

/// Where leastload does worst, of many fleets.
fn fleets(seed: u64, count: u32, twins: u8) -> Result<(), String> {
    let begin = Instant::now();
    let fleets = Fleets::draw(seed, count, twins).map_err(|faults| faults.to_string())?;
    let (total, ended) = (fleets.runs(), AtomicUsize::new(0));
    let outcomes = fleets.run(|_| {
        let ended = ended.fetch_add(1, Ordering::Relaxed) + 1;
        // Twenty times.
        if ended * 20 / total > (ended - 1) * 20 / total {
            eprintln!("{:6.1} s  {ended} of {total} runs", begin.elapsed().as_secs_f64());
        }
    });
    say(markdown(&outcomes).trim_end());
    Ok(())
}

fn write_fleet(number: u64, twins: u8, path: &Path) -> Result<(), String> {
    let text =
        serde_json::to_string_pretty(&fleet(number, twins)).map_err(|error| error.to_string())?;
    fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))?;
    eprintln!("{} is fleet {number}; with SEED={number} it gives the same figures", path.display());
    Ok(())
}

fn against(path: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let rows = Measured::parse(&text).and_then(|measured| measured.compare());
    say(&table(&rows.map_err(|error| format!("{}: {error}", path.display()))?));
    Ok(())
}

/// All scenarios on one page, and a look at it.
fn report(paths: &[PathBuf], seeds: &[u64], out: &Path, max_seconds: u64) -> Result<(), String> {
    let begin = Instant::now();
    let documents = paths.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let total = documents.len();
    let report = Report::of(&documents, seeds, |name, ended| {
        let elapsed = begin.elapsed().as_secs_f64();
        eprintln!("{elapsed:6.1} s  {ended} of {total} scenarios  {name}");
    });
    report.write(out).map_err(|error| format!("{}: {error}", out.display()))?;
    let took = begin.elapsed().as_secs_f64();
    eprintln!("{took:6.1} s  {} runs, written to {}", report.lines.len(), out.display());
    match look(&report.html) {
        Ok(looks) => {
            let faults: Vec<String> = looks
                .iter()
                .flat_map(|look| {
                    look.faults.iter().map(|fault| format!("at {} px: {fault}", look.width))
                })
                .collect();
            if !faults.is_empty() {
                return Err(format!("the page is faulty:\n  {}", faults.join("\n  ")));
            }
            let plots = looks.first().map_or(0, |look| look.plots.len());
            eprintln!(
                "the page was looked at in Chromium, {WIDTHS:?} px wide: {plots} plots, no fault"
            );
        }
        Err(Error::NoBrowser) => eprintln!("{}: nobody looked at the page", Error::NoBrowser),
        Err(blind) => return Err(blind.to_string()),
    }
    #[allow(clippy::cast_precision_loss)]
    if took > max_seconds as f64 {
        return Err(format!("it took {took:.0} s, more than {max_seconds} s"));
    }
    Ok(())
}

fn schema() -> Result<(), String> {
    let schema = schemars::schema_for!(Scenario);
    say(&serde_json::to_string_pretty(&schema).map_err(|error| error.to_string())?);
    Ok(())
}
