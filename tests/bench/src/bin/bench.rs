//! `make bench`: what leastload costs.

use std::{env, fs, path::PathBuf};

use clap::{Parser, Subcommand};
use leastload_bench::{
    arm::{Arm, Modules},
    machine::Machine,
    micro,
    report::{Comparison, Report},
    run::{self, Plan},
    servers, waits,
};
use leastload_fleet::{Error, Result, envoy};
use tokio::task::LocalSet;

/// CPU per request in real Envoys: ours beside Envoy's own balancers and an empty Wasm filter.
#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Numbers of servers, each a comparison of its own: 3,10,100,1000.
    #[arg(long, value_delimiter = ',', default_value = "10")]
    endpoints: Vec<usize>,
    /// Numbers of Envoy's workers, each a comparison of its own.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    workers: Vec<u32>,
    /// Also those arms that show where the cost comes from.
    #[arg(long)]
    extras: bool,
    /// Only what load reports of servers cost, in a request's CPU time at either proxy.
    #[arg(long)]
    stamps: bool,
    /// Only how long requests wait whose questions nobody answers.
    #[arg(long, conflicts_with = "stamps")]
    waits: bool,
    /// Measurements of each arm.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Requests of a measurement.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,
    /// Requests before each measurement.
    #[arg(long, default_value_t = 1_000)]
    warm_up: u64,
    /// HTTP/2 connections to each Envoy.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Requests under way at a time.
    #[arg(long, default_value_t = 128)]
    streams: usize,
    /// Of the order of the arms in each round.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave it to the kernel who runs on which core.
    #[arg(long)]
    no_pin: bool,
    /// Envoy's release.
    #[arg(long, default_value = envoy::DEFAULT_VERSION)]
    envoy: String,
    /// Folder with the results of the benchmarks of core.
    #[arg(long, default_value = "target/criterion")]
    criterion: PathBuf,
    /// Where the JSON goes.
    #[arg(long, default_value = "dist/bench/bench.json")]
    output: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// The servers, as a process of their own.
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        endpoints: usize,
        #[arg(long)]
        stamps: bool,
    },
}

// One thread: what the client needs is little, and more threads would move about.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Some(Command::Serve { endpoints, stamps }) => servers::serve(endpoints, stamps).await,
        None => LocalSet::new().run_until(bench(arguments)).await,
    };
    // Returning would wait for reads of standard input.
    std::process::exit(match done {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("bench: {error}");
            1
        }
    })
}

async fn bench(arguments: Arguments) -> Result<()> {
    let modules = Modules::built();
    let program = env::current_exe().map_err(Error::io("find own binary"))?;
    let say = |what: &str| eprintln!("{what}");
    let mut arms = Arm::USUAL.to_vec();
    if arguments.extras {
        arms.extend(Arm::EXTRA);
        arms.sort_unstable();
    }
    if arguments.stamps {
        arms.clear();
    }
    let mut report = Report {
        machine: Machine::look(&arguments.envoy, &modules)?,
        comparisons: Vec::new(),
        waits: Vec::new(),
        micro: micro::read(&arguments.criterion),
    };
    if !arguments.stamps {
        // Envoy has next to nothing to do, or as much as it can.
        let plan = waits::Plan {
            deadlines_ms: vec![1, 2, 5, 10],
            streams: vec![4, 64],
            requests: arguments.requests,
            envoy: arguments.envoy.clone(),
            pin: !arguments.no_pin,
        };
        report.waits = waits::run(&plan, &modules, &program, say).await?;
    }
    for &workers in arguments.workers.iter().filter(|_| !arguments.waits) {
        let here = arguments.endpoints.iter().flat_map(|endpoints| {
            [(*endpoints, arms.clone()), (*endpoints, Arm::CLIENT_STAMPS.to_vec())]
        });
        let here = here.filter(|(_, arms)| !arms.is_empty());
        // A twin has one server.
        for (endpoints, arms) in here.chain([(1, Arm::SERVER_STAMPS.to_vec())]) {
            let plan = Plan {
                arms,
                endpoints,
                workers,
                rounds: arguments.rounds,
                requests: arguments.requests,
                warm_up: arguments.warm_up,
                connections: arguments.connections,
                streams: arguments.streams,
                idle_ms: 3_000,
                seed: arguments.seed,
                pin: !arguments.no_pin,
                envoy: arguments.envoy.clone(),
            };
            let say =
                |what: &str| say(&format!("{endpoints} endpoints, {workers} workers: {what}"));
            report
                .comparisons
                .push(Comparison::new(run::run(&plan, &modules, &program, say).await?));
        }
    }
    print!("{}", report.text());
    if let Some(folder) = arguments.output.parent() {
        fs::create_dir_all(folder).map_err(Error::io(format!("make {}", folder.display())))?;
    }
    let json = serde_json::to_string_pretty(&report)
        .map_err(|error| Error::Argument(error.to_string()))?;
    let place = arguments.output.display();
    fs::write(&arguments.output, json).map_err(Error::io(format!("write {place}")))?;
    println!("every round: {place}");
    Ok(())
}
