//! What is thought of endpoints, and kept.

use super::informed::{IDLE, host, servers};
use super::*;
use crate::balancer::cluster::Cluster;
use crate::balancer::sights::Sights;
use crate::balancer::thought::Floors;
use crate::load::Load;
use crate::test;

const SERVERS: usize = 5;

impl Rig {
    /// For each server, the floor by what is kept and by what is thought anew.
    fn floors(&mut self) -> Vec<(Option<u64>, Option<u64>)> {
        let settings = self.config.cluster(CLUSTER);
        let ask = Ask { config: &self.config, settings: &settings, cost: Work::ONE };
        let Balancer { clusters, ledger, tuning, now_us, .. } = &mut self.vms[0];
        let cluster = &mut clusters[0];
        let Cluster { endpoints, eligible, floors, reports, book, .. } = cluster;
        let usual = reports.usual();
        let sights = Sights { usual, now_us: *now_us, tuning, ask, salt: 7 };
        let floors = eligible.iter().map(|seat| {
            let own = || ledger.own(*book, seat.slot);
            let kept = sights.floor(*seat, floors, endpoints, own);
            let place = seat.slot as usize;
            let thought = core::mem::take(&mut endpoints[place].thought);
            let anew = sights.floor(*seat, &mut Floors::default(), endpoints, own);
            endpoints[place].thought = thought;
            (kept, anew)
        });
        floors.collect()
    }
}

#[test]
fn nothing_that_happens_is_missed() {
    let config = servers(SERVERS, r#","probe":{"mode":"off"}"#);
    for seed in 0..60 {
        let mut rig = Rig::new(1, &config);
        let mut dice = fastrand::Rng::with_seed(seed);
        let mut open = Vec::new();
        rig.hear_all(&[IDLE; SERVERS]);
        for step in 0..400 {
            let Rig { vms, proxy, .. } = &mut rig;
            match dice.u32(..22) {
                0..7 => open.push(rig.start(0)),
                7..13 if !open.is_empty() => {
                    let call = open.swap_remove(dice.usize(..open.len()));
                    let endings =
                        [Ending::Answered, Ending::Failed, Ending::Erred, Ending::Undecided];
                    rig.end(0, call, endings[dice.usize(..4)]);
                }
                13..17 => {
                    let load = Load {
                        in_flight: f32::from(dice.u8(..20)),
                        service_us: dice.bool().then(|| f32::from(dice.u16(1_000..40_000))),
                        slots: Some(f32::from(dice.u8(1..9))),
                        draining: dice.u32(..8) == 0,
                        asks: 1.0,
                        all: false,
                    };
                    rig.hear(0, dice.usize(..SERVERS), &load);
                }
                17 => {
                    let (id, n) = (rig.id(0), dice.usize(..SERVERS));
                    let slot = rig.vms[0].slot_of(id, &host(n)).unwrap();
                    rig.vms[0].unheard(id, slot);
                }
                18 => vms[0].survey(1),
                // Those that are open count no more.
                19 => vms[0].ripen(proxy, 2_000_000),
                // For longer than anything is kept.
                20 => rig.pass(dice.u64(2..100)),
                _ => rig.ticks(1),
            }
            for (kept, anew) in rig.floors() {
                // What this proxy has by what others have, anywhere, is learned with each report.
                let differ = |(kept, anew): (u64, u64)| kept.abs_diff(anew) > anew / 20;
                assert_eq!(kept.is_some(), anew.is_some(), "seed {seed}, step {step}");
                assert!(!kept.zip(anew).is_some_and(differ), "{seed}/{step}: {kept:?} {anew:?}");
            }
        }
        for call in open {
            rig.end(0, call, Ending::Answered);
        }
        assert_eq!(rig.proxy.leftovers(), []);
    }
}
