//! An open-loop load client for the greeter.
//!
//! Calls are sent when they are due ([`plan`]), whether or not earlier ones have been answered, and
//! each latency counts from the moment the call was *due*, not from when it went out: a stalled
//! server or a late client shows up in full ("coordinated omission", G. Tene). What the callers
//! saw is a [`LoadReport`] ([`report`]).
//!
//! ```no_run
//! # async fn example() -> leastload_fleet::Result<()> {
//! use leastload_fleet::load::{self, Bound, LoadSpec};
//! let report = load::run(LoadSpec {
//!     uris: vec!["http://127.0.0.1:10000".into()],
//!     rate: 500.0,
//!     bound: Bound::Calls(5_000),
//!     work: Some("exp:20ms".parse()?),
//!     ..LoadSpec::default()
//! })
//! .await?;
//! assert_eq!(report.failed(), 0);
//! println!("p99 {:.1} ms, by server {:?}", report.percentile_ms(99.0), report.servers);
//! # Ok(())
//! # }
//! ```

use std::{thread, time::Duration};

use fastrand::Rng;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};
use tonic::transport::{Channel, Endpoint};

use crate::{Error, Result, proto::helloworld::HelloRequest, server::ServiceTime};

mod call;
pub mod plan;
pub mod report;

pub use plan::{Arrivals, Bound, Method};
pub use report::{CallRecord, LoadReport, ServerShare};

/// What load to offer.
#[derive(Clone, Debug)]
pub struct LoadSpec {
    /// Where to: `http://ip:port`, one or more.
    pub uris: Vec<String>,
    /// HTTP/2 connections to each of `uris`, 1 or more.
    pub connections: usize,
    /// Which connection a call takes.
    pub spread: Spread,
    /// Mean rate of calls over all connections, a second.
    pub rate: f64,
    /// How the calls are spaced.
    pub arrivals: Arrivals,
    /// When to stop sending.
    pub bound: Bound,
    /// Calls due in this first part are sent but left out of the report.
    pub warm_up: Duration,
    /// Work of each call, drawn by `seed` and sent as `work_ms`, so that the same seed offers the
    /// same work whoever balances it. None leaves it to the server.
    pub work: Option<ServiceTime>,
    /// Methods with their relative weights; empty means unary only.
    pub mix: Vec<(Method, u32)>,
    /// Messages of a streaming call, 1 or more, each with the call's work divided by it.
    pub messages: u32,
    /// Time a call may take from when it is sent; then it is cancelled and counts as
    /// `DeadlineExceeded`. Also sent as `grpc-timeout`.
    pub deadline: Option<Duration>,
    /// Further request metadata (ASCII).
    pub metadata: Vec<(String, String)>,
    /// What every request says, but for `work_ms`.
    pub request: HelloRequest,
    /// Seed of the due times, the work and the mix.
    pub seed: u64,
    /// How long to wait for answers after the last call was sent; what is unanswered then counts
    /// as `Unfinished`.
    pub patience: Duration,
    /// Keep a record of every call in the report (about 100 bytes each).
    pub keep_calls: bool,
}

impl Default for LoadSpec {
    fn default() -> Self {
        Self {
            uris: Vec::new(),
            connections: 4,
            spread: Spread::InTurn,
            rate: 100.0,
            arrivals: Arrivals::Poisson,
            bound: Bound::Calls(1_000),
            warm_up: Duration::ZERO,
            work: None,
            mix: Vec::new(),
            messages: 3,
            deadline: None,
            metadata: Vec::new(),
            request: HelloRequest { name: "load".into(), ..HelloRequest::default() },
            seed: 1,
            patience: Duration::from_secs(30),
            keep_calls: false,
        }
    }
}

/// Which connection a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// One after the other.
    InTurn,
    /// Any, all alike, drawn by the seed: callers that know nothing of each other.
    Random,
}

/// Offers the load and waits for the answers.
///
/// # Errors
/// When the specification makes no sense or no connection can be made; calls that fail are not
/// errors of this function but counted in the report.
pub async fn run(spec: LoadSpec) -> Result<LoadReport> {
    if spec.uris.is_empty() || spec.connections == 0 || spec.messages == 0 {
        return Err(Error::Argument("load needs a uri, a connection and a message".into()));
    }
    if !(spec.rate > 0.0 && spec.rate.is_finite()) {
        return Err(Error::Argument(format!("a rate of {} calls a second", spec.rate)));
    }
    let caller = call::Caller::new(&spec)?;
    let channels = connect(&spec).await?;
    let plan = plan::Plan::new(&spec);
    // A stream of its own: due times and work are the same whatever the number of connections.
    let mut random = Rng::with_seed(spec.seed ^ 0x5eed_0000_0000_0003);
    let mut report = LoadReport::default();
    let mut calls = JoinSet::new();
    let start = Instant::now();
    for (index, planned) in plan.enumerate() {
        let channel = match spec.spread {
            Spread::InTurn => &channels[index % channels.len()],
            Spread::Random => &channels[random.usize(..channels.len())],
        };
        let due = start + planned.due;
        if due > Instant::now() {
            sleep_until(due).await;
        }
        if planned.due >= spec.warm_up {
            report.sent(Instant::now() - due);
        }
        calls.spawn(caller.call(channel.clone(), planned, due));
        while let Some(done) = calls.try_join_next() {
            keep(&mut report, &spec, done);
        }
    }
    let deadline = Instant::now() + spec.patience;
    while let Ok(Some(done)) = timeout_at(deadline, calls.join_next()).await {
        keep(&mut report, &spec, done);
    }
    calls.abort_all();
    report.finish(start.elapsed());
    Ok(report)
}

/// [`run`] with a thread to itself, so that nothing here makes the client send late.
pub fn in_own_thread(spec: LoadSpec) -> oneshot::Receiver<Result<LoadReport>> {
    let (done, result) = oneshot::channel();
    thread::spawn(move || {
        let report = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::io("start a runtime"))
            .and_then(|runtime| runtime.block_on(run(spec)));
        let _ = done.send(report);
    });
    result
}

fn keep(
    report: &mut LoadReport,
    spec: &LoadSpec,
    done: std::result::Result<CallRecord, tokio::task::JoinError>,
) {
    // A call's task cannot panic or be aborted before the end; if it did, it would be unfinished.
    if let Ok(record) = done
        && record.due >= spec.warm_up
    {
        report.ended(record, spec.keep_calls);
    }
}

async fn connect(spec: &LoadSpec) -> Result<Vec<Channel>> {
    let mut channels = Vec::new();
    for _ in 0..spec.connections {
        for uri in &spec.uris {
            let channel = Endpoint::from_shared(uri.clone())
                .map_err(|error| Error::Argument(format!("{uri}: {error}")))?
                .connect_timeout(Duration::from_secs(5))
                .tcp_nodelay(true)
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(1 << 24)
                .connect()
                .await
                .map_err(|error| Error::Child(format!("cannot connect to {uri}: {error}")))?;
            channels.push(channel);
        }
    }
    Ok(channels)
}
