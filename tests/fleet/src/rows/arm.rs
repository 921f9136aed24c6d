//! What is compared: a policy, what the servers' Envoys know, and leastload's configuration.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How a proxy chooses a server.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Envoy's `ROUND_ROBIN`.
    RoundRobin,
    /// Envoy's `LEAST_REQUEST`: the better of two at random (`choice_count` 2, the default).
    LeastRequest,
    /// Envoy's `LEAST_REQUEST` with `selection_method: FULL_SCAN`: the best of all.
    FullScan,
    /// Our filter; what it does not pick goes to `LEAST_REQUEST`.
    Leastload,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::RoundRobin, Self::LeastRequest, Self::FullScan, Self::Leastload];

    /// Its name in options and in the JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::RoundRobin => "round_robin",
            Self::LeastRequest => "least_request",
            Self::FullScan => "full_scan",
            Self::Leastload => "leastload",
        }
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "ROUND_ROBIN",
            Self::LeastRequest => "LEAST_REQUEST",
            Self::FullScan => "LEAST_REQUEST, FULL_SCAN",
            Self::Leastload => "leastload",
        }
    }
}

/// What stands before each server.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Twins {
    /// Nothing: proxies reach the server itself.
    None,
    /// An Envoy without the module.
    Plain,
    /// An Envoy with the module, role `inbound`.
    Module,
}

/// What a row's calls meet. Written `POLICY`, or `leastload` with `_without_twins` (the servers'
/// Envoys are plain ones) and `-VARIANT` (a configuration of that name).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// How its proxies choose.
    pub policy: Policy,
    /// Whether the servers' Envoys have the module too; only [`Policy::Leastload`] has it there.
    pub twins: bool,
    /// Name of the configuration that is merged over that of all leastload rows.
    pub variant: Option<String>,
}

/// Ends the name of an arm whose servers' Envoys are plain ones.
const WITHOUT_TWINS: &str = "_without_twins";

impl From<Policy> for Arm {
    fn from(policy: Policy) -> Self {
        Self { policy, twins: policy == Policy::Leastload, variant: None }
    }
}

impl Arm {
    /// Whether the module is in its proxies.
    pub fn steers(&self) -> bool {
        self.policy == Policy::Leastload
    }

    /// Its name in options and in the JSON; also of its listeners and clusters.
    pub fn key(&self) -> String {
        let mut key = self.policy.key().to_owned();
        if self.steers() && !self.twins {
            key.push_str(WITHOUT_TWINS);
        }
        if let Some(variant) = &self.variant {
            key.push('-');
            key.push_str(variant);
        }
        key
    }

    /// Its name for people.
    pub fn name(&self) -> String {
        let mut name = self.policy.name().to_owned();
        if self.steers() && !self.twins {
            name.push_str(" without twins");
        }
        if let Some(variant) = &self.variant {
            name.push_str(", ");
            name.push_str(variant);
        }
        name
    }

    fn parse(key: &str) -> Option<Self> {
        let (kind, variant) = match key.split_once('-') {
            Some((kind, variant)) => (kind, Some(variant)),
            None => (key, None),
        };
        let (policy, twins) = match kind.strip_suffix(WITHOUT_TWINS) {
            Some(policy) => (policy, false),
            None => (kind, true),
        };
        let policy = Policy::ALL.into_iter().find(|known| known.key() == policy)?;
        let leastload = policy == Policy::Leastload;
        if variant.is_some_and(|name| !leastload || !is_variant(name)) || !(leastload || twins) {
            return None;
        }
        Some(Self { policy, twins: leastload && twins, variant: variant.map(ToOwned::to_owned) })
    }
}

/// Whether a variant may be called so: it is part of listeners', clusters' and metrics' names.
pub fn is_variant(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Rows to measure at each of the loads. Written `ARM[@PROXIES][:LOAD]`: `full_scan@1` goes
/// through one proxy, `round_robin:0.8` is measured at loads up to 0.8 only.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// What its calls meet.
    pub arm: Arm,
    /// Through how many proxies; None is all of them.
    pub proxies: Option<usize>,
    /// Highest load at which it is measured.
    pub most_load: Option<f64>,
}

impl From<Policy> for Pattern {
    fn from(policy: Policy) -> Self {
        Self { arm: policy.into(), proxies: None, most_load: None }
    }
}

impl FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            let keys = Policy::ALL.map(Policy::key).join(", ");
            Error::Argument(format!(
                "'{text}' is no row: POLICY[@PROXIES][:LOAD] with one of {keys}, \
                 leastload{WITHOUT_TWINS}, leastload-VARIANT"
            ))
        };
        let (name, most_load) = match text.split_once(':') {
            Some((name, load)) => (name, Some(load.parse().map_err(|_| bad())?)),
            None => (text, None),
        };
        let (key, proxies) = match name.split_once('@') {
            Some((key, proxies)) => (key, Some(proxies.parse().map_err(|_| bad())?)),
            None => (name, None),
        };
        Ok(Self { arm: Arm::parse(key).ok_or_else(bad)?, proxies, most_load })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arm.key())?;
        if let Some(proxies) = self.proxies {
            write!(f, "@{proxies}")?;
        }
        self.most_load.map_or(Ok(()), |load| write!(f, ":{load}"))
    }
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What its calls meet.
    pub arm: Arm,
    /// Through how many proxies, each call through any of them.
    pub proxies: usize,
    /// Offered work as a share of what all servers together can do.
    pub load: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_they_are_written() {
        let known = "round_robin:0.8,full_scan@1,leastload,leastload_without_twins@3:0.5,\
                     leastload-slow_2,leastload_without_twins-x@1";
        for text in known.split(',') {
            assert_eq!(text.parse::<Pattern>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "random",
            "full_scan@",
            "full_scan@x",
            "full_scan:much",
            "full_scan-x",
            "round_robin_without_twins",
            "leastload-",
            "leastload-a.b",
            "leastload-a-b",
        ] {
            let error = text.parse::<Pattern>().unwrap_err().to_string();
            assert!(error.contains("full_scan, leastload"), "{error}");
        }
    }

    #[test]
    fn only_leastload_has_the_module_before_the_servers() {
        let arm = |text: &str| text.parse::<Pattern>().unwrap().arm;
        assert!(arm("leastload").twins && arm("leastload-x").twins);
        assert!(!arm("leastload_without_twins").twins && !arm("least_request").twins);
        assert_eq!(arm("leastload_without_twins-x").name(), "leastload without twins, x");
    }
}
