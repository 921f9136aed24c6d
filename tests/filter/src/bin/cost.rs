//! Counts what a request costs and compares it with the committed budget.

use std::process::ExitCode;

use clap::Parser;
use leastload_filter_tests::cost::{Budget, Scenario, Toolchain, count, print};

#[derive(Parser)]
#[command(about)]
struct Arguments {
    /// Only scenarios whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Make what is counted the budget.
    #[arg(long)]
    accept: bool,
    /// What built the modules, for readers of the budget.
    #[arg(long, default_value = "unknown")]
    toolchain: String,
}

fn run(arguments: &Arguments) -> Result<bool, String> {
    let mut scenarios = Scenario::all();
    scenarios.retain(|scenario| scenario.to_string().contains(&arguments.only));
    let counted = count(&scenarios);
    let mut text = String::new();
    print(&counted, &mut text).map_err(|error| error.to_string())?;
    print!("{text}");
    let here = Toolchain::here(&arguments.toolchain, &counted);
    let budget = if arguments.accept {
        if !arguments.only.is_empty() {
            return Err("--accept takes all scenarios".to_owned());
        }
        let budget = Budget { toolchain: here.clone(), scenarios: counted.clone() };
        budget.write()?;
        println!("accepted: {}", Budget::path().display());
        budget
    } else {
        Budget::read()?
    };
    let mut findings = if arguments.only.is_empty() { budget.coverage() } else { Vec::new() };
    findings.extend(budget.compare(&here, &counted));
    for finding in &findings {
        println!("{}: {}", if finding.fails { "FAILED" } else { "note" }, finding.text);
    }
    let failed = findings.iter().any(|finding| finding.fails);
    println!("{}", if failed { ACCEPT } else { "within the budget" });
    Ok(!failed)
}

/// What to do about it.
const ACCEPT: &str = "not within the budget: where that is meant, `make cost ACCEPT=1` makes it the \
                      budget (a target cannot be moved so)";

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cost: {error}");
            ExitCode::FAILURE
        }
    }
}
