//! Whether the proxy drains: its servers say so to whoever asks, while requests still reach them.

use std::io::Read;

use super::Balancer;
use super::coordinating::{ANSWER_MS, AdminRequest};
use crate::config::Config;
use crate::proxy::Proxy;
use crate::records::{self, STATE, State};

/// After a question without an answer it waits so long.
const RETRY_MS: u64 = 30_000;

/// What is known of it, and what the coordinator asks.
#[derive(Default)]
pub(super) struct Serving {
    pub(super) drains: bool,
    asked_ms: Option<u64>,
    next_ms: u64,
    /// The same where the proxy is idle.
    idle_next_ms: u64,
}

impl Serving {
    /// Whether an answer is awaited.
    pub(super) fn is_asked(&mut self, now_ms: u64) -> bool {
        self.asked_ms = self.asked_ms.filter(|asked| now_ms.saturating_sub(*asked) < ANSWER_MS);
        self.asked_ms.is_some()
    }

    pub(super) fn stop_asking(&mut self) {
        self.asked_ms = None;
    }
}

impl Balancer {
    /// What the coordinator of a proxy with servers asks now and then.
    pub(super) fn ready_question(&mut self) -> Option<AdminRequest> {
        let (serving, now_ms) = (&mut self.serving, self.now_ms);
        let next_ms = if self.pace.is_idle() { serving.idle_next_ms } else { serving.next_ms };
        if self.twins.is_empty() || now_ms < next_ms {
            return None;
        }
        serving.asked_ms = Some(now_ms);
        serving.next_ms = now_ms.saturating_add(RETRY_MS);
        serving.idle_next_ms = serving.next_ms;
        Some(AdminRequest { path: "/ready".to_owned() })
    }

    /// An answer of the admin interface, of whatever status: `/ready` says 200 and `LIVE`, or 503 and
    /// `DRAINING` after a POST to `/healthcheck/fail`. True where that was what was asked; otherwise
    /// it is an answer for [`Balancer::admin_answered`].
    pub fn ready_answered(&mut self, proxy: &dyn Proxy, config: &Config, body: impl Read) -> bool {
        if !self.serving.is_asked(self.now_ms) {
            return false;
        }
        self.serving.stop_asking();
        let mut word = Vec::new();
        let read = body.take(16).read_to_end(&mut word).is_ok();
        let drains = read && word.starts_with(b"DRAINING");
        if drains || word.starts_with(b"LIVE") {
            let discovery = &config.discovery;
            self.serving.next_ms = self.now_ms.saturating_add(discovery.interval_ms);
            self.serving.idle_next_ms = self.now_ms.saturating_add(discovery.idle_interval_ms());
        }
        records::update::<State>(proxy, STATE, |state| {
            core::mem::replace(&mut state.draining, drains) != drains
        });
        self.serving.drains = drains;
        true
    }
}
