//! `make fleet`: Envoy's own balancers and leastload behind many proxies, each of which sees only
//! its share of the calls.
//!
//! Real servers and real Envoys, one worker each; an open-loop client that sends each call through
//! a proxy drawn at random. The client draws the work too, so that all rows of a round have the
//! same calls at the same moments. Rounds are interleaved (every row once, then every row again),
//! so that whatever else the machine does meets all rows alike.

use std::{path::Path, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    Error, Result,
    load::{self, Bound, LoadSpec, Spread},
};

pub mod arm;
pub mod envoys;
pub mod proxies;
pub mod result;
pub mod servers;
pub mod spec;
pub mod table;
pub mod twins;
pub mod usage;

pub use arm::{Arm, Pattern, Policy, Row, Twins};
pub use spec::Spec;

use crate::serving::Servers;
use proxies::{Proxies, Tally};
use result::{Counted, Idle, Outcome, Round, RowResult, Settings, VERSION};
use usage::{Envoys, Usage};

/// Time for calls that are still waiting when the last one was sent, beside that of sending: what
/// overload heaped up must be answered too.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before the first round, leastload is sent calls for so long, to learn who is there.
const LEARNING: Duration = Duration::from_secs(3);

/// For so long it is looked how much CPU time the Envoys use without calls.
const IDLE: Duration = Duration::from_secs(2);

/// Share of the machine that other programs may use while a row is measured.
const OTHERS: f64 = 0.10;

/// Runs all rows, telling `progress` about it line by line. `program` is the one whose `serve` is
/// [`servers::serve`].
///
/// # Errors
/// When servers or Envoys do not start or the specification makes no sense; calls that fail are no
/// error but a result.
pub async fn run(spec: &Spec, program: &Path, progress: impl Fn(&str)) -> Result<Outcome> {
    spec.check()?;
    let begin = Instant::now();
    let say = |line: String| progress(&format!("[{:>3} s] {line}", begin.elapsed().as_secs()));
    let servers = servers::start(program, spec.slots, &spec.speeds())?;
    let twins = twins::Twins::start(spec, servers.addresses()).await?;
    let proxies = Proxies::start(spec, &twins).await?;
    say(format!(
        "{} proxies in {} Envoys, {} gRPC servers of {} slots{}; together they can do {:.0} calls a second of {}",
        spec.proxies,
        spec.proxy_processes(),
        spec.servers,
        spec.slots,
        if spec.twins {
            format!(" behind {} more Envoys", spec.twin_processes())
        } else {
            String::new()
        },
        spec.capacity(),
        spec.work
    ));
    let meters = servers::Meters::of(servers.addresses()).await?;
    let bench = Bench { spec, servers, meters, twins, proxies };
    bench.learn().await?;
    let before = bench.usage(spec.proxies)?;
    sleep(IDLE).await;
    let idle = Idle::new(bench.usage(spec.proxies)?.since(&before));
    let mut patience = spec.patience;
    let rows = spec.rows();
    let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); rows.len()];
    for number in 0..spec.rounds {
        for (row, done) in rows.iter().zip(&mut rounds) {
            let round = bench.measure_in_quiet(row, spec.seed + number, &mut patience).await?;
            say(format!(
                "round {} of {}, load {}, {} x {}: {} calls, {} errors, p50 {:.1} ms, p99 {:.1} ms; \
                 CPU by call {:.1} us in proxies, {:.1} us in twins; {:.2} probes; machine {:.0} % busy, {:.0} % by others",
                number + 1,
                spec.rounds,
                row.load,
                row.proxies,
                row.arm.name(),
                round.calls,
                round.errors,
                round.p50_ms,
                round.p99_ms,
                round.proxies_us,
                round.twins_us,
                round.probes,
                round.machine_busy * 100.0,
                round.others_busy * 100.0
            ));
            done.push(round);
        }
    }
    let results = rows.into_iter().zip(rounds);
    let rows = results.map(|(row, rounds)| RowResult::new(spec, &row, rounds)).collect();
    Ok(Outcome { version: VERSION, spec: Settings::new(spec, idle), rows })
}

struct Bench<'a> {
    spec: &'a Spec,
    servers: Servers,
    meters: servers::Meters,
    twins: twins::Twins,
    proxies: Proxies,
}

impl Bench<'_> {
    fn load(&self, row: &Row, seed: u64) -> Result<LoadSpec> {
        let time = self.spec.warm_up + self.spec.measured;
        Ok(LoadSpec {
            uris: self.proxies.uris(&row.arm, row.proxies)?,
            connections: 1,
            spread: Spread::Random,
            rate: self.spec.rate(row),
            bound: Bound::Time(time),
            warm_up: self.spec.warm_up,
            work: Some(self.spec.work),
            seed,
            patience: PATIENCE + time,
            ..LoadSpec::default()
        })
    }

    /// A little load through every proxy's leastload, so that the first round is as the others.
    async fn learn(&self) -> Result<()> {
        for arm in self.spec.arms().into_iter().filter(Arm::steers) {
            let row = Row { arm, proxies: self.spec.proxies, load: 0.1 };
            let load =
                LoadSpec { bound: Bound::Time(LEARNING), ..self.load(&row, self.spec.seed)? };
            load::run(load).await?;
        }
        Ok(())
    }

    /// Measures, and again as long as others disturb it and `patience` is left.
    async fn measure_in_quiet(
        &self,
        row: &Row,
        seed: u64,
        patience: &mut Duration,
    ) -> Result<Round> {
        loop {
            let begin = Instant::now();
            let mut before = self.usage(row.proxies)?;
            while begin.elapsed() < *patience {
                sleep(Duration::from_secs(1)).await;
                let now = self.usage(row.proxies)?;
                if now.since(&before).others() <= OTHERS {
                    break;
                }
                before = now;
            }
            *patience = patience.saturating_sub(begin.elapsed());
            let begin = Instant::now();
            let round = self.measure(row, seed).await?;
            if round.others_busy <= OTHERS || patience.is_zero() {
                return Ok(round);
            }
            *patience = patience.saturating_sub(begin.elapsed());
        }
    }

    async fn measure(&self, row: &Row, seed: u64) -> Result<Round> {
        let earlier = self.tally(row).await?;
        let spec = self.load(row, seed)?;
        let total = load::plan::Plan::new(&spec).count();
        let start = Instant::now();
        let load = load::in_own_thread(spec);
        sleep(self.spec.warm_up).await;
        self.meters.reset().await?;
        let before = self.usage(row.proxies)?;
        sleep_until(start + self.spec.warm_up + self.spec.measured).await;
        let busy = self.usage(row.proxies)?.since(&before);
        let mut servers = self.meters.read().await?;
        for (server, told) in servers.iter_mut().zip(self.twins.told(self.spec, &row.arm).await?) {
            server.told = Some(told);
        }
        let load = load.await.map_err(|_| Error::Child("the load client died".into()))??;
        let now = self.tally(row).await?;
        let counted = earlier.zip(now).map(|(earlier, now)| {
            let by_call = |count: i64| count as f64 / total.max(1) as f64;
            Counted {
                steered: by_call(now.steered - earlier.steered),
                probes: by_call(now.probes - earlier.probes),
            }
        });
        Ok(Round::new(seed, &load, busy, counted, servers))
    }

    async fn tally(&self, row: &Row) -> Result<Option<Tally>> {
        if !row.arm.steers() {
            return Ok(None);
        }
        self.proxies.tally(row.proxies).await.map(Some)
    }

    /// CPU time until now; of the proxies, `serving` have the row's calls.
    fn usage(&self, serving: usize) -> Result<Usage> {
        let envoys = Envoys {
            proxies: self.proxies.cpu_time(self.spec.proxies)?,
            serving: self.proxies.cpu_time(serving)?,
            twins: self.twins.cpu_time()?,
        };
        Usage::now(self.servers.process().cpu_time()?, envoys)
    }
}
