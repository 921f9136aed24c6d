//! One test server as a process: prints `{"listening":"127.0.0.1:40123","pid":4711}` when ready,
//! ends on SIGTERM (finishing calls in flight, for at most two seconds) and at once when the pipe
//! at its standard input closes, that is, when whoever started it has gone.

use std::{io::Write as _, net::SocketAddr, os::unix::fs::FileTypeExt as _, time::Duration};

use clap::Parser;
use leastload_fleet::{
    Error, Result,
    server::{ServerOptions, ServiceTime, serve},
};
use tokio::{
    io::AsyncReadExt as _,
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// How long calls in flight may go on after SIGTERM.
const DRAIN: Duration = Duration::from_secs(2);

/// A gRPC greeter with a bounded number of slots and drawn service times.
#[derive(Parser)]
struct Arguments {
    /// Address to listen on; port 0 picks a free one; for IPv6 say `[::1]:0`.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Calls worked on at once; the rest waits in arrival order.
    #[arg(long, default_value_t = 4)]
    slots: usize,
    /// Service time: const:10ms, exp:40ms, uniform:20ms,60ms, lognormal:40ms,1.5,
    /// bimodal:10ms,200ms,0.1.
    #[arg(long, default_value = "const:0ms")]
    service: ServiceTime,
    /// Work per time; 0.5 is half as fast.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Seed of the service times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

// One thread: a fleet of servers shares the machine's few cores, and they only sleep.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let code = match run(Arguments::parse()).await {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("greeter-server: {error}");
            1
        }
    };
    // Returning would wait for the read of standard input, which may never end.
    std::process::exit(code)
}

async fn run(arguments: Arguments) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::io("listen for SIGTERM"))?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .map_err(Error::io(format!("listen on {}", arguments.listen)))?;
    let address = listener.local_addr().map_err(Error::io("read own address"))?;
    let ready = serde_json::json!({"listening": address.to_string(), "pid": std::process::id()});
    println!("{ready}");
    std::io::stdout().flush().map_err(Error::io("write to standard output"))?;

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let options = ServerOptions {
        slots: arguments.slots,
        service: arguments.service,
        speed: arguments.speed,
        seed: arguments.seed,
    };
    let serving = serve(listener, options, async {
        let _ = stopped.await;
    });
    let ending = async {
        tokio::select! {
            _ = terminate.recv() => {}
            () = orphaned() => std::process::exit(0),
        }
        let _ = stop.send(());
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = serving => served,
        () = ending => Ok(()),
    }
}

/// Resolves when standard input is a pipe and its other end has closed; never for a terminal, a
/// file or `/dev/null`, so that the server can also be run by hand.
async fn orphaned() {
    let is_pipe = std::fs::metadata("/proc/self/fd/0")
        .is_ok_and(|input| input.file_type().is_fifo() || input.file_type().is_socket());
    if !is_pipe {
        std::future::pending::<()>().await;
    }
    let mut input = tokio::io::stdin();
    let mut buffer = [0; 256];
    while input.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}
