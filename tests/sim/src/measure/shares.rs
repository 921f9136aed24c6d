//! Who gets the requests: by group, and within a group by whether servers have a twin.

use super::output::{Share, round};
use crate::random::is_among;
use crate::scenario::Scenario;

/// Attempts sent to servers of one kind.
struct Kind {
    group: String,
    twin: bool,
    servers: u32,
    sent: u64,
}

/// Attempts by kind of server.
pub(super) struct Shares {
    kinds: Vec<Kind>,
    /// By server, the index of its kind.
    of: Vec<usize>,
}

impl Shares {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let (mut kinds, mut of): (Vec<Kind>, Vec<usize>) = (Vec::new(), Vec::new());
        for group in &scenario.servers {
            let first = kinds.len();
            for nth in 0..group.count {
                let twin = is_among(nth, scenario.reports.twin_percent);
                let known = kinds.iter().skip(first).position(|kind| kind.twin == twin);
                let index = known.map_or(kinds.len(), |index| first + index);
                if known.is_none() {
                    kinds.push(Kind { group: group.name.clone(), twin, servers: 0, sent: 0 });
                }
                kinds[index].servers += 1;
                of.push(index);
            }
        }
        Self { kinds, of }
    }

    pub(super) fn sent(&mut self, server: usize) {
        if let Some(kind) = self.of.get(server).and_then(|kind| self.kinds.get_mut(*kind)) {
            kind.sent += 1;
        }
    }

    /// Nothing where all servers are of one kind, or nobody chose a server.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn summary(&self) -> Vec<Share> {
        let all: u64 = self.kinds.iter().map(|kind| kind.sent).sum();
        if all == 0 || self.kinds.len() < 2 {
            return Vec::new();
        }
        let share = |kind: &Kind| Share {
            group: kind.group.clone(),
            twin: kind.twin,
            servers: kind.servers,
            sent: round(kind.sent as f64 / all as f64),
        };
        self.kinds.iter().map(share).collect()
    }
}
