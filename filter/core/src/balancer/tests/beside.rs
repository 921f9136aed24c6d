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

    /// What is published of the server.
    fn figure(&self, figure: &str) -> u64 {
        self.proxy.figures.borrow()[&(SERVER.to_owned(), figure.to_owned())]
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
    // Those that take longer have not ended yet.
    assert_eq!((0..3).find_map(|vm| rig.service_us(vm)), None);
    rig.ticks(6);
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
    // Published once a second.
    rig.ticks(4);
    assert!((1_250..=5_000).contains(&rig.figure("Service")));
    assert_eq!((rig.figure("Slots"), rig.figure("Asks")), (1_000, 1_000));
}

#[test]
fn each_request_takes_back_hope_however_long_it_took() {
    for took_us in [20_000, 5_000_000] {
        let mut rig = Rig::new(2, "{}");
        rig.ticks(2);
        rig.serve(1, 100, 20_000);
        // Then nobody comes, so it is taken for better and better.
        rig.ticks(64);
        let told = rig.service_us(0).unwrap();
        assert!(told < 0.3 * 20_000.0, "{told}");
        rig.serve(1, 4, took_us);
        rig.ticks(2);
        let told = rig.service_us(0).unwrap();
        assert!(told > 0.9 * 20_000.0, "{told}");
    }
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

/// Lets so much time pass, and one answer of the admin interface come to each question about clusters,
/// which are told to Envoy's face: `/ready` gets `word`. What was asked.
fn asked_meanwhile(rig: &mut Rig, ticks: usize, word: &str, clusters: Option<&str>) -> Vec<String> {
    let mut paths = Vec::new();
    for _ in 0..ticks {
        rig.now_ms += 250;
        for vm in &mut rig.vms {
            let Some(request) = vm.tick(&rig.proxy, &rig.config, rig.now_ms) else { continue };
            let ready = request.path == "/ready";
            paths.push(request.path);
            match clusters {
                _ if ready => {
                    assert!(vm.ready_answered(&rig.proxy, &rig.config, word.as_bytes()));
                }
                Some(body) => {
                    assert!(!vm.ready_answered(&rig.proxy, &rig.config, body.as_bytes()));
                    let length = body.len() as u64;
                    vm.admin_answered(&rig.proxy, &rig.config, body.as_bytes(), length).unwrap();
                }
                None => vm.admin_failed(&rig.proxy, &rig.config),
            }
        }
    }
    paths
}

/// What Envoy says of the server's cluster: of each host the flags of its health.
fn told(hosts: &[&str]) -> String {
    let hosts: Vec<String> = (1..)
        .zip(hosts)
        .map(|(port, flags)| {
            format!(
                r#"{{"address":{{"socket_address":{{"address":"127.0.0.1","port_value":{port}}}}},
                "health_status":{{{flags}}}}}"#
            )
        })
        .collect();
    let hosts = hosts.join(",");
    format!(r#"{{"cluster_statuses":[{{"name":"{SERVER}","host_statuses":[{hosts}]}}]}}"#)
}

const FIT: &str = r#""eds_health_status":"HEALTHY""#;
const FAILED: &str = r#""eds_health_status":"HEALTHY","failed_active_health_check":true"#;

#[test]
fn one_question_is_about_clusters_and_servers_and_figures_are_each_their_own() {
    let mut rig = Rig::new(1, r#"{"discovery":{"static":{"twin:inbound|80||":["a:1"]}}}"#);
    rig.serve(0, 5, 1_000);
    let body = admin(&[]);
    let alone = asked_meanwhile(&mut rig, 20, "LIVE\n", Some(&body));
    let call = rig.start(0);
    rig.end(0, call, Ending::Answered);
    let both = asked_meanwhile(&mut rig, 20, "LIVE\n", Some(&body));
    for (paths, names) in
        [(alone, "inbound%5C%7c80%5C%7c%5C%7c"), (both, "inbound%5C%7c80%5C%7c%5C%7c%7Cc")]
    {
        let (ready, others): (Vec<_>, Vec<_>) = paths.into_iter().partition(|p| p == "/ready");
        assert_eq!((ready.len(), others.len()), (5, 5), "one of each in a second");
        let about = format!("/clusters?format=json&filter=%5E%28{names}%7Cprometheus_stats%29%24");
        assert!(others.iter().all(|path| *path == about), "{others:?}");
    }
    let mut figures: Vec<_> = rig.proxy.figures.borrow().keys().cloned().collect();
    figures.sort_unstable();
    let of = |name: &str, all: [&str; 4]| all.map(|figure| (name.to_owned(), figure.to_owned()));
    let of_cluster = of(CLUSTER, ["Age", "Eligible", "Known", "Outstanding"]);
    assert_eq!(
        figures,
        [of_cluster, of(SERVER, ["Asks", "Draining", "Service", "Slots"])].concat()
    );
}

#[test]
fn a_proxy_that_drains_says_so_on_every_worker() {
    let mut rig = Rig::new(2, "{}");
    let _held = rig.arrive(1);
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
        // As long as it waits after a word that is none.
        asked_meanwhile(&mut rig, 130, body, Some(&admin(&[])));
        assert_eq!(rig.draining(), [drains; 2], "{body}");
        assert_eq!(rig.figure("Draining"), u64::from(drains), "{body}");
    }
    // One that could not be asked is no reason either, and is no failure to find members.
    rig.admin = None;
    rig.ticks(400);
    assert_eq!(rig.draining(), [false; 2]);
    assert_eq!(*rig.proxy.warnings.borrow(), [""; 0]);
}

#[test]
fn a_server_none_of_whose_hosts_is_fit_does_not_serve() {
    const NOT_CHECKED: &str = r#""failed_active_health_check":true,"pending_active_hc":true"#;
    const ON_REQUEST: &str =
        r#""failed_active_health_check":true,"excluded_via_immediate_hc_fail":true"#;
    let original_dst = told(&[FAILED]).replace(
        r#""health_status""#,
        &format!(r#""hostname":"{SERVER}127.0.0.1:1","health_status""#),
    );
    let mut rig = Rig::new(3, "{}");
    rig.twin(1);
    for (body, serves) in [
        (told(&[FAILED]), false),
        (told(&[FIT]), true),
        (told(&[FAILED, FAILED]), false),
        (told(&[FAILED, FIT]), true),
        (told(&[r#""eds_health_status":"UNHEALTHY""#]), false),
        (told(&[r#""eds_health_status":"DEGRADED""#]), true),
        (told(&[r#""eds_health_status":"DRAINING""#]), false),
        (told(&[""]), true),
        (told(&[NOT_CHECKED]), false),
        (told(&[]), true),
        (told(&[ON_REQUEST]), false),
        // Envoy knows no such cluster.
        (admin(&[]), true),
        (told(&[FAILED]), false),
        (original_dst, true),
    ] {
        asked_meanwhile(&mut rig, 5, "LIVE\n", Some(&body));
        assert_eq!(rig.draining(), [!serves; 3], "{body}");
    }
    // One that drains as well drains, whatever is said of its hosts.
    asked_meanwhile(&mut rig, 5, "DRAINING\n", Some(&told(&[FIT])));
    assert_eq!(rig.draining(), [true; 3]);
}

#[test]
fn whoever_coordinates_goes_on_saying_that_a_server_does_not_serve() {
    let mut rig = Rig::new(3, "{}");
    rig.twin(1);
    asked_meanwhile(&mut rig, 8, "LIVE\n", Some(&told(&[FAILED])));
    assert!(rig.vms[0].coordinates());
    rig.vms.remove(0);
    assert_eq!(rig.draining(), [true; 2]);
    asked_meanwhile(&mut rig, 400, "LIVE\n", Some(&told(&[FAILED])));
    assert_eq!(rig.draining(), [true; 2]);
    // A worker that is started anew knows it before anybody is asked.
    rig.vms[1] = Balancer::new(9, rig.now_ms);
    assert_eq!(rig.draining(), [true; 2]);
    asked_meanwhile(&mut rig, 5, "LIVE\n", Some(&told(&[FIT])));
    assert_eq!(rig.draining(), [false; 2]);
}

#[test]
fn what_nobody_says_again_holds_for_a_while() {
    for (interval, holds_s) in [("1s", 30), ("5s", 30), ("20s", 60)] {
        let config = format!(r#"{{"discovery":{{"interval":"{interval}","max_age":"1m"}}}}"#);
        let mut rig = Rig::new(2, &config);
        rig.twin(1);
        let length = asked_meanwhile(&mut rig, 3, "LIVE\n", Some(&told(&[FAILED])));
        assert!(length.iter().any(|path| path != "/ready"), "{interval}: {length:?}");
        asked_meanwhile(&mut rig, 4 * (holds_s - 2), "LIVE\n", None);
        assert_eq!(rig.draining(), [true; 2], "{interval}");
        asked_meanwhile(&mut rig, 4 * 4, "LIVE\n", None);
        assert_eq!(rig.draining(), [false; 2], "{interval}");
        assert_eq!(*rig.proxy.warnings.borrow(), [""; 0], "no member is missing");
    }
}

#[test]
fn where_nobody_tells_of_servers_alone_it_is_asked_seldom_until_there_is_a_cluster() {
    let mut rig = Rig::new(1, "{}");
    rig.twin(0);
    let about_clusters = |paths: Vec<String>| paths.iter().filter(|p| *p != "/ready").count();
    assert_eq!(about_clusters(asked_meanwhile(&mut rig, 160, "LIVE\n", None)), 4, "in 40 s");
    let call = rig.start(0);
    rig.end(0, call, Ending::Answered);
    assert_eq!(about_clusters(asked_meanwhile(&mut rig, 2, "LIVE\n", None)), 1, "at once");
    assert_eq!(rig.proxy.warnings.borrow().len(), 1);
    assert_eq!(about_clusters(asked_meanwhile(&mut rig, 20, "LIVE\n", None)), 5);
}

#[test]
fn a_server_that_serves_is_not_written_of() {
    let mut rig = Rig::new(2, "{}");
    rig.twin(1);
    asked_meanwhile(&mut rig, 20, "LIVE\n", Some(&told(&[FIT])));
    let key = crate::records::server_key(&format!("twin:{SERVER}"));
    let version = |rig: &Rig| crate::proxy::Proxy::shared_get(&rig.proxy, &key).map(|(_, cas)| cas);
    let before = version(&rig);
    asked_meanwhile(&mut rig, 100, "LIVE\n", Some(&told(&[FIT])));
    assert_eq!(version(&rig), before);
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
