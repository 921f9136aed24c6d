//! How a scenario configures leastload.

use std::collections::BTreeMap;

use leastload_core::config::Config;
use leastload_core::estimate::Tuning;
use leastload_core::twin::TwinTuning;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Parameters of leastload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LeastloadConfig {
    /// The module's configuration, as docs/configuration.md has it.
    pub config: Map<String, Value>,
    /// Parameters of core's estimator (`leastload_core::estimate::Tuning`), where they differ from
    /// what the module has.
    pub tuning: BTreeMap<String, f32>,
    /// Parameters of core's twin (`leastload_core::twin::TwinTuning`), likewise. Its budget is
    /// `probe.server_budget` of `config`.
    pub twin: BTreeMap<String, f32>,
}

impl LeastloadConfig {
    pub(in crate::policy) fn check(&self) -> Result<(), String> {
        self.tuned()?;
        self.twin(&Config::default())?;
        let text = Value::from(self.config.clone()).to_string();
        Config::parse(text.as_bytes()).map(drop).map_err(|faults| format!("config: {faults}"))
    }

    pub(super) fn tuned(&self) -> Result<Tuning, String> {
        let mut tuning = Tuning::default();
        for (name, value) in &self.tuning {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let whole = *value as usize;
            match name.as_str() {
                "service_weight" => tuning.service_weight = *value,
                "jitter" => tuning.jitter = *value,
                "fresh" => tuning.fresh = *value,
                "fade" => tuning.fade = *value,
                "stale_samples" => tuning.stale_samples = whole,
                "ask_pool" => tuning.ask_pool = whole,
                "good_enough" => tuning.good_enough = *value,
                "caution" => tuning.caution = *value,
                "stamp_every" => tuning.stamp_every = *value,
                "spread" => tuning.spread = *value,
                _ => return Err(format!("tuning.{name}: there is no such parameter")),
            }
        }
        Ok(tuning)
    }

    pub(super) fn twin(&self, config: &Config) -> Result<TwinTuning, String> {
        #[allow(clippy::cast_precision_loss)]
        let budget = config.probe.server_budget as f32;
        let mut tuning = TwinTuning { budget, ..TwinTuning::default() };
        for (name, value) in &self.twin {
            let field = match name.as_str() {
                "prior" => &mut tuning.prior,
                "shape_half_ms" => &mut tuning.shape_half_ms,
                "scale_half_ms" => &mut tuning.scale_half_ms,
                "shape_requests" => &mut tuning.shape_requests,
                "scale_requests" => &mut tuning.scale_requests,
                "inertia" => &mut tuning.inertia,
                "hope_half_ms" => &mut tuning.hope_half_ms,
                _ => return Err(format!("twin.{name}: there is no such parameter")),
            };
            *field = *value;
        }
        Ok(tuning)
    }
}
