//! Core at work, without a proxy around it: workers that know their endpoints from the admin
//! interface, and requests under way in all of them.

use std::ops::Range;

use fastrand::Rng;
use leastload_core::{
    balancer::{Ask, Balancer, Call, ClusterId, Ending, Verdict},
    config::{ClusterSettings, Config},
    load::Load,
    memory::Memory,
    work::Work,
};
use serde_json::{Value, json};

/// Name of the cluster.
pub const CLUSTER: &str = "greeter";
/// What quickstart.yaml says.
pub const CONFIG: &str =
    r#"{"discovery": {"admin_cluster": "prometheus_stats", "interval": "1s"}}"#;
/// What a real Envoy answered.
const ADMIN: &str = include_str!("../../../filter/core/testdata/clusters-1.40.0.json");
/// Longer than anything that core waits for between two readings.
const LONG_MS: u64 = 60_000;

/// The workers of one proxy.
pub struct Rig {
    proxy: Memory,
    config: Config,
    settings: ClusterSettings,
    workers: Vec<Balancer>,
    id: ClusterId,
    now_ms: u64,
    rng: Rng,
    /// Requests under way in each worker.
    open: Vec<Vec<Call>>,
}

impl Rig {
    /// `workers` that know `endpoints`, with no request under way.
    ///
    /// # Panics
    /// When core does not take the configuration or the membership.
    pub fn new(workers: usize, endpoints: usize, config: &str) -> Self {
        let proxy = Memory::default();
        let config = Config::parse(config.as_bytes()).expect("the configuration is sound");
        let settings = config.cluster(CLUSTER);
        let mut workers: Vec<_> = (1..=workers as u64).map(|seed| Balancer::new(seed, 0)).collect();
        let ids: Vec<_> =
            workers.iter_mut().map(|w| w.cluster(&proxy, CLUSTER, &settings)).collect();
        let id = ids.first().copied().flatten().expect("the cluster is taken on");
        let open = workers.iter().map(|_| Vec::new()).collect();
        let rng = Rng::with_seed(1);
        let mut rig = Self { proxy, config, settings, workers, id, now_ms: 0, rng, open };
        let answer = admin_answer(endpoints, 0);
        // Whoever coordinates asks; some ticks pass until the workers have agreed on one.
        let asked = (0..100).any(|_| {
            let asked = rig.ask();
            asked.inspect(|worker| rig.answer(*worker, &answer)).is_some()
        });
        assert!(asked, "nobody asked the admin interface");
        rig.follow();
        let call = rig.start(0);
        assert_eq!(call.verdict(), Verdict::Steer, "the membership is known");
        rig.end(0, call);
        rig
    }

    /// Lets time pass until a worker wants to know the membership; which one.
    pub fn ask(&mut self) -> Option<usize> {
        self.now_ms += LONG_MS;
        let mut asks = None;
        for (index, worker) in self.workers.iter_mut().enumerate() {
            asks = asks.or(worker.tick(&self.proxy, &self.config, self.now_ms).map(|_| index));
        }
        asks
    }

    /// The admin interface's answer arrives at the worker that asked: parsed and published.
    ///
    /// # Panics
    /// When the answer is not understood.
    pub fn answer(&mut self, worker: usize, body: &str) {
        let (worker, length) = (&mut self.workers[worker], body.len() as u64);
        let answered = worker.admin_answered(&self.proxy, &self.config, body.as_bytes(), length);
        answered.expect("the answer is understood");
    }

    /// A tick of all workers shortly after: they take over what was published.
    pub fn follow(&mut self) {
        self.now_ms += 1;
        for worker in 0..self.workers.len() {
            self.follow_one(worker);
        }
    }

    /// The same of one worker, at the time that it is.
    pub fn follow_one(&mut self, worker: usize) {
        let _ = self.workers[worker].tick(&self.proxy, &self.config, self.now_ms);
    }

    /// A request arrives at a worker: the pick.
    #[inline]
    pub fn start(&mut self, worker: usize) -> Call {
        let ask = Ask { config: &self.config, settings: &self.settings, cost: Work::ONE };
        self.workers[worker].start(&self.proxy, self.id, ask)
    }

    /// These endpoints report to a worker, each another load.
    pub fn hear(&mut self, worker: usize, slots: Range<usize>) {
        for slot in slots {
            let load = Load {
                in_flight: self.rng.u32(2..12) as f32,
                service_us: Some(self.rng.u32(20_000..40_000) as f32),
                slots: Some(8.0),
                draining: false,
                asks: 1.0,
                all: false,
            };
            self.workers[worker].heard(&self.proxy, self.id, slot as u32, &load, Work::ZERO);
        }
    }

    /// The pick answers, as the module has it: core is told by whom where it wants to know.
    #[inline]
    pub fn end(&mut self, worker: usize, mut call: Call) {
        let balancer = &mut self.workers[worker];
        if call.wants_address() {
            // The module has it from Envoy, in memory of its own.
            let mut host = [0; 32];
            let length = balancer.override_hosts(&call).next().map_or(0, |name| {
                host[..name.len()].copy_from_slice(name.as_bytes());
                name.len()
            });
            let host = str::from_utf8(&host[..length]).unwrap_or_default();
            balancer.served(&self.proxy, &mut call, host, || 1);
        }
        balancer.end(&self.proxy, call, Ending::Answered, None);
    }

    /// Starts requests round the workers until `count` are under way.
    pub fn fill(&mut self, count: usize) {
        let workers = self.workers.len();
        while self.open.iter().map(Vec::len).sum::<usize>() < count {
            for worker in 0..workers {
                let call = self.start(worker);
                self.open[worker].push(call);
            }
        }
    }

    /// Keeps a request that was started.
    #[inline]
    pub fn keep(&mut self, worker: usize, call: Call) {
        self.open[worker].push(call);
    }

    /// Ends a random request of a worker: servers answer in no order.
    #[inline]
    pub fn end_any(&mut self, worker: usize) {
        let open = &mut self.open[worker];
        if !open.is_empty() {
            let call = open.swap_remove(self.rng.usize(..open.len()));
            self.end(worker, call);
        }
    }

    /// One whole request at a worker, while as many others stay under way.
    #[inline]
    pub fn request(&mut self, worker: usize) {
        let call = self.start(worker);
        self.keep(worker, call);
        self.end_any(worker);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        for worker in 0..self.workers.len() {
            while !self.open[worker].is_empty() {
                self.end_any(worker);
            }
        }
    }
}

/// What Envoy's admin interface says of a cluster of `endpoints`: 0.8 kB each, as recorded from a
/// real one. In another `edition` the last endpoint is at another address.
///
/// # Panics
/// When the recorded answer is not what it was.
pub fn admin_answer(endpoints: usize, edition: usize) -> String {
    let recorded: Value = serde_json::from_str(ADMIN).expect("the recorded answer is JSON");
    let statuses = recorded["cluster_statuses"].as_array().expect("it lists clusters");
    let mut hosts = statuses.iter().filter_map(|status| status["host_statuses"].get(0));
    let model = hosts.next().expect("it has a host");
    let host = |index: usize| {
        let mut host = model.clone();
        let [.., a, b, c] = (index as u64).to_be_bytes();
        host["address"] = json!({"socket_address":
            {"address": format!("10.{a}.{b}.{c}"), "port_value": 50051}});
        host["health_status"] = json!({"eds_health_status": "HEALTHY"});
        host
    };
    let last = endpoints - 1;
    let hosts: Vec<_> = (0..last).chain([last + edition]).map(host).collect();
    json!({"cluster_statuses": [{"name": CLUSTER, "host_statuses": hosts}]}).to_string()
}
