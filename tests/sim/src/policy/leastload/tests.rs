//! At one proxy, by hand.

use super::super::rig::Rig;
use super::*;

/// At one proxy of three servers whom the configuration names, driven by hand.
fn rig(config: Value) -> Rig<Leastload> {
    let scenario = json!({
        "name": "x", "about": "x", "warm_up": "0s", "duration": "1s",
        "proxies": {"count": 1}, "servers": [{"count": 3}],
        "membership": {"source": "static"},
        "traffic": {"rate": 1, "service": {"constant": {"value": "1ms"}}},
        "policies": [{"label": "x", "rule": {"leastload": {"config": config}}}],
    });
    let document = crate::scenario::read(&scenario.to_string(), ".".as_ref()).unwrap();
    let scenario = &document.variants[0].scenario;
    let Value::Object(config) = config else { panic!("{config}") };
    Rig::new(LeastloadConfig { config, ..LeastloadConfig::default() }.build(scenario, 1), &[1; 3])
}

#[test]
fn envoy_skips_whom_an_override_names_and_who_left_and_takes_the_next() {
    for (mechanism, unserved) in [("override_host", 0), ("stateful_session", 20)] {
        let mut rig = rig(json!({"override": {"mechanism": mechanism, "spares": 2}}));
        // Envoy knows that server 0 left, core does not yet; nobody else chooses.
        rig.policy.listed[0] = false;
        rig.policy.envoy = LeastRequest::default();
        let picks: Vec<Pick> = (0..60).map(|_| rig.ask()).collect();
        let asked = rig.policy.calls.iter().flatten().map(|open| open.asked);
        assert_eq!(asked.filter(|asked| *asked == Some(0)).count(), 20, "a third of all");
        assert!(!picks.contains(&Pick::Server(0)));
        let nobody = picks.iter().filter(|pick| **pick == Pick::Nobody).count();
        assert_eq!(nobody, unserved, "{mechanism}");
    }
}
