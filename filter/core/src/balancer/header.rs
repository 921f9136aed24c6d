//! The value of the override header.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Balancer, Call, Verdict};
use crate::config::Mechanism;

impl Balancer {
    /// What the override header must say for this call to go where it was counted: one endpoint in
    /// base64 for `stateful_session`, the pick and its spares for `override_host`. `None` unless the
    /// verdict is [`Verdict::Steer`].
    pub fn override_value(&mut self, call: &Call, mechanism: Mechanism) -> Option<&str> {
        if call.verdict != Verdict::Steer {
            return None;
        }
        let cluster = self.clusters.get_mut(call.cluster.index())?;
        match mechanism {
            Mechanism::StatefulSession => {
                let endpoint = cluster.endpoint_mut(call.picks.first()?)?;
                let encode = || STANDARD.encode(&endpoint.name).into_boxed_str();
                Some(endpoint.encoded.get_or_insert_with(encode))
            }
            Mechanism::OverrideHost => {
                self.value.clear();
                for endpoint in call.picks.iter().filter_map(|slot| cluster.endpoint(slot)) {
                    if !self.value.is_empty() {
                        self.value.push(',');
                    }
                    self.value.push_str(&endpoint.name);
                }
                Some(&self.value)
            }
        }
    }
}
