//! Whatever the bytes, there is an answer.

use proptest::prelude::*;

use super::*;
use crate::test;

fn any_json() -> impl Strategy<Value = Value> {
    let names: Vec<String> = each_field()
        .map(|(_, field)| field.name.to_owned())
        .chain(["/a.B/C", "/a.B/*", "c*", "c", "*", "", "é\n"].map(ToOwned::to_owned))
        .collect();
    let words = vec![
        "auto",
        "all",
        "shadow",
        "1s",
        "1.5h",
        "override_host",
        "off",
        "always",
        "5ms",
        "a:1",
        "",
        "x-y",
        "١s",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0..200u64).prop_map(Value::from),
        prop::sample::select(words).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(names.clone()), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// What holds of every answer, valid or not.
fn check(bytes: &[u8]) {
    match Config::parse(bytes) {
        Ok(config) => {
            for name in ["", "c", "cc", "é\n"] {
                let settings = config.cluster(name);
                assert!(settings.picker.samples >= 2 && settings.picker.scan_limit >= 1);
            }
            assert!(config.probe.deadline_ms.is_none_or(|ms| (1..=1000).contains(&ms)));
            assert!((1..=8).contains(&config.probe.fanout) && config.probe.server_budget >= 1);
            assert!(config.probe.header != config.steering.header);
            assert!(config.discovery.max_age_ms >= config.discovery.interval_ms);
            assert!(config.static_clusters().all(|name| config.cluster(name).given.is_some()));
            config.methods.cost("/a.B/C");
        }
        Err(faults) => {
            assert!(faults.count() >= faults.listed().len() && !faults.listed().is_empty());
            assert!(!faults.to_string().contains(char::is_control));
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        check(&bytes);
    }

    #[test]
    fn arbitrary_json_never_panics(value in any_json()) {
        check(value.to_string().as_bytes());
    }

    #[test]
    fn a_broken_text_never_panics(value in any_json(), cut in 0usize..200, byte: u8) {
        let mut bytes = value.to_string().into_bytes();
        let cut = cut.min(bytes.len());
        bytes.insert(cut, byte);
        check(&bytes);
        bytes.truncate(cut);
        check(&bytes);
    }

    #[test]
    fn arbitrary_paths_never_panic(path: String) {
        let methods = valid(&json!({"methods": {"/a/*": {"cost": 2}, "/a/b": {"cost": 3}}})).methods;
        prop_assert!(methods.cost(&path) >= Work::ONE);
    }
}
