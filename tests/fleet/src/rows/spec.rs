//! What to measure: the fleet, the load, the rows and what leastload is told in them.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use super::{
    arm::{Arm, Pattern, Policy, Row, Twins, is_variant},
    usage,
};
use crate::{
    Error, Result,
    config::{Mechanism, merge},
    envoy::DEFAULT_VERSION,
    server::ServiceTime,
};

/// The `ORIGINAL_DST` cluster through which a proxy that has the module may ask servers; each proxy's
/// own has its number after it.
pub const PROBE_CLUSTER: &str = "leastload_probe";

/// What the module in a proxy is told before `--config` and a variant say more.
fn proxy_defaults() -> Value {
    json!({"probe": {"cluster": PROBE_CLUSTER}})
}

/// What the module before a server is told: connections here are without TLS.
fn twin_defaults() -> Value {
    json!({"role": "inbound", "probe": {"allow": "any"}})
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// What is measured at each of `loads`.
    pub patterns: Vec<Pattern>,
    /// Proxies, 1 or more: listeners with clusters, connections and a module of their own.
    pub proxies: usize,
    /// How many Envoys these are, where proxies share them: one process that is always at work uses
    /// far less CPU time by call than many that wake up for each. None is half as many as cores.
    pub proxy_processes: Option<usize>,
    /// Servers, 1 or more.
    pub servers: usize,
    /// Whether each server has an Envoy of its own before it, in every row.
    pub twins: bool,
    /// How many these Envoys are, where servers share them, for the same reason. None is half as many
    /// as cores.
    pub twin_processes: Option<usize>,
    /// Plugin configuration of the proxies in all leastload rows, merged over the defaults.
    pub config: Value,
    /// Plugin configuration of the twins of all leastload rows, merged over the defaults.
    pub twin_config: Value,
    /// By name: an object that a row's variant merges over `config`; what it has under `twin` goes
    /// over `twin_config`, and `module` is the path of another module for proxies and twins.
    pub variants: BTreeMap<String, Value>,
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
                arm: pattern.arm.clone(),
                proxies: pattern.proxies.unwrap_or(self.proxies),
                load,
            }));
        }
        rows
    }

    /// What the rows need, each once.
    pub fn arms(&self) -> Vec<Arm> {
        let mut arms: Vec<Arm> = Vec::new();
        for Row { arm, .. } in self.rows() {
            if !arms.contains(&arm) {
                arms.push(arm);
            }
        }
        arms
    }

    /// How many Envoys the proxies are.
    pub fn proxy_processes(&self) -> usize {
        self.proxy_processes.unwrap_or(usage::cores() / 2).clamp(1, self.proxies.max(1))
    }

    /// How many Envoys stand before the servers, where any do.
    pub fn twin_processes(&self) -> usize {
        self.twin_processes.unwrap_or(usage::cores() / 2).clamp(1, self.servers.max(1))
    }

    /// What stands before each server in the rows of an arm.
    pub fn twins_of(&self, arm: &Arm) -> Twins {
        match (self.twins, arm.twins) {
            (false, _) => Twins::None,
            (true, false) => Twins::Plain,
            (true, true) => Twins::Module,
        }
    }

    /// Plugin configuration of an arm's proxies.
    pub fn configuration(&self, arm: &Arm) -> Value {
        let mut all = proxy_defaults();
        merge(&mut all, &self.config);
        let mut variant = self.variant(arm).clone();
        if let Some(variant) = variant.as_object_mut() {
            variant.remove("twin");
            variant.remove("module");
        }
        merge(&mut all, &variant);
        all
    }

    /// Plugin configuration of an arm's twins.
    pub fn twin_configuration(&self, arm: &Arm) -> Value {
        let mut all = twin_defaults();
        merge(&mut all, &self.twin_config);
        merge(&mut all, self.variant(arm).get("twin").unwrap_or(&Value::Null));
        all
    }

    /// The module in an arm's proxies and twins.
    pub fn module(&self, arm: &Arm) -> PathBuf {
        let own = self.variant(arm).get("module").and_then(Value::as_str);
        own.map_or_else(|| self.module.clone(), PathBuf::from)
    }

    /// How an arm's picks are carried out, as its configuration says.
    pub fn mechanism(&self, arm: &Arm) -> Mechanism {
        if self.configuration(arm)["override"]["mechanism"] == "override_host" {
            Mechanism::OverrideHost
        } else {
            Mechanism::StatefulSession
        }
    }

    fn variant(&self, arm: &Arm) -> &Value {
        arm.variant.as_ref().and_then(|name| self.variants.get(name)).unwrap_or(&Value::Null)
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

    /// Calls a second of a row.
    pub fn rate(&self, row: &Row) -> f64 {
        row.load * self.capacity()
    }

    /// Checks that it makes sense.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<()> {
        let rows = self.rows();
        let arms = self.arms();
        let unknown = arms
            .iter()
            .find_map(|arm| arm.variant.as_ref().filter(|name| !self.variants.contains_key(*name)));
        let mut modules = arms.iter().filter(|arm| arm.steers()).map(|arm| self.module(arm));
        let missing = modules.find(|module| !module.is_file());
        let mut given = [&self.config, &self.twin_config].into_iter().chain(self.variants.values());
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
        } else if let Some(name) = unknown {
            format!("no variant is called '{name}'")
        } else if !self.variants.keys().all(|name| is_variant(name)) {
            "a variant's name must be of letters, digits and underscores".to_owned()
        } else if given.any(|value| !value.is_object() && !value.is_null()) {
            "a configuration must be a JSON object".to_owned()
        } else if let Some(missing) = missing {
            format!("{} is missing: run `make build` first", missing.display())
        } else {
            return Ok(());
        };
        Err(Error::Argument(fault))
    }
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            patterns: vec![
                Pattern { most_load: Some(0.8), ..Policy::RoundRobin.into() },
                Policy::LeastRequest.into(),
                Policy::FullScan.into(),
                Pattern { proxies: Some(1), ..Policy::FullScan.into() },
                Policy::Leastload.into(),
            ],
            proxies: 20,
            servers: 20,
            twins: true,
            proxy_processes: None,
            twin_processes: None,
            config: Value::Null,
            twin_config: Value::Null,
            variants: BTreeMap::new(),
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
    use std::path::Path;

    use super::*;

    #[test]
    fn the_default_rows_are_those_of_the_option() {
        let patterns: Vec<Pattern> = Spec::ROWS.split(',').map(|t| t.parse().unwrap()).collect();
        let spec = Spec::default();
        assert_eq!(spec.patterns, patterns);
        let rows: Vec<_> = spec.rows().iter().map(|row| (row.load, row.proxies)).collect();
        let (low, high) = ((0.8, 20), (0.9, 20));
        assert_eq!(rows, [low, low, low, (0.8, 1), low, high, high, (0.9, 1), high]);
        assert_eq!(spec.arms(), Policy::ALL.map(Arm::from));
    }

    #[test]
    fn a_variant_goes_over_what_all_rows_have() {
        let spec = Spec {
            config: json!({"a": {"b": 1, "c": 2}}),
            twin_config: json!({"d": 3}),
            variants: BTreeMap::from([(
                "x".to_owned(),
                json!({"a": {"b": 5}, "twin": {"role": "auto"}, "module": "other.wasm"}),
            )]),
            ..Spec::default()
        };
        let arm = Arm { variant: Some("x".into()), ..Policy::Leastload.into() };
        assert_eq!(spec.configuration(&arm)["a"], json!({"b": 5, "c": 2}));
        assert_eq!(spec.configuration(&arm).get("twin"), None);
        assert_eq!(spec.configuration(&arm).get("module"), None);
        assert_eq!(spec.module(&arm), Path::new("other.wasm"));
        assert_eq!(spec.twin_configuration(&arm)["role"], "auto");
        assert_eq!(spec.twin_configuration(&arm)["d"], 3);
        let plain = Policy::Leastload.into();
        assert_eq!(spec.configuration(&plain)["a"]["b"], 1);
        assert_eq!(spec.module(&plain), spec.module);
        assert_eq!(spec.twin_configuration(&plain)["role"], "inbound");
    }

    #[test]
    fn all_rows_have_twins_or_none_has() {
        let spec = Spec::default();
        assert_eq!(spec.twins_of(&Policy::LeastRequest.into()), Twins::Plain);
        assert_eq!(spec.twins_of(&Policy::Leastload.into()), Twins::Module);
        let without = Arm { twins: false, ..Policy::Leastload.into() };
        assert_eq!(spec.twins_of(&without), Twins::Plain);
        let none = Spec { twins: false, ..spec };
        assert!(Policy::ALL.iter().all(|policy| none.twins_of(&(*policy).into()) == Twins::None));
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
        faulty(|spec| spec.config = json!(1));
        faulty(|spec| spec.variants = BTreeMap::from([("a-b".to_owned(), json!({}))]));
        faulty(|spec| spec.patterns[0].arm.variant = Some("unknown".into()));
        faulty(|spec| spec.work = ServiceTime::Constant(Duration::ZERO));
        faulty(|spec| {
            spec.patterns[0].arm = Policy::Leastload.into();
            spec.module = "/nowhere.wasm".into();
        });
        faulty(|spec| {
            spec.patterns[0].arm = Arm { variant: Some("x".into()), ..Policy::Leastload.into() };
            spec.module = file!().into();
            spec.variants = BTreeMap::from([("x".to_owned(), json!({"module": "/nowhere.wasm"}))]);
        });
    }
}
