//! The configuration.

use leastload_core::config::{Config, FIELDS, Mechanism, is_endpoint};
use leastload_core::work::Work;

/// Longest word on one fault, in bytes: a path of six steps and a value, each echoed to 60
/// characters, which may all be escaped, and what is expected.
const LONGEST_FAULT: usize = 6_000;

/// Input: a configuration.
pub fn config(data: &[u8]) {
    let parsed = Config::parse(data);
    assert_eq!(parsed, Config::parse(data), "the same twice");
    match parsed {
        Ok(config) => within_documented_ranges(&config),
        Err(faults) => {
            let listed = faults.listed();
            assert!(!listed.is_empty() && listed.len() <= 50 && listed.len() <= faults.count());
            for fault in listed {
                let text = fault.to_string();
                assert!(!fault.path.is_empty() && text.starts_with(&fault.path), "{text}");
                let top = |name: &str| fault.path.starts_with(name);
                let known = FIELDS[0].fields.iter().any(|field| top(field.name));
                assert!(known || fault.path == "$" || fault.got.is_none(), "{text}");
                assert!(!fault.expected.is_empty() && text.len() <= LONGEST_FAULT, "{text}");
            }
            let text = faults.to_string();
            assert!(!text.chars().any(char::is_control), "one line: {text:?}");
        }
    }
}

fn within_documented_ranges(config: &Config) {
    let discovery = &config.discovery;
    assert!((100..=3_600_000).contains(&discovery.interval_ms));
    assert!((discovery.interval_ms..=86_400_000).contains(&discovery.max_age_ms));
    assert!((0.0..=50.0).contains(&discovery.learn_percent));
    assert!(discovery.admin_cluster.as_ref().is_none_or(|name| !name.is_empty()));
    assert!((0.0..=100.0).contains(&config.rollout.percent));
    assert!(config.steering.spares <= 8);
    for header in [&config.steering.header, &config.probe.header] {
        assert!(!header.is_empty() && !header.starts_with(':') && !header.starts_with("grpc-"));
        assert!(!header.bytes().any(|byte| byte.is_ascii_uppercase() || byte <= b' '));
    }
    assert_ne!(config.steering.header, config.probe.header);
    let probe = &config.probe;
    assert!(probe.deadline_ms.is_none_or(|ms| (1..=1_000).contains(&ms)));
    assert!((1..=8).contains(&probe.fanout));
    assert!(probe.budget <= 100_000 && (1..=100_000).contains(&probe.server_budget));
    assert!(matches!(
        config.steering.mechanism,
        Mechanism::StatefulSession | Mechanism::OverrideHost
    ));
    let names: Vec<&str> = config.static_clusters().collect();
    for name in names.iter().copied().chain(["", "c", "outbound|80||a.b"]) {
        let settings = config.cluster(name);
        assert!(settings.probe_cluster.as_ref().is_none_or(|name| !name.is_empty()));
        assert!((1..=100_000).contains(&settings.picker.scan_limit));
        assert!((2..=64).contains(&settings.picker.samples) && settings.picker.idle <= 64);
        assert!(settings.picker.idle <= config.most_idle() && config.most_idle() <= 64);
        assert!((0.0..=100.0).contains(&settings.panic_threshold));
        let given = settings.given.unwrap_or_default();
        assert!(given.iter().all(|endpoint| is_endpoint(endpoint)));
        let mut once: Vec<&String> = given.iter().collect();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), given.len(), "each endpoint once");
    }
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), names.len(), "each cluster once");
    for path in ["/a.B/C", "/a.B/D?q", "/", ""] {
        let cost = config.methods.cost(path);
        assert!(cost <= Work::from_milli(1_000_000));
        assert!(!config.methods.is_empty() || cost == Work::ONE);
    }
}
