use std::fmt::Write as _;

use super::*;
use crate::config::Config;
use crate::memory::Memory;
use crate::test;

mod asking;
#[expect(clippy::float_cmp, reason = "whole numbers")]
mod beside;
mod delays;
mod enough;
mod fates;
mod idle;
mod informed;
mod membership;
mod places;
mod proof;
mod seen;
mod silent;
#[expect(clippy::cast_possible_truncation, reason = "few")]
mod streams;
mod thought;
mod unsent;
mod upkeep;

const CLUSTER: &str = "c";

/// Several VMs of one proxy, ticked together.
struct Rig {
    proxy: Memory,
    config: Config,
    vms: Vec<Balancer>,
    now_ms: u64,
    /// What the admin interface answers; `None`: nothing.
    admin: Option<String>,
    asked: usize,
}

impl Rig {
    fn new(vms: u64, config: &str) -> Self {
        Self {
            proxy: Memory::default(),
            config: Config::parse(config.as_bytes()).unwrap(),
            vms: (1..=vms).map(|seed| Balancer::new(seed, 0)).collect(),
            now_ms: 0,
            admin: None,
            asked: 0,
        }
    }

    fn ticks(&mut self, count: usize) {
        for _ in 0..count {
            self.now_ms += 250;
            for vm in &mut self.vms {
                if vm.tick(&self.proxy, &self.config, self.now_ms).is_some() {
                    self.asked += 1;
                    match &self.admin {
                        Some(body) => {
                            let length = body.len() as u64;
                            let body = body.as_bytes();
                            vm.admin_answered(&self.proxy, &self.config, body, length).unwrap();
                        }
                        None => vm.admin_failed(&self.proxy, &self.config),
                    }
                }
            }
        }
    }

    fn start(&mut self, vm: usize) -> Call {
        self.start_at(vm, CLUSTER, Work::ONE)
    }

    fn start_at(&mut self, vm: usize, cluster: &str, cost: Work) -> Call {
        let settings = self.config.cluster(cluster);
        let id = self.vms[vm].cluster(&self.proxy, cluster, &settings).unwrap();
        let ask = Ask { config: &self.config, settings: &settings, cost };
        self.vms[vm].start(&self.proxy, id, ask)
    }

    /// The pick; panics where there is none.
    fn pick(&self, vm: usize, call: &Call) -> String {
        assert_eq!(call.verdict(), Verdict::Steer);
        self.vms[vm].override_hosts(call).next().unwrap().to_owned()
    }

    fn served(
        &mut self,
        vm: usize,
        call: &mut Call,
        endpoint: &str,
        attempts: u64,
    ) -> Option<Fate> {
        self.vms[vm].served(&self.proxy, call, endpoint, || attempts)
    }

    fn end(&mut self, vm: usize, call: Call, ending: Ending) {
        self.vms[vm].end(&self.proxy, call, ending, None);
    }

    /// A request that Envoy serves where it was told to, or at `otherwise`.
    fn call(&mut self, vm: usize, otherwise: &str) -> (Verdict, String) {
        let mut call = self.start(vm);
        let verdict = call.verdict();
        let host = self.vms[vm].override_hosts(&call).next().unwrap_or(otherwise).to_owned();
        self.served(vm, &mut call, &host, 1);
        self.end(vm, call, Ending::Answered);
        (verdict, host)
    }

    fn outstanding(&mut self, vm: usize, endpoint: &str) -> u64 {
        let settings = self.config.cluster(CLUSTER);
        let id = self.vms[vm].cluster(&self.proxy, CLUSTER, &settings).unwrap();
        self.vms[vm].outstanding(&self.proxy, id, endpoint).milli()
    }
}

/// An answer of the admin interface: endpoint, priority, EDS status.
fn admin(hosts: &[(&str, u32, &str)]) -> String {
    let mut list = String::new();
    for (endpoint, priority, status) in hosts {
        let (ip, port) = endpoint.rsplit_once(':').unwrap();
        let comma = if list.is_empty() { "" } else { "," };
        write!(
            list,
            r#"{comma}{{"address":{{"socket_address":{{"address":"{ip}","port_value":{port}}}}},
            "priority":{priority},"weight":1,"health_status":{{"eds_health_status":"{status}"}}}}"#
        )
        .unwrap();
    }
    format!(r#"{{"cluster_statuses":[{{"name":"{CLUSTER}","host_statuses":[{list}]}}]}}"#)
}

const THREE: &str = r#"{"discovery":{"static":{"c":["a:1","b:1","d:1"]}}}"#;

#[test]
fn picks_fill_up_evenly_and_count_over_all_vms() {
    let mut rig = Rig::new(3, THREE);
    let calls: Vec<_> = (0..12).map(|n| (n % 3, rig.start(n % 3))).collect();
    for endpoint in ["a:1", "b:1", "d:1"] {
        assert_eq!(rig.outstanding(0, endpoint), 4_000);
    }
    for (vm, call) in calls {
        rig.end(vm, call, Ending::Answered);
    }
    assert_eq!(rig.proxy.leftovers(), []);
}

#[test]
fn costs_weigh_and_no_cost_means_no_count() {
    let mut rig = Rig::new(1, r#"{"discovery":{"static":{"c":["a:1","b:1"]}}}"#);
    let heavy = rig.start_at(0, CLUSTER, Work::from_milli(3_000));
    let other = if rig.pick(0, &heavy) == "a:1" { "b:1" } else { "a:1" };
    let light: Vec<_> = (0..3).map(|_| rig.start(0)).collect();
    assert!(light.iter().all(|call| rig.pick(0, call) == other), "three light ones equal it");
    let excluded = rig.start_at(0, CLUSTER, Work::ZERO);
    assert_eq!(excluded.verdict(), Verdict::Excluded);
    rig.end(0, excluded, Ending::Answered);
    rig.end(0, heavy, Ending::Answered);
    for call in light {
        rig.end(0, call, Ending::Answered);
    }
    assert_eq!(rig.proxy.leftovers(), []);
}

#[test]
fn a_hundred_thousand_random_steps_leave_every_count_at_zero() {
    let hosts: Vec<String> = (0..7).map(|n| format!("\"10.0.0.{n}:80\"")).collect();
    let config = format!(r#"{{"discovery":{{"static":{{"c":[{}]}}}}}}"#, hosts.join(","));
    let mut rig = Rig::new(4, &config);
    let mut dice = fastrand::Rng::with_seed(20);
    let mut open: Vec<(usize, Call)> = Vec::new();
    for _ in 0..100_000 {
        let vm = dice.usize(..4);
        match dice.u32(..10) {
            0..5 if open.len() < 60 => {
                let cost = Work::from_milli(dice.u64(..4_000));
                open.push((vm, rig.start_at(vm, CLUSTER, cost)));
            }
            5 => {
                if let Some((vm, call)) = open.last_mut() {
                    let host = format!("10.0.0.{}:80", dice.u32(..9));
                    let attempts = dice.u64(1..3);
                    rig.vms[*vm].served(&rig.proxy, call, &host, || attempts);
                }
            }
            6 if dice.u32(..50) == 0 => rig.ticks(1),
            _ if !open.is_empty() => {
                let (vm, call) = open.swap_remove(dice.usize(..open.len()));
                let ending = [Ending::Answered, Ending::Failed, Ending::Undecided];
                rig.end(vm, call, ending[dice.usize(..3)]);
            }
            _ => {}
        }
    }
    for (vm, call) in open {
        rig.end(vm, call, Ending::Answered);
    }
    assert_eq!(rig.proxy.leftovers(), []);
}

#[test]
fn the_count_follows_the_endpoint_that_served() {
    let mut rig = Rig::new(1, THREE);
    for (attempts, fate) in [(1, Fate::Ignored), (2, Fate::Retry)] {
        let mut call = rig.start(0);
        let pick = rig.pick(0, &call);
        let other = if pick == "a:1" { "b:1" } else { "a:1" };
        assert_eq!(rig.outstanding(0, &pick), 1_000);
        assert_eq!(rig.served(0, &mut call, other, attempts), Some(fate));
        assert_eq!((rig.outstanding(0, &pick), rig.outstanding(0, other)), (0, 1_000));
        assert_eq!(rig.served(0, &mut call, "d:1", 1), None, "told once");
        let next = rig.start(0);
        assert_ne!(rig.pick(0, &next), pick, "set aside");
        rig.end(0, next, Ending::Answered);
        rig.end(0, call, Ending::Answered);
        rig.ticks(20);
    }
    assert_eq!(rig.proxy.leftovers(), []);
}

#[test]
fn an_endpoint_outside_the_membership_takes_the_count_off() {
    let mut rig = Rig::new(1, THREE);
    let mut call = rig.start(0);
    rig.served(0, &mut call, "elsewhere:1", 1);
    assert_eq!(rig.proxy.leftovers(), []);
    rig.end(0, call, Ending::Answered);
    assert_eq!(rig.proxy.leftovers(), []);
}

#[test]
fn a_failing_endpoint_is_set_aside_and_all_of_them_are_left_to_envoy() {
    let mut rig = Rig::new(1, THREE);
    for n in 0..3 {
        let call = rig.start(0);
        assert_eq!(call.verdict(), Verdict::Steer, "failure {n}");
        rig.end(0, call, Ending::Failed);
    }
    let call = rig.start(0);
    assert_eq!(call.verdict(), Verdict::Aside);
    rig.end(0, call, Ending::Answered);
    rig.ticks(8);
    let trials: Vec<_> = (0..4).map(|_| rig.start(0)).collect();
    let steered = trials.iter().filter(|call| call.verdict() == Verdict::Steer).count();
    assert_eq!(steered, 3, "one trial each");
    for call in trials {
        rig.end(0, call, Ending::Answered);
    }
    assert_eq!(rig.call(0, "x").0, Verdict::Steer, "forgiven");
}

#[test]
fn a_proxy_that_honours_nothing_is_noticed_once_and_left_alone() {
    let mut rig = Rig::new(1, r#"{"discovery":{"static":{"c":["a:1","b:1"]}}}"#);
    let mut dice = fastrand::Rng::with_seed(8);
    let mut deaf = 0;
    for _ in 0..400 {
        let mut call = rig.start(0);
        deaf += usize::from(call.verdict() == Verdict::Deaf);
        // Envoy's own choice, which is the pick half the time.
        let host = ["a:1", "b:1"][dice.usize(..2)];
        rig.served(0, &mut call, host, 1);
        rig.end(0, call, Ending::Answered);
        rig.ticks(4 * 33);
    }
    assert!(deaf > 250, "{deaf}");
    assert_eq!(rig.proxy.warnings.borrow().iter().filter(|w| w.contains("honours")).count(), 1);
    // The missing filter is there now.
    let steered = (0..400).filter(|_| rig.call(0, "x").0 == Verdict::Steer).count();
    assert!(steered > 200, "{steered}");
}

#[test]
fn shadow_picks_and_counts_but_names_nobody() {
    let mut rig =
        Rig::new(1, r#"{"rollout":{"mode":"shadow"},"discovery":{"static":{"c":["a:1"]}}}"#);
    let mut call = rig.start(0);
    assert_eq!(call.verdict(), Verdict::Shadow);
    assert_eq!(rig.vms[0].override_hosts(&call).count(), 0);
    assert_eq!(rig.vms[0].override_value(&call, Mechanism::StatefulSession), None);
    assert_eq!(rig.outstanding(0, "a:1"), 1_000);
    assert_eq!(rig.served(0, &mut call, "a:1", 1), Some(Fate::ShadowSame));
    rig.end(0, call, Ending::Answered);
    assert_eq!(rig.proxy.leftovers(), []);
}

#[test]
fn the_session_filter_reads_one_endpoint_in_base64() {
    let config = r#"{"discovery":{"static":{"c":["10.0.0.1:50051"]}}}"#;
    let mut rig = Rig::new(1, config);
    for _ in 0..2 {
        let call = rig.start(0);
        let value = rig.vms[0].override_value(&call, Mechanism::StatefulSession);
        assert_eq!(value, Some("MTAuMC4wLjE6NTAwNTE="));
        rig.end(0, call, Ending::Answered);
    }
}

#[test]
fn spares_follow_the_pick_in_order_of_load() {
    let mut rig = Rig::new(
        1,
        r#"{"override":{"mechanism":"override_host","spares":2},
            "discovery":{"static":{"c":["a:1","b:1","d:1"]}}}"#,
    );
    let first = rig.start(0);
    let second = rig.start(0);
    let hosts: Vec<_> = rig.vms[0].override_hosts(&second).map(str::to_owned).collect();
    assert_eq!(hosts.len(), 3);
    assert_eq!(hosts[2], rig.pick(0, &first), "the busy one comes last");
    let value = rig.vms[0].override_value(&second, Mechanism::OverrideHost);
    assert_eq!(value, Some(hosts.join(",").as_str()));
    rig.end(0, first, Ending::Answered);
    rig.end(0, second, Ending::Answered);
}

#[test]
fn percent_leaves_that_share_to_envoy() {
    let mut rig = Rig::new(1, r#"{"rollout":{"percent":30},"discovery":{"static":{"c":["a:1"]}}}"#);
    let steered = (0..10_000).filter(|_| rig.call(0, "a:1").0 == Verdict::Steer).count();
    assert!(steered.abs_diff(3_000) < 230, "{steered}: five standard deviations");
    assert_eq!(rig.proxy.leftovers(), []);
}

#[test]
fn where_gauges_are_dropped_each_vm_balances_on_its_own_counts() {
    let mut rig = Rig::new(2, THREE);
    rig.proxy.drops_gauges.set(true);
    let calls: Vec<_> = (0..6).map(|_| rig.start(0)).collect();
    for endpoint in ["a:1", "b:1", "d:1"] {
        assert_eq!((rig.outstanding(0, endpoint), rig.outstanding(1, endpoint)), (2_000, 0));
    }
    for call in calls {
        rig.end(0, call, Ending::Answered);
    }
    assert_eq!(rig.proxy.warnings.borrow().len(), 2, "each worker says so once");
}
