//! What to measure: the fleet, the load, and the rows.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, envoy::DEFAULT_VERSION, server::ServiceTime};

/// How a proxy chooses a server.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Envoy's `ROUND_ROBIN`.
    RoundRobin,
    /// Envoy's `LEAST_REQUEST`: the better of two at random (`choice_count` 2, the default).
    LeastRequest,
    /// Envoy's `LEAST_REQUEST` with `selection_method: FULL_SCAN`: the best of all.
    FullScan,
    /// Our filter, by `stateful_session`; what it does not pick goes to `LEAST_REQUEST`.
    Leastload,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::RoundRobin, Self::LeastRequest, Self::FullScan, Self::Leastload];

    /// Its name in options and in the JSON; also of its listener and its cluster.
    pub fn key(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastRequest => "least_request",
            Self::FullScan => "full_scan",
            Self::Leastload => "leastload",
        }
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "ROUND_ROBIN",
            Self::LeastRequest => "LEAST_REQUEST",
            Self::FullScan => "LEAST_REQUEST, FULL_SCAN",
            Self::Leastload => "leastload",
        }
    }
}

/// Rows to measure at each of the loads. Written `POLICY[@PROXIES][:LOAD]`: `full_scan@1` goes
/// through one proxy, `round_robin:0.8` is measured at loads up to 0.8 only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pattern {
    /// How its proxies choose.
    pub policy: Policy,
    /// Through how many proxies; None is all of them.
    pub proxies: Option<usize>,
    /// Highest load at which it is measured.
    pub most_load: Option<f64>,
}

impl FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            let keys = Policy::ALL.map(Policy::key).join(", ");
            Error::Argument(format!(
                "'{text}' is no row: POLICY[@PROXIES][:LOAD] with one of {keys}"
            ))
        };
        let (name, most_load) = match text.split_once(':') {
            Some((name, load)) => (name, Some(load.parse().map_err(|_| bad())?)),
            None => (text, None),
        };
        let (key, proxies) = match name.split_once('@') {
            Some((key, proxies)) => (key, Some(proxies.parse().map_err(|_| bad())?)),
            None => (name, None),
        };
        let policy = Policy::ALL.into_iter().find(|policy| policy.key() == key).ok_or_else(bad)?;
        Ok(Self { policy, proxies, most_load })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.policy.key())?;
        if let Some(proxies) = self.proxies {
            write!(f, "@{proxies}")?;
        }
        self.most_load.map_or(Ok(()), |load| write!(f, ":{load}"))
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// How its proxies choose.
    pub policy: Policy,
    /// Through how many proxies, each call through any of them.
    pub proxies: usize,
    /// Offered work as a share of what all servers together can do.
    pub load: f64,
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What is measured at each of `loads`.
    pub patterns: Vec<Pattern>,
    /// Envoys, 1 or more.
    pub proxies: usize,
    /// Servers, 1 or more.
    pub servers: usize,
    /// Calls a server works on at once, 1 or more; the rest waits in arrival order.
    pub slots: usize,
    /// Every so many servers one is slow; 0 is none.
    pub slow_every: usize,
    /// Speed of a slow server; the others have 1.
    pub slow_speed: f64,
    /// Work of a call at speed 1, drawn by the client.
    pub work: ServiceTime,
    /// Offered work as shares of what all servers together can do, above 0.
    pub loads: Vec<f64>,
    /// Time measured in each round of each row.
    pub measured: Duration,
    /// Time before that, under the same load.
    pub warm_up: Duration,
    /// Rounds, each with every row once.
    pub rounds: u64,
    /// Time to spend in all on waiting for other programs to end, and on measuring again what they
    /// disturbed.
    pub patience: Duration,
    /// Seed of due times, work and proxies; the first round has this one, the next the next.
    pub seed: u64,
    /// Release of Envoy; `$ENVOY` wins where set.
    pub envoy: String,
    /// Path of the module; needed by [`Policy::Leastload`].
    pub module: PathBuf,
}

impl Spec {
    /// The rows of the default run.
    pub const ROWS: &str = "round_robin:0.8,least_request,full_scan,full_scan@1,leastload";

    /// What is measured, by load.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for &load in &self.loads {
            let wanted = |pattern: &&Pattern| pattern.most_load.is_none_or(|most| load <= most);
            rows.extend(self.patterns.iter().filter(wanted).map(|pattern| Row {
                policy: pattern.policy,
                proxies: pattern.proxies.unwrap_or(self.proxies),
                load,
            }));
        }
        rows
    }

    /// The policies that the rows need, each once.
    pub fn policies(&self) -> Vec<Policy> {
        let rows = self.rows();
        let used = |policy: &Policy| rows.iter().any(|row| row.policy == *policy);
        Policy::ALL.into_iter().filter(used).collect()
    }

    /// Speeds of the servers, in order.
    pub fn speeds(&self) -> Vec<f64> {
        let slow = |server: usize| self.slow_every > 0 && server.is_multiple_of(self.slow_every);
        (1..=self.servers).map(|n| if slow(n) { self.slow_speed } else { 1.0 }).collect()
    }

    /// Calls a second that all servers together can answer.
    pub fn capacity(&self) -> f64 {
        let speed: f64 = self.speeds().iter().sum();
        speed * self.slots as f64 / self.work.mean().as_secs_f64()
    }

    /// Checks that it makes sense.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<()> {
        let rows = self.rows();
        let fault = if rows.is_empty() {
            "no row to measure at these loads".to_owned()
        } else if rows.iter().any(|row| row.proxies == 0 || row.proxies > self.proxies) {
            format!("a row's proxies must be 1 to {}", self.proxies)
        } else if self.servers == 0 || self.slots == 0 || self.rounds == 0 {
            "a server, a slot and a round at least".to_owned()
        } else if !(self.slow_speed > 0.0 && self.slow_speed.is_finite()) {
            "the slow servers' speed must be above 0".to_owned()
        } else if self.work.mean().is_zero() || self.measured.is_zero() {
            "work and time measured must be above 0".to_owned()
        } else if !self.loads.iter().all(|load| *load > 0.0 && load.is_finite()) {
            "loads must be above 0".to_owned()
        } else if self.policies().contains(&Policy::Leastload) && !self.module.is_file() {
            format!("{} is missing: run `make build` first", self.module.display())
        } else {
            return Ok(());
        };
        Err(Error::Argument(fault))
    }
}

impl Default for Spec {
    fn default() -> Self {
        let pattern = |policy| Pattern { policy, proxies: None, most_load: None };
        Self {
            patterns: vec![
                Pattern { most_load: Some(0.8), ..pattern(Policy::RoundRobin) },
                pattern(Policy::LeastRequest),
                pattern(Policy::FullScan),
                Pattern { proxies: Some(1), ..pattern(Policy::FullScan) },
                pattern(Policy::Leastload),
            ],
            proxies: 20,
            servers: 20,
            slots: 4,
            slow_every: 2,
            slow_speed: 0.5,
            work: ServiceTime::Exponential(Duration::from_millis(40)),
            loads: vec![0.8, 0.9],
            measured: Duration::from_secs(12),
            warm_up: Duration::from_secs(3),
            rounds: 3,
            patience: Duration::ZERO,
            seed: 1,
            envoy: DEFAULT_VERSION.into(),
            module: "dist/leastload.wasm".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_are_written() {
        for text in Spec::ROWS.split(',') {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
        }
        for text in ["", "random", "full_scan@", "full_scan@x", "full_scan:much"] {
            let error = text.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains("full_scan, leastload"), "{error}");
        }
    }

    #[test]
    fn the_default_rows_are_those_of_the_option() {
        let patterns: Vec<Pattern> = Spec::ROWS.split(',').map(|t| t.parse().unwrap()).collect();
        let spec = Spec::default();
        assert_eq!(spec.patterns, patterns);
        let rows: Vec<_> = spec.rows().iter().map(|row| (row.load, row.proxies)).collect();
        let (low, high) = ((0.8, 20), (0.9, 20));
        assert_eq!(rows, [low, low, low, (0.8, 1), low, high, high, (0.9, 1), high]);
        assert_eq!(spec.policies(), Policy::ALL);
    }

    #[test]
    fn capacity_counts_slow_servers_by_their_speed() {
        let spec = Spec::default();
        assert!((spec.capacity() - 1_500.0).abs() < 1e-9);
        assert_eq!(spec.speeds()[..3], [1.0, 0.5, 1.0]);
        let none = Spec { slow_every: 0, ..spec };
        assert!((none.capacity() - 2_000.0).abs() < 1e-9);
    }

    #[test]
    fn nonsense_is_refused() {
        let faulty = |change: fn(&mut Spec)| {
            let mut spec =
                Spec { patterns: vec!["full_scan@1".parse().unwrap()], ..Spec::default() };
            spec.check().unwrap();
            change(&mut spec);
            spec.check().unwrap_err();
        };
        faulty(|spec| spec.proxies = 0);
        faulty(|spec| spec.slots = 0);
        faulty(|spec| spec.loads = vec![0.0]);
        faulty(|spec| spec.loads = vec![]);
        faulty(|spec| spec.slow_speed = 0.0);
        faulty(|spec| spec.work = ServiceTime::Constant(Duration::ZERO));
        faulty(|spec| {
            spec.patterns[0].policy = Policy::Leastload;
            spec.module = "/nowhere.wasm".into();
        });
    }
}
