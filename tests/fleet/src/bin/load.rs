//! The load client as a command; prints its report as JSON.

use std::{io::Write as _, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use leastload_fleet::{
    Error, Result,
    load::{self, Arrivals, Bound, LoadSpec, Method},
    server::{ServiceTime, service_time::parse_duration},
};

/// Offers open-loop gRPC load to a greeter and measures latencies from the due times.
#[derive(Parser)]
struct Arguments {
    /// Where to: http://ip:port; several go round.
    #[arg(required = true)]
    uris: Vec<String>,
    /// Calls a second.
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Equal gaps between calls instead of random ones.
    #[arg(long)]
    constant: bool,
    /// How long to send: 10s.
    #[arg(long, value_parser = parse_duration, default_value = "10s", conflicts_with = "calls")]
    duration: Duration,
    /// How many calls to send, instead of --duration.
    #[arg(long)]
    calls: Option<u64>,
    /// Leave the first part out of the report: 1s.
    #[arg(long, value_parser = parse_duration, default_value = "0s")]
    warm_up: Duration,
    /// Connections to each address.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Work of each call: exp:20ms. Without it the server draws.
    #[arg(long)]
    work: Option<ServiceTime>,
    /// Methods; several are used equally often.
    #[arg(long, value_enum)]
    method: Vec<MethodName>,
    /// Messages of a streaming call.
    #[arg(long, default_value_t = 3)]
    messages: u32,
    /// Time a call may take: 500ms.
    #[arg(long, value_parser = parse_duration)]
    deadline: Option<Duration>,
    /// Request metadata, "name: value"; may be repeated.
    #[arg(long)]
    header: Vec<String>,
    /// Seed of due times, work and mix.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum MethodName {
    Unary,
    ServerStream,
    ClientStream,
    Bidi,
}

impl From<MethodName> for Method {
    fn from(name: MethodName) -> Self {
        match name {
            MethodName::Unary => Self::Unary,
            MethodName::ServerStream => Self::ServerStream,
            MethodName::ClientStream => Self::ClientStream,
            MethodName::Bidi => Self::Bidi,
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let metadata = arguments
        .header
        .iter()
        .map(|header| {
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| Error::Argument(format!("'{header}' is not 'name: value'")))?;
            Ok((name.trim().to_lowercase(), value.trim().to_owned()))
        })
        .collect::<Result<_>>()?;
    let report = load::run(LoadSpec {
        uris: arguments.uris,
        connections: arguments.connections,
        rate: arguments.rate,
        arrivals: if arguments.constant { Arrivals::Constant } else { Arrivals::Poisson },
        bound: arguments.calls.map_or(Bound::Time(arguments.duration), Bound::Calls),
        warm_up: arguments.warm_up,
        work: arguments.work,
        mix: arguments.method.into_iter().map(|method| (method.into(), 1)).collect(),
        messages: arguments.messages,
        deadline: arguments.deadline,
        metadata,
        seed: arguments.seed,
        ..LoadSpec::default()
    })
    .await?;
    // A reader that has seen enough (`| head`) is no error.
    let _ = writeln!(std::io::stdout(), "{:#}", report.to_json());
    Ok(())
}
