//! What happens to servers in the course of a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Group;
use crate::span::Span;

/// Something that happens to servers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When: before `duration`.
    pub at: Span,
    /// How long it lasts. By default for good. Of two alike at one server, the end of the first ends
    /// both.
    #[serde(default, rename = "for")]
    pub lasts: Option<Span>,
    /// It happens again and again, so long after it began; needs `for`, which is shorter.
    #[serde(default)]
    pub every: Option<Span>,
    /// Each further server is hit so much later than the one before it.
    #[serde(default)]
    pub stagger: Span,
    /// Whom it happens to. By default to all.
    #[serde(default)]
    pub servers: Targets,
    /// What.
    pub effect: Effect,
}

/// Which servers.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Targets {
    /// Those of the groups of this name; by default of all.
    pub group: Option<String>,
    /// Leaves out so many of them.
    pub skip: u32,
    /// At most so many.
    pub count: Option<u32>,
}

impl Targets {
    /// Whether servers of this group are meant.
    pub(crate) fn covers(&self, group: &Group) -> bool {
        self.group.as_ref().is_none_or(|name| *name == group.name)
    }
}

/// What happens.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// It works at this share of its speed; 0 pauses it (a garbage collector).
    Speed {
        /// The share, 0 to 100.
        factor: f64,
    },
    /// It fails requests at once instead of working on them, and looks idle.
    Fail {
        /// Percent of the requests.
        percent: f64,
        /// Time it takes to fail one.
        #[serde(default)]
        after: Span,
    },
    /// What it says of its load is this many times the truth.
    Lie {
        /// 0: always idle.
        factor: f64,
    },
    /// It stamps no response and answers no probe.
    Silence {},
    /// It dies with all it has; requests to it fail until it is back.
    Crash {},
    /// It leaves in order: the control plane is told, and after `grace` it refuses requests.
    Drain {
        /// From the news to the refusal; what is under way still ends.
        #[serde(default = "grace")]
        grace: Span,
    },
    /// It joins.
    Join {},
}

fn grace() -> Span {
    Span::ms(5_000)
}
