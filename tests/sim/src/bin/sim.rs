//! `make sim`: simulates a scenario and prints a JSON line for each policy in each situation.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use leastload_sim::measure::Line;
use leastload_sim::{run, scenario};

/// Simulates a scenario.
#[derive(Parser)]
struct Arguments {
    /// The scenario's file; docs/simulator.md explains the format.
    scenario: PathBuf,
    /// Seed of all that is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this policy.
    #[arg(long)]
    policy: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let document = match scenario::read_file(&arguments.scenario) {
        Ok(document) => document,
        Err(faults) => {
            eprintln!("sim: {}: {faults}", arguments.scenario.display());
            return ExitCode::from(2);
        }
    };
    for variant in &document.variants {
        for entry in &variant.scenario.policies {
            if arguments.policy.as_ref().is_some_and(|only| only != entry.label()) {
                continue;
            }
            let figures = run(&variant.scenario, &entry.rule, arguments.seed, None);
            let line = Line {
                scenario: document.scenario.name.clone(),
                case: variant.case.clone(),
                policy: entry.label().to_owned(),
                seed: arguments.seed,
                figures,
            };
            let Ok(line) = serde_json::to_string(&line) else { return ExitCode::from(2) };
            if writeln!(std::io::stdout(), "{line}").is_err() {
                return ExitCode::SUCCESS;
            }
        }
    }
    ExitCode::SUCCESS
}
