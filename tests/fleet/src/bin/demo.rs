//! `make demo`: compares four ways of balancing, prints a table, writes `result.json` and
//! `report.html`; ends with 1 where leastload does not keep what it promises, with 2 where the
//! demo could not run.

use std::{fs, io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use leastload_fleet::{
    Error, Result,
    demo::{self, Arm, DemoSpec, html, result::Outcome, table},
    envoy::{DEFAULT_VERSION, Options},
    server::{ServiceTime, service_time::parse_duration},
};

/// Real gRPC servers, a real Envoy, the same seeded work through four ways of balancing.
#[derive(Parser)]
struct Arguments {
    /// The module.
    #[arg(long, default_value = "dist/leastload.wasm")]
    module: PathBuf,
    /// Folder for result.json and report.html.
    #[arg(long, default_value = "dist/demo")]
    out: PathBuf,
    /// What to compare.
    #[arg(long, value_delimiter = ',', value_parser = arm,
        default_value = "l4,round_robin,least_request,leastload")]
    arms: Vec<Arm>,
    /// Servers; the last one is slow.
    #[arg(long, default_value_t = 6)]
    servers: usize,
    /// Calls a server works on at once.
    #[arg(long, default_value_t = 4)]
    slots: usize,
    /// Speed of the slow server.
    #[arg(long, default_value_t = 0.5)]
    slow_speed: f64,
    /// Work of a call: uniform:10ms,50ms, exp:30ms, lognormal:30ms,1, ...
    #[arg(long, default_value = "uniform:10ms,50ms")]
    work: ServiceTime,
    /// Offered work as a share of the servers' capacity.
    #[arg(long, default_value_t = 0.85)]
    load: f64,
    /// Time measured in each round.
    #[arg(long, value_parser = parse_duration, default_value = "8s")]
    measured: Duration,
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// Seed of due times and work.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Release of Envoy; $ENVOY wins where set.
    #[arg(long, default_value = DEFAULT_VERSION)]
    envoy_version: String,
    /// Also write a picture of the report (PNG), by a headless Chromium.
    #[arg(long)]
    screenshot: Option<PathBuf>,
    /// Run nothing: show the result.json of an earlier run again.
    #[arg(long, value_name = "RESULT_JSON")]
    render: Option<PathBuf>,
}

fn arm(key: &str) -> std::result::Result<Arm, String> {
    Arm::from_key(key).ok_or_else(|| format!("one of {}", Arm::ALL.map(Arm::key).join(", ")))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> Result<bool> {
    let outcome = match &arguments.render {
        Some(path) => read(path)?,
        None => demo::run(&spec(&arguments), say).await?,
    };
    say(&format!("\n{}", table::render(&outcome)));
    let (json, report) = (arguments.out.join("result.json"), arguments.out.join("report.html"));
    fs::create_dir_all(&arguments.out)
        .map_err(Error::io(format!("make {}", arguments.out.display())))?;
    let text = serde_json::to_string_pretty(&outcome)
        .map_err(|error| Error::Argument(error.to_string()))?;
    write(&json, &(text + "\n"))?;
    write(&report, &html::render(&outcome))?;
    say(&format!("wrote {} and {}", json.display(), report.display()));
    if let Some(picture) = &arguments.screenshot {
        leastload_browser::screenshot(&report, picture, demo::PICTURE, false)?;
        say(&format!("wrote {}", picture.display()));
    }
    Ok(outcome.holds())
}

fn spec(arguments: &Arguments) -> DemoSpec {
    DemoSpec {
        arms: arguments.arms.clone(),
        module: arguments.module.clone(),
        servers: arguments.servers,
        slots: arguments.slots,
        slow_speed: arguments.slow_speed,
        work: arguments.work,
        load: arguments.load,
        measured: arguments.measured,
        rounds: arguments.rounds,
        seed: arguments.seed,
        envoy: Options::version(&arguments.envoy_version),
        ..DemoSpec::default()
    }
}

fn read(path: &PathBuf) -> Result<Outcome> {
    let text = fs::read_to_string(path).map_err(Error::io(format!("read {}", path.display())))?;
    serde_json::from_str(&text)
        .map_err(|error| Error::Argument(format!("{} is no result: {error}", path.display())))
}

fn write(path: &PathBuf, text: &str) -> Result<()> {
    fs::write(path, text).map_err(Error::io(format!("write {}", path.display())))
}

/// A reader that has seen enough (`| head`) is no error.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
