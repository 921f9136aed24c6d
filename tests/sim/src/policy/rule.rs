//! How a scenario names a policy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Policy, central::Central, least_request::LeastRequest, random::Random};
use crate::scenario::Scenario;

/// A policy and its parameters; `{}` stands for the defaults of its source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    /// A server at random.
    Random {},
    /// Envoy's `LEAST_REQUEST`.
    LeastRequest {},
    /// The limit: one queue in front of all servers.
    Central {},
}

impl Rule {
    /// As scenarios write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Random {} => "random",
            Self::LeastRequest {} => "least_request",
            Self::Central {} => "central",
        }
    }

    /// Whether its parameters make sense.
    ///
    /// # Errors
    /// A sentence that names the faulty parameter.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Random {} | Self::LeastRequest {} | Self::Central {} => Ok(()),
        }
    }

    /// The policy of one proxy. `seed` is another for each.
    pub(crate) fn build(&self, _scenario: &Scenario, _seed: u64) -> Box<dyn Policy> {
        match self {
            Self::Random {} => Box::new(Random::default()),
            Self::LeastRequest {} => Box::new(LeastRequest::default()),
            Self::Central {} => Box::new(Central),
        }
    }
}
