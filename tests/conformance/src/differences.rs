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
    judge(include_str!("../differences.json"), side, golden, traces)
}

fn judge(list: &str, side: &str, golden: &Traces, traces: &Traces) -> String {
    let known: Vec<Known> = serde_json::from_str(list).expect("differences.json");
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
    for name in golden.keys().filter(|name| !traces.contains_key(*name)) {
        let _ = writeln!(faults, "{name}: {side} did not run it");
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::{Traces, judge};

    const LIST: &str =
        r#"[{"scenario": "s", "side": "x", "reason": "r", "lines": ["- b", "+ c"]}]"#;

    fn traces(lines: &[&str]) -> Traces {
        Traces::from([("s".to_owned(), lines.iter().map(|line| (*line).to_owned()).collect())])
    }

    #[test]
    fn a_difference_must_be_listed_and_what_is_listed_must_occur() {
        let golden = traces(&["a", "b", "d"]);
        assert_eq!(judge(LIST, "x", &golden, &traces(&["a", "c", "d"])), "");
        assert_eq!(judge("[]", "x", &golden, &golden), "");
        assert!(judge(LIST, "x", &golden, &golden).contains("listed: + c"));
        assert!(judge("[]", "x", &golden, &traces(&["a", "b"])).contains("- d"));
        assert!(judge(LIST, "other", &golden, &traces(&["a", "c", "d"])).contains("+ c"));
        assert!(judge("[]", "x", &golden, &Traces::new()).contains("did not run"));
    }
}
