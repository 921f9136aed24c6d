//! Outstanding work: up once, down once, exact over all workers of one proxy.
//!
//! Every VM keeps what it has outstanding in memory and adds it to process-wide gauges, so that a
//! pick reads one number per endpoint. Two sets of gauges exist; the epoch says which one counts
//! (see [`crate::presence`] for why).

use crate::Map;
use crate::ages::{Ages, Term};
use crate::proxy::{GaugeId, Proxy};
use crate::work::Work;

/// The VM's own counts, and its way to the gauges.
#[derive(Default)]
pub struct Ledger {
    books: Vec<Book>,
    names: Map<String, u32>,
    set: usize,
    local: bool,
}

/// One cluster's counts by slot.
struct Book {
    cluster: String,
    slots: Vec<Slot>,
}

#[derive(Clone, Default)]
struct Slot {
    own: Work,
    /// What all workers had when it was found last.
    found: Work,
    ages: Ages,
    gauges: [Option<GaugeId>; 2],
}

impl Ledger {
    /// Opens the counts of a cluster; its index is the argument of all other calls.
    pub fn open(&mut self, cluster: &str) -> usize {
        if let Some(book) = self.names.get(cluster) {
            return *book as usize;
        }
        let book = self.books.len();
        self.books.push(Book { cluster: cluster.to_owned(), slots: Vec::new() });
        self.names.insert(cluster.to_owned(), u32::try_from(book).unwrap_or(u32::MAX));
        book
    }

    /// Counts this VM's work only: for a proxy that drops our gauges from its statistics.
    pub fn stay_local(&mut self) {
        self.local = true;
    }

    /// Whether only this VM's own work is known.
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// `work` starts at `slot`.
    pub fn up(&mut self, proxy: &dyn Proxy, book: usize, slot: u32, work: Work) {
        if let Some(entry) = self.slot(book, slot) {
            entry.own += work;
            self.add(proxy, book, slot, signed(work));
        }
    }

    /// `work` ended at `slot`. More than was counted there is ignored.
    pub fn down(&mut self, proxy: &dyn Proxy, book: usize, slot: u32, work: Work) {
        if let Some(entry) = self.slot(book, slot) {
            let ended = work.min(entry.own);
            entry.own -= ended;
            self.add(proxy, book, slot, -signed(ended));
        }
    }

    /// `work` starts at `slot` that may last: to be ended by [`Ledger::finish`].
    pub fn begin(&mut self, proxy: &dyn Proxy, book: usize, slot: u32, work: Work) -> Term {
        self.up(proxy, book, slot, work);
        self.slot(book, slot).map_or(Term::default(), |entry| entry.ages.begin(work.milli()))
    }

    /// What began then ended, counted still or not.
    pub fn finish(&mut self, proxy: &dyn Proxy, book: usize, slot: u32, work: Work, began: Term) {
        if self.slot(book, slot).is_some_and(|entry| entry.ages.finish(began, work.milli())) {
            self.down(proxy, book, slot, work);
        }
    }

    /// Whether what began then is counted no more.
    pub fn is_long(&self, book: usize, slot: u32, began: Term) -> bool {
        let entry = self.books.get(book).and_then(|book| book.slots.get(slot as usize));
        entry.is_some_and(|entry| entry.ages.is_long(began))
    }

    /// So much time passes at `slot`: what has lasted for longer than `longest_us` is counted no more.
    pub fn pass(
        &mut self,
        proxy: &dyn Proxy,
        book: usize,
        slot: u32,
        elapsed_us: u64,
        longest_us: u64,
    ) {
        let old = self.slot(book, slot).map_or(0, |entry| entry.ages.pass(elapsed_us, longest_us));
        if old > 0 {
            self.down(proxy, book, slot, Work::from_milli(old));
        }
    }

    /// The counts of one cluster, for many looks at once.
    pub fn counts(&mut self, book: usize) -> Option<Counts<'_>> {
        let (set, local) = (self.set, self.local);
        self.books.get_mut(book).map(|book| Counts { book, set, local })
    }

    /// This VM's own outstanding work at `slot`.
    pub fn own(&self, book: usize, slot: u32) -> Work {
        self.books.get(book).map_or(Work::ZERO, |book| book.own(slot))
    }

    /// Whether this VM has nothing outstanding.
    pub fn is_idle(&self) -> bool {
        self.books.iter().flat_map(|book| &book.slots).all(|slot| slot.own.is_zero())
    }

    /// The outstanding work at `slot` over all workers. Never below this VM's own, never negative.
    pub fn outstanding(&mut self, proxy: &dyn Proxy, book: usize, slot: u32) -> Work {
        self.counts(book).map_or(Work::ZERO, |mut counts| counts.outstanding(proxy, slot))
    }

    /// The same, as it was [found](Counts::find) last: another look costs a host call.
    pub fn found(&self, book: usize, slot: u32) -> Work {
        self.books.get(book).map_or(Work::ZERO, |book| book.found(slot))
    }

    /// Whether both gauges of a slot are at zero, so that another endpoint may have it.
    pub fn is_free(&mut self, proxy: &dyn Proxy, book: usize, slot: u32) -> bool {
        let clear = |gauge: Option<GaugeId>| gauge.is_none_or(|g| proxy.gauge_read(g) <= 0);
        let local = self.local;
        let Some(book) = self.books.get_mut(book) else { return true };
        book.own(slot).is_zero() && (local || (0..2).all(|set| clear(book.gauge(proxy, slot, set))))
    }

    /// Makes `epoch` the one this VM counts in, and brings along what it has outstanding. What it
    /// had in the other set is left there: that set is abandoned and will be zeroed.
    pub fn carry_over(&mut self, proxy: &dyn Proxy, epoch: u32) {
        self.set = (epoch & 1) as usize;
        for book in 0..self.books.len() {
            let slots = self.books.get(book).map_or(0, |book| book.slots.len());
            for slot in 0..u32::try_from(slots).unwrap_or(u32::MAX) {
                let own = self.own(book, slot);
                if !own.is_zero() {
                    self.add(proxy, book, slot, signed(own));
                }
            }
        }
    }

    /// Zeroes the first `slots` slots of a cluster in the set that `epoch` does not use.
    pub fn zero_other(&mut self, proxy: &dyn Proxy, book: usize, slots: u32, epoch: u32) {
        let other = (epoch & 1 ^ 1) as usize;
        let Some(book) = self.books.get_mut(book) else { return };
        for slot in 0..slots {
            if let Some(gauge) = book.gauge(proxy, slot, other)
                && proxy.gauge_read(gauge) != 0
            {
                proxy.gauge_set(gauge, 0);
            }
        }
    }

    fn add(&mut self, proxy: &dyn Proxy, book: usize, slot: u32, milli: i64) {
        let set = self.set;
        if !self.local
            && milli != 0
            && let Some(book) = self.books.get_mut(book)
            && let Some(gauge) = book.gauge(proxy, slot, set)
        {
            proxy.gauge_add(gauge, milli);
        }
    }

    fn slot(&mut self, book: usize, slot: u32) -> Option<&mut Slot> {
        self.books.get_mut(book)?.slot(slot)
    }
}

impl Book {
    fn own(&self, slot: u32) -> Work {
        self.slots.get(slot as usize).map_or(Work::ZERO, |slot| slot.own)
    }

    fn found(&self, slot: u32) -> Work {
        self.slots.get(slot as usize).map_or(Work::ZERO, |slot| slot.found)
    }

    fn slot(&mut self, slot: u32) -> Option<&mut Slot> {
        let index = slot as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Slot::default);
        }
        self.slots.get_mut(index)
    }

    /// Defines the gauge at its first use: a proxy keeps every name it was ever told.
    fn gauge(&mut self, proxy: &dyn Proxy, slot: u32, set: usize) -> Option<GaugeId> {
        let known = *self.slot(slot)?.gauges.get(set)?;
        if known.is_some() {
            return known;
        }
        let defined = proxy.work_gauge(&self.cluster, slot, set);
        *self.slot(slot)?.gauges.get_mut(set)? = defined;
        defined
    }
}

/// The counts of one cluster.
pub struct Counts<'a> {
    book: &'a mut Book,
    set: usize,
    local: bool,
}

impl Counts<'_> {
    /// This VM's own outstanding work at `slot`.
    pub fn own(&self, slot: u32) -> Work {
        self.book.own(slot)
    }

    /// See [`Ledger::outstanding`].
    pub fn outstanding(&mut self, proxy: &dyn Proxy, slot: u32) -> Work {
        let own = self.book.own(slot);
        if self.local {
            return own;
        }
        let read = self.book.gauge(proxy, slot, self.set).map_or(0, |g| proxy.gauge_read(g));
        own.max(Work::from_milli(u64::try_from(read).unwrap_or(0)))
    }

    /// As it was found last.
    pub fn found(&self, slot: u32) -> Work {
        self.book.found(slot)
    }

    /// [`Counts::outstanding`], to be [found](Ledger::found) again.
    pub fn find(&mut self, proxy: &dyn Proxy, slot: u32) -> Work {
        let found = self.outstanding(proxy, slot);
        if let Some(entry) = self.book.slot(slot) {
            entry.found = found;
        }
        found
    }
}

fn signed(work: Work) -> i64 {
    i64::try_from(work.milli()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use crate::test;

    #[test]
    fn a_vm_that_counts_for_itself_alone_touches_no_gauge() {
        let proxy = Memory::default();
        let mut ledger = Ledger::default();
        let book = ledger.open("c");
        assert!(!ledger.is_local());
        ledger.stay_local();
        assert!(ledger.is_local());
        ledger.up(&proxy, book, 0, Work::ONE);
        ledger.carry_over(&proxy, 1);
        assert_eq!(proxy.leftovers(), []);
        assert_eq!(ledger.outstanding(&proxy, book, 0), Work::ONE);
        assert!(!ledger.is_free(&proxy, book, 0) && !ledger.is_idle());
        ledger.down(&proxy, book, 0, Work::ONE);
        assert!(ledger.is_free(&proxy, book, 0) && ledger.is_idle());
        // What others may count there is not its business.
        let gauge = proxy.work_gauge("c", 0, 1).unwrap();
        proxy.gauge_add(gauge, 5_000);
        assert_eq!(ledger.outstanding(&proxy, book, 0), Work::ZERO);
        assert!(ledger.is_free(&proxy, book, 0));
    }

    #[test]
    fn more_never_ends_than_began() {
        let proxy = Memory::default();
        let mut ledger = Ledger::default();
        let book = ledger.open("c");
        ledger.up(&proxy, book, 2, Work::ONE);
        ledger.down(&proxy, book, 2, Work::from_milli(9_000));
        ledger.down(&proxy, book, 2, Work::ONE);
        ledger.down(&proxy, book, 7, Work::ONE);
        assert_eq!(proxy.leftovers(), []);
        assert_eq!(ledger.own(book, 2), Work::ZERO);
    }

    #[test]
    fn a_slot_is_free_when_nobody_counts_there_in_either_set() {
        let proxy = Memory::default();
        let mut ledger = Ledger::default();
        let book = ledger.open("c");
        assert!(ledger.is_free(&proxy, book, 0));
        for set in 0..2 {
            let gauge = proxy.work_gauge("c", 0, set).unwrap();
            proxy.gauge_add(gauge, 1);
            assert!(!ledger.is_free(&proxy, book, 0), "set {set}");
            // An abandoned set may be off until it is zeroed.
            proxy.gauge_add(gauge, -2);
            assert!(ledger.is_free(&proxy, book, 0), "set {set}");
        }
        // Nor while this VM counts there, whatever the gauges say.
        ledger.up(&proxy, book, 0, Work::ONE);
        proxy.work_gauge("c", 0, 0).into_iter().for_each(|gauge| proxy.gauge_set(gauge, 0));
        assert!(!ledger.is_free(&proxy, book, 0));
    }

    #[test]
    fn what_was_found_is_known_until_it_is_found_anew() {
        let proxy = Memory::default();
        let mut ledger = Ledger::default();
        let book = ledger.open("c");
        assert_eq!(ledger.found(book, 0), Work::ZERO);
        ledger.up(&proxy, book, 0, Work::ONE);
        let gauge = proxy.work_gauge("c", 0, 0).unwrap();
        proxy.gauge_add(gauge, 2_000);
        assert_eq!(ledger.counts(book).unwrap().find(&proxy, 0).milli(), 3_000);
        proxy.gauge_add(gauge, 2_000);
        assert_eq!(ledger.outstanding(&proxy, book, 0).milli(), 5_000);
        assert_eq!(ledger.found(book, 0).milli(), 3_000);
        assert_eq!(ledger.found(book, 1), Work::ZERO);
    }

    #[test]
    fn each_cluster_has_a_book_of_its_own() {
        let proxy = Memory::default();
        let mut ledger = Ledger::default();
        let books = ["a", "b", "a"].map(|name| ledger.open(name));
        assert_eq!(books, [0, 1, 0]);
        ledger.up(&proxy, 1, 3, Work::ONE);
        assert_eq!(proxy.leftovers(), [("b/3/0".to_owned(), 1_000)]);
        for (book, work) in [(0, Work::ZERO), (1, Work::ONE)] {
            assert_eq!(ledger.own(book, 3), work);
            assert_eq!(ledger.counts(book).unwrap().own(3), work);
        }
    }
}
