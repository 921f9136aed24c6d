//! Differences from the golden traces that are known, each with its reason: `differences.json`.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Deserialize;

use crate::{golden::Traces, trace::difference};

/// One known difference.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    scenario: String,
    /// Which side differs: `testhost`, or a release of Envoy.
    side: String,
    #[expect(dead_code, reason = "for those who read the file")]
    reason: String,
    /// Lines of the golden trace that it lacks (`- `) and has instead (`+ `), in order.
    lines: Vec<String>,
}

/// What a side's traces have against the golden ones and the list of known differences: nothing,
/// or one paragraph for each scenario that is not as listed.
///
/// # Panics
/// When the list cannot be read, or names a scenario that does not exist.
pub fn faults(side: &str, golden: &Traces, traces: &Traces) -> String {
    let text = include_str!("../differences.json");
    let known: Vec<Known> = serde_json::from_str(text).expect("differences.json");
    let mut listed: BTreeMap<&str, &[String]> = BTreeMap::new();
    for known in &known {
        assert!(golden.contains_key(&known.scenario), "no scenario {}", known.scenario);
        if known.side == side {
            let twice = listed.insert(&known.scenario, &known.lines);
            assert!(twice.is_none(), "{} is listed twice for {side}", known.scenario);
        }
    }
    let mut faults = String::new();
    for (name, trace) in traces {
        let expected = golden.get(name).map(Vec::as_slice).unwrap_or_default();
        let found = difference(expected, trace);
        let allowed = listed.get(name.as_str()).copied().unwrap_or_default();
        if found != allowed {
            let _ = writeln!(faults, "{name}: {side} differs from the golden trace in");
            for line in &found {
                let _ = writeln!(faults, "    {line}");
            }
            for line in allowed {
                let _ = writeln!(faults, "    listed: {line}");
            }
        }
    }
    faults
}
