//! What an operator is told.

use super::*;
use crate::test;

#[test]
fn all_faults_are_told_at_once() {
    let text = faults(&json!({
        "role": "both",
        "foo": 1,
        "discovery": {"interval": "0s", "statics": {}, "static": {"c": ["a:1", "b 1", "a:1", 7], "d": {}}},
        "clusters": {"a*": {"enabled": 3, "traffic": "all",
                            "discovery": {"static": {"b": ["x:1"]}}},
                     "b": {"discovery": {"static": "x:1"}, "picker": []}},
        "methods": {"Greeter/SayHello": {}, "/a.B/*": {"cost": -1}, "/a.B/C": 5,
                    "/a.*/C": {"price": 2}},
        "override": {"header": "X-Host", "spares": 2.5},
        "rollout": {"percent": 101, "mode": null},
    }));
    let endpoint = "expected an endpoint such as \"10.0.0.1:50051\": printable ASCII without \
                    spaces and commas, at most 255 bytes, got";
    let key = "expected a key such as \"/pkg.Service/Method\" or \"/pkg.Service/*\", got";
    let header = "a lower-case HTTP header name with no meaning of its own to HTTP, gRPC or Envoy";
    let mut expected = vec![
        r#"role: expected one of "auto", "outbound", "inbound", got "both""#.to_owned(),
        "foo: unknown field, expected one of role, enabled, traffic, panic_threshold, methods, \
         clusters, override, discovery, rollout, picker, estimate, report, probe, edge"
            .to_owned(),
        r#"discovery.interval: expected a duration between 100ms and 1h, got "0s""#.to_owned(),
        "discovery.statics: unknown field, expected one of static, admin_cluster, interval, \
         max_age, learn_percent"
            .to_owned(),
        format!(r#"discovery.static["c"][1]: {endpoint} "b 1""#),
        format!(r#"discovery.static["c"][3]: {endpoint} 7"#),
        r#"discovery.static["c"][2]: expected each endpoint once, got "a:1""#.to_owned(),
        r#"discovery.static["d"]: expected a list of endpoints, got an object"#.to_owned(),
        r#"clusters["a*"].enabled: expected a boolean, got 3"#.to_owned(),
        r#"clusters["a*"].traffic: unknown field, expected one of enabled, panic_threshold, picker, estimate, probe, discovery"#
            .to_owned(),
        r#"clusters["a*"].discovery.static["b"]: expected a cluster that "a*" matches, got "b""#
            .to_owned(),
        r#"clusters["b"].discovery.static: expected a list of endpoints, or an object from cluster to list of endpoints, got "x:1""#
            .to_owned(),
        r#"clusters["b"].picker: expected an object, got an array"#.to_owned(),
        format!(r#"methods["Greeter/SayHello"]: {key} "Greeter/SayHello""#),
        r#"methods["/a.B/*"].cost: expected a number from 0 to 1000, got -1"#.to_owned(),
        r#"methods["/a.B/C"]: expected an object, got 5"#.to_owned(),
        r#"methods["/a.*/C"].price: unknown field, expected one of cost"#.to_owned(),
        format!(r#"methods["/a.*/C"]: {key} "/a.*/C""#),
        format!(r#"override.header: expected {header}, got "X-Host""#),
        "override.spares: expected a whole number from 0 to 8, got 2.5".to_owned(),
        "rollout.percent: expected a number from 0 to 100, got 101".to_owned(),
        r#"rollout.mode: expected one of "enforce", "shadow", got null"#.to_owned(),
    ];
    let mut told: Vec<String> = text.split("; ").map(ToOwned::to_owned).collect();
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
}

#[test]
fn what_is_no_object_at_all() {
    for (text, fault) in [
        ("null", "$: expected an object, got null"),
        ("[]", "$: expected an object, got an array"),
        ("3", "$: expected an object, got 3"),
        ("\"{}\"", "$: expected an object, got \"{}\""),
        ("{", "$: expected JSON, got EOF while parsing an object at line 1 column 1"),
        ("{\n \"a\": x}", "$: expected JSON, got expected value at line 2 column 7"),
        ("{} {}", "$: expected JSON, got trailing characters at line 1 column 4"),
        ("role: auto", "$: expected JSON, got expected value at line 1 column 1"),
    ] {
        let faults = Config::parse(text.as_bytes()).unwrap_err();
        assert_eq!((faults.to_string().as_str(), faults.count()), (fault, 1), "{text}");
    }
    assert!(Config::parse(b"{\"role\": \"\xff\"}").is_err());
    assert!(Config::parse("[".repeat(100_000).as_bytes()).is_err());
}

#[test]
fn bounds() {
    let many = |count: usize, name: &dyn Fn(usize) -> String, value: Value| {
        Value::Object((0..count).map(|index| (name(index), value.clone())).collect())
    };
    let methods = |count| json!({"methods": many(count, &|i| format!("/a.B/M{i}"), json!({}))});
    assert!(parse(&methods(MOST_METHODS)).is_ok());
    assert_eq!(
        faults(&methods(MOST_METHODS + 1)),
        "methods: expected at most 10000 entries, got 10001"
    );
    let clusters = |count| json!({"clusters": many(count, &|i| format!("c{i}"), json!({}))});
    assert!(parse(&clusters(MOST_CLUSTERS)).is_ok());
    assert!(faults(&clusters(MOST_CLUSTERS + 1)).starts_with("clusters: expected at most"));
    let endpoints = |count: usize| {
        let list: Vec<String> =
            (0..count).map(|i| format!("10.0.{}.{}:80", i / 256, i % 256)).collect();
        json!({"discovery": {"static": {"c": list}}})
    };
    assert!(parse(&endpoints(MOST_ENDPOINTS)).is_ok());
    assert_eq!(
        faults(&endpoints(MOST_ENDPOINTS + 1)),
        r#"discovery.static["c"]: expected at most 20000 endpoints, got 20001"#
    );
    let text = " ".repeat(MOST_BYTES - 2) + "{}";
    assert!(Config::parse(text.as_bytes()).is_ok());
    let faults = Config::parse((text + " ").as_bytes()).unwrap_err().to_string();
    assert_eq!(faults, "$: expected at most 1048576 bytes, got 1048577 bytes");
}

#[test]
fn many_faults_are_counted_and_echoes_are_tame() {
    let faults = Config::parse(
        Value::Object((0..70).map(|index| (format!("f{index}"), Value::Null)).collect())
            .to_string()
            .as_bytes(),
    )
    .unwrap_err();
    assert_eq!((faults.count(), faults.listed().len()), (70, 50));
    assert!(faults.to_string().ends_with("; and 20 more"));

    let text = self::faults(&json!({
        "role": format!("a\nb\u{85}\u{202e}\"\\{}", "x".repeat(100)),
        "evil\nfield": 0,
        "": 0,
    }));
    assert!(text.contains(r#"got "a\u{a}b\u{85}\u{202e}\"\\xxx"#), "{text}");
    assert!(text.contains("xxx...\""), "{text}");
    assert!(text.contains(r#"["evil\u{a}field"]: unknown field"#), "{text}");
    assert!(text.contains(r#"[""]: unknown field"#), "{text}");
    assert!(!text.contains(&"x".repeat(61)));
}

#[test]
fn numbers_are_echoed_without_surprises() {
    for (number, text) in [
        ("1.5", "1.5"),
        ("-0.25", "-0.25"),
        ("0.0", "0"),
        ("1000000.0", "1000000"),
        ("-3", "-3"),
        ("1e300", "a very large number"),
        ("18446744073709551615", "18446744073709551615"),
        ("99999999999999999999", "a very large number"),
    ] {
        let fault = Config::parse(format!(r#"{{"enabled": {number}}}"#).as_bytes()).unwrap_err();
        assert_eq!(fault.to_string(), format!("enabled: expected a boolean, got {text}"));
    }
}

#[test]
fn names_of_clusters_fit_a_log_and_an_envoy() {
    let told = |name: &str, at: Value| (name.to_owned(), parse(&at).unwrap_err());
    for name in ["", "a\nb", &"x".repeat(513)] {
        for (name, told) in [
            told(name, json!({"clusters": {name: {}}})),
            told(name, json!({"discovery": {"static": {name: []}}})),
        ] {
            assert!(
                told.contains("expected a cluster name of at most 512 bytes"),
                "{name}: {told}"
            );
        }
    }
    assert!(parse(&json!({"clusters": {"x".repeat(512): {}}})).is_ok());
}
