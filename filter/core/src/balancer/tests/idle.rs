//! Proxies without requests: they read and tick less often, by timers that are not exact, and
//! nobody is worse off for it.

use super::*;
use crate::records::{self, EPOCH, Epoch, STATE, State};
use crate::test;

const HOSTS: [(&str, u32, &str); 2] =
    [("10.0.0.1:80", 0, "HEALTHY"), ("10.0.0.2:80", 0, "HEALTHY")];
const SERVER: &str = "inbound|80||";

/// A proxy whose VMs tick when they say they do, late by a few milliseconds.
struct Clockwork {
    rig: Rig,
    due_ms: Vec<u64>,
    ticks: usize,
    dice: fastrand::Rng,
}

impl Clockwork {
    /// The first VM sees no request and coordinates.
    fn new(vms: u64, config: &str) -> Self {
        let mut rig = Rig::new(vms, config);
        rig.admin = Some(admin(&HOSTS));
        let due_ms = (0..vms).map(|vm| 1 + 60 * vm).collect();
        Self { rig, due_ms, ticks: 0, dice: fastrand::Rng::with_seed(vms) }
    }

    /// One of them ticks.
    fn tick(&mut self, vm: usize) {
        let Self { rig, due_ms, .. } = self;
        let balancer = &mut rig.vms[vm];
        if balancer.tick(&rig.proxy, &rig.config, rig.now_ms).is_some() {
            rig.asked += 1;
            let body = rig.admin.as_deref().unwrap_or_default();
            if balancer.serving.is_asked(rig.now_ms) {
                balancer.ready_answered(&rig.proxy, &rig.config, &b"LIVE"[..]);
            } else {
                let answer = body.as_bytes();
                balancer.admin_answered(&rig.proxy, &rig.config, answer, 1_000).unwrap();
            }
        }
        self.ticks += 1;
        due_ms[vm] = rig.now_ms + balancer.period_ms() + self.dice.u64(..5);
    }

    fn pass(&mut self, ms: u64) {
        let until_ms = self.rig.now_ms + ms;
        while let Some(next_ms) = self.due_ms.iter().copied().min().filter(|due| *due <= until_ms) {
            self.rig.now_ms = next_ms;
            for vm in 0..self.due_ms.len() {
                if self.due_ms[vm] == next_ms {
                    self.tick(vm);
                }
            }
        }
        self.rig.now_ms = until_ms;
    }

    /// What a VM that was woken does with its timer.
    fn quicken(&mut self, vm: usize) {
        let balancer = &mut self.rig.vms[vm];
        if balancer.take_woken() {
            self.due_ms[vm] = self.due_ms[vm].min(self.rig.now_ms + balancer.period_ms());
        }
    }

    /// A request begins.
    fn start(&mut self, vm: usize) -> Call {
        self.rig.vms[vm].set_time(self.rig.now_ms * 1_000);
        let call = self.rig.start(vm);
        self.quicken(vm);
        call
    }

    /// A request, whole: how it was decided.
    fn call(&mut self, vm: usize) -> Verdict {
        let call = self.start(vm);
        let verdict = call.verdict();
        self.rig.end(vm, call, Ending::Answered);
        verdict
    }

    /// How often the VMs ticked, and the admin interface was asked, meanwhile.
    fn meanwhile(&mut self, ms: u64) -> (usize, usize) {
        let (ticks, asked) = (self.ticks, self.rig.asked);
        self.pass(ms);
        (self.ticks - ticks, self.rig.asked - asked)
    }

    fn epoch(&self) -> u32 {
        records::read::<Epoch>(&self.rig.proxy, EPOCH).unwrap().0.epoch
    }

    fn age_ms(&self, vm: usize) -> u64 {
        self.rig.now_ms - self.rig.vms[vm].upkeep.read_ms
    }
}

#[test]
fn it_ticks_and_reads_less_often_until_the_first_request() {
    let mut proxy = Clockwork::new(3, "{}");
    proxy.pass(1_000);
    proxy.call(1);
    proxy.pass(2_000);
    let (ticks, asked) = proxy.meanwhile(7_000);
    assert!((81..=84).contains(&ticks) && (6..=7).contains(&asked), "{ticks} {asked}");
    proxy.pass(5_000);
    let (ticks, asked) = proxy.meanwhile(100_000);
    assert!((290..=303).contains(&ticks) && (20..=25).contains(&asked), "{ticks} {asked}");
    // The first finds a list that holds, and the coordinator is quick again within a second.
    assert_eq!(proxy.call(2), Verdict::Steer);
    proxy.pass(1_250);
    let (ticks, asked) = proxy.meanwhile(8_000);
    assert!((90..=97).contains(&ticks) && (6..=9).contains(&asked), "{ticks} {asked}");
}

#[test]
fn one_that_was_never_used_ticks_less_often_too() {
    let mut proxy = Clockwork::new(2, "{}");
    proxy.pass(11_000);
    let (ticks, asked) = proxy.meanwhile(50_000);
    assert!((95..=101).contains(&ticks) && asked == 0, "{ticks} {asked}");
    assert_eq!(proxy.call(1), Verdict::Unknown);
    proxy.pass(1_600);
    assert_eq!(proxy.call(1), Verdict::Steer, "told within the coordinator's long tick");
}

/// Whenever the first request comes, its list is not older than two fifths of `max_age` and a long tick.
#[test]
fn no_request_finds_a_list_that_went_stale_meanwhile() {
    for (config, oldest_ms) in [
        ("{}", 5_100),
        (r#"{"discovery":{"max_age":"4s"}}"#, 2_100),
        (r#"{"discovery":{"max_age":"2s"}}"#, 1_600),
        (r#"{"discovery":{"interval":"100ms","max_age":"300ms"}}"#, 160),
        (r#"{"discovery":{"interval":"4s"}}"#, 5_900),
    ] {
        let mut proxy = Clockwork::new(3, config);
        proxy.call(1);
        proxy.pass(5_000);
        for n in 0..60 {
            let wait_ms = 10_000 + proxy.dice.u64(..20_000);
            proxy.pass(wait_ms);
            let vm = 1 + n % 2;
            let age_ms = proxy.age_ms(0);
            assert!(age_ms <= oldest_ms, "{config}: {age_ms}");
            assert_eq!(proxy.call(vm), Verdict::Steer, "{config} after {wait_ms} ms");
            // And from then on as ever.
            proxy.pass(1_300);
            let interval_ms = proxy.rig.config.discovery.interval_ms;
            assert!(proxy.age_ms(vm) <= interval_ms.max(1_000) + 600, "{config}");
        }
    }
}

#[test]
fn what_is_published_while_it_is_idle_the_first_request_knows() {
    let mut proxy = Clockwork::new(3, "{}");
    proxy.call(2);
    proxy.pass(30_000);
    proxy.rig.admin = Some(admin(&HOSTS[..1]));
    let asked = proxy.rig.asked;
    while proxy.rig.asked == asked {
        proxy.pass(10);
    }
    // The worker itself has not ticked since.
    let call = proxy.start(2);
    assert_eq!(proxy.rig.pick(2, &call), HOSTS[0].0);
    proxy.rig.end(2, call, Ending::Answered);
}

/// Timers of any pace beside each other, and requests that come and go at any time.
#[test]
fn nobody_who_ticks_is_taken_for_dead() {
    let mut proxy = Clockwork::new(4, "{}");
    let mut open: Vec<(usize, Call)> = Vec::new();
    for _ in 0..1_500 {
        let wait_ms = match proxy.dice.u32(..4) {
            0 => 9_000 + proxy.dice.u64(..5_000),
            1 => proxy.dice.u64(..2_500),
            _ => proxy.dice.u64(..400),
        };
        proxy.pass(wait_ms);
        let vm = proxy.dice.usize(1..4);
        if proxy.dice.bool() {
            open.push((vm, proxy.start(vm)));
        } else if !open.is_empty() {
            let (vm, call) = open.swap_remove(proxy.dice.usize(..open.len()));
            proxy.rig.end(vm, call, Ending::Answered);
        }
        let counted: i64 = proxy.rig.proxy.leftovers().iter().map(|(_, milli)| milli).sum();
        let steered = open.iter().filter(|(_, call)| call.counted.is_some()).count();
        assert_eq!(counted, 1_000 * i64::try_from(steered).unwrap());
        // Ten minutes of ticks have not passed between two of these.
        assert!(proxy.rig.vms[0].coordinates());
        let heal = records::read::<Epoch>(&proxy.rig.proxy, EPOCH).is_some_and(|(e, _)| e.heal);
        assert!(!heal, "somebody was taken for dead");
    }
    for (vm, call) in open {
        proxy.rig.end(vm, call, Ending::Answered);
    }
    assert_eq!(proxy.rig.proxy.leftovers(), []);
}

#[test]
fn who_dies_while_it_is_idle_is_buried_too() {
    for (coordinator_too, bound_ms) in [(false, 7_100), (true, 13_100)] {
        let mut proxy = Clockwork::new(4, "{}");
        let stays = proxy.start(1);
        proxy.pass(3_000);
        let stays = (stays, proxy.start(1));
        let _lost = [proxy.start(3), proxy.start(3)];
        proxy.pass(30_000);
        let epoch = proxy.epoch();
        for dead in if coordinator_too { &[3, 0][..] } else { &[3] } {
            proxy.due_ms[*dead] = u64::MAX;
        }
        proxy.pass(bound_ms);
        assert_eq!(proxy.epoch(), epoch + 1);
        let counted: i64 = proxy.rig.proxy.leftovers().iter().map(|(_, milli)| milli).sum();
        assert_eq!(counted, 1_000, "the first call found no membership");
        proxy.rig.end(1, stays.0, Ending::Answered);
        proxy.rig.end(1, stays.1, Ending::Answered);
        assert_eq!(proxy.rig.proxy.leftovers(), []);
    }
}

#[test]
fn a_list_stays_fresh_although_the_coordinator_dies() {
    let mut proxy = Clockwork::new(3, "{}");
    proxy.call(1);
    proxy.call(2);
    for wait_ms in (0..12_000).step_by(250) {
        proxy.pass(30_000);
        proxy.rig.vms[0] = Balancer::new(proxy.rig.now_ms, proxy.rig.now_ms);
        proxy.due_ms[0] = u64::MAX;
        // Requests from some moment on.
        proxy.pass(wait_ms);
        for _ in 0..60 {
            let vm = 1 + proxy.dice.usize(..2);
            assert_eq!(proxy.call(vm), Verdict::Steer, "{wait_ms}");
            proxy.pass(200);
        }
        // The main thread's, anew.
        proxy.due_ms[0] = proxy.rig.now_ms + 1;
        proxy.call(1);
        for vm in 1..3 {
            proxy.rig.vms[vm].lease.release(&proxy.rig.proxy);
        }
        proxy.due_ms[1] = proxy.rig.now_ms + 700;
        proxy.due_ms[2] = proxy.rig.now_ms + 700;
        proxy.pass(3_000);
    }
}

impl Clockwork {
    fn probe(&mut self, vm: usize) -> bool {
        let balancer = &mut self.rig.vms[vm];
        balancer.set_time(self.rig.now_ms * 1_000);
        let id = balancer.twin(&self.rig.proxy, SERVER).unwrap();
        let draining = balancer.stamp(&self.rig.proxy, id, None).load.draining;
        self.quicken(vm);
        draining
    }

    fn server_is(&mut self, health: &str) {
        self.rig.admin = Some(format!(
            r#"{{"cluster_statuses":[{{"name":"{SERVER}","host_statuses":[{{"address":
            {{"socket_address":{{"address":"127.0.0.1","port_value":80}}}},"health_status":{health}}}]}},
            {{"name":"prometheus_stats","host_statuses":[]}}]}}"#
        ));
    }
}

#[test]
fn a_server_that_does_not_serve_is_known_within_five_seconds_and_as_soon_as_ever_once_asked() {
    for wait_ms in (0..5_000).step_by(290) {
        let mut proxy = Clockwork::new(3, "{}");
        proxy.server_is("{}");
        assert!(!proxy.probe(1));
        proxy.pass(40_000 + wait_ms);
        proxy.server_is(r#"{"failed_active_health_check":true}"#);
        if wait_ms % 580 == 0 {
            proxy.pass(5_100);
            assert!(proxy.probe(1), "{wait_ms}");
        } else {
            // An old word for the one that comes first, perhaps, and none two seconds later.
            proxy.probe(1);
            proxy.pass(2_100);
            assert!(proxy.probe(1) && proxy.probe(2), "{wait_ms}");
        }
        // It holds for as long as it is idle.
        for _ in 0..3 {
            proxy.pass(100_000);
            assert!(proxy.probe(2));
        }
        assert!(!records::read::<State>(&proxy.rig.proxy, STATE).unwrap().0.draining);
    }
}
