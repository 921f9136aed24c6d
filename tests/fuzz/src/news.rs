//! The steps of a sequence in which servers report: to whom they answer, and beside their proxy.

use leastload_core::balancer::{Departure, Ending, Verdict};
use leastload_core::load::{LONGEST_SERVICE_US, Load, MOST_IN_FLIGHT};
use leastload_core::work::Work;

use crate::rig::Rig;
use crate::sequence::{CLUSTERS, host};
use crate::take::Take;

/// Servers beside the proxy.
pub(crate) const SERVERS: &[&str] = &["inbound|80||", "c"];
/// Most requests at them.
const MOST_VISITS: usize = 32;

pub(crate) const CONFIGS: [&str; 4] = [
    r#"{"probe":{"budget":100000},"discovery":{"admin_cluster":"",
        "static":{"c":["10.0.0.0:80","10.0.0.1:80","10.0.0.2:80","10.0.0.4:80"]}}}"#,
    r#"{"probe":{"mode":"always","budget":100000,"fanout":8},
        "override":{"mechanism":"override_host","spares":3}}"#,
    r#"{"probe":{"mode":"off"},"picker":{"scan_limit":2,"samples":2,"idle":2},
        "clusters":{"c":{"estimate":{"speed":false}}}}"#,
    r#"{"probe":{"budget":50,"fanout":1},"estimate":{"failures":false},
        "clusters":{"c":{"estimate":{"reports":false}}}}"#,
];

/// One of the steps from 16 on.
pub(crate) fn step(rig: &mut Rig, take: &mut Take<'_>, what: usize) {
    match what {
        16..=18 if !rig.open.is_empty() => answer(rig, take),
        19 if !rig.open.is_empty() => {
            let open = take.below(rig.open.len());
            rig.settle(open);
        }
        20..=22 => report(rig, take),
        23 => {
            let vm = take.below(rig.vms());
            rig.tell_time(vm, [0, 1, 500, 999][take.below(4)]);
        }
        24 if !rig.open.is_empty() => {
            let open = take.below(rig.open.len());
            let at = take.byte();
            let at = (at >= 128).then(|| host(usize::from(at)));
            rig.end(open, Ending::Erred, at.as_deref());
        }
        25 | 26 if rig.visits.len() < MOST_VISITS => {
            let (vm, server) = (take.below(rig.vms()), SERVERS[take.below(SERVERS.len())]);
            let (balancer, proxy) = rig.parts(vm);
            let id = balancer.twin(proxy, server).expect("few clusters");
            let visit = balancer.arrive(proxy, id);
            rig.visits.push((vm, server, visit));
        }
        27 | 28 if !rig.visits.is_empty() => {
            let at = take.below(rig.visits.len());
            let how = [Departure::Served, Departure::Failed, Departure::Unknown][take.below(3)];
            let (vm, _, visit) = rig.visits.swap_remove(at);
            let (balancer, proxy) = rig.parts(vm);
            balancer.leave(proxy, visit, how);
        }
        29 => {
            // Known, though no request came yet.
            let (vm, server) = (take.below(rig.vms()), SERVERS[take.below(SERVERS.len())]);
            let (balancer, proxy) = rig.parts(vm);
            balancer.twin(proxy, server).expect("few clusters");
        }
        30 => {
            let (vm, server) = (take.below(rig.vms()), SERVERS[take.below(SERVERS.len())]);
            let told = in_flight(rig, vm, server);
            assert!((0.0..=1e6).contains(&told), "{told}");
        }
        _ => {}
    }
}

/// Whom a call asks answers, in time or late; the last one, or a good one, sets it going, mostly.
fn answer(rig: &mut Rig, take: &mut Take<'_>) {
    let open = take.below(rig.open.len());
    let id = rig.open[open].call.cluster();
    let slots: Vec<u32> = rig.with_call(open, |balancer, _, call| {
        balancer.questions(call).map(|(slot, _)| slot).collect()
    });
    if slots.is_empty() {
        return;
    }
    let slot = slots[take.below(slots.len())];
    let how = take.byte();
    let load = (!how.is_multiple_of(4)).then(|| load(take));
    let asking = rig.open[open].verdict() == Verdict::Asking;
    rig.with_call(open, |balancer, proxy, _| match &load {
        Some(load) => balancer.heard(proxy, id, slot, load, Work::ZERO),
        None if how < 128 => balancer.unheard(id, slot),
        None => {}
    });
    let enough = rig.answered(open, slot, load.is_some());
    assert!(asking || !enough, "late, and all it needs");
    if enough && how != 255 {
        rig.settle(open);
    }
}

/// A server says something, in a response of a call or not.
fn report(rig: &mut Rig, take: &mut Take<'_>) {
    let (choice, host) = (take.byte(), host(take.below(6)));
    let load = load(take);
    if choice >= 128 && !rig.open.is_empty() {
        let open = usize::from(choice) % rig.open.len();
        let id = rig.open[open].call.cluster();
        rig.with_call(open, |balancer, proxy, call| {
            if let Some(slot) = balancer.slot_of(id, &host) {
                balancer.heard(proxy, id, slot, &load, balancer.counts_on(call, slot));
            }
        });
        return;
    }
    let (vm, cluster) = (usize::from(choice) % rig.vms(), CLUSTERS[usize::from(choice / 8) % 2]);
    let settings = rig.config.cluster(cluster);
    let (balancer, proxy) = rig.parts(vm);
    let id = balancer.cluster(proxy, cluster, &settings).expect("few clusters");
    // Also slots that nobody has.
    let slot = balancer.slot_of(id, &host).unwrap_or(u32::from(choice));
    if choice % 8 == 7 {
        balancer.unheard(id, slot);
    } else {
        balancer.heard(proxy, id, slot, &load, Work::ZERO);
    }
}

/// Requests in flight at a server, as one VM tells.
fn in_flight(rig: &mut Rig, vm: usize, server: &str) -> f32 {
    let (balancer, proxy) = rig.parts(vm);
    let id = balancer.twin(proxy, server).expect("few clusters");
    balancer.stamp(proxy, id, None).load.in_flight
}

/// What a VM says of a server of which nobody has a request, or a wrong number.
pub(crate) fn disagreement(rig: &mut Rig) -> Option<String> {
    // Who never had a server beside it is not asked: that would begin one.
    if rig.visits.is_empty() {
        return None;
    }
    for server in SERVERS {
        let here = rig.visits.iter().filter(|(_, at, _)| at == server).count();
        let here = f32::from(u8::try_from(here).expect("few"));
        for vm in 0..rig.vms() {
            let told = in_flight(rig, vm, server);
            if (told - here).abs() > 0.0 {
                return Some(format!("VM {vm}: {server} has {told} in flight, expected {here}"));
            }
        }
    }
    None
}

fn load(take: &mut Take<'_>) -> Load {
    let (numbers, flags) = (usize::from(take.byte()), usize::from(take.byte()));
    let service = [None, Some(1.0), Some(5_000.0), Some(LONGEST_SERVICE_US)];
    let slots = [None, Some(1.0), Some(8.0), Some(MOST_IN_FLIGHT)];
    Load {
        in_flight: [0.0, 1.0, 3.5, MOST_IN_FLIGHT][numbers % 4],
        service_us: service[numbers / 4 % 4],
        slots: slots[numbers / 16 % 4],
        draining: flags % 8 == 7,
        all: false,
        asks: [1.0, 1.0, 0.001, 0.0][flags / 8 % 4],
    }
}
