//! What a client does about failures. The paper says that Prequal has heuristics against servers
//! that look idle because they fail at once, and omits them (section 4, "error aversion"). These
//! are those of the crate prequal-core.

use crate::policy::ServerId;
use crate::span::SECOND;

/// Failures in a row that eject a server.
const FAILURES: u32 = 5;
/// First and longest time of ejection, in ns; it doubles each time.
const EJECTED: (u64, u64) = (SECOND, 30 * SECOND);

#[derive(Clone, Copy, Default)]
struct Record {
    failures: u32,
    /// End of the last ejection.
    until: u64,
    /// Its length.
    length: u64,
}

/// Servers that are left out for some time after five failures in a row.
#[derive(Default)]
pub(super) struct Ejections {
    /// By server.
    records: Vec<Record>,
}

impl Ejections {
    pub(super) fn ejected(&self, server: ServerId, now: u64) -> bool {
        self.records.get(server as usize).is_some_and(|record| now < record.until)
    }

    pub(super) fn succeeded(&mut self, server: ServerId) {
        if let Some(record) = self.records.get_mut(server as usize) {
            record.failures = 0;
        }
    }

    /// At most half of the `members` are ejected at a time.
    pub(super) fn failed(&mut self, server: ServerId, now: u64, members: usize) {
        let index = server as usize;
        if index >= self.records.len() {
            self.records.resize(index + 1, Record::default());
        }
        let ejected = self.records.iter().filter(|record| now < record.until).count();
        let record = &mut self.records[index];
        record.failures += 1;
        if record.failures < FAILURES || now < record.until || 2 * (ejected + 1) > members {
            return;
        }
        let (first, longest) = EJECTED;
        let forgiven = record.length == 0 || now >= record.until + longest;
        record.length = if forgiven { first } else { (record.length * 2).min(longest) };
        record.until = now + record.length;
        record.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds from `now` for which five failures eject.
    fn five(ejections: &mut Ejections, server: ServerId, now: u64, members: usize) -> u64 {
        (0..5).for_each(|_| ejections.failed(server, now * SECOND, members));
        (0..100).find(|later| !ejections.ejected(server, (now + later) * SECOND)).unwrap()
    }

    #[test]
    fn five_failures_in_a_row_eject_for_longer_each_time() {
        let mut ejections = Ejections::default();
        for round in 0..20 {
            ejections.failed(3, round, 4);
            if round % 4 == 3 {
                ejections.succeeded(3);
            }
        }
        assert!(!ejections.ejected(3, 20), "never five in a row");
        let mut now = 1;
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(five(&mut ejections, 3, now, 4), seconds);
            now += seconds;
        }
        assert_eq!(five(&mut ejections, 3, now + 30, 4), 1, "forgiven");
    }

    #[test]
    fn half_of_the_servers_stay() {
        let mut ejections = Ejections::default();
        let lengths: Vec<u64> = (0..4).map(|server| five(&mut ejections, server, 0, 5)).collect();
        assert_eq!(lengths, [1, 1, 0, 0]);
    }
}
