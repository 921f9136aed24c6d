mod asking;
mod faults;
mod robustness;

use super::*;
use crate::test;
use serde_json::{Value, json};

const DOCS: &str = include_str!("../../../../docs/configuration.md");

fn parse(value: &Value) -> Result<Config, String> {
    Config::parse(value.to_string().as_bytes()).map_err(|faults| faults.to_string())
}

fn valid(value: &Value) -> Config {
    parse(value).unwrap()
}

fn faults(value: &Value) -> String {
    parse(value).unwrap_err()
}

/// `leaf` put at `path`, each `*` standing for one name of the operator's.
fn at(path: &str, leaf: Value) -> Value {
    path.rsplit('.').filter(|step| !step.is_empty()).fold(leaf, |inner, step| {
        let name = match (step, path.starts_with("methods")) {
            ("*", true) => "/a.B/C",
            ("*", false) => "c",
            _ => step,
        };
        json!({ name: inner })
    })
}

fn each_field() -> impl Iterator<Item = (String, &'static Field)> {
    FIELDS.iter().flat_map(|section| {
        let path = |field: &Field| match section.path {
            "" => field.name.to_owned(),
            path => format!("{path}.{}", field.name),
        };
        section.fields.iter().map(move |field| (path(field), field))
    })
}

#[test]
fn nothing_said_means_the_defaults() {
    for text in ["", " \n\t", "{}", " {} \n", r#"{"discovery":{},"clusters":{},"picker":{}}"#] {
        assert_eq!(Config::parse(text.as_bytes()), Ok(Config::default()), "{text:?}");
    }
    for (path, field) in each_field() {
        if !field.default.is_empty() && !path.contains('*') {
            let mut config = valid(&at(&path, serde_json::from_str(field.default).unwrap()));
            if path == "probe.deadline" {
                // Who says it means it, whatever the time of service.
                assert_eq!(config.probe.deadline_ms.take(), Some(DEADLINE_MS));
            }
            assert_eq!(config, Config::default(), "{path}");
        }
    }
    let config = Config::default();
    let settings = config.cluster("any");
    assert!(settings.enabled && settings.given.is_none());
    assert_eq!(settings.picker, Picker { scan_limit: 32, samples: 8, idle: 4 });
    assert!(config.methods.is_empty());
    assert_eq!(config.static_clusters().count(), 0);
}

#[test]
fn every_field_is_read() {
    for (path, field) in each_field() {
        let other = match field.kind {
            Kind::Bool => json!(field.default == "false"),
            Kind::Choice(words) => json!(words.last()),
            Kind::Whole(_, max) | Kind::Number(_, max) => json!(max - 1),
            Kind::Duration(_, max) => json!(format!("{}ms", max / 2)),
            Kind::Header => json!("x-other"),
            Kind::ClusterName => json!("other"),
            Kind::Fields => continue,
            Kind::Methods => json!({"/a.B/C": {}}),
            Kind::Clusters => json!({"c": {}}),
            Kind::EndpointMap => json!({"c": ["a:1"]}),
            Kind::Endpoints => json!(["a:1"]),
        };
        assert_ne!(valid(&at(&path, other)), Config::default(), "{path}");
        let fault = faults(&at(&path, Value::Null));
        assert!(
            fault.ends_with(&format!("expected {}, got null", field.kind.expected())),
            "{fault}"
        );
    }
}

#[test]
fn every_field_is_documented() {
    let escaped = |text: &str| text.replace('|', "\\|");
    for (path, field) in each_field() {
        let row = DOCS.lines().find(|line| line.starts_with(&format!("| `{path}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/configuration.md has no row for {path}"));
        if !matches!(field.kind, Kind::Fields) {
            let expected = escaped(&field.kind.expected());
            assert!(row.contains(&expected), "{path}: the row does not say {expected:?}");
        }
        if !field.default.is_empty() {
            let default = format!("| `{}` |", field.default);
            assert!(row.contains(&default), "{path}: the row's default is not {default:?}");
        }
    }
}

#[test]
fn the_documented_example_is_valid() {
    let examples: Vec<&str> =
        DOCS.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        assert!(Config::parse(example.as_bytes()).is_ok(), "{example}");
    }
}

#[test]
fn values() {
    let config = valid(&json!({
        "role": "inbound", "traffic": "all", "enabled": false, "panic_threshold": 12.5,
        "override": {"mechanism": "override_host", "header": "x-other", "spares": 0},
        "discovery": {"admin_cluster": "", "interval": "1.5s", "max_age": "2m",
                      "learn_percent": 0.5},
        "rollout": {"percent": 0.1, "mode": "shadow"},
        "picker": {"scan_limit": 1, "samples": 64.0, "idle": 0},
    }));
    assert_eq!((config.role, config.traffic), (Role::Inbound, Traffic::All));
    assert_eq!(valid(&json!({"role": "outbound"})).role, Role::Outbound);
    assert_eq!(
        config.steering,
        Steering { mechanism: Mechanism::OverrideHost, header: "x-other".to_owned(), spares: 0 }
    );
    assert_eq!(
        config.discovery,
        Discovery {
            admin_cluster: None,
            interval_ms: 1500,
            max_age_ms: 120_000,
            learn_percent: 0.5
        }
    );
    assert_eq!(config.rollout, Rollout { percent: 0.1, shadow: true });
    assert_eq!(
        config.cluster("any"),
        ClusterSettings {
            enabled: false,
            picker: Picker { scan_limit: 1, samples: 64, idle: 0 },
            given: None,
            panic_threshold: 12.5,
            estimate: Estimate { reports: true, speed: true, failures: true },
            probe_mode: ProbeMode::Auto,
            probe_cluster: None,
        }
    );
}

#[test]
fn durations() {
    let interval = |text: &str| {
        parse(&json!({"discovery": {"interval": text}})).ok().map(|c| c.discovery.interval_ms)
    };
    for (text, ms) in [
        ("100ms", 100),
        ("250ms", 250),
        ("1s", 1000),
        ("1.5s", 1500),
        ("0.1s", 100),
        ("1.001s", 1001),
        ("2m", 120_000),
        ("1.5m", 90_000),
        ("1h", 3_600_000),
        ("3600.000000000s", 3_600_000),
    ] {
        assert_eq!(interval(text), Some(ms), "{text}");
    }
    for text in [
        "",
        "s",
        "1",
        "99ms",
        "61m",
        "1.1h",
        "-1s",
        "+1s",
        "1 s",
        " 1s",
        "1S",
        "1us",
        "1.s",
        ".5s",
        "1..5s",
        "1.0005s",
        "1e3ms",
        "9999999999s",
        "0x1s",
        "1s1s",
        "١s",
        "1.0000000000s",
    ] {
        assert_eq!(interval(text), None, "{text}");
    }
}

#[test]
fn membership_lives_as_long_as_one_interval_at_least() {
    let ages = |discovery: Value| {
        parse(&json!({ "discovery": discovery }))
            .map(|c| (c.discovery.interval_ms, c.discovery.max_age_ms))
    };
    assert_eq!(ages(json!({"interval": "3s"})), Ok((3000, 10_000)));
    assert_eq!(ages(json!({"interval": "20s"})), Ok((20_000, 60_000)));
    assert_eq!(ages(json!({"interval": "20s", "max_age": "20s"})), Ok((20_000, 20_000)));
    assert_eq!(
        ages(json!({"interval": "20s", "max_age": "19s"})),
        Err("discovery.max_age: expected at least discovery.interval, 20s, got 19s".to_owned())
    );
    assert_eq!(
        ages(json!({"interval": "2y", "max_age": "200ms"})),
        Err(r#"discovery.interval: expected a duration between 100ms and 1h, got "2y""#.to_owned())
    );
}

#[test]
fn headers() {
    let header = |name: &str| parse(&json!({"override": {"header": name}})).is_ok();
    for name in ["x-leastload-host", "x", "_a.b~1"] {
        assert!(header(name), "{name}");
    }
    for name in [
        "",
        "X-Host",
        ":authority",
        "x host",
        "x\nhost",
        "x:y",
        "hôst",
        "content-type",
        "te",
        "host",
        "connection",
        "grpc-timeout",
        "x-envoy-retry-on",
        "endpoint-load-metrics-bin",
    ] {
        assert!(!header(name), "{name}");
    }
}

#[test]
fn the_cost_of_a_method() {
    let methods = valid(&json!({"methods": {
        "/a.B/Watch": {"cost": 0}, "/a.B/*": {"cost": 2.5}, "/a.B/Heavy": {"cost": 1000},
        "/a.B/Plain": {}, "/C/D": {"cost": 0.0001}, "/E/F": {"cost": 1.0014},
    }}))
    .methods;
    assert!(!methods.is_empty());
    for only in ["/a.B/C", "/a.B/*"] {
        assert!(!valid(&json!({"methods": {only: {"cost": 2}}})).methods.is_empty(), "{only}");
    }
    for (path, milli) in [
        ("/a.B/Watch", 0),
        ("/a.B/Watch?x=/a.B/Heavy", 0),
        ("/a.B/Heavy", 1_000_000),
        ("/a.B/Plain", 1000),
        ("/a.B/Other", 2500),
        ("/a.B/Other#/x", 2500),
        ("/a.B/", 2500),
        // Only zero excludes.
        ("/C/D", 1),
        ("/E/F", 1001),
        ("/a.B", 1000),
        ("/a.BB/Watch", 1000),
        ("/a.B/Watch/x", 1000),
        ("/C/E", 1000),
        ("", 1000),
        ("?", 1000),
    ] {
        assert_eq!(methods.cost(path), Work::from_milli(milli), "{path}");
    }
}

#[test]
fn the_best_entry_overrides_field_by_field() {
    let config = valid(&json!({
        "enabled": false, "panic_threshold": 10, "picker": {"scan_limit": 50, "idle": 1},
        "clusters": {
            "*": {"panic_threshold": 20},
            "out*": {"enabled": true, "picker": {"samples": 3}},
            "outbound|*": {"picker": {"idle": 9}},
            "outbound|80": {"enabled": true, "picker": {"scan_limit": 7}},
            "outbound|80||*.example.com": {"panic_threshold": 99},
        },
    }));
    for (cluster, enabled, panic_threshold, picker) in [
        ("", false, 20.0, (50, 8, 1)),
        ("other", false, 20.0, (50, 8, 1)),
        ("out", true, 10.0, (50, 3, 1)),
        ("outer", true, 10.0, (50, 3, 1)),
        ("outbound|", false, 10.0, (50, 8, 9)),
        ("outbound|8", false, 10.0, (50, 8, 9)),
        ("outbound|80", true, 10.0, (7, 8, 1)),
        ("outbound|80||*.example.com", false, 99.0, (50, 8, 1)),
    ] {
        let settings = config.cluster(cluster);
        let Picker { scan_limit, samples, idle } = settings.picker;
        assert_eq!(
            (settings.enabled, settings.panic_threshold, (scan_limit, samples, idle)),
            (enabled, panic_threshold, picker),
            "{cluster}"
        );
    }
    assert_eq!(config.most_idle(), 9);
}

#[test]
fn endpoints_in_the_configuration() {
    let config = valid(&json!({
        "discovery": {"static": {"top": ["t:1"], "both": ["t:2"], "none": [], "p-shadowed": ["t:3"]}},
        "clusters": {
            "both": {"discovery": {"static": ["c:1", "envoy://connect_originate/10.0.0.1:50051"]}},
            "own": {"discovery": {"static": {"own": ["c:2"]}}},
            "p-*": {"discovery": {"static": ["c:3"]}},
            "m-*": {"discovery": {"static": {"m-1": ["c:4"], "m-x-1": ["never"]}}},
            "m-x-*": {},
        },
    }));
    let given = |name: &str| config.cluster(name).given.map(|endpoints| endpoints.join(" "));
    for (cluster, endpoints) in [
        ("top", Some("t:1")),
        ("both", Some("c:1 envoy://connect_originate/10.0.0.1:50051")),
        ("none", Some("")),
        ("own", Some("c:2")),
        ("p-any", Some("c:3")),
        ("p-shadowed", Some("c:3")),
        ("m-1", Some("c:4")),
        ("m-2", None),
        // Another entry speaks for it.
        ("m-x-1", None),
        ("unheard", None),
    ] {
        assert_eq!(given(cluster).as_deref(), endpoints, "{cluster}");
    }
    let mut names: Vec<&str> = config.static_clusters().collect();
    names.sort_unstable();
    assert_eq!(names, ["both", "m-1", "none", "own", "p-shadowed", "top"]);
}

#[test]
fn endpoints_are_opaque_but_fit_a_header() {
    for endpoint in
        ["10.0.0.1:50051", "[::1]:80", "/tmp/x.sock", "@abstract", "a", &"x".repeat(255)]
    {
        assert!(is_endpoint(endpoint), "{endpoint}");
    }
    for endpoint in ["", " ", "a b", "a,b", "a\n", "a\x7f", "é:1", &"x".repeat(256)] {
        assert!(!is_endpoint(endpoint), "{endpoint}");
    }
}
