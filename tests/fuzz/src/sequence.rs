//! Any sequence of calls, ticks, answers, crashes and replacements over VMs that share one store.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use leastload_core::balancer::{Ending, Verdict};
use leastload_core::work::Work;

use crate::news;
use crate::rig::{Admin, Rig};
use crate::take::Take;

pub(crate) const CLUSTERS: &[&str] = &["c", "outbound|80||d"];
/// Endpoints of the proxy's world.
const HOSTS: usize = 6;
/// Most calls under way.
const MOST_OPEN: usize = 48;
/// Most steps taken from one input, and most of them that let it all settle.
const MOST_STEPS: usize = 300;
const MOST_SETTLINGS: usize = 4;
/// A little less than the ticks after which an epoch ends without a reason.
const NEARLY_AN_EPOCH: usize = 2_360;
/// Ticks of all VMs after which everything is in order, whoever crashed where: the lease passes on,
/// the dead are found, the epoch moves, and moves once more where somebody asks to heal.
const SETTLED: usize = 60;

const CONFIGS: [&str; 4] = [
    r#"{"discovery":{"admin_cluster":"","static":{"c":["10.0.0.0:80","10.0.0.1:80","10.0.0.2:80"]}}}"#,
    r#"{"override":{"mechanism":"override_host","spares":3}}"#,
    r#"{"discovery":{"admin_cluster":""},"override":{"mechanism":"override_host"}}"#,
    r#"{"panic_threshold":50,"picker":{"scan_limit":2,"samples":2,"idle":2},
        "discovery":{"static":{"c":["10.0.0.0:80","10.0.0.3:80","10.0.0.5:80"]},"max_age":"2s"}}"#,
];

/// Input: a byte for the VMs and one for the configuration, then steps of one to six bytes. From 128
/// on it is a configuration with which servers are asked and report.
pub fn sequence(data: &[u8]) {
    let mut take = Take(data);
    let vms = 1 + take.below(4);
    let config = take.byte();
    let reports = config >= 128;
    let configs = if reports { &news::CONFIGS } else { &CONFIGS };
    let mut rig = Rig::new(vms, configs[usize::from(config) % configs.len()], CLUSTERS);
    let (mut steps, mut settlings) = (0, 0);
    while !take.is_empty() && steps < MOST_STEPS && settlings < MOST_SETTLINGS {
        steps += 1;
        match take.below(if reports { 32 } else { 16 }) {
            what @ 16.. => news::step(&mut rig, &mut take, what),
            what => settlings += step(&mut rig, &mut take, what),
        }
    }
    rig.ticks(SETTLED);
    everybody_agrees(&mut rig);
    rig.end_all();
    rig.ticks(SETTLED);
    assert_eq!(rig.proxy.leftovers(), [], "idle");
    bounded(&rig);
}

/// For how many settlings it counts.
fn step(rig: &mut Rig, take: &mut Take<'_>, what: usize) -> usize {
    match what {
        0..=4 if rig.open.len() < MOST_OPEN => {
            let (vm, cluster) = (take.below(rig.vms()), CLUSTERS[take.below(CLUSTERS.len())]);
            let cost = [Work::ONE, Work::from_milli(250), Work::from_milli(7_003), Work::ZERO];
            rig.start(vm, cluster, cost[take.below(4)]);
        }
        5 | 6 if !rig.open.is_empty() => {
            let open = take.below(rig.open.len());
            let choice = take.byte();
            let host = match &rig.open[open].pick {
                Some(pick) if choice < 128 => pick.clone(),
                _ => host(usize::from(choice)),
            };
            rig.served(open, &host, u64::from(choice % 3), !choice.is_multiple_of(4));
        }
        7..=9 if !rig.open.is_empty() => {
            let open = take.below(rig.open.len());
            let how = take.byte();
            let endings = [Ending::Answered, Ending::Failed, Ending::Undecided];
            let at = (how >= 128).then(|| host(usize::from(how)));
            rig.end(open, endings[usize::from(how) % 3], at.as_deref());
        }
        10 => {
            rig.pass([1, 100, 250, 900][take.below(4)]);
            let vm = take.below(rig.vms());
            rig.tick(vm);
        }
        11 => rig.ticks(1 + take.below(4)),
        12 => rig.admin = admin(take),
        13 => {
            let vm = take.below(rig.vms());
            rig.replace(vm, take.below(2) == 0);
        }
        14 => {
            // Long enough for slots to be given back.
            let how = take.byte();
            rig.pass([1_000, 5_000, 16_000, 31_000][usize::from(how) % 4]);
            rig.ticks(1);
            if how >= 240 {
                rig.ticks(NEARLY_AN_EPOCH);
                // As slow as this is, once is enough.
                return MOST_SETTLINGS / 2 + 1;
            }
        }
        15 => {
            rig.ticks(SETTLED);
            everybody_agrees(rig);
            return 1;
        }
        _ => {}
    }
    0
}

pub(crate) fn host(number: usize) -> String {
    format!("10.0.0.{}:80", number % HOSTS)
}

fn admin(take: &mut Take<'_>) -> Admin {
    match take.below(8) {
        0 => Admin::Silent,
        1 => Admin::Refuses,
        _ => {
            let mut clusters = String::from(r#"{"name":"prometheus_stats"}"#);
            for cluster in CLUSTERS {
                let present = take.byte();
                let health = take.byte();
                let mut hosts = Vec::new();
                for host in (0..HOSTS).filter(|host| present & 1 << host != 0) {
                    let status = ["HEALTHY", "UNHEALTHY"][usize::from(health >> host) % 2];
                    let priority = (usize::from(health / 64) + host) % 2;
                    hosts.push(format!(
                        r#"{{"address":{{"socket_address":{{"address":"10.0.0.{host}",
                        "port_value":80}}}},"priority":{priority},
                        "health_status":{{"eds_health_status":"{status}"}}}}"#
                    ));
                }
                let hosts = hosts.join(",");
                write!(clusters, r#",{{"name":"{cluster}","host_statuses":[{hosts}]}}"#)
                    .expect("a string");
            }
            Admin::Answers(format!(r#"{{"cluster_statuses":[{clusters}]}}"#))
        }
    }
}

/// After enough ticks every VM sees the same counts, and they are those of the calls under way.
fn everybody_agrees(rig: &mut Rig) {
    if disagreement(rig).is_some() {
        // For a tick after a new epoch begins, a worker may read too little of what others have; and
        // one begins every ten minutes without a reason.
        rig.ticks(2);
        assert_eq!(disagreement(rig), None);
    }
}

/// What a VM sees wrongly.
fn disagreement(rig: &mut Rig) -> Option<String> {
    let told = news::disagreement(rig);
    if told.is_some() {
        return told;
    }
    for cluster in CLUSTERS {
        let living: BTreeSet<String> = rig
            .roster(cluster)
            .entries
            .into_iter()
            .filter(|entry| entry.standing() != leastload_core::records::Standing::Gone)
            .map(|entry| entry.endpoint)
            .collect();
        for number in 0..HOSTS {
            let endpoint = host(number);
            // Who was not yet told who serves it counts on its pick; in the other cases it may.
            let (mut least, mut most) = (0, 0);
            for open in rig.open.iter().filter(|open| open.cluster == *cluster) {
                let picked = open.pick.as_ref() == Some(&endpoint);
                let served = open.served.as_ref().map(|served| *served == endpoint);
                if open.verdict() == Verdict::Steer && (picked && served.unwrap_or(true)) {
                    least += open.cost.milli();
                }
                if served.unwrap_or(picked) {
                    most += open.cost.milli();
                }
            }
            for vm in 0..rig.vms() {
                let seen = rig.outstanding(vm, cluster, &endpoint);
                let fits = (least..=most).contains(&seen);
                if !(if living.contains(&endpoint) { fits } else { seen == 0 }) {
                    return Some(format!(
                        "VM {vm}: {endpoint} of {cluster} has {seen}, expected {least} to {most}"
                    ));
                }
            }
        }
    }
    None
}

/// What the proxy keeps for ever does not grow with the calls.
fn bounded(rig: &Rig) {
    let mut slots = 0;
    for cluster in CLUSTERS {
        slots += rig.roster(cluster).entries.len();
    }
    assert!(slots <= CLUSTERS.len() * HOSTS, "{slots} slots");
    slots += news::SERVERS.len();
    assert!(rig.proxy.gauges() <= 1 + 2 * slots);
    let (keys, bytes) = rig.proxy.stored();
    assert!(keys <= 128 && bytes <= 16_384, "{keys} keys, {bytes} bytes");
}
