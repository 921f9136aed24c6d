//! What is well-formed, and would be absurd: endless runs, silence, situations alike.

use super::*;

/// The faults of the good one after a change of the whole.
fn with(change: impl Fn(&mut Value)) -> String {
    let mut document = good();
    change(&mut document);
    parse(&document).map_or_else(|faults| faults, |_| "no fault".to_owned())
}

#[test]
fn runs_that_would_not_end_are_refused() {
    let closed = json!({
        "arrivals": {"closed": {"clients": 10_000, "think": "0s"}},
        "service": {"constant": {"value": "1ns"}},
    });
    let often = json!([{"at": "1s", "for": "0s", "every": "1us", "effect": {"crash": {}}}]);
    let stream = json!([{
        "name": "/a.B/C", "stream": {"direction": "bidi", "messages": 1_000_000, "interval": "0s"}
    }]);
    let rate = json!({"rate": 1e8, "service": {"constant": {"value": "10ms"}}});
    for (pointer, value, path) in [
        ("/traffic", rate, "traffic: expected at most 100000000 requests"),
        ("/traffic/service", json!({"constant": {"value": "1ns"}}), "traffic: expected at most"),
        ("/traffic", closed, "traffic: expected at most"),
        (
            "/traffic/arrivals",
            json!({"bursts": {"on": "1ns", "off": "1ns", "low": 0}}),
            "traffic.arr",
        ),
        (
            "/servers/0/antagonist",
            json!({"on": "1ns", "off": "1ns", "takes": [0, 1]}),
            "servers[0].ant",
        ),
        ("/events", often, "events[0].every: expected at most"),
        ("/proxies", json!({"count": 100_000, "workers": 64}), "proxies: expected at most"),
        ("/traffic/methods", stream, "traffic: expected requests: on average there are 0.002"),
    ] {
        let faults = faults(&[(pointer, value)]);
        assert!(faults.starts_with(path), "{pointer}: {faults}");
    }
    let axis = json!([{"name": "rate", "path": "/traffic/load", "values": [1, 100]}]);
    let faults = faults(&[
        ("/traffic/service", json!({"constant": {"value": "2us"}})),
        ("/duration", json!("2s")),
        ("/warm_up", json!("1s")),
        ("/axes", axis),
    ]);
    assert!(faults.starts_with(r#"traffic (with {"rate":100}): expected at most"#), "{faults}");
}

#[test]
fn events_that_nobody_would_feel_are_refused() {
    let event = |group: &str, effect: Value| json!({"at": "1s", "servers": {"group": group}, "effect": effect});
    let (crash, join) = (json!({"crash": {}}), json!({"join": {}}));
    let events = |events: Value| faults(&[("/events", events)]);
    let late = events(json!([{"at": "20s", "effect": {"crash": {}}}]));
    assert_eq!(late, "events[0].at: expected less than duration");
    let joins = events(json!([event("a", join.clone())]));
    assert!(joins.starts_with("events[0].servers: expected servers to join"), "{joins}");
    let all = events(json!([{"at": "1s", "effect": {"join": {}}}]));
    assert_eq!(all, "no fault", "b is not there yet");
    let nobody = faults(&[
        ("/servers", json!([{"count": 1}])),
        ("/events", json!([{"at": "1s", "effect": {"join": {}}}])),
    ]);
    assert!(nobody.starts_with("events[0].servers: expected servers to join"), "{nobody}");
    let absent = events(json!([event("b", crash.clone())]));
    assert!(absent.starts_with("events[0].servers: expected servers that are there"), "{absent}");
    for both in [
        json!([event("a", crash.clone()), event("a", join.clone())]),
        json!([event("b", join), event("b", crash)]),
    ] {
        assert_eq!(events(both), "no fault");
    }
}

#[test]
fn situations_have_names_and_values_of_their_own() {
    let axis = |name: &str, values: Value| json!({"name": name, "path": "/traffic/load", "values": values});
    for (field, value, path) in [
        ("cases", json!([{"name": "c"}, {"name": "c"}]), "cases[1].name"),
        ("axes", json!([axis("x", json!([0.1])), axis("x", json!([0.2]))]), "axes[1].name"),
        ("axes", json!([axis("case", json!([0.1]))]), "axes[0].name"),
        ("axes", json!([axis("x", json!([]))]), "axes[0].values"),
        ("axes", json!([axis("x", json!([0.1, 0.1]))]), "axes[0].values"),
    ] {
        let faults = with(|document| document[field] = value.clone());
        assert!(faults.starts_with(path), "{field} = {value}: {faults}");
    }
}

#[test]
fn messages_speak_of_json_and_not_of_rust() {
    for (pointer, value, fault) in [
        ("/duration", json!(10), "duration: invalid type: integer `10`, expected a length of time"),
        ("/duration", json!("25h"), "duration: \"25h\" is no length of time up to 24h"),
        ("/proxies", json!({"count": -1}), "expected a whole number"),
        ("/servers", json!({"count": 3}), "invalid type: an object, expected a list"),
        ("/events", json!([{"at": "1s", "effect": "crash"}]), "expected an object, maybe empty"),
        ("/policies", json!(["rondom"]), "unknown name `rondom`"),
    ] {
        let faults = faults(&[(pointer, value)]);
        assert!(faults.contains(fault), "{pointer}: {faults}");
    }
}
