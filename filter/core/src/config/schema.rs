//! Every field there is: its name, what it takes, its default. The reader takes names, ranges and
//! the words of its faults from here, and a test holds docs/configuration.md against it.

/// The values a field takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number, both ends included.
    Whole(u32, u32),
    /// Any number, both ends included.
    Number(u32, u32),
    /// A duration, both ends in ms and included.
    Duration(u32, u32),
    /// An HTTP header's name.
    Header,
    /// A cluster's name, or nothing.
    ClusterName,
    /// An object with fields of its own, in the section of that path.
    Fields,
    /// An object from method to its settings.
    Methods,
    /// An object from a cluster's name or prefix to its settings.
    Clusters,
    /// An object from a cluster's name to its endpoints.
    EndpointMap,
    /// That, or just the endpoints.
    Endpoints,
}

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// The values it takes.
    pub kind: Kind,
    /// Its default as JSON; empty where there is none of its own.
    pub default: &'static str,
}

/// The fields of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// The object's path, empty for the top level; `*` stands for the operator's own names.
    pub path: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
}

const fn field(name: &'static str, kind: Kind, default: &'static str) -> Field {
    Field { name, kind, default }
}

const PERCENT: Kind = Kind::Number(0, 100);
const SCAN_LIMIT: Kind = Kind::Whole(1, 100_000);
const SAMPLES: Kind = Kind::Whole(2, 64);
const IDLE: Kind = Kind::Whole(0, 64);
const MINUTE: u32 = 60_000;
const HOUR: u32 = 60 * MINUTE;

/// The words of `mode` in `rollout`.
pub(super) const MODES: &[&str] = &["enforce", "shadow"];
/// The words of `role`.
pub(super) const ROLES: &[&str] = &["auto", "outbound", "inbound"];
/// The words of `traffic`.
pub(super) const TRAFFIC: &[&str] = &["grpc", "all"];
/// The words of `mechanism` in `override`.
pub(super) const MECHANISMS: &[&str] = &["stateful_session", "override_host"];
/// The words of `mode` in `probe`.
pub(super) const PROBE_MODES: &[&str] = &["off", "auto", "always"];
/// The words of `stamp` in `report`.
pub(super) const AUDIENCES: &[&str] = &["askers", "all", "off"];
/// The words of `format` in `report`.
pub(super) const FORMATS: &[&str] = &["bin", "text", "json"];
/// The words of `allow` in `probe`.
pub(super) const ALLOWED: &[&str] = &["mtls", "any"];

pub(super) const TOP: &[Field] = &[
    field("role", Kind::Choice(ROLES), "\"auto\""),
    field("enabled", Kind::Bool, "true"),
    field("traffic", Kind::Choice(TRAFFIC), "\"grpc\""),
    field("panic_threshold", PERCENT, "0"),
    field("methods", Kind::Methods, "{}"),
    field("clusters", Kind::Clusters, "{}"),
    field("override", Kind::Fields, "{}"),
    field("discovery", Kind::Fields, "{}"),
    field("rollout", Kind::Fields, "{}"),
    field("picker", Kind::Fields, "{}"),
    field("estimate", Kind::Fields, "{}"),
    field("report", Kind::Fields, "{}"),
    field("probe", Kind::Fields, "{}"),
    field("edge", Kind::Bool, "false"),
];
pub(super) const METHOD: &[Field] = &[field("cost", Kind::Number(0, 1000), "1")];
pub(super) const OVERRIDE: &[Field] = &[
    field("mechanism", Kind::Choice(MECHANISMS), "\"stateful_session\""),
    field("header", Kind::Header, "\"x-leastload-host\""),
    field("spares", Kind::Whole(0, 8), "2"),
];
pub(super) const DISCOVERY: &[Field] = &[
    field("static", Kind::EndpointMap, "{}"),
    field("admin_cluster", Kind::ClusterName, "\"prometheus_stats\""),
    field("interval", Kind::Duration(100, HOUR), "\"1s\""),
    field("max_age", Kind::Duration(100, 24 * HOUR), "\"10s\""),
    field("learn_percent", Kind::Number(0, 50), "2"),
];
pub(super) const ROLLOUT: &[Field] =
    &[field("percent", PERCENT, "100"), field("mode", Kind::Choice(MODES), "\"enforce\"")];
pub(super) const PICKER: &[Field] = &[
    field("scan_limit", SCAN_LIMIT, "32"),
    field("samples", SAMPLES, "8"),
    field("idle", IDLE, "4"),
];
pub(super) const ESTIMATE: &[Field] = &[
    field("reports", Kind::Bool, "true"),
    field("speed", Kind::Bool, "true"),
    field("failures", Kind::Bool, "true"),
];
pub(super) const REPORT: &[Field] = &[
    field("stamp", Kind::Choice(AUDIENCES), "\"askers\""),
    field("format", Kind::Choice(FORMATS), "\"bin\""),
];
pub(super) const PROBE: &[Field] = &[
    field("mode", Kind::Choice(PROBE_MODES), "\"auto\""),
    field("deadline", Kind::Duration(1, 1000), "\"10ms\""),
    field("fanout", Kind::Whole(1, 8), "3"),
    field("budget", Kind::Whole(0, 100_000), "200"),
    field("server_budget", Kind::Whole(1, 100_000), "200"),
    field("cluster", Kind::ClusterName, "\"\""),
    field("allow", Kind::Choice(ALLOWED), "\"mtls\""),
    field("header", Kind::Header, "\"x-leastload-ask\""),
];
pub(super) const CLUSTER: &[Field] = &[
    field("enabled", Kind::Bool, ""),
    field("panic_threshold", PERCENT, ""),
    field("picker", Kind::Fields, ""),
    field("estimate", Kind::Fields, ""),
    field("probe", Kind::Fields, ""),
    field("discovery", Kind::Fields, ""),
];
/// The reader takes [`PICKER`] for it: the two differ in their defaults alone.
const CLUSTER_PICKER: &[Field] =
    &[field("scan_limit", SCAN_LIMIT, ""), field("samples", SAMPLES, ""), field("idle", IDLE, "")];
/// The reader takes [`ESTIMATE`] for it.
const CLUSTER_ESTIMATE: &[Field] = &[
    field("reports", Kind::Bool, ""),
    field("speed", Kind::Bool, ""),
    field("failures", Kind::Bool, ""),
];
pub(super) const CLUSTER_PROBE: &[Field] =
    &[field("mode", Kind::Choice(PROBE_MODES), ""), field("cluster", Kind::ClusterName, "")];
pub(super) const CLUSTER_DISCOVERY: &[Field] = &[field("static", Kind::Endpoints, "")];

/// Every field there is, by section.
pub const FIELDS: &[Section] = &[
    Section { path: "", fields: TOP },
    Section { path: "methods.*", fields: METHOD },
    Section { path: "override", fields: OVERRIDE },
    Section { path: "discovery", fields: DISCOVERY },
    Section { path: "rollout", fields: ROLLOUT },
    Section { path: "picker", fields: PICKER },
    Section { path: "estimate", fields: ESTIMATE },
    Section { path: "report", fields: REPORT },
    Section { path: "probe", fields: PROBE },
    Section { path: "clusters.*", fields: CLUSTER },
    Section { path: "clusters.*.picker", fields: CLUSTER_PICKER },
    Section { path: "clusters.*.estimate", fields: CLUSTER_ESTIMATE },
    Section { path: "clusters.*.probe", fields: CLUSTER_PROBE },
    Section { path: "clusters.*.discovery", fields: CLUSTER_DISCOVERY },
];

impl Kind {
    /// What belongs there, in words.
    pub fn expected(self) -> String {
        match self {
            Self::Bool => "a boolean".to_owned(),
            Self::Choice(words) => {
                let mut text = String::from("one of ");
                list(&mut text, words.iter().map(|word| format!("\"{word}\"")));
                text
            }
            Self::Whole(min, max) => format!("a whole number from {min} to {max}"),
            Self::Number(min, max) => format!("a number from {min} to {max}"),
            Self::Duration(min, max) => {
                let ends = (duration(min.into()), duration(max.into()));
                format!("a duration between {} and {}", ends.0, ends.1)
            }
            Self::Header => {
                "a lower-case HTTP header name with no meaning of its own to HTTP, gRPC or Envoy"
                    .to_owned()
            }
            Self::ClusterName => "a cluster name, or \"\" for none".to_owned(),
            Self::Fields => "an object".to_owned(),
            Self::Methods => "an object from method to settings".to_owned(),
            Self::Clusters => "an object from cluster to settings".to_owned(),
            Self::EndpointMap => "an object from cluster to list of endpoints".to_owned(),
            Self::Endpoints => {
                "a list of endpoints, or an object from cluster to list of endpoints".to_owned()
            }
        }
    }
}

/// Appends `words`, separated by commas.
pub(super) fn list(text: &mut String, words: impl Iterator<Item = String>) {
    for (index, word) in words.enumerate() {
        text.push_str(if index == 0 { "" } else { ", " });
        text.push_str(&word);
    }
}

/// `ms` in the largest unit that gives a whole number.
pub(super) fn duration(ms: u64) -> String {
    let units = [(u64::from(HOUR), "h"), (MINUTE.into(), "m"), (1000, "s")];
    let fitting = units.into_iter().find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit));
    let (unit, suffix) = fitting.unwrap_or((1, "ms"));
    format!("{}{suffix}", ms / unit)
}

/// A duration in ms: a decimal number and `ms`, `s`, `m` or `h`. `None` where it is no duration,
/// too long to count, or not a whole number of ms.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    let end = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, suffix) = text.split_at_checked(end)?;
    let unit = match suffix {
        "ms" => 1,
        "s" => 1000,
        "m" => MINUTE.into(),
        "h" => HOUR.into(),
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| {
        let fits = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| text.parse::<u64>().ok()).flatten()
    };
    // At most 10^9 hours: far from overflowing.
    let parts = 10u64.pow(u32::try_from(fraction.len()).ok().filter(|digits| *digits <= 9)?);
    let part = digits(fraction)? * unit;
    part.is_multiple_of(parts).then_some(digits(whole)? * unit + part / parts)
}
