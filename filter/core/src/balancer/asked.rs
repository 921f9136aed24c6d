//! Whom a request asks before it is decided.

/// Most endpoints that one request asks.
pub const MOST_ASKED: usize = 8;

/// Endpoints that a request asks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    slots: [u32; MOST_ASKED],
    count: usize,
    awaited: usize,
}

impl Asked {
    pub(super) fn push(&mut self, slot: u32) {
        if let Some(place) = self.slots.get_mut(self.count) {
            *place = slot;
            self.count += 1;
            self.awaited += 1;
        }
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = u32> {
        self.slots.iter().copied().take(self.count)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// One answer less is awaited; true where that was the last.
    pub(super) fn answered(&mut self) -> bool {
        self.awaited = self.awaited.saturating_sub(1);
        self.awaited == 0
    }
}
