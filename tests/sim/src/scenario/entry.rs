//! How a scenario lists the policies under test.

use schemars::{JsonSchema, Schema, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::policy::Rule;

/// A policy under test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = or_a_name)]
pub struct Entry {
    /// Name in the output; by default that of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The rule. A policy may also be written as the rule's name alone: `"round_robin"`.
    pub rule: Rule,
}

impl Entry {
    /// Name in the output.
    pub fn label(&self) -> &str {
        self.label.as_deref().unwrap_or_else(|| self.rule.name())
    }
}

/// Lets the schema accept a rule's name as well.
fn or_a_name(schema: &mut Schema) {
    let rules = schemars::schema_for!(Rule);
    let rules = rules.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&Value> = rules.filter_map(|rule| rule.pointer("/required/0")).collect();
    let whole = std::mem::take(schema);
    *schema = json_schema!({
        "description": "A policy under test: a rule with its parameters, or its name alone.",
        "anyOf": [whole, {"type": "string", "enum": names}]
    });
}
