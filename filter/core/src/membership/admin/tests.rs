use std::io::{self, Read};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::test;

/// Real answers of Envoy, shortened, as JSON and as text. EDS statuses, priorities, IPv6, internal
/// addresses, pipes, active health checks (failing, degraded, timed out, pending, removed while
/// passing), an ejected host, a cluster without hosts.
const SAMPLES: [(&str, &str, &str); 2] = [
    (
        "1.36.2",
        include_str!("../../../testdata/clusters-1.36.2.json"),
        include_str!("../../../testdata/clusters-1.36.2.txt"),
    ),
    (
        "1.40.0",
        include_str!("../../../testdata/clusters-1.40.0.json"),
        include_str!("../../../testdata/clusters-1.40.0.txt"),
    ),
];

/// Gives a body in pieces of the length asked for, at most `piece`.
struct Pieces<'a> {
    left: &'a [u8],
    piece: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.piece.min(buffer.len());
        self.left.read(&mut buffer[..length])
    }
}

/// Read as a whole, and as a stream: both must give the same, but that `serde_json` counts to the byte at
/// fault in the one and beyond it in the other.
fn parse_both(body: &[u8], wanted: impl Fn(&str) -> bool) -> Result<Snapshot, ParseError> {
    let [whole, stream] = [0, u64::MAX].map(|length| parse(body, length, &wanted));
    match (&whole, &stream) {
        (Err(ParseError::Syntax { .. }), Err(ParseError::Syntax { .. })) => {}
        _ => assert_eq!(whole, stream, "{}", String::from_utf8_lossy(body)),
    }
    whole
}

fn read_all(body: &str) -> Result<Snapshot, ParseError> {
    parse_both(body.as_bytes(), |_| true)
}

/// One cluster `c` with these hosts.
fn cluster(hosts: &Value) -> Snapshot {
    read_all(&json!({"cluster_statuses": [{"name": "c", "host_statuses": hosts}]}).to_string())
        .unwrap()
}

fn host(endpoint: &str, priority: u32, weight: u32, health: Health) -> Host {
    Host { endpoint: endpoint.to_owned(), priority, weight, health }
}

fn ip(last: usize) -> Value {
    json!({"socket_address": {"address": format!("10.0.{}.{}", last / 256, last % 256), "port_value": 80}})
}

/// What Envoy says as text: `cluster::endpoint::field::value`.
fn told_as_text(text: &str, cluster: &str) -> Vec<Host> {
    let mut hosts: Vec<Host> = Vec::new();
    for line in text.lines() {
        let (rest, value) = line.rsplit_once("::").unwrap();
        let (rest, field) = rest.rsplit_once("::").unwrap();
        let (name, endpoint) = rest.split_once("::").unwrap();
        if name != cluster {
            continue;
        }
        if hosts.iter().all(|host| host.endpoint != endpoint) {
            hosts.push(host(endpoint, 0, 0, Health::Healthy));
        }
        let host = hosts.iter_mut().find(|host| host.endpoint == endpoint).unwrap();
        match field {
            "priority" => host.priority = value.parse().unwrap(),
            "weight" => host.weight = value.parse().unwrap(),
            _ => {
                host.health = match value {
                    "healthy" | "/pending_dynamic_removal" => Health::Healthy,
                    "/degraded_eds_health" | "/degraded_active_hc" => Health::Degraded,
                    "/eds_status_draining" | "/failed_active_hc/pending_active_hc" => {
                        Health::Excluded
                    }
                    _ => Health::Unhealthy,
                }
            }
        }
    }
    hosts
}

#[test]
fn real_answers_say_the_same_as_their_text_form() {
    for (version, json, text) in SAMPLES {
        let snapshot = read_all(json).unwrap();
        assert_eq!((snapshot.faulty, snapshot.dropped), (0, 0), "{version}");
        let names: Vec<_> = snapshot.clusters.iter().map(|c| c.name.as_str()).collect();
        let expected =
            ["checked", "eds", "empty", "internal", "outlier", "pipe", "removal", "timeout"];
        assert_eq!(names, expected, "{version}");
        for name in names {
            let hosts = snapshot.hosts(name).unwrap();
            assert_eq!(hosts, told_as_text(text, name), "{version} {name}");
            assert_eq!(hosts.is_empty(), name == "empty");
        }
        assert_eq!(snapshot.hosts("other"), None);
    }
}

#[test]
fn real_answers_hold_every_kind_of_address() {
    let snapshot = read_all(SAMPLES[1].1).unwrap();
    let endpoints = |name| -> Vec<&str> {
        snapshot.hosts(name).unwrap().iter().map(|host| host.endpoint.as_str()).collect()
    };
    assert_eq!(
        endpoints("internal"),
        ["envoy://connect_originate/10.0.0.1:50051", "envoy://inner/", "10.0.0.2:50051"]
    );
    assert_eq!(endpoints("pipe"), ["/tmp/x.sock", "@abstract"]);
    assert_eq!(
        endpoints("eds")[6..],
        ["[::1]:50010", "[::ffff:10.0.0.9]:50011", "[2001:db8::1]:50012"]
    );
}

#[test]
fn only_what_is_wanted_is_kept() {
    for (version, json, _) in SAMPLES {
        let snapshot = parse_both(json.as_bytes(), |name| name == "eds" || name == "gone").unwrap();
        assert_eq!(snapshot.clusters.len(), 1, "{version}");
        assert_eq!(snapshot.hosts("eds").unwrap().len(), 9, "{version}");
        let none = parse_both(json.as_bytes(), |_| false);
        assert_eq!(none, Ok(Snapshot::default()), "{version}");
    }
}

#[test]
fn pieces_of_any_length_give_the_same() {
    let (_, json, _) = SAMPLES[0];
    let whole = read_all(json).unwrap();
    for piece in [1, 2, 7, 1000, CHUNK, usize::MAX] {
        for length in [0, json.len() as u64, u64::MAX] {
            let pieces = Pieces { left: json.as_bytes(), piece };
            assert_eq!(parse(pieces, length, &|_| true).unwrap(), whole, "{piece} {length}");
        }
    }
}

#[test]
fn the_name_may_come_last() {
    let body = r#"{"cluster_statuses":[
        {"host_statuses":[{"address":{"pipe":{"path":"a"}}}, 3],"name":"no"},
        {"host_statuses":[{"address":{"pipe":{"path":"b"}}}, 3],"name":"yes"}]}"#;
    let snapshot = parse_both(body.as_bytes(), |name| name == "yes").unwrap();
    assert_eq!(snapshot.clusters.len(), 1);
    assert_eq!(snapshot.hosts("yes").unwrap(), [host("b", 0, 1, Health::Healthy)]);
    assert_eq!(snapshot.faulty, 1);
}

#[test]
fn health() {
    use Health::{Degraded, Excluded, Healthy, Unhealthy};
    for (status, health) in [
        (json!({}), Healthy),
        (json!(null), Healthy),
        (json!({"eds_health_status": "HEALTHY"}), Healthy),
        (json!({"eds_health_status": "UNKNOWN"}), Healthy),
        (json!({"eds_health_status": null}), Healthy),
        (json!({"eds_health_status": "UNHEALTHY"}), Unhealthy),
        (json!({"eds_health_status": "TIMEOUT"}), Unhealthy),
        (json!({"eds_health_status": "DRAINING"}), Excluded),
        (json!({"eds_health_status": "DEGRADED"}), Degraded),
        // What we do not know is not trusted.
        (json!({"eds_health_status": "SPLENDID"}), Unhealthy),
        (json!({"eds_health_status": 6}), Unhealthy),
        (json!({"eds_health_status": {"a": [1]}}), Unhealthy),
        (json!({"failed_something_new": true}), Unhealthy),
        (json!({"failed_active_health_check": "yes"}), Unhealthy),
        (json!({"failed_active_health_check": true}), Unhealthy),
        (json!({"failed_active_health_check": false}), Healthy),
        (json!({"failed_active_health_check": true, "active_hc_timeout": true}), Unhealthy),
        (json!({"failed_outlier_check": true}), Unhealthy),
        (json!({"failed_active_health_check": true, "pending_active_hc": true}), Excluded),
        (
            json!({"failed_active_health_check": true, "excluded_via_immediate_hc_fail": true}),
            Excluded,
        ),
        // Excluded alone: Envoy leaves it out of the sum, but its health decides.
        (json!({"pending_active_hc": true}), Healthy),
        (json!({"failed_active_degraded_check": true}), Degraded),
        (json!({"failed_degraded_outlier_detection": true}), Degraded),
        (json!({"failed_active_degraded_check": true, "failed_outlier_check": true}), Unhealthy),
        (json!({"failed_active_degraded_check": true, "eds_health_status": "HEALTHY"}), Degraded),
        // One reason more never makes it better.
        (json!({"failed_active_health_check": true, "failed_outlier_check": true}), Unhealthy),
        (
            json!({"failed_active_degraded_check": true, "failed_degraded_outlier_detection": true}),
            Degraded,
        ),
        (
            json!({"failed_active_health_check": true, "pending_active_hc": true,
                   "excluded_via_immediate_hc_fail": true}),
            Excluded,
        ),
        (json!({"pending_dynamic_removal": true}), Healthy),
        (json!({"some_news": true}), Healthy),
    ] {
        let snapshot = cluster(&json!([{"address": ip(1), "health_status": status}]));
        assert_eq!(snapshot.hosts("c").unwrap(), [host("10.0.0.1:80", 0, 1, health)], "{status}");
    }
}

#[test]
fn a_faulty_host_is_counted_and_hides_no_other() {
    let socket = |address: Value, port: Value| json!({"address": {"socket_address": {"address": address, "port_value": port}}});
    let odd = vec![
        json!({}),
        json!(null),
        json!(7),
        json!("x"),
        json!([]),
        json!([{"address": ip(3)}]),
        json!({"address": 7}),
        json!({"address": {}}),
        json!({"address": {"socket_address": {"address": "10.0.0.3"}}}),
        socket(json!(""), json!(80)),
        socket(json!(["10.0.0.3"]), json!(80)),
        socket(json!("10.0.0.3"), json!(0)),
        socket(json!("10.0.0.3"), json!(65_536)),
        socket(json!("10.0.0.3"), json!(-1)),
        socket(json!("10.0.0.3"), json!("80")),
        socket(json!("10.0.0.3,10.0.0.4"), json!(80)),
        socket(json!("10.0.0.3\r\nx: y"), json!(80)),
        socket(json!("x".repeat(253)), json!(80)),
        json!({"address": {"pipe": {"path": ""}}}),
        json!({"address": {"envoy_internal_address": {"endpoint_id": "10.0.0.3:80"}}}),
        json!({"address": {"envoy_internal_address": {"server_listener_name": "a", "endpoint_id": 1}}}),
        json!({"address": ip(3), "priority": -1}),
        json!({"address": ip(3), "priority": "0"}),
        json!({"address": ip(3), "priority": 1.5}),
        json!({"address": ip(3), "priority": true}),
        json!({"address": ip(3), "priority": [1]}),
        json!({"address": ip(3), "priority": {"a": 1}}),
        json!({"address": ip(3), "priority": 4_294_967_296_u64}),
    ];
    for fault in &odd {
        let snapshot = cluster(&json!([{"address": ip(1)}, fault, {"address": ip(2)}]));
        let expected = [
            host("10.0.0.1:80", 0, 1, Health::Healthy),
            host("10.0.0.2:80", 0, 1, Health::Healthy),
        ];
        assert_eq!(snapshot.hosts("c").unwrap(), expected, "{fault}");
        assert_eq!(snapshot.faulty, 1, "{fault}");
    }
    // A weight that makes no sense costs only itself.
    for (weight, taken) in [(json!(0), 1), (json!("9"), 1), (json!(9), 9), (json!(1e30), 1)] {
        let snapshot = cluster(&json!([{"address": ip(1), "weight": weight}]));
        assert_eq!(snapshot.hosts("c").unwrap()[0].weight, taken, "{weight}");
    }
    let nameless = r#"{"cluster_statuses":[{"host_statuses":[]},{"name":3},7,{"name":"c"}]}"#;
    let snapshot = read_all(nameless).unwrap();
    assert_eq!((snapshot.clusters.len(), snapshot.faulty), (1, 3));
}

#[test]
fn an_endpoint_listed_twice_is_the_host_an_override_reaches() {
    let listed = |hosts: &[(u32, &str)]| {
        let hosts: Vec<Value> = hosts
            .iter()
            .map(|(priority, status)| {
                let health = json!({"eds_health_status": status});
                json!({"address": ip(1), "priority": priority, "health_status": health})
            })
            .collect();
        let snapshot = cluster(&json!(hosts));
        let hosts = snapshot.hosts("c").unwrap();
        assert_eq!(hosts.len(), 1);
        (hosts[0].priority, hosts[0].health)
    };
    assert_eq!(listed(&[(0, "HEALTHY"), (1, "UNHEALTHY")]), (0, Health::Healthy));
    assert_eq!(listed(&[(1, "HEALTHY"), (0, "UNHEALTHY")]), (0, Health::Unhealthy));
    assert_eq!(listed(&[(2, "HEALTHY"), (2, "DEGRADED")]), (2, Health::Degraded));
    assert_eq!(listed(&[(2, "DEGRADED"), (2, "HEALTHY")]), (2, Health::Degraded));
}

#[test]
fn the_number_of_hosts_is_bounded() {
    let hosts: Vec<Value> =
        (0..MOST_HOSTS + 5).map(|index| json!({"address": ip(index)})).collect();
    let snapshot = cluster(&json!(hosts));
    assert_eq!((snapshot.hosts("c").unwrap().len(), snapshot.dropped), (MOST_HOSTS, 5));
}

#[test]
fn errors() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    for length in [0, u64::MAX] {
        assert_eq!(parse(Broken, length, &|_| true), Err(ParseError::Unreadable));
    }
    for (body, error) in [
        ("", ParseError::Truncated),
        ("{\"cluster_statuses\":[{\"name\":\"c\"}]", ParseError::Truncated),
        ("{\"cluster_statuses\":[{\"name\":\"c", ParseError::Truncated),
        ("<html>", ParseError::Syntax { line: 1, column: 1 }),
        ("{\n\"cluster_statuses\" [", ParseError::Syntax { line: 2, column: 20 }),
        ("{\"cluster_statuses\":[{\"name\":\"c\"}]} x", ParseError::Syntax { line: 1, column: 37 }),
        ("{}", ParseError::NoClusters),
        ("null", ParseError::NoClusters),
        ("3", ParseError::NoClusters),
        ("{\"error\": \"none\"}", ParseError::NoClusters),
        ("{\"cluster_statuses\": {}}", ParseError::NoClusters),
        ("{\"cluster_statuses\": []}", ParseError::NoClusters),
    ] {
        assert_eq!(read_all(body), Err(error), "{body}");
    }
    let told = |body: &str| read_all(body).unwrap_err().to_string();
    assert_eq!(told("{\n]"), "not the JSON of /clusters at line 2 column 1");
    assert_eq!(told(""), "the answer ended too early");
    assert_eq!(told("{}"), "the answer lists no clusters");
    assert_eq!(ParseError::Unreadable.to_string(), "the answer could not be read");
    let deep = format!("{{\"cluster_statuses\":{}", "[".repeat(1_000_000));
    assert!(read_all(&deep).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = parse_both(&bytes, |_| true);
    }

    #[test]
    fn damaged_answers_never_panic(at in 0usize..9000, byte: u8, cut: bool) {
        let mut bytes = SAMPLES[0].1.as_bytes().to_vec();
        bytes[at] = byte;
        if cut {
            bytes.truncate(at + 1);
        }
        if let Ok(snapshot) = parse_both(&bytes, |_| true) {
            for host in snapshot.clusters.iter().flat_map(|cluster| &cluster.hosts) {
                prop_assert!(is_endpoint(&host.endpoint) && host.weight >= 1);
            }
        }
    }
}

#[test]
fn a_cluster_of_original_destinations_is_known_by_its_hostnames() {
    // As Envoy 1.36.2 and 1.40.0 name them: the cluster's name, then the address.
    let named = |hostname: &str| json!([{"address": ip(1), "hostname": hostname}]);
    let is_original = |hosts| cluster(&hosts).cluster("c").unwrap().original_destination;
    assert!(is_original(named("c10.0.0.1:80")));
    for other in ["", "c", "10.0.0.1:80", "x10.0.0.1:80", "greeter.example"] {
        assert!(!is_original(named(other)), "{other}");
    }
}
