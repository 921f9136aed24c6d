//! `make sim` and `make sim-report`.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use leastload_sim::against::{Measured, table};
use leastload_sim::batch::{Task, run_all, tasks};
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
    /// Simulates what `make fleet` measured, and prints both side by side.
    Against {
        /// Its result.
        #[arg(default_value = "dist/fleet/fleet.json")]
        fleet: PathBuf,
    },
    /// Prints the JSON schema of scenarios.
    Schema,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { scenario, seed, policy, trace } => {
            one(&scenario, seed, policy.as_deref(), trace.as_deref())
        }
        Command::Against { fleet } => against(&fleet),
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
    scenario::read_file(path).map_err(|faults| format!("{}: {faults}", path.display()))
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

fn against(path: &Path) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let rows = Measured::parse(&text).and_then(|measured| measured.compare());
    say(&table(&rows.map_err(|error| format!("{}: {error}", path.display()))?));
    Ok(())
}

fn schema() -> Result<(), String> {
    let schema = schemars::schema_for!(Scenario);
    say(&serde_json::to_string_pretty(&schema).map_err(|error| error.to_string())?);
    Ok(())
}
