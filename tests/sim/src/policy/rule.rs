//! How a scenario names a policy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::c3::C3Config;
use super::fresh::FreshAnswersConfig;
use super::least_request::{FullScanConfig, LeastRequestConfig};
use super::leastload::LeastloadConfig;
use super::peak_ewma::PeakEwmaConfig;
use super::perfect::{JoinShortestQueue, ShortestExpectedDelay};
use super::prequal::{PrequalConfig, PrequalSyncConfig};
use super::weighted_round_robin::WeightedRoundRobinConfig;
use super::{Policy, central::Central, random::Random, round_robin::RoundRobin};
use crate::scenario::Scenario;

/// A policy and its parameters; `{}` stands for the defaults of its source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    /// A server at random.
    Random {},
    /// Envoy's `ROUND_ROBIN`: each worker takes turns by itself.
    RoundRobin {},
    /// Envoy's `LEAST_REQUEST`: the least of a few drawn at random.
    LeastRequest(LeastRequestConfig),
    /// Envoy's `LEAST_REQUEST` with `FULL_SCAN`: the least of all.
    FullScan(FullScanConfig),
    /// Finagle's and Linkerd's Peak EWMA: the better of two.
    PeakEwma(PeakEwmaConfig),
    /// gRPC's client-side weighted round robin, by what servers report (gRFC A58).
    WeightedRoundRobin(WeightedRoundRobinConfig),
    /// Perfect knowledge of requests outstanding.
    JoinShortestQueue {},
    /// Perfect knowledge of requests outstanding, slots and speeds.
    ShortestExpectedDelay {},
    /// Perfect knowledge of a few servers: what probing could be worth.
    FreshAnswers(FreshAnswersConfig),
    /// C3's ranking, by stamps on responses.
    C3(C3Config),
    /// Prequal: probes of earlier requests decide.
    Prequal(PrequalConfig),
    /// Prequal: each request waits for answers to its own probes.
    PrequalSync(PrequalSyncConfig),
    /// leastload.
    Leastload(LeastloadConfig),
    /// The limit: one queue in front of all servers.
    Central {},
}

impl Rule {
    /// Every rule's name.
    pub const NAMES: [&str; 14] = [
        "random",
        "round_robin",
        "least_request",
        "full_scan",
        "peak_ewma",
        "weighted_round_robin",
        "join_shortest_queue",
        "shortest_expected_delay",
        "fresh_answers",
        "c3",
        "prequal",
        "prequal_sync",
        "leastload",
        "central",
    ];

    /// What proxies without the policy under test run.
    pub(crate) fn fallback() -> Self {
        Self::LeastRequest(LeastRequestConfig::default())
    }

    /// As scenarios write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Random {} => "random",
            Self::RoundRobin {} => "round_robin",
            Self::LeastRequest(_) => "least_request",
            Self::FullScan(_) => "full_scan",
            Self::PeakEwma(_) => "peak_ewma",
            Self::WeightedRoundRobin(_) => "weighted_round_robin",
            Self::JoinShortestQueue {} => "join_shortest_queue",
            Self::ShortestExpectedDelay {} => "shortest_expected_delay",
            Self::FreshAnswers(_) => "fresh_answers",
            Self::C3(_) => "c3",
            Self::Prequal(_) => "prequal",
            Self::PrequalSync(_) => "prequal_sync",
            Self::Leastload(_) => "leastload",
            Self::Central {} => "central",
        }
    }

    /// Whether its parameters make sense.
    ///
    /// # Errors
    /// A sentence that names the faulty parameter.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Random {}
            | Self::RoundRobin {}
            | Self::JoinShortestQueue {}
            | Self::ShortestExpectedDelay {}
            | Self::Central {} => Ok(()),
            Self::LeastRequest(config) => config.check(),
            Self::FullScan(config) => config.check(),
            Self::PeakEwma(config) => config.check(),
            Self::FreshAnswers(config) => config.check(),
            Self::C3(config) => config.check(),
            Self::Prequal(config) => config.check(),
            Self::PrequalSync(config) => config.check(),
            Self::Leastload(config) => config.check(),
            Self::WeightedRoundRobin(config) => config.check(),
        }
    }

    /// The policy of one proxy. `seed` is another for each.
    pub(crate) fn build(&self, scenario: &Scenario, seed: u64) -> Box<dyn Policy> {
        match self {
            Self::Random {} => Box::new(Random::default()),
            Self::RoundRobin {} => Box::new(RoundRobin::default()),
            Self::LeastRequest(config) => Box::new(config.build()),
            Self::FullScan(config) => Box::new(config.build()),
            Self::PeakEwma(config) => Box::new(config.build()),
            Self::WeightedRoundRobin(config) => Box::new(config.build()),
            Self::JoinShortestQueue {} => Box::new(JoinShortestQueue::default()),
            Self::ShortestExpectedDelay {} => Box::new(ShortestExpectedDelay::default()),
            Self::FreshAnswers(config) => Box::new(config.build()),
            Self::C3(config) => Box::new(config.build(scenario.proxies.count)),
            Self::Prequal(config) => Box::new(config.build(scenario.proxies.count)),
            Self::PrequalSync(config) => Box::new(config.build()),
            Self::Leastload(config) => Box::new(config.build(scenario, seed)),
            Self::Central {} => Box::new(Central),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(json: &str) -> Result<Rule, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn a_rule_without_parameters_has_the_defaults() {
        for name in Rule::NAMES {
            let rule = rule(&format!(r#"{{"{name}": {{}}}}"#)).unwrap();
            assert_eq!((rule.name(), rule.check()), (name, Ok(())));
        }
    }

    #[test]
    fn bad_parameters_are_named() {
        for (json, field) in [
            (r#"{"least_request": {"choice_count": 1}}"#, "choice_count"),
            (r#"{"least_request": {"active_request_bias": -1}}"#, "active_request_bias"),
            (r#"{"full_scan": {"active_request_bias": 1e9}}"#, "active_request_bias"),
            (r#"{"peak_ewma": {"decay": "0s"}}"#, "decay"),
            (
                r#"{"fresh_answers": {"score": {"wait": {"service_weight": 2}}}}"#,
                "score.wait.service_weight",
            ),
            (r#"{"leastload": {"tuning": {"fade": 1, "haste": 1}}}"#, "tuning.haste"),
            (r#"{"leastload": {"twin": {"prior": 1, "budget": 1}}}"#, "twin.budget"),
            (r#"{"c3": {"weight": 0}}"#, "weight"),
            (r#"{"prequal": {"pool": 1}}"#, "pool"),
            (r#"{"prequal": {"piggyback": true}}"#, "piggyback"),
            (r#"{"prequal": {"score": {"c3": {"weight": 2}}}}"#, "score.c3.weight"),
            (r#"{"prequal": {"latency": {"model": {"slots": 0}}}}"#, "latency.model.slots"),
            (r#"{"prequal_sync": {"probes": 3, "answers": 4}}"#, "answers"),
            (r#"{"prequal_sync": {"probes": 0}}"#, "probes"),
            (r#"{"weighted_round_robin": {"weight_update_period": "99ms"}}"#, "weight_update"),
            (r#"{"weighted_round_robin": {"oob_reporting_period": "9ms"}}"#, "oob_reporting"),
            (r#"{"weighted_round_robin": {"error_utilization_penalty": -1}}"#, "error_utilization"),
        ] {
            let what = rule(json).unwrap().check().unwrap_err();
            assert!(what.starts_with(field), "{what}");
        }
        assert!(rule(r#"{"full_scan": {"choice_count": 2}}"#).unwrap_err().contains("unknown"));
    }
}
