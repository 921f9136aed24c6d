//! `make fleet`: Envoy's own balancers and leastload behind many proxies; prints a table, writes
//! `fleet.json`.

use std::{env, fs, io::Write as _, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use leastload_fleet::{
    Error, Result,
    envoy::DEFAULT_VERSION,
    rows::{self, Pattern, Spec, servers, table},
    server::{ServiceTime, service_time::parse_duration},
};
use serde_json::Value;

/// Real gRPC servers behind many real Envoys: the same seeded calls through each policy.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// What to measure at each load: POLICY[@PROXIES][:LOAD]. POLICY is `round_robin`,
    /// `least_request`, `full_scan`, `leastload`, `leastload_without_twins` (the module in the
    /// proxies alone) or one of these two with `-NAME` of a variant; @1 goes through one proxy
    /// instead of all; :0.8 leaves the row out at higher loads.
    #[arg(long, value_delimiter = ',', default_value = Spec::ROWS)]
    rows: Vec<Pattern>,
    /// Proxies; each call goes through any of them.
    #[arg(long, default_value_t = 20)]
    proxies: usize,
    /// Envoys, which proxies share, each with connections and a module of its own; half as many as
    /// cores if left out. Few use far less CPU time by call than many that wake up for each.
    #[arg(long)]
    proxy_processes: Option<usize>,
    /// Servers.
    #[arg(long, default_value_t = 20)]
    servers: usize,
    /// No Envoys before the servers, in no row: proxies reach the servers themselves.
    #[arg(long)]
    no_twins: bool,
    /// Envoys before the servers, which servers share; half as many as cores if left out.
    #[arg(long, conflicts_with = "no_twins")]
    twin_processes: Option<usize>,
    /// Plugin configuration of the proxies in leastload rows, merged over the defaults.
    #[arg(long, value_parser = json, value_name = "JSON", default_value = "{}")]
    config: Value,
    /// Plugin configuration of the Envoys before the servers in leastload rows, merged likewise.
    #[arg(long, value_parser = json, value_name = "JSON", default_value = "{}")]
    twin_config: Value,
    /// Plugin configuration of the rows `leastload-NAME` and `leastload_without_twins-NAME`, merged
    /// over --config; what it has under "twin" goes over --twin-config, and "module" is the path of
    /// another module. May be given many times.
    #[arg(long = "variant", value_parser = variant, value_name = "NAME=JSON")]
    variants: Vec<(String, Value)>,
    /// Calls a server works on at once.
    #[arg(long, default_value_t = 4)]
    slots: usize,
    /// Every so many servers one is slow; 0 is none.
    #[arg(long, default_value_t = 2)]
    slow_every: usize,
    /// Speed of a slow server.
    #[arg(long, default_value_t = 0.5)]
    slow_speed: f64,
    /// Work of a call: exp:40ms, uniform:10ms,50ms, lognormal:30ms,1, ...
    #[arg(long, default_value = "exp:40ms")]
    work: ServiceTime,
    /// Offered work as shares of the servers' capacity.
    #[arg(long, value_delimiter = ',', default_value = "0.8,0.9")]
    loads: Vec<f64>,
    /// Time measured in each round of each row. What is overloaded gets slower with it.
    #[arg(long, value_parser = parse_duration, default_value = "12s")]
    measured: Duration,
    /// Time before that, under the same load.
    #[arg(long, value_parser = parse_duration, default_value = "3s")]
    warm_up: Duration,
    /// Rounds, each with every row once.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// On a machine that others use too: time to spend in all on waiting for them, and on measuring
    /// again any round of a row during which they used more than a tenth of the machine.
    #[arg(long, value_parser = parse_duration, default_value = "0s")]
    patience: Duration,
    /// Seed of the first round.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Release of Envoy; $ENVOY wins where set.
    #[arg(long, default_value = DEFAULT_VERSION)]
    envoy_version: String,
    /// The module.
    #[arg(long, default_value = "dist/leastload.wasm")]
    module: PathBuf,
    /// Where the JSON goes.
    #[arg(long, default_value = "dist/fleet/fleet.json")]
    out: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// The servers, as a process of their own.
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        slots: usize,
        #[arg(long, value_delimiter = ',')]
        speeds: Vec<f64>,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = Arguments::parse();
    let done = match &arguments.command {
        Some(Command::Serve { slots, speeds }) => servers::serve(*slots, speeds).await,
        None => measure(&arguments).await,
    };
    // Returning would wait for reads of standard input.
    std::process::exit(match done {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("fleet: {error}");
            1
        }
    })
}

async fn measure(arguments: &Arguments) -> Result<()> {
    let program = env::current_exe().map_err(Error::io("find own binary"))?;
    let outcome = rows::run(&spec(arguments), &program, say).await?;
    say(&format!("\n{}", table::render(&outcome)));
    let out = &arguments.out;
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder).map_err(Error::io(format!("make {}", folder.display())))?;
    }
    let text = serde_json::to_string_pretty(&outcome)
        .map_err(|error| Error::Argument(error.to_string()))?;
    fs::write(out, text + "\n").map_err(Error::io(format!("write {}", out.display())))?;
    say(&format!("wrote {}", out.display()));
    Ok(())
}

fn spec(arguments: &Arguments) -> Spec {
    Spec {
        patterns: arguments.rows.clone(),
        proxies: arguments.proxies,
        proxy_processes: arguments.proxy_processes,
        servers: arguments.servers,
        twins: !arguments.no_twins,
        twin_processes: arguments.twin_processes,
        config: arguments.config.clone(),
        twin_config: arguments.twin_config.clone(),
        variants: arguments.variants.iter().cloned().collect(),
        slots: arguments.slots,
        slow_every: arguments.slow_every,
        slow_speed: arguments.slow_speed,
        work: arguments.work,
        loads: arguments.loads.clone(),
        measured: arguments.measured,
        warm_up: arguments.warm_up,
        rounds: arguments.rounds,
        patience: arguments.patience,
        seed: arguments.seed,
        envoy: arguments.envoy_version.clone(),
        module: arguments.module.clone(),
    }
}

fn json(text: &str) -> std::result::Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn variant(text: &str) -> std::result::Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=JSON")?;
    Ok((name.to_owned(), json(value)?))
}

/// A reader that has seen enough (`| head`) is no error.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
