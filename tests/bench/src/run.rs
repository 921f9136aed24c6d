//! One comparison: all Envoys run from start to end, and each round loads them one after the other
//! in an order of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    rc::Rc,
    time::Duration,
};

use fastrand::Rng;
use leastload_fleet::{
    Error, Result,
    envoy::{Envoy, Options},
    serving::Servers,
};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    arm::{Arm, LISTENER, Modules},
    cores::Cores,
    load::{Client, Sent},
    machine, servers,
    stamps::Tally,
    usage::{self, Usage},
};

/// At least this share of the measured requests must have been steered.
const STEERED: f64 = 0.99;
/// Time for leastload to learn who is there.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before and after a measurement, so that Envoy sleeps when its clocks are read.
const SETTLE: Duration = Duration::from_millis(3);

/// What to compare, and how.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The Envoys.
    pub arms: Vec<Arm>,
    /// Servers behind each.
    pub endpoints: usize,
    /// Workers of each.
    pub workers: u32,
    /// Measurements of each arm.
    pub rounds: u64,
    /// Requests of a measurement.
    pub requests: u64,
    /// Requests before each measurement.
    pub warm_up: u64,
    /// HTTP/2 connections from the client to each Envoy.
    pub connections: usize,
    /// Requests under way at a time.
    pub streams: usize,
    /// Time for which all Envoys are left alone, to see what they use then; in milliseconds.
    pub idle_ms: u64,
    /// Of the order of the arms.
    pub seed: u64,
    /// Whether Envoy and the load get cores of their own.
    pub pin: bool,
    /// Envoy's release.
    pub envoy: String,
}

/// One measurement of one arm.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    /// Envoy's CPU time for a request, all threads, in microseconds.
    pub cpu_us: f64,
    /// That of its workers alone.
    pub worker_us: f64,
    /// Requests a second.
    pub rate: f64,
    /// Share of the time for which the workers were busy, 1 for one worker all the time.
    pub workers_busy: f64,
    /// The same of the client and the servers together.
    pub load_busy: f64,
    /// Read system calls of Envoy for a request: the fewer, the more requests it found at a time.
    pub reads: f64,
    /// How often a worker went to sleep, for a request.
    pub sleeps: f64,
    /// Share of the requests for which leastload named an endpoint and Envoy obeyed.
    pub steered: Option<f64>,
    /// Share of the responses with a stamp that was read, where that is what the arm is about.
    pub stamped: Option<f64>,
}

/// What a comparison measured.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// What was compared.
    pub plan: Plan,
    /// Which cores were whose.
    pub cores: String,
    /// By arm, its measurements in the order of the rounds.
    pub samples: BTreeMap<Arm, Vec<Sample>>,
    /// By arm, CPU time of the whole Envoy when nothing is asked of it, in milliseconds a second.
    pub idle: BTreeMap<Arm, f64>,
    /// Share of all cores that processes other than ours used meanwhile.
    pub others: f64,
    /// Share of all cores that the hypervisor gave to other machines.
    pub stolen: f64,
}

struct Running {
    arm: Arm,
    /// Its own, or that of the arm without stamps.
    envoy: Rc<Envoy>,
    pid: u32,
    client: Client,
}

/// Where the requests end.
struct Behind {
    servers: Servers,
    /// Knows how many stamps they were asked for, where that matters.
    teller: Option<Client>,
}

/// Runs the comparison. `program` is the one whose `serve` is [`crate::servers::serve`]; `progress`
/// is told what goes on.
///
/// Must run in a [`tokio::task::LocalSet`].
///
/// # Errors
/// When something does not start, a request fails, or leastload did not steer.
pub async fn run(
    plan: &Plan,
    modules: &Modules,
    program: &Path,
    mut progress: impl FnMut(&str),
) -> Result<Outcome> {
    let behind = Behind::start(plan, program).await?;
    let mut running = Vec::<Running>::new();
    for arm in &plan.arms {
        progress(&format!("starting: {}", arm.title()));
        let envoy = running.iter().find(|one| one.arm == arm.envoy());
        let (envoy, pid) = match envoy {
            Some(one) => (Rc::clone(&one.envoy), one.pid),
            None => start(*arm, plan, modules, &behind.servers).await?,
        };
        running.push(Running::connect(*arm, plan, envoy, pid).await?);
    }
    let cores = pin(plan, &running, &behind.servers)?;
    for one in &running {
        one.warm().await?;
    }
    let before = Totals::read(&running, &behind.servers)?;
    let mut samples = BTreeMap::<Arm, Vec<Sample>>::new();
    let mut rng = Rng::with_seed(plan.seed);
    for round in 1..=plan.rounds {
        progress(&format!("round {round} of {}", plan.rounds));
        rng.shuffle(&mut running);
        // With and without stamps one right after the other: the machine changes from second to second.
        let envoys: Vec<Arm> = running.iter().map(|one| one.arm.envoy()).collect();
        running.sort_by_key(|one| envoys.iter().position(|envoy| *envoy == one.arm.envoy()));
        for one in &running {
            let sample = one.measure(plan, &behind).await?;
            samples.entry(one.arm).or_default().push(sample);
        }
    }
    let (others, stolen) = Totals::read(&running, &behind.servers)?.shares(&before);
    let idle = idle(plan, &running).await?;
    Ok(Outcome { plan: plan.clone(), cores, samples, idle, others, stolen })
}

fn pin(plan: &Plan, running: &[Running], servers: &Servers) -> Result<String> {
    let Some(cores) = Cores::divide().filter(|_| plan.pin) else {
        return Ok("any process on any core".into());
    };
    let mut done = cores.pin_load(servers.process().pid())? & cores.pin_load(std::process::id())?;
    for one in running {
        done &= cores.pin_envoy(one.pid)?;
    }
    Ok(if done { cores.to_string() } else { "pinning is not permitted here".into() })
}

async fn idle(plan: &Plan, running: &[Running]) -> Result<BTreeMap<Arm, f64>> {
    let read = || running.iter().map(|one| usage::cpu(one.pid)).collect::<Result<Vec<_>>>();
    let before = read()?;
    sleep(Duration::from_millis(plan.idle_ms)).await;
    let used = read()?.into_iter().zip(before).map(|(now, then)| now.saturating_sub(then));
    let per_second = used.map(|used| used.as_secs_f64() * 1e6 / plan.idle_ms as f64);
    Ok(running.iter().map(|one| one.arm).zip(per_second).collect())
}

impl Behind {
    async fn start(plan: &Plan, program: &Path) -> Result<Self> {
        // Elsewhere leastload asks too, and is to find servers without a twin.
        let stamps = plan.arms.iter().any(|arm| arm.asks());
        let servers = servers::start(program, plan.endpoints, stamps)?;
        let teller = if plan.arms.iter().any(|arm| arm.counts_stamps()) {
            Some(servers::teller(&servers).await?)
        } else {
            None
        };
        Ok(Self { servers, teller })
    }

    async fn asked(&self) -> Result<u64> {
        match &self.teller {
            Some(teller) => servers::asked(teller).await,
            None => Ok(0),
        }
    }
}

async fn start(
    arm: Arm,
    plan: &Plan,
    modules: &Modules,
    servers: &Servers,
) -> Result<(Rc<Envoy>, u32)> {
    let config = arm.config(modules, servers.addresses());
    let options = Options::version(&plan.envoy).workers(plan.workers);
    let mut envoy = Envoy::start(&config, &options).await?;
    let pid = envoy.process().pid();
    Ok((Rc::new(envoy), pid))
}

impl Running {
    async fn connect(arm: Arm, plan: &Plan, envoy: Rc<Envoy>, pid: u32) -> Result<Self> {
        let to = envoy.listener(LISTENER)?;
        let client = Client::connect(to, plan.connections, plan.streams, arm.calls()).await?;
        Ok(Self { arm, envoy, pid, client })
    }

    /// Sends until the whole of a handful is steered.
    async fn warm(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = self.steered().await?;
            let sent = self.send(500).await?;
            if !self.arm.steers() || self.steered().await? - before == sent.ok {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.fault("leastload still leaves requests to Envoy"));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn measure(&self, plan: &Plan, behind: &Behind) -> Result<Sample> {
        self.send(plan.warm_up).await?;
        let (steered, tally) = (self.steered().await?, self.tally(behind).await?);
        sleep(SETTLE).await;
        let (envoy, load) = (Usage::of(self.pid)?, load_cpu(&behind.servers)?);
        let sent = self.send(plan.requests).await?;
        let load = load_cpu(&behind.servers)?.saturating_sub(load);
        sleep(SETTLE).await;
        let used = Usage::of(self.pid)?.since(envoy);
        let requests = sent.ok as f64;
        let steered = (self.steered().await?.saturating_sub(steered)) as f64 / requests;
        if self.arm.steers() && steered < STEERED {
            let share = format!("only {:.1} % of the requests were steered", 100.0 * steered);
            return Err(self.fault(&share));
        }
        let tally = self.tally(behind).await?.since(tally);
        let stamped = tally.share(self.arm, &sent).map_err(|fault| self.fault(&fault))?;
        Ok(Sample {
            cpu_us: used.cpu.as_secs_f64() * 1e6 / requests,
            worker_us: used.workers.as_secs_f64() * 1e6 / requests,
            rate: requests / sent.took.as_secs_f64(),
            workers_busy: used.workers.as_secs_f64() / sent.took.as_secs_f64(),
            load_busy: load.as_secs_f64() / sent.took.as_secs_f64(),
            reads: used.reads as f64 / requests,
            sleeps: used.sleeps as f64 / requests,
            steered: self.arm.steers().then_some(steered),
            stamped,
        })
    }

    async fn send(&self, requests: u64) -> Result<Sent> {
        let sent = self.client.send(requests).await?;
        sent.check(requests).map_err(|fault| self.fault(&fault))
    }

    /// Requests for which leastload named an endpoint, less those that another one served.
    async fn steered(&self) -> Result<u64> {
        if !self.arm.steers() {
            return Ok(0);
        }
        let stats = self.envoy.admin().stats("leastload_(picks|overrides_refused)").await?;
        let sum = |of: fn(&str) -> bool| -> i64 {
            stats.iter().filter(|(name, _)| of(name)).map(|(_, value)| value).sum()
        };
        let named = sum(|name| name.contains("picks") && name.contains("=override;"));
        let refused = sum(|name| name.contains("overrides_refused"));
        Ok(u64::try_from(named - refused).unwrap_or(0))
    }

    /// What is known of stamps so far.
    async fn tally(&self, behind: &Behind) -> Result<Tally> {
        if !self.arm.counts_stamps() {
            return Ok(Tally::default());
        }
        let dropped = self.envoy.admin().stats("leastload_reports_dropped").await?;
        let dropped = dropped.values().map(|count| count.unsigned_abs()).sum();
        Ok(Tally { asked: behind.asked().await?, dropped })
    }

    fn fault(&self, what: &str) -> Error {
        Error::Child(format!("{}: {what}; its log ends:\n{}", self.arm.title(), self.log_end()))
    }

    fn log_end(&self) -> String {
        let log = self.envoy.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

/// CPU time of the client (this process) and the servers.
fn load_cpu(servers: &Servers) -> Result<Duration> {
    Ok(usage::cpu(servers.process().pid())? + usage::cpu(std::process::id())?)
}

/// CPU time of everything that belongs to the comparison, beside the machine's.
struct Totals {
    ours: Duration,
    busy: Duration,
    stolen: Duration,
    at: Instant,
}

impl Totals {
    fn read(running: &[Running], servers: &Servers) -> Result<Self> {
        let mut ours = load_cpu(servers)?;
        let envoys: BTreeSet<u32> = running.iter().map(|one| one.pid).collect();
        for pid in envoys {
            ours += usage::cpu(pid)?;
        }
        let (busy, stolen) = usage::machine()?;
        Ok(Self { ours, busy, stolen, at: Instant::now() })
    }

    /// Shares of all cores that others used, and that were stolen, since `before`.
    fn shares(&self, before: &Self) -> (f64, f64) {
        let all = (self.at - before.at).as_secs_f64() * machine::cores() as f64;
        let ours = self.ours.saturating_sub(before.ours);
        let others = self.busy.saturating_sub(before.busy).saturating_sub(ours);
        let stolen = self.stolen.saturating_sub(before.stolen);
        (others.as_secs_f64() / all, stolen.as_secs_f64() / all)
    }
}
