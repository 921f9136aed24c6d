//! A server: slots, a queue, and a speed that changes.
//!
//! Every job in service makes progress at the same pace, so the server keeps one clock of work, and
//! a job ends when that clock has come to where it stood at the job's start plus the job's size.
//! A change of pace touches no job.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

use super::queue::Attempt;
use crate::scenario::{Discipline, Group};

/// Work to be done for an attempt: its request, or a message of its stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) of: Attempt,
    /// In ns at speed 1.
    pub(crate) size: f64,
    /// When it was due.
    pub(crate) due: u64,
    /// It is a request in flight by itself; a message of a stream is not.
    pub(crate) counts: bool,
}

/// A job in service.
#[derive(Clone, Copy, Debug)]
struct Running {
    /// The server's clock of work at its end.
    ends: f64,
    order: u64,
    started: u64,
    job: Job,
}

impl PartialEq for Running {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Running {}

impl PartialOrd for Running {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Running {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ends.total_cmp(&other.ends).then(self.order.cmp(&other.order))
    }
}

/// One server's work.
#[derive(Debug)]
pub(crate) struct Server {
    slots: usize,
    discipline: Discipline,
    queue: Option<usize>,
    /// It answers connections.
    up: bool,
    /// At this moment: 1 does a ns of work in a ns.
    speed: f64,
    /// The clock of work, and when it was right.
    clock: f64,
    updated: u64,
    running: BinaryHeap<Reverse<Running>>,
    waiting: VecDeque<Job>,
    order: u64,
    /// When its next completion is due; events for other times are of no meaning.
    planned: u64,
    /// Work done, and what could have been done, in ns at speed 1.
    pub(crate) done: f64,
    pub(crate) possible: f64,
}

impl Server {
    pub(crate) fn new(group: &Group) -> Self {
        Self {
            slots: group.slots as usize,
            discipline: group.discipline,
            queue: group.queue.map(|most| most as usize),
            up: group.present,
            speed: group.speed,
            clock: 0.0,
            updated: 0,
            running: BinaryHeap::new(),
            waiting: VecDeque::new(),
            order: 0,
            planned: u64::MAX,
            done: 0.0,
            possible: 0.0,
        }
    }

    /// Jobs waiting for a slot.
    pub(crate) fn waiting(&self) -> usize {
        match self.discipline {
            Discipline::Fifo => self.waiting.len(),
            Discipline::Sharing => self.running.len().saturating_sub(self.slots),
        }
    }

    /// Whether a job would be served at once and at full speed.
    pub(crate) fn is_free(&self) -> bool {
        self.speed > 0.0 && self.running.len() < self.slots
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up
    }

    /// From now on it answers connections, or refuses them; what it has goes on.
    pub(crate) fn set_up(&mut self, now: u64, up: bool) {
        self.advance(now);
        self.up = up;
    }

    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn slots(&self) -> u32 {
        self.slots as u32
    }

    pub(crate) fn speed(&self) -> f64 {
        self.speed
    }

    #[allow(clippy::cast_precision_loss)]
    fn pace(&self) -> f64 {
        match self.discipline {
            Discipline::Sharing if self.running.len() > self.slots => {
                self.speed * self.slots as f64 / self.running.len() as f64
            }
            _ => self.speed,
        }
    }

    /// Brings the clock of work to `now`.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn advance(&mut self, now: u64) {
        let passed = (now - self.updated) as f64;
        if passed > 0.0 {
            let progress = passed * self.pace();
            self.clock += progress;
            self.done += progress * self.running.len() as f64;
            // One that refuses requests and still ends what it has is at work.
            if self.up || !self.running.is_empty() {
                self.possible += passed * self.speed * self.slots as f64;
            }
            self.updated = now;
        }
    }

    /// Takes a job. False: there is no room for it.
    pub(crate) fn admit(&mut self, now: u64, job: Job) -> bool {
        self.advance(now);
        if self.discipline == Discipline::Sharing {
            let most = self.queue.map_or(usize::MAX, |most| most.saturating_add(self.slots));
            if self.running.len() >= most {
                return false;
            }
            self.start(now, job);
        } else if self.running.len() < self.slots {
            self.start(now, job);
        } else if self.queue.is_none_or(|most| self.waiting.len() < most) {
            self.waiting.push_back(job);
        } else {
            return false;
        }
        true
    }

    fn start(&mut self, now: u64, job: Job) {
        self.order += 1;
        let ends = self.clock + job.size;
        self.running.push(Reverse(Running { ends, order: self.order, started: now, job }));
    }

    /// When the next completion is due, if that is another time than was planned.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(crate) fn plan(&mut self, now: u64) -> Option<u64> {
        let pace = self.pace();
        let at = match self.running.peek() {
            Some(Reverse(first)) if pace > 0.0 => {
                let left = (first.ends - self.clock).max(0.0) / pace;
                now.saturating_add(left.ceil() as u64)
            }
            _ => u64::MAX,
        };
        let news = at != self.planned;
        self.planned = at;
        (news && at != u64::MAX).then_some(at)
    }

    /// The job whose completion was planned for `now`, and when it started; the next that waits takes
    /// its slot.
    pub(crate) fn complete(&mut self, now: u64) -> Option<(Job, u64)> {
        if self.planned != now {
            return None;
        }
        self.planned = u64::MAX;
        self.advance(now);
        let Reverse(ended) = self.running.pop()?;
        self.fill(now);
        Some((ended.job, ended.started))
    }

    /// Starts what waits, as far as there are slots.
    fn fill(&mut self, now: u64) {
        while self.running.len() < self.slots
            && let Some(job) = self.waiting.pop_front()
        {
            self.start(now, job);
        }
    }

    /// Takes all work away that belongs to an attempt. Whether there was any.
    pub(crate) fn withdraw(&mut self, now: u64, of: Attempt) -> bool {
        self.advance(now);
        let before = self.running.len() + self.waiting.len();
        self.running.retain(|Reverse(running)| running.job.of != of);
        self.waiting.retain(|job| job.of != of);
        self.fill(now);
        self.running.len() + self.waiting.len() < before
    }

    /// All work is lost.
    pub(crate) fn lose_all(&mut self, now: u64) -> Vec<Job> {
        self.advance(now);
        let running = self.running.drain().map(|Reverse(running)| running);
        let mut running: Vec<Running> = running.collect();
        running.sort_unstable();
        running.into_iter().map(|running| running.job).chain(self.waiting.drain(..)).collect()
    }

    /// From now on it works at this speed.
    pub(crate) fn set_speed(&mut self, now: u64, speed: f64) {
        self.advance(now);
        self.speed = speed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(discipline: Discipline, slots: u32, queue: Option<u32>) -> Server {
        let group = serde_json::json!({"count": 1, "slots": slots, "queue": queue});
        let mut group: Group = serde_json::from_value(group).unwrap();
        group.discipline = discipline;
        Server::new(&group)
    }

    fn job(number: u32, size: f64) -> Job {
        Job { of: Attempt { request: number, number, nth: 1 }, size, due: 0, counts: true }
    }

    /// Lets it run until it is idle: when which job ended.
    fn drain(server: &mut Server, mut now: u64) -> Vec<(u64, u32)> {
        let mut ended = Vec::new();
        loop {
            server.plan(now);
            if server.planned == u64::MAX {
                return ended;
            }
            now = server.planned;
            let Some((job, _)) = server.complete(now) else { return ended };
            ended.push((now, job.of.number));
        }
    }

    #[test]
    fn first_come_first_served_with_slots() {
        let mut two = server(Discipline::Fifo, 2, None);
        for (number, size) in [(1, 100.0), (2, 50.0), (3, 20.0), (4, 20.0)] {
            assert!(two.admit(0, job(number, size)));
        }
        assert_eq!(two.waiting(), 2);
        assert_eq!(drain(&mut two, 0), [(50, 2), (70, 3), (90, 4), (100, 1)]);
        assert!((two.done - 190.0).abs() < 1e-9 && (two.possible - 200.0).abs() < 1e-9);
    }

    #[test]
    fn who_refuses_and_still_works_can_do_no_less_than_it_does() {
        let mut two = server(Discipline::Fifo, 2, None);
        two.admit(0, job(1, 100.0));
        two.set_up(0, false);
        assert_eq!(drain(&mut two, 0), [(100, 1)]);
        two.advance(1_000);
        assert!((two.done - 100.0).abs() < 1e-9 && (two.possible - 200.0).abs() < 1e-9);
    }

    #[test]
    fn sharing_slows_everybody_down() {
        let mut one = server(Discipline::Sharing, 1, None);
        one.admit(0, job(1, 100.0));
        one.plan(0);
        one.admit(50, job(2, 100.0));
        // 50 alone, then half speed: 50 left take 100; then the other has 50 left alone.
        assert_eq!(drain(&mut one, 50), [(150, 1), (200, 2)]);
    }

    #[test]
    fn a_change_of_speed_moves_what_is_under_way() {
        let mut one = server(Discipline::Fifo, 1, None);
        one.admit(0, job(1, 100.0));
        assert_eq!(one.plan(0), Some(100));
        one.set_speed(40, 0.0);
        assert_eq!(one.plan(40), None);
        assert!(one.complete(100).is_none(), "the planned completion does not hold any more");
        one.set_speed(1_000, 2.0);
        assert_eq!(one.plan(1_000), Some(1_030));
        assert_eq!(drain(&mut one, 1_000), [(1_030, 1)]);
    }

    #[test]
    fn a_full_queue_refuses_and_who_withdraws_makes_room() {
        for discipline in [Discipline::Fifo, Discipline::Sharing] {
            let mut one = server(discipline, 1, Some(1));
            assert!(one.admit(0, job(1, 100.0)) && one.admit(0, job(2, 100.0)));
            assert!(!one.admit(0, job(3, 1.0)), "{discipline:?}");
            let first = job(1, 0.0).of;
            assert!(one.withdraw(0, first) && !one.withdraw(0, first));
            assert!(one.admit(0, job(3, 100.0)));
            assert_eq!(one.lose_all(0).len(), 2);
            assert_eq!(drain(&mut one, 0), []);
        }
    }
}
