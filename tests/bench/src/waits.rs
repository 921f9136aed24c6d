//! How long requests wait whose questions nobody answers: by Envoy's own clock, beside
//! `probe.deadline`.

use std::{net::SocketAddr, path::Path, time::Duration};

use leastload_fleet::{
    Error, Result,
    config::{ADMIN_CLUSTER, Cluster, EnvoyConfig, Listener, Mechanism, Wasm},
    envoy::{Envoy, Options},
    rows::envoys::without_limits,
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};

use crate::{
    arm::{Arm, LISTENER, Modules},
    cores::Cores,
    load::Client,
    servers,
};

/// Endpoints: one is asked the less, the more questions it left unanswered, so there must be many.
const ENDPOINTS: usize = 100;
/// Where the questions go.
const HOLE: &str = "hole";
/// Time for leastload to learn who is there.
const PATIENCE: Duration = Duration::from_secs(30);
/// From the first byte of a request to its first byte to the server, in microseconds.
const FORMAT: &str = "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:us)%";
/// A request may go so much too early, in microseconds: see `EARLY_US` in `filter/plugin/src/waiting.rs`.
const EARLY_US: i64 = 400;
/// What a wait may be longer than its deadline, in microseconds.
pub const BOUND_US: i64 = 1_000;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `probe.deadline`, in milliseconds, each in Envoys with precise timers and without.
    pub deadlines_ms: Vec<u64>,
    /// Requests under way at a time.
    pub streams: Vec<usize>,
    /// Requests of a measurement.
    pub requests: u64,
    /// Envoy's release.
    pub envoy: String,
    /// Whether Envoy and the load get cores of their own.
    pub pin: bool,
}

/// Requests that waited, and those beside them that did not.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Whether Envoy started with `EVENT_PRECISE_TIMER=1`.
    pub precise: bool,
    /// `probe.deadline`, in milliseconds.
    pub deadline_ms: u64,
    /// Requests under way at a time.
    pub streams: usize,
    /// What those that waited took more than the deadline, in microseconds.
    pub late_us: Quantiles,
    /// Share of them that took more than [`BOUND_US`] more.
    pub beyond: f64,
    /// What those took that did not wait, in microseconds: how busy Envoy and the machine were.
    pub others_us: Quantiles,
}

/// Of some durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// How many.
    pub count: usize,
    /// The middle one.
    pub p50: i64,
    /// One in a hundred is longer.
    pub p99: i64,
    /// One in a thousand is.
    pub p999: i64,
    /// The longest.
    pub most: i64,
}

impl Quantiles {
    fn of(mut values: Vec<i64>) -> Option<Self> {
        values.sort_unstable();
        let most = *values.last()?;
        let at = |permille: usize| values.get(values.len() * permille / 1_000).copied();
        let (p50, p99, p999) = (at(500)?, at(990)?, at(999)?);
        Some(Self { count: values.len(), p50, p99, p999, most })
    }
}

/// Runs it. `program` is the one whose `serve` is [`crate::servers::serve`]; `progress` is told what goes
/// on.
///
/// Must run in a [`tokio::task::LocalSet`].
///
/// # Errors
/// When something does not start, a request fails, or more waited by leastload's metrics than by Envoy's
/// log.
pub async fn run(
    plan: &Plan,
    modules: &Modules,
    program: &Path,
    mut progress: impl FnMut(&str),
) -> Result<Vec<Row>> {
    // Who does not report would not be asked.
    let behind = servers::start(program, ENDPOINTS, true)?;
    // The kernel takes connections, and nobody reads.
    let hole = TcpListener::bind("127.0.0.1:0").await.map_err(Error::io("bind"))?;
    let nowhere = hole.local_addr().map_err(Error::io("find own port"))?;
    let cores = Cores::divide().filter(|_| plan.pin);
    if let Some(cores) = cores {
        cores.pin_load(behind.process().pid())?;
        cores.pin_load(std::process::id())?;
    }
    let mut rows = Vec::new();
    let each = plan.deadlines_ms.iter().flat_map(|ms| [(*ms, true), (*ms, false)]);
    for (deadline_ms, precise_timers) in each {
        progress(&format!("deadline {deadline_ms} ms, precise timers {precise_timers}"));
        let config = config(modules, behind.addresses(), nowhere, deadline_ms);
        let options = Options { precise_timers, ..Options::version(&plan.envoy).workers(1) };
        let mut envoy = Envoy::start(&config, &options).await?;
        if let Some(cores) = cores {
            cores.pin_envoy(envoy.process().pid())?;
        }
        for &streams in &plan.streams {
            let to = envoy.listener(LISTENER)?;
            let client = Client::connect(to, 1, streams, Arm::StatefulSession.calls()).await?;
            warm(&envoy, &client).await?;
            let (counted, logged) = (waits(&envoy).await?, envoy.access_log().await?.len());
            send(&client, plan.requests).await?;
            let counted = waits(&envoy).await?.abs_diff(counted);
            let took = took(&envoy, logged, plan.requests).await?;
            rows.push(row(took, counted, deadline_ms, precise_timers, streams)?);
        }
    }
    Ok(rows)
}

fn config(modules: &Modules, to: &[SocketAddr], hole: SocketAddr, deadline_ms: u64) -> EnvoyConfig {
    let wasm = Wasm::new(&modules.leastload).configuration(json!({
        "discovery": {"admin_cluster": ADMIN_CLUSTER, "interval": "1s"},
        "probe": {
            "mode": "always",
            "cluster": HOLE,
            "deadline": format!("{deadline_ms}ms"),
            "budget": 100_000,
        },
    }));
    let listener = Listener::http(LISTENER, "greeter").wasm(wasm).with_http(|http| {
        http.access_log = Some(FORMAT.into());
        http.extra = json!({"codec_type": "HTTP2"});
    });
    let clusters = [
        Cluster::new("greeter", to.iter().copied()).lb_policy("LEAST_REQUEST"),
        // Where Envoy refuses to send one, leastload asks otherwise.
        without_limits(Cluster::new(HOLE, [hole]), &Value::Null),
    ];
    EnvoyConfig::new([listener], clusters).mechanism(Mechanism::StatefulSession)
}

/// Sends until requests wait.
async fn warm(envoy: &Envoy, client: &Client) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while waits(envoy).await? == 0 {
        send(client, 100).await?;
        if Instant::now() > until {
            return Err(Error::Timeout("no request asks".into()));
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

async fn send(client: &Client, requests: u64) -> Result<()> {
    client.send(requests).await?.check(requests).map_err(Error::Child)?;
    Ok(())
}

/// What each of so many requests took by Envoy's log beyond its first `logged` bytes, in microseconds.
async fn took(envoy: &Envoy, logged: usize, requests: u64) -> Result<Vec<i64>> {
    let until = Instant::now() + PATIENCE;
    loop {
        let log = envoy.access_log().await?;
        let lines = log.get(logged..).unwrap_or_default().lines();
        let took: Vec<i64> = lines.filter_map(|line| line.parse().ok()).collect();
        if took.len() as u64 >= requests {
            return Ok(took);
        }
        if Instant::now() > until {
            let text = format!("{} of {requests} requests in Envoy's log", took.len());
            return Err(Error::Timeout(text));
        }
    }
}

/// Requests that went on at their deadline so far.
async fn waits(envoy: &Envoy) -> Result<u64> {
    let stats = envoy.admin().stats("leastload_probe_waits").await?;
    let late = stats.iter().filter(|(name, _)| name.contains("=deadline;"));
    Ok(late.map(|(_, count)| count.unsigned_abs()).sum())
}

fn row(
    took: Vec<i64>,
    counted: u64,
    deadline_ms: u64,
    precise: bool,
    streams: usize,
) -> Result<Row> {
    let longest_us = deadline_ms.cast_signed() * 1_000;
    let (waited, others): (Vec<i64>, Vec<i64>) =
        took.into_iter().partition(|took_us| *took_us >= longest_us - EARLY_US);
    // More by the log are requests that Envoy or the machine held up for as long, and count against us.
    if (waited.len() as u64) * 100 < counted * 99 {
        return Err(Error::Child(format!(
            "{} requests waited by Envoy's log, {counted} by leastload's metrics",
            waited.len()
        )));
    }
    let late: Vec<i64> = waited.into_iter().map(|took_us| took_us - longest_us).collect();
    let beyond = late.iter().filter(|late| **late > BOUND_US).count() as f64 / late.len() as f64;
    let none = || Error::Child("no request waited, or each did".into());
    let (late_us, others_us) = Quantiles::of(late).zip(Quantiles::of(others)).ok_or_else(none)?;
    Ok(Row { precise, deadline_ms, streams, late_us, beyond, others_us })
}
