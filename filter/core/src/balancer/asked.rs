//! Whom a request asks before it is decided.

/// Most endpoints that one request asks.
pub const MOST_ASKED: usize = 8;

/// Endpoints that a request asks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    slots: [u32; MOST_ASKED],
    count: usize,
    /// Which of them are awaited still, a bit for each.
    awaited: u8,
    /// How many questions could not be sent.
    unsent: usize,
    /// Whoever got the questions: these slots are not to blame for silence.
    pub(super) anybody: bool,
}

impl Asked {
    pub(super) fn push(&mut self, slot: u32) {
        if let Some(place) = self.slots.get_mut(self.count) {
            *place = slot;
            self.awaited |= 1 << self.count;
            self.count += 1;
        }
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = u32> {
        self.slots.iter().copied().take(self.count)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// `slot` answered, or never will; true where it was the last awaited.
    pub(super) fn answered(&mut self, slot: u32) -> bool {
        let before = self.awaited;
        for (place, asked) in self.slots.iter().enumerate().take(self.count) {
            if *asked == slot {
                self.awaited &= !(1 << place);
            }
        }
        before != 0 && self.awaited == 0
    }

    /// What was answered is all that is needed.
    pub(super) fn suffice(&mut self) {
        self.awaited = 0;
    }

    /// The question to `slot` cannot be sent.
    pub(super) fn unsent(&mut self, slot: u32) {
        self.unsent += 1;
        self.answered(slot);
    }

    /// Whether most of those that were sent have been answered; `None` where none was.
    pub(super) fn most_answered(&self) -> Option<bool> {
        let sent = self.count.saturating_sub(self.unsent);
        (sent > 0).then(|| 2 * self.unanswered().count() < sent)
    }

    /// Who has not answered.
    pub(super) fn unanswered(self) -> impl Iterator<Item = u32> {
        (0..self.count)
            .filter(move |place| self.awaited & 1 << place != 0)
            .filter_map(move |place| self.slots.get(place).copied())
    }
}
