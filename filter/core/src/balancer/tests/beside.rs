//! What the workers of a proxy count, learn and say of the server beside it.

use super::*;
use crate::report::Stamp;
use crate::test;

const SERVER: &str = "inbound|80||";

impl Rig {
    fn twin(&mut self, vm: usize) -> TwinId {
        self.vms[vm].twin(&self.proxy, SERVER).unwrap()
    }

    fn arrive(&mut self, vm: usize) -> Visit {
        let id = self.twin(vm);
        self.vms[vm].arrive(&self.proxy, id)
    }

    fn leave(&mut self, vm: usize, visit: Visit, how: Departure) {
        self.vms[vm].leave(&self.proxy, visit, how);
    }

    fn stamp(&mut self, vm: usize, visit: &Visit) -> Stamp {
        let id = self.twin(vm);
        self.vms[vm].stamp(&self.proxy, id, Some(visit))
    }

    fn probe(&mut self, vm: usize) -> Stamp {
        let id = self.twin(vm);
        self.vms[vm].stamp(&self.proxy, id, None)
    }

    fn service_us(&mut self, vm: usize) -> Option<f32> {
        self.probe(vm).load.service_us.map(f32::round)
    }

    fn draining(&mut self) -> Vec<bool> {
        (0..self.vms.len()).map(|vm| self.probe(vm).load.draining).collect()
    }

    /// `count` requests, one after the other, of so many microseconds each.
    fn serve(&mut self, vm: usize, count: usize, took_us: u64) {
        for _ in 0..count {
            self.vms[vm].set_time(self.now_ms * 1_000);
            let visit = self.arrive(vm);
            self.vms[vm].set_time(self.now_ms * 1_000 + took_us);
            self.leave(vm, visit, Departure::Served);
        }
    }
}

#[test]
fn requests_in_flight_are_counted_over_all_workers() {
    let mut rig = Rig::new(3, "{}");
    let visits: Vec<_> = (0..3).flat_map(|vm| [vm; 2]).map(|vm| (vm, rig.arrive(vm))).collect();
    for vm in 0..3 {
        assert_eq!(rig.probe(vm).load.in_flight, 6.0);
    }
    assert_eq!(rig.stamp(0, &visits[0].1).load.in_flight, 5.0, "without the one that carries it");
    for (vm, visit) in visits {
        rig.leave(vm, visit, Departure::Unknown);
    }
    assert_eq!(rig.proxy.leftovers(), []);
    assert_eq!(rig.probe(1).load.in_flight, 0.0);
    // Outbound requests to a cluster of that name are another matter.
    let call = rig.start_at(0, SERVER, Work::ONE);
    assert_eq!(rig.probe(0).load.in_flight, 0.0);
    rig.end(0, call, Ending::Answered);
}

#[test]
fn what_a_crashed_worker_had_in_flight_is_given_back() {
    // The first one sees no request and coordinates.
    let mut rig = Rig::new(3, r#"{"discovery":{"admin_cluster":""}}"#);
    rig.ticks(2);
    assert!(rig.vms[0].coordinates());
    let stays = rig.arrive(1);
    let _lost = [rig.arrive(2), rig.arrive(2)];
    rig.ticks(2);
    rig.vms.pop();
    rig.ticks(7);
    assert_eq!(rig.probe(1).load.in_flight, 1.0);
    rig.leave(1, stays, Departure::Served);
    rig.ticks(1);
    assert_eq!(rig.proxy.leftovers(), []);
}

#[test]
fn what_one_worker_learns_all_know_at_their_next_tick() {
    let mut rig = Rig::new(3, "{}");
    rig.ticks(2);
    assert_eq!(rig.service_us(2), None);
    rig.serve(1, 100, 5_000);
    rig.ticks(2);
    for vm in 0..3 {
        let told = rig.service_us(vm).unwrap();
        assert!((4_500.0..=5_000.0).contains(&told), "worker {vm}: {told}");
        assert_eq!(rig.probe(vm).load.slots, Some(1.0), "worker {vm}");
    }
    // One that starts anew after a crash knows it at once.
    rig.vms[2] = Balancer::new(9, rig.now_ms);
    assert_eq!(rig.service_us(2), rig.service_us(0));
    // And a worker that crashes has taken with it what it learned since its last tick only.
    rig.vms.remove(1);
    rig.ticks(20);
    assert!(rig.service_us(1).unwrap() >= 1_250.0);
}

#[test]
fn how_many_workers_share_the_requests_changes_nothing() {
    let learned = |workers: usize| {
        let mut rig = Rig::new(workers as u64, "{}");
        rig.ticks(4);
        for round in 0..40 {
            for n in 0..8 {
                let vm = (round * 8 + n) % workers;
                rig.serve(vm, 1, 1_000 + (n as u64) * 500);
                let visit = rig.arrive(vm);
                rig.leave(vm, visit, if n == 0 { Departure::Failed } else { Departure::Unknown });
            }
            rig.ticks(1);
        }
        rig.probe(0)
    };
    let (one, four) = (learned(1), learned(4));
    let near = |a: f32, b: f32| (a - b).abs() <= 0.02 * a;
    assert!(near(one.load.service_us.unwrap(), 2_750.0), "{one:?}");
    assert!(near(one.load.service_us.unwrap(), four.load.service_us.unwrap()), "{four:?}");
    // Sixteen requests in a quarter of a second, one of them failed.
    for stamp in [one, four] {
        assert!(near(64.0, stamp.rps) && near(4.0, stamp.eps), "{stamp:?}");
        assert!(near(64.0 * 0.00275, stamp.utilization), "{stamp:?}");
    }
}

#[test]
fn askers_are_told_to_ask_as_much_as_the_server_wants_over_all_workers() {
    let mut rig = Rig::new(4, r#"{"probe":{"server_budget":100}}"#);
    // Four thousand times a second would be asked, less as the share says.
    let mut asked = 0.0;
    let mut owed = 0.0;
    for tick in 0..200 {
        for vm in 0..4 {
            let share = rig.probe(vm).load.asks;
            owed += 250.0 * share;
            while owed >= 1.0 {
                rig.probe(vm);
                owed -= 1.0;
                asked += if tick >= 100 { 1.0 } else { 0.0 };
            }
        }
        rig.ticks(1);
    }
    // One per worker and tick is this test's own question.
    let rate = asked / 25.0 + 16.0;
    assert!((80.0..125.0).contains(&rate), "{rate} a second");
    rig.ticks(40);
    assert_eq!(rig.probe(0).load.asks, 1.0, "nobody asks any more");
}

#[test]
fn the_server_is_in_no_question_about_clusters_and_in_no_figure_of_them() {
    let mut rig = Rig::new(1, r#"{"discovery":{"static":{"twin:inbound|80||":["a:1"]}}}"#);
    rig.serve(0, 5, 1_000);
    let mut paths = Vec::new();
    for tick in 0..40 {
        if tick == 20 {
            let call = rig.start(0);
            rig.end(0, call, Ending::Answered);
        }
        rig.now_ms += 250;
        if let Some(request) = rig.vms[0].tick(&rig.proxy, &rig.config, rig.now_ms) {
            let body = if request.path == "/ready" { "LIVE\n".to_owned() } else { admin(&[]) };
            let (config, proxy) = (&rig.config, &rig.proxy);
            if !rig.vms[0].ready_answered(proxy, config, body.as_bytes()) {
                rig.vms[0].admin_answered(proxy, config, body.as_bytes(), 10).unwrap();
            }
            paths.push(request.path);
        }
    }
    let (ready, others): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| path == "/ready");
    assert_eq!((ready.len(), others.len()), (10, 5));
    let about = "/clusters?format=json&filter=%5E%28c%7Cprometheus_stats%29%24";
    assert!(others.iter().all(|path| path == about), "{others:?}");
    assert!(rig.proxy.figures.borrow().keys().all(|(cluster, _)| cluster == CLUSTER));
}

#[test]
fn a_proxy_that_drains_says_so_on_every_worker() {
    let mut rig = Rig::new(2, "{}");
    let _held = rig.arrive(1);
    let answer = |rig: &mut Rig, body: &str| {
        for _ in 0..1_000 {
            rig.now_ms += 250;
            for vm in &mut rig.vms {
                if vm.tick(&rig.proxy, &rig.config, rig.now_ms).is_some() {
                    assert!(vm.ready_answered(&rig.proxy, &rig.config, body.as_bytes()));
                    return;
                }
            }
        }
        panic!("never asked");
    };
    for (body, drains) in [
        ("LIVE\n", false),
        ("DRAINING\n", true),
        ("LIVE\n", false),
        ("DRAINING\n", true),
        // What is none of Envoy's own words is no reason to believe it.
        ("upstream connect error", false),
        ("", false),
        ("DRAINING\n", true),
    ] {
        answer(&mut rig, body);
        for vm in &mut rig.vms {
            vm.tick(&rig.proxy, &rig.config, rig.now_ms);
        }
        assert_eq!(rig.draining(), [drains; 2], "{body}");
    }
    // One that could not be asked is no reason either, and is no failure to find members.
    rig.admin = None;
    rig.ticks(400);
    assert_eq!(rig.draining(), [false; 2]);
    assert_eq!(*rig.proxy.warnings.borrow(), [""; 0]);
}

#[test]
fn a_server_that_says_it_does_not_serve_is_believed_for_a_while() {
    let mut rig = Rig::new(2, "{}");
    let id = rig.twin(1);
    for wells in [&[false][..], &[false, true], &[true, false], &[false, false]] {
        for well in wells {
            rig.vms[1].set_serving(&rig.proxy, id, *well);
        }
        let well = *wells.last().unwrap();
        rig.ticks(2);
        assert_eq!(rig.draining(), [!well; 2], "{wells:?}");
        rig.ticks(usize::try_from(UNWELL_MS).unwrap() / 250 - 4);
        assert_eq!(rig.draining(), [!well; 2], "{wells:?}");
        rig.ticks(8);
        assert_eq!(rig.draining(), [false; 2], "{wells:?}");
    }
}

#[test]
fn a_quiet_server_is_not_written_of() {
    let mut rig = Rig::new(2, r#"{"discovery":{"admin_cluster":""}}"#);
    rig.serve(0, 100, 5_000);
    rig.ticks(1_000);
    let key = crate::records::server_key(&format!("twin:{SERVER}"));
    let before = crate::proxy::Proxy::shared_get(&rig.proxy, &key).unwrap();
    rig.ticks(10);
    assert_eq!(crate::proxy::Proxy::shared_get(&rig.proxy, &key).unwrap().1, before.1);
    assert!(before.0.len() < 64, "{} bytes", before.0.len());
    // Who gets no requests is taken for better, within bounds.
    assert_eq!(rig.service_us(1), Some(1_250.0), "what was learned stays");
}

#[test]
fn too_many_clusters_are_no_reason_to_fail() {
    let mut rig = Rig::new(1, "{}");
    let servers = (0..1_100).filter(|n| rig.vms[0].twin(&rig.proxy, &n.to_string()).is_some());
    assert_eq!(servers.count(), 1_024);
}
