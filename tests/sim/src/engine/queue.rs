//! What happens next. Most delays of a run are the same for every request, so most events come in
//! the order of their times: those wait in lanes, first in first out, and only the rest in a heap.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, VecDeque};

/// An event; what its numbers mean is said where it is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A request arrives at a proxy.
    Arrival,
    /// An idle client of a closed loop asks again.
    Thought,
    /// An attempt reaches its server.
    Deliver {
        server: u32,
        attempt: Attempt,
    },
    /// A server may have completed a job.
    Complete {
        server: u32,
    },
    /// The end of an attempt reaches the proxy.
    Answer(Attempt),
    /// A proxy tries again.
    Retry(Attempt),
    /// The time of a request is up.
    Deadline(Attempt),
    /// A client cancels.
    Cancel(Attempt),
    /// The news that an attempt was given up reaches its server.
    Withdraw {
        server: u32,
        attempt: Attempt,
    },
    /// The next message of a stream is due.
    Message(Attempt),
    /// A probe reaches its server, or its answer the proxy.
    Probe {
        key: u32,
    },
    Probed {
        key: u32,
    },
    /// A policy's timer.
    Timer {
        key: u32,
    },
    /// Something happens to a server.
    Change {
        index: u32,
    },
    /// A proxy hears who is there.
    News {
        proxy: u32,
        version: u32,
    },
    /// A neighbour comes or goes.
    Antagonist {
        server: u32,
    },
    /// The next step of a server's warm-up.
    Warmer {
        server: u32,
    },
    /// Time to look at what is in flight.
    Sample,
}

/// One attempt of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    /// Its place in the table, which another request may have taken meanwhile.
    pub(crate) request: u32,
    /// The request's own number.
    pub(crate) number: u32,
    /// Which attempt, from 1; 0 stands for the request as a whole.
    pub(crate) nth: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Event {
    at: u64,
    /// Equal times: first come, first served.
    order: u64,
    what: What,
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Delays that are the same for all.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lane {
    Arrival,
    Network,
    Deadline,
}

/// Events to come.
#[derive(Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Event>>,
    lanes: [VecDeque<Event>; 3],
    order: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at: u64, what: What) {
        self.order += 1;
        self.heap.push(Reverse(Event { at, order: self.order, what }));
    }

    /// As [`Queue::push`], cheaper where `at` is not before what the lane got last.
    pub(crate) fn push_lane(&mut self, lane: Lane, at: u64, what: What) {
        let events = &mut self.lanes[lane as usize];
        if events.back().is_some_and(|last| last.at > at) {
            self.push(at, what);
            return;
        }
        self.order += 1;
        events.push_back(Event { at, order: self.order, what });
    }

    /// The next event and its time.
    pub(crate) fn pop(&mut self) -> Option<(u64, What)> {
        let mut next = self.heap.peek().map(|Reverse(event)| *event);
        let mut from = None;
        for (lane, events) in self.lanes.iter().enumerate() {
            if let Some(event) = events.front()
                && next.is_none_or(|next| *event < next)
            {
                (next, from) = (Some(*event), Some(lane));
            }
        }
        match from {
            Some(lane) => self.lanes[lane].pop_front(),
            None => self.heap.pop().map(|Reverse(event)| event),
        }
        .map(|event| (event.at, event.what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_their_times_and_equals_as_they_were_pushed() {
        let mut queue = Queue::default();
        let server = |server| What::Complete { server };
        queue.push(5, server(0));
        queue.push_lane(Lane::Network, 5, server(1));
        queue.push_lane(Lane::Network, 9, server(2));
        // Before what the lane got last.
        queue.push_lane(Lane::Network, 3, server(3));
        queue.push_lane(Lane::Deadline, 3, server(4));
        queue.push(1, server(5));
        let popped: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        let order = [(1, 5), (3, 3), (3, 4), (5, 0), (5, 1), (9, 2)];
        assert_eq!(popped, order.map(|(at, id)| (at, server(id))));
    }
}
