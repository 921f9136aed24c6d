//! Several VMs of one proxy, and the calls under way in them.

use std::collections::BTreeSet;

use leastload_core::balancer::{Ask, Balancer, Call, Departure, Ending, Verdict, Visit};
use leastload_core::config::{Config, is_endpoint};
use leastload_core::memory::Memory;
use leastload_core::records::{self, Roster, Standing};
use leastload_core::work::Work;

/// Time between two ticks of a VM, in ms.
const TICK_MS: u64 = 250;

/// What the admin interface does when it is asked.
pub(crate) enum Admin {
    /// Nothing: the question is lost.
    Silent,
    /// It cannot be reached.
    Refuses,
    /// It answers this.
    Answers(String),
}

/// One VM.
struct Vm {
    balancer: Balancer,
    /// What an override may name: by cluster, whoever was eligible at the VM's last tick or since.
    may_name: BTreeSet<(&'static str, String)>,
}

/// A call under way.
pub(crate) struct Open {
    pub(crate) vm: usize,
    pub(crate) cluster: &'static str,
    pub(crate) cost: Work,
    pub(crate) pick: Option<String>,
    pub(crate) served: Option<String>,
    pub(crate) call: Call,
}

impl Open {
    pub(crate) fn verdict(&self) -> Verdict {
        self.call.verdict()
    }
}

pub(crate) struct Rig {
    pub(crate) proxy: Memory,
    pub(crate) admin: Admin,
    pub(crate) open: Vec<Open>,
    /// Requests at a server beside the proxy, by VM and server.
    pub(crate) visits: Vec<(usize, &'static str, Visit)>,
    pub(crate) config: Config,
    clusters: &'static [&'static str],
    vms: Vec<Vm>,
    born: u64,
    now_ms: u64,
}

impl Rig {
    pub(crate) fn new(vms: usize, config: &str, clusters: &'static [&'static str]) -> Self {
        let mut rig = Self {
            proxy: Memory::default(),
            admin: Admin::Refuses,
            open: Vec::new(),
            visits: Vec::new(),
            config: Config::parse(config.as_bytes()).expect("the rig's own"),
            clusters,
            vms: Vec::new(),
            born: 0,
            now_ms: 0,
        };
        rig.vms = (0..vms).map(|_| rig.vm()).collect();
        rig
    }

    pub(crate) fn vms(&self) -> usize {
        self.vms.len()
    }

    pub(crate) fn parts(&mut self, vm: usize) -> (&mut Balancer, &Memory) {
        (&mut self.vms[vm].balancer, &self.proxy)
    }

    /// Something is done with a call by its VM.
    pub(crate) fn with_call<T>(
        &mut self,
        open: usize,
        what: impl FnOnce(&mut Balancer, &Memory, &mut Call) -> T,
    ) -> T {
        let Open { vm, call, .. } = &mut self.open[open];
        what(&mut self.vms[*vm].balancer, &self.proxy, call)
    }

    /// The VM looks at the clock, which says so many microseconds more than whole milliseconds.
    pub(crate) fn tell_time(&mut self, vm: usize, us: u64) {
        self.vms[vm].balancer.set_time(self.now_ms * 1_000 + us);
    }

    fn vm(&mut self) -> Vm {
        self.born += 1;
        Vm { balancer: Balancer::new(self.born, self.now_ms), may_name: BTreeSet::new() }
    }

    pub(crate) fn roster(&self, cluster: &str) -> Roster {
        let key = records::roster_key(cluster);
        records::read(&self.proxy, &key).map(|(roster, _)| roster).unwrap_or_default()
    }

    /// Whoever is eligible now, the VM may name.
    fn look(&mut self, vm: usize) {
        for cluster in self.clusters {
            for entry in self.roster(cluster).entries {
                if entry.standing() == Standing::Eligible {
                    self.vms[vm].may_name.insert((*cluster, entry.endpoint));
                }
            }
        }
    }

    /// A call starts; what its override names is checked.
    pub(crate) fn start(&mut self, vm: usize, cluster: &'static str, cost: Work) -> &mut Open {
        let settings = self.config.cluster(cluster);
        let balancer = &mut self.vms[vm].balancer;
        let id = balancer.cluster(&self.proxy, cluster, &settings).expect("few clusters");
        let ask = Ask { config: &self.config, settings: &settings, cost };
        let call = balancer.start(&self.proxy, id, ask);
        let asked: Vec<String> =
            balancer.questions(&call).map(|(_, name)| name.to_owned()).collect();
        self.look(vm);
        assert_eq!(asked.is_empty(), call.verdict() != Verdict::Asking, "{asked:?}");
        assert!(asked.len() <= self.config.probe.fanout);
        self.may_name(vm, cluster, &asked);
        let pick = self.pick(vm, cluster, &call);
        self.open.push(Open { vm, cluster, cost, pick, served: None, call });
        self.open.last_mut().expect("just pushed")
    }

    /// The pick, after a look at all that the override names.
    fn pick(&mut self, vm: usize, cluster: &'static str, call: &Call) -> Option<String> {
        let balancer = &self.vms[vm].balancer;
        let hosts: Vec<String> = balancer.override_hosts(call).map(str::to_owned).collect();
        let verdict = call.verdict();
        assert_eq!(hosts.is_empty(), verdict != Verdict::Steer, "{verdict:?} {hosts:?}");
        assert!(hosts.len() <= 1 + self.config.steering.spares);
        self.may_name(vm, cluster, &hosts);
        hosts.into_iter().next()
    }

    fn may_name(&self, vm: usize, cluster: &'static str, hosts: &[String]) {
        for (index, host) in hosts.iter().enumerate() {
            assert!(is_endpoint(host), "{host:?} cannot stand in a header");
            assert!(!hosts[..index].contains(host), "{host} twice");
            let may = self.vms[vm].may_name.contains(&(cluster, host.clone()));
            assert!(may, "{host} is not eligible in {cluster}");
        }
    }

    /// A question of a call is over. Whether no other is awaited.
    pub(crate) fn answered(&mut self, open: usize, slot: u32, reported: bool) -> bool {
        let Open { vm, cluster, cost, call, .. } = &mut self.open[open];
        let settings = self.config.cluster(cluster);
        let ask = Ask { config: &self.config, settings: &settings, cost: *cost };
        self.vms[*vm].balancer.answered(&self.proxy, call, ask, slot, reported)
    }

    /// A call that asks goes on its way.
    pub(crate) fn settle(&mut self, open: usize) {
        let Open { vm, cluster, cost, call, .. } = &mut self.open[open];
        let (vm, cluster) = (*vm, *cluster);
        let settings = self.config.cluster(cluster);
        let ask = Ask { config: &self.config, settings: &settings, cost: *cost };
        let asked = call.verdict() == Verdict::Asking;
        self.vms[vm].balancer.settle(&self.proxy, call, ask);
        self.look(vm);
        if asked {
            let open_call = self.open.swap_remove(open);
            assert_ne!(open_call.verdict(), Verdict::Asking);
            let pick = self.pick(vm, cluster, &open_call.call);
            self.open.push(Open { pick, ..open_call });
        }
    }

    /// The response of a call arrives from `endpoint`. `says_so`: where another than the pick was
    /// asked for, its headers tell.
    pub(crate) fn served(&mut self, open: usize, endpoint: &str, attempts: u64, says_so: bool) {
        let Open { vm, call, served, pick, .. } = &mut self.open[open];
        if call.verdict() == Verdict::Asking {
            // It has not left.
            return;
        }
        if says_so && pick.as_ref().is_some_and(|pick| pick != endpoint) {
            call.contradict();
        }
        if call.wants_address() {
            self.vms[*vm].balancer.served(&self.proxy, call, endpoint, || attempts);
            served.get_or_insert_with(|| endpoint.to_owned());
        }
        let vm = *vm;
        self.look(vm);
    }

    pub(crate) fn end(&mut self, open: usize, ending: Ending, at: Option<&str>) {
        let Open { vm, call, .. } = self.open.swap_remove(open);
        self.vms[vm].balancer.end(&self.proxy, call, ending, at);
    }

    pub(crate) fn end_all(&mut self) {
        while let Some(last) = self.open.len().checked_sub(1) {
            self.end(last, Ending::Answered, None);
        }
        for (vm, _, visit) in self.visits.drain(..) {
            self.vms[vm].balancer.leave(&self.proxy, visit, Departure::Served);
        }
    }

    /// One tick of one VM.
    pub(crate) fn tick(&mut self, vm: usize) {
        let Vm { balancer, may_name } = &mut self.vms[vm];
        if balancer.tick(&self.proxy, &self.config, self.now_ms).is_some() {
            match &self.admin {
                Admin::Silent => {}
                Admin::Refuses => balancer.admin_failed(&self.proxy, &self.config),
                Admin::Answers(body) => {
                    let length = u64::try_from(body.len()).expect("short");
                    let body = body.as_bytes();
                    let read = balancer.admin_answered(&self.proxy, &self.config, body, length);
                    read.expect("a proper answer");
                }
            }
        }
        may_name.clear();
        self.look(vm);
    }

    /// A quarter of a second, in which every VM ticks.
    pub(crate) fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            self.pass(TICK_MS);
            for vm in 0..self.vms.len() {
                self.tick(vm);
            }
        }
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    /// The VM ends, by a crash or in order, and with it all its calls; another takes its place.
    pub(crate) fn replace(&mut self, vm: usize, crash: bool) {
        if !crash {
            self.vms[vm].balancer.release(&self.proxy);
        }
        self.open.retain(|open| open.vm != vm);
        self.visits.retain(|(at, _, _)| *at != vm);
        self.vms[vm] = self.vm();
    }

    /// Outstanding work as one VM sees it, in thousandths.
    pub(crate) fn outstanding(&mut self, vm: usize, cluster: &'static str, endpoint: &str) -> u64 {
        let settings = self.config.cluster(cluster);
        let balancer = &mut self.vms[vm].balancer;
        let id = balancer.cluster(&self.proxy, cluster, &settings).expect("few clusters");
        balancer.outstanding(&self.proxy, id, endpoint).milli()
    }
}
