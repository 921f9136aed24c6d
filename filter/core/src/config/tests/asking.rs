//! The estimate, load reports, probes, the edge.

use super::*;
use crate::test;

const ALL: Estimate = Estimate { reports: true, speed: true, failures: true };

#[test]
fn by_default_twins_stamp_for_those_who_ask_and_quiet_proxies_probe() {
    let config = Config::default();
    assert_eq!(config.cluster("any").estimate, ALL);
    assert_eq!(config.cluster("any").probe_mode, ProbeMode::Auto);
    assert_eq!(config.cluster("any").probe_cluster, None);
    assert_eq!(config.report, Reporting { stamp: Audience::Askers, format: Format::Bin });
    assert_eq!(
        config.probe,
        Probing {
            deadline_ms: None,
            fanout: 3,
            budget: 200,
            server_budget: 200,
            allow: Allow::Mtls,
            header: "x-leastload-ask".to_owned(),
        }
    );
    assert!(!config.edge);
}

#[test]
fn values() {
    let config = valid(&json!({
        "estimate": {"reports": false, "speed": true, "failures": false},
        "report": {"stamp": "all", "format": "text"},
        "probe": {"mode": "always", "deadline": "0.002s", "fanout": 8, "budget": 0,
                  "server_budget": 1.0, "cluster": "named", "allow": "any", "header": "x-ask"},
        "edge": true,
    }));
    let settings = config.cluster("any");
    assert_eq!(settings.estimate, Estimate { reports: false, speed: true, failures: false });
    assert_eq!(settings.probe_mode, ProbeMode::Always);
    assert_eq!(settings.probe_cluster.as_deref(), Some("named"));
    assert_eq!(config.report, Reporting { stamp: Audience::All, format: Format::Text });
    assert_eq!(
        config.probe,
        Probing {
            deadline_ms: Some(2),
            fanout: 8,
            budget: 0,
            server_budget: 1,
            allow: Allow::Any,
            header: "x-ask".to_owned(),
        }
    );
    assert!(config.edge);
}

#[test]
fn each_word_has_its_own_meaning() {
    for (word, stamp) in
        [("askers", Audience::Askers), ("all", Audience::All), ("off", Audience::Off)]
    {
        assert_eq!(valid(&json!({"report": {"stamp": word}})).report.stamp, stamp, "{word}");
    }
    for (word, format) in [("bin", Format::Bin), ("text", Format::Text), ("json", Format::Json)] {
        assert_eq!(valid(&json!({"report": {"format": word}})).report.format, format, "{word}");
    }
    for (word, mode) in
        [("off", ProbeMode::Off), ("auto", ProbeMode::Auto), ("always", ProbeMode::Always)]
    {
        let config = valid(&json!({"probe": {"mode": word}}));
        assert_eq!(config.cluster("any").probe_mode, mode, "{word}");
    }
    for (word, allow) in [("mtls", Allow::Mtls), ("any", Allow::Any)] {
        assert_eq!(valid(&json!({"probe": {"allow": word}})).probe.allow, allow, "{word}");
    }
    // The two of a section do not touch each other.
    let report = valid(&json!({"report": {"stamp": "off", "format": "json"}})).report;
    assert_eq!(report, Reporting { stamp: Audience::Off, format: Format::Json });
    let none = valid(&json!({"probe": {"cluster": ""}}));
    assert_eq!(none.cluster("any").probe_cluster, None);
}

#[test]
fn a_cluster_overrides_field_by_field() {
    let config = valid(&json!({
        "estimate": {"speed": false},
        "probe": {"mode": "off"},
        "clusters": {
            "c*": {"estimate": {"failures": false}},
            "cart": {"estimate": {"reports": false, "speed": true}, "probe": {"mode": "always"}},
            "cat": {"probe": {"mode": "auto"}, "estimate": {}},
            "cow": {"probe": {}},
        },
    }));
    for (cluster, reports, speed, failures, mode) in [
        ("other", true, false, true, ProbeMode::Off),
        ("c", true, false, false, ProbeMode::Off),
        ("cart", false, true, true, ProbeMode::Always),
        ("cat", true, false, true, ProbeMode::Auto),
        ("cow", true, false, true, ProbeMode::Off),
    ] {
        let settings = config.cluster(cluster);
        let expected = (Estimate { reports, speed, failures }, mode);
        assert_eq!((settings.estimate, settings.probe_mode), expected, "{cluster}");
    }
}

#[test]
fn a_cluster_has_its_own_cluster_for_probes_or_none() {
    let config = valid(&json!({
        "probe": {"cluster": "by_address"},
        "clusters": {
            "c*": {"probe": {"cluster": "cart_by_address"}},
            "cat": {"probe": {"cluster": ""}},
            "cow": {"probe": {"mode": "off"}},
            "cub": {"probe": {"mode": "off", "cluster": "cubs"}},
        },
    }));
    for (cluster, by, mode) in [
        ("other", Some("by_address"), ProbeMode::Auto),
        ("cart", Some("cart_by_address"), ProbeMode::Auto),
        ("cat", None, ProbeMode::Auto),
        // Its own entry speaks, and not that of the prefix.
        ("cow", Some("by_address"), ProbeMode::Off),
        ("cub", Some("cubs"), ProbeMode::Off),
    ] {
        let settings = config.cluster(cluster);
        let expected = (by, mode);
        assert_eq!((settings.probe_cluster.as_deref(), settings.probe_mode), expected, "{cluster}");
    }
}

#[test]
fn both_ends_of_each_range_are_in_it() {
    for (field, inside, outside, range) in [
        ("fanout", [json!(1), json!(8)], [json!(0), json!(9)], "1 to 8"),
        ("budget", [json!(0), json!(100_000)], [json!(-1), json!(100_001)], "0 to 100000"),
        ("server_budget", [json!(1), json!(100_000)], [json!(0), json!(100_001)], "1 to 100000"),
        ("deadline", [json!("1ms"), json!("1s")], [json!("0ms"), json!("1001ms")], "1ms and 1s"),
    ] {
        for value in inside {
            assert!(parse(&json!({"probe": {field: value}})).is_ok(), "{field}: {value}");
        }
        for value in outside {
            let fault = faults(&json!({"probe": {field: value}}));
            let start = format!("probe.{field}: expected a ");
            assert!(fault.starts_with(&start) && fault.contains(range), "{fault}");
        }
    }
}

#[test]
fn faults_are_told_by_path() {
    for (at, fault) in [
        (json!({"estimate": {"speed": 1}}), "estimate.speed: expected a boolean, got 1"),
        (
            json!({"estimate": {"rate": true}}),
            "estimate.rate: unknown field, expected one of reports, speed, failures",
        ),
        (json!({"edge": "true"}), r#"edge: expected a boolean, got "true""#),
        (
            json!({"report": {"stamp": "text"}}),
            r#"report.stamp: expected one of "askers", "all", "off", got "text""#,
        ),
        (
            json!({"report": {"format": "off"}}),
            r#"report.format: expected one of "bin", "text", "json", got "off""#,
        ),
        (
            json!({"probe": {"allow": true}}),
            r#"probe.allow: expected one of "mtls", "any", got true"#,
        ),
        (
            json!({"probe": {"cluster": "a\nb"}}),
            r#"probe.cluster: expected a cluster name, or "" for none, got "a\u{a}b""#,
        ),
        (
            json!({"probe": {"deadlin": "5ms"}}),
            "probe.deadlin: unknown field, expected one of mode, deadline, fanout, budget, \
             server_budget, cluster, allow, header",
        ),
        (json!({"probe": "off"}), r#"probe: expected an object, got "off""#),
        (
            json!({"clusters": {"a*": {"estimate": {"reports": null}}}}),
            r#"clusters["a*"].estimate.reports: expected a boolean, got null"#,
        ),
        (
            json!({"clusters": {"a*": {"probe": {"mode": "on"}}}}),
            r#"clusters["a*"].probe.mode: expected one of "off", "auto", "always", got "on""#,
        ),
        // What holds for the whole proxy is not a cluster's to say.
        (
            json!({"clusters": {"a*": {"probe": {"budget": 1}}}}),
            r#"clusters["a*"].probe.budget: unknown field, expected one of mode, cluster"#,
        ),
        (
            json!({"clusters": {"a*": {"probe": {"cluster": "a\nb"}}}}),
            r#"clusters["a*"].probe.cluster: expected a cluster name, or "" for none, got "a\u{a}b""#,
        ),
        (
            json!({"clusters": {"a*": {"report": {}}}}),
            r#"clusters["a*"].report: unknown field, expected one of enabled, panic_threshold, picker, estimate, probe, discovery"#,
        ),
    ] {
        assert_eq!(faults(&at), fault);
    }
}

#[test]
fn the_ask_header_is_free_and_not_the_override_header() {
    for name in ["X-Ask", "", "te", "grpc-ask", "x-envoy-ask", "endpoint-load-metrics", "a b"] {
        let fault = faults(&json!({"probe": {"header": name}}));
        assert!(fault.starts_with("probe.header: expected a lower-case HTTP header"), "{fault}");
    }
    let both = |pick: Option<&str>, ask: Option<&str>| {
        let mut value = json!({"override": {}, "probe": {}});
        if let Some(pick) = pick {
            value["override"]["header"] = json!(pick);
        }
        if let Some(ask) = ask {
            value["probe"]["header"] = json!(ask);
        }
        parse(&value).map(|config| (config.steering.header, config.probe.header))
    };
    let clash = |at: &str, other: &str, name: &str| {
        Err(format!("{at}.header: expected another header than {other}.header, got \"{name}\""))
    };
    assert_eq!(both(Some("x-a"), Some("x-a")), clash("probe", "override", "x-a"));
    // Where one is the other's default, the one that was given is at fault.
    let ask = "x-leastload-ask";
    assert_eq!(both(Some(ask), None), clash("override", "probe", ask));
    assert_eq!(both(Some(ask), Some(ask)), clash("override", "probe", ask));
    let host = "x-leastload-host";
    assert_eq!(both(None, Some(host)), clash("probe", "override", host));
    assert_eq!(both(Some(ask), Some(host)), Ok((ask.to_owned(), host.to_owned())));
}
