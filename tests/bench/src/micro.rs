//! What criterion said of core: `benches/core.rs` names the groups, this reads its files.

use std::{fs, path::Path};

use serde::Serialize;
use serde_json::Value;

/// Longest time of a pick by number of endpoints, in nanoseconds.
const TARGETS_NS: [(&str, f64); 3] =
    [("pick/10", 100.0), ("pick/1000", 1_000.0), ("pick/10000", 2_000.0)];

/// One benchmark.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Micro {
    /// Group and parameter: `pick/10`.
    pub name: String,
    /// Median time of an iteration, in nanoseconds.
    pub median_ns: f64,
    /// Its 95 % confidence interval.
    pub confident_ns: (f64, f64),
    /// What it should not exceed.
    pub target_ns: Option<f64>,
}

/// The results below criterion's folder, in the order of the names; empty if it did not run.
pub fn read(folder: &Path) -> Vec<Micro> {
    let mut found = Vec::new();
    for group in names(folder) {
        for parameter in names(&folder.join(&group)) {
            let name = format!("{group}/{parameter}");
            let file = folder.join(&name).join("new/estimates.json");
            let text = fs::read_to_string(file).unwrap_or_default();
            found.extend(serde_json::from_str(&text).ok().and_then(|json| one(&name, &json)));
        }
    }
    found.sort_by_key(|micro| key(&micro.name));
    found
}

fn one(name: &str, estimates: &Value) -> Option<Micro> {
    let median = &estimates["median"];
    let interval = &median["confidence_interval"];
    let target = TARGETS_NS.iter().find(|(of, _)| *of == name);
    Some(Micro {
        name: name.to_owned(),
        median_ns: median["point_estimate"].as_f64()?,
        confident_ns: (interval["lower_bound"].as_f64()?, interval["upper_bound"].as_f64()?),
        target_ns: target.map(|(_, ns)| *ns),
    })
}

/// By group, then by number.
fn key(name: &str) -> (String, u64, String) {
    let (group, parameter) = name.split_once('/').unwrap_or((name, ""));
    (group.to_owned(), parameter.parse().unwrap_or(0), parameter.to_owned())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn criterions_files_are_read_in_order() {
        let folder = std::env::temp_dir().join(format!("leastload-micro-{}", std::process::id()));
        for (name, median) in [("pick/1000", 700.5), ("pick/10", 90.0), ("parse/large", 5e4)] {
            let place = folder.join(name).join("new");
            fs::create_dir_all(&place).unwrap();
            let json = serde_json::json!({"median": {"point_estimate": median,
                "confidence_interval": {"lower_bound": median - 1.0, "upper_bound": median + 1.0}}});
            fs::write(place.join("estimates.json"), json.to_string()).unwrap();
        }
        fs::create_dir_all(folder.join("pick/report")).unwrap();
        let read = read(&folder);
        fs::remove_dir_all(&folder).unwrap();
        let names: Vec<_> = read.iter().map(|micro| micro.name.as_str()).collect();
        assert_eq!(names, ["parse/large", "pick/10", "pick/1000"]);
        assert_eq!((read[2].median_ns, read[2].target_ns), (700.5, Some(1_000.0)));
        assert_eq!(read[0].target_ns, None);
        assert!(super::read(Path::new("/nowhere")).is_empty());
    }
}
