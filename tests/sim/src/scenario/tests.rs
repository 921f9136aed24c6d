use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Document, Scenario, read, read_file};

mod mistakes;

/// A scenario without a fault.
fn good() -> Value {
    json!({
        "name": "good",
        "about": "Nothing is wrong with it.",
        "servers": [{"name": "a", "count": 2}, {"name": "b", "count": 1, "present": false}],
        "traffic": {"load": 0.5, "service": {"constant": {"value": "10ms"}}},
        "policies": ["round_robin"],
    })
}

fn parse(document: &Value) -> Result<Document, String> {
    read(&document.to_string(), Path::new(".")).map_err(|faults| faults.to_string())
}

/// The faults of the good one with some fields set, by pointer; missing objects are made.
fn faults(changes: &[(&str, Value)]) -> String {
    let mut document = good();
    for (pointer, value) in changes {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let parent = document.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(items) => items[field.parse::<usize>().unwrap()] = value.clone(),
            parent => parent[field] = value.clone(),
        }
    }
    parse(&document).map_or_else(|faults| faults, |_| "no fault".to_owned())
}

#[test]
#[allow(clippy::too_many_lines)]
fn every_faulty_field_is_named_by_its_path() {
    let event = |fields: Value| {
        let mut event = json!({"at": "1s", "effect": {"crash": {}}});
        event.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
        json!([event])
    };
    let service = |service: Value| json!({"load": 1, "service": service});
    for (pointer, value, path) in [
        ("/warm_up", json!("20s"), "warm_up"),
        ("/duration", json!("2 fortnights"), "duration"),
        ("/policies", json!([]), "policies"),
        ("/policies", json!(["random", "random"]), "policies[1].label"),
        ("/policies", json!(["rondom"]), "policies[0].rule"),
        ("/policies", json!([{"rule": {"random": {}}, "lable": "x"}]), "policies[0].lable"),
        (
            "/policies",
            json!(["random", {"rule": {"least_request": {"choice_count": 1}}}]),
            "policies[1].rule.least_request: choice_count",
        ),
        (
            "/policies",
            json!([{"rule": {"least_request": {"choices": 3}}}]),
            "policies[0].rule.least_request.choices",
        ),
        ("/proxies", json!({"count": 0}), "proxies.count"),
        ("/proxies", json!({"workers": 65}), "proxies.workers"),
        ("/proxies", json!({"filter_percent": 101}), "proxies.filter_percent"),
        ("/proxies", json!({"skew": -1}), "proxies.skew"),
        ("/reports", json!({"twin_percent": -1}), "reports.twin_percent"),
        ("/reports", json!({"lost_percent": 200}), "reports.lost_percent"),
        ("/reports", json!({"period": "9ms"}), "reports.period"),
        ("/probes", json!({"lost_percent": 1e9}), "probes.lost_percent"),
        ("/servers", json!([]), "servers"),
        ("/servers/0/count", json!(100_001), "servers"),
        ("/servers", json!([{"count": 1, "present": false}]), "servers"),
        ("/servers/1/slots", json!(0), "servers[1].slots"),
        ("/servers/1/speed", json!(0), "servers[1].speed"),
        ("/servers/1/weight", json!(129), "servers[1].weight"),
        ("/servers/1/discipline", json!("lifo"), "servers[1].discipline"),
        ("/servers/0/warm_up", json!({"from": 0, "for": "1s"}), "servers[0].warm_up.from"),
        ("/servers/0/warm_up", json!({"from": 0.1, "for": "0s"}), "servers[0].warm_up.for"),
        (
            "/servers/0/antagonist",
            json!({"on": "1s", "off": "1s", "takes": [0.5, 0.1]}),
            "servers[0].antagonist.takes[0]",
        ),
        (
            "/servers/0/antagonist",
            json!({"on": "1s", "off": "1s", "takes": [0.5, 1.1]}),
            "servers[0].antagonist.takes[1]",
        ),
        (
            "/servers/0/antagonist",
            json!({"on": "0s", "off": "1s", "takes": [0, 1]}),
            "servers[0].antagonist",
        ),
        ("/traffic/rate", json!(5), "traffic: expected either load or rate"),
        ("/traffic/load", Value::Null, "traffic: expected either load or rate"),
        ("/traffic/load", json!(0), "traffic.load"),
        ("/traffic/arrivals", json!({"closed": {"clients": 1, "think": "1s"}}), "traffic"),
        (
            "/traffic/arrivals",
            json!({"bursts": {"on": "0s", "off": "1s", "low": 0}}),
            "traffic.arrivals.bursts.on",
        ),
        (
            "/traffic/arrivals",
            json!({"bursts": {"on": "1s", "off": "0s", "low": 0}}),
            "traffic.arrivals.bursts.off",
        ),
        (
            "/traffic/arrivals",
            json!({"bursts": {"on": "1s", "off": "1s", "low": 1.1}}),
            "traffic.arrivals.bursts.low",
        ),
        ("/traffic/arrivals", json!({"ramp": {"from": -1, "to": 1}}), "traffic.arrivals.ramp.from"),
        ("/traffic/arrivals", json!({"ramp": {"from": 1, "to": 101}}), "traffic.arrivals.ramp.to"),
        ("/traffic/arrivals", json!({"ramp": {"from": 0, "to": 0}}), "traffic.arrivals.ramp"),
        (
            "/traffic",
            json!({
                "arrivals": {"closed": {"clients": 0, "think": "1s"}},
                "service": {"constant": {"value": "1ms"}},
            }),
            "traffic.arrivals.closed.clients",
        ),
        ("/traffic", service(json!({"constant": {"value": "0s"}})), "traffic.service"),
        ("/traffic", service(json!({"log_normal": {"mean": "1s", "sigma": 6}})), "traffic.service"),
        ("/traffic", service(json!({"uniform": {"low": "2s", "high": "1s"}})), "traffic.service"),
        (
            "/traffic",
            service(json!({"samples": {"file": "no-such-file"}})),
            "traffic.service.samples.file",
        ),
        ("/traffic/methods", json!([{"name": "a", "weight": 0}]), "traffic.methods[0].weight"),
        (
            "/traffic/methods",
            json!([{"name": "a"}, {"name": "b", "cost": 0}]),
            "traffic.methods[1].cost",
        ),
        (
            "/traffic/methods",
            json!([{
                "name": "a",
                "stream": {"direction": "bidi", "messages": 0, "interval": "1s"}
            }]),
            "traffic.methods[0].stream.messages",
        ),
        ("/traffic/deadline", json!("0s"), "traffic.deadline"),
        ("/traffic/retries", json!({"most": 21}), "traffic.retries.most"),
        ("/traffic/cancel", json!({"percent": 101}), "traffic.cancel.percent"),
        ("/events", event(json!({"servers": {"group": "c"}})), "events[0].servers.group"),
        ("/events", event(json!({"servers": {"group": "b", "skip": 1}})), "events[0].servers"),
        ("/events", event(json!({"servers": {"count": 0}})), "events[0].servers"),
        ("/events", event(json!({"every": "1s"})), "events[0].for"),
        ("/events", event(json!({"every": "1s", "for": "1s"})), "events[0].for"),
        (
            "/events",
            event(json!({"effect": {"speed": {"factor": -1}}})),
            "events[0].effect.speed.factor",
        ),
        (
            "/events",
            event(json!({"effect": {"fail": {"percent": 101}}})),
            "events[0].effect.fail.percent",
        ),
        (
            "/events",
            event(json!({"effect": {"lie": {"factor": -1}}})),
            "events[0].effect.lie.factor",
        ),
        ("/events", event(json!({"effect": {"drain": {}}, "for": "4s"})), "events[0].for"),
        ("/events", event(json!({"effect": {"explode": {}}})), "events[0].effect"),
    ] {
        let faults = faults(&[(pointer, value.clone())]);
        assert!(faults.starts_with(path), "{pointer} = {value}: {faults}");
    }
}

#[test]
fn unknown_fields_are_named_wherever_they_are() {
    for (pointer, path) in [
        ("/trafic", "trafic"),
        ("/servers/0/slot", "servers[0].slot"),
        ("/traffic/loads", "traffic.loads"),
    ] {
        let faults = faults(&[(pointer, json!(1))]);
        assert!(faults.starts_with(path) && faults.contains("unknown field"), "{faults}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let faults = faults(&[
        ("/servers/0/slots", json!(0)),
        ("/traffic/load", json!(0)),
        ("/warm_up", json!("1h")),
    ]);
    let paths: Vec<&str> = faults.split("; ").filter_map(|fault| fault.split(':').next()).collect();
    assert_eq!(paths, ["warm_up", "servers[0].slots", "traffic.load"]);
}

#[test]
fn a_drain_may_last_as_long_as_its_grace_or_for_good() {
    let drain = |lasts: Value| {
        faults(&[(
            "/events",
            json!([{"at": "1s", "for": lasts, "effect": {"drain": {"grace": "3s"}}}]),
        )])
    };
    assert_eq!(drain(json!("3s")), "no fault");
    assert_eq!(drain(Value::Null), "no fault");
    assert!(drain(json!("2999ms")).starts_with("events[0].for: expected at least the grace"));
}

#[test]
fn faults_inside_cases_and_axes_say_where() {
    let case = faults(&[(
        "/cases",
        json!([{"name": "fine"}, {"name": "wide", "set": {"/proxies/count": 0}}]),
    )]);
    assert_eq!(case, r#"proxies.count (with {"case":"wide"}): expected 1 to 100000"#);
    let axis = faults(&[(
        "/axes",
        json!([{"name": "load", "path": "/traffic/load", "values": [0.5, "much"]}]),
    )]);
    assert!(axis.starts_with(r#"traffic.load (with {"load":"much"}): "#), "{axis}");
    let both = faults(&[
        ("/cases", json!([{"name": "c"}])),
        ("/axes", json!([{"name": "w", "path": "/warm_up", "values": ["1s", "90s"]}])),
    ]);
    assert!(both.starts_with(r#"warm_up (with {"case":"c","w":"90s"}): "#), "{both}");
}

#[test]
fn pointers_that_name_nothing_are_refused() {
    for (pointer, path) in [
        ("traffic/load", "cases[0].set.traffic/load"),
        ("/servers/2/slots", "cases[0].set./servers/2/slots"),
        ("/servers/x/slots", "cases[0].set./servers/x/slots"),
        ("/name/x", "cases[0].set./name/x"),
        ("/trafic/load", "trafic (with"),
    ] {
        let mut set = json!({});
        set[pointer] = json!(1);
        let faults = faults(&[("/cases", json!([{"name": "c", "set": set}]))]);
        assert!(faults.starts_with(path), "{pointer}: {faults}");
    }
    let axis = json!([{"name": "a", "path": "/servers/7/slots", "values": [1]}]);
    let axis = faults(&[("/axes", axis)]);
    assert!(axis.starts_with("axes[0].path: \"/servers/7/slots\" names nothing"), "{axis}");
}

#[test]
fn cases_and_axes_make_every_combination_in_order() {
    let mut document = good();
    document["cases"] = json!([{"name": "a"}, {"name": "b", "set": {"/proxies/count": 3}}]);
    document["axes"] = json!([
        {"name": "load", "path": "/traffic/load", "values": [0.1, 0.2]},
        {"name": "delay", "path": "/network/delay", "values": ["1ms", "2ms"]},
    ]);
    let document = parse(&document).unwrap();
    let seen: Vec<_> = document
        .variants
        .iter()
        .map(|variant| {
            let scenario = &variant.scenario;
            assert!(scenario.cases.is_empty() && scenario.axes.is_empty());
            let load = scenario.traffic.load.unwrap();
            (scenario.proxies.count, (load * 10.0).round(), scenario.network.delay.ns() / 1_000_000)
        })
        .collect();
    let all = [20, 3].into_iter().flat_map(|proxies| {
        [(1.0, 1), (1.0, 2), (2.0, 1), (2.0, 2)].map(|(load, delay)| (proxies, load, delay))
    });
    assert_eq!(seen, all.collect::<Vec<_>>());
    let last = json!({"case": "b", "load": 0.2, "delay": "2ms"});
    assert_eq!(Value::from(document.variants[7].case.clone()), last);
}

#[test]
fn what_is_no_json_or_no_file_is_said() {
    let faults = read("{", Path::new(".")).unwrap_err().to_string();
    assert!(faults.starts_with("(file): no JSON"), "{faults}");
    let faults = read_file(Path::new("no-such-scenario.json")).unwrap_err().to_string();
    assert!(faults.starts_with("no-such-scenario.json: "), "{faults}");
}

fn beside(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn every_scenario_of_the_repository_is_read() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(beside("scenarios"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        if let Err(faults) = read_file(&file) {
            panic!("{}: {faults}", file.display());
        }
    }
}

#[test]
fn the_guides_fleet_is_read_and_stands_for_three_situations() {
    let guide = std::fs::read_to_string(beside("../../docs/simulator.md")).unwrap();
    let (_, rest) = guide.split_once("```json\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    assert_eq!(read(example, Path::new(".")).unwrap().variants.len(), 3);
}

#[test]
fn the_published_schema_is_that_of_the_code() {
    let published = std::fs::read_to_string(beside("../../docs/scenario.schema.json")).unwrap();
    let published: Value = serde_json::from_str(&published).unwrap();
    let generated = Value::from(schemars::schema_for!(Scenario));
    assert!(
        published == generated,
        "out of date: cargo run -p leastload-sim -- schema > docs/scenario.schema.json"
    );
    let entry = &generated["$defs"]["Entry"]["anyOf"];
    let names = entry[1]["enum"].as_array().unwrap();
    for name in ["random", "least_request", "prequal_sync", "central"] {
        assert!(names.contains(&json!(name)), "{names:?}");
    }
    assert_eq!(entry[0]["properties"]["rule"]["$ref"], "#/$defs/Rule");
}
