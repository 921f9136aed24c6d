//! The traces that were agreed on: `golden/<topic>.txt`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::PathBuf,
};

use crate::scenario::Scenario;

/// Traces by scenario.
pub type Traces = BTreeMap<String, Vec<String>>;

fn path(topic: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("golden/{topic}.txt"))
}

/// Reads all of them.
pub fn read(scenarios: &[Scenario]) -> Traces {
    let mut traces = Traces::new();
    let topics: BTreeSet<_> = scenarios.iter().map(|s| &s.topic).collect();
    for topic in topics {
        let text = fs::read_to_string(path(topic)).unwrap_or_default();
        let mut current = None;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("== ") {
                current = Some(traces.entry(name.to_owned()).or_default());
            } else if let Some(trace) = current.as_mut().filter(|_| !line.is_empty()) {
                trace.push(line.to_owned());
            }
        }
    }
    traces
}

/// Writes all of them.
///
/// # Panics
/// When a file cannot be written.
pub fn write(scenarios: &[Scenario], traces: &Traces) {
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    for scenario in scenarios {
        let text = texts.entry(&scenario.topic).or_default();
        let lines = traces.get(&scenario.name).cloned().unwrap_or_default().join("\n");
        let gap = if text.is_empty() { "" } else { "\n" };
        let _ = write!(text, "{gap}== {}\n{lines}\n", scenario.name);
    }
    for (topic, text) in texts {
        let path = path(topic);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        fs::write(path, text).expect("the golden file can be written");
    }
}
