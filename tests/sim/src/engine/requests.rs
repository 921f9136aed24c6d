//! The life of a request: arrival, attempts, answer.

use std::mem;

use super::Simulation;
use super::queue::{Attempt, Lane, What};
use crate::measure::Fate;
use crate::policy::{Ask, Ended, Outcome, Pick, RequestId, ServerId, Stamp};
use crate::scenario::Arrivals;

/// Stands for the central queue.
pub(super) const CENTRAL: ServerId = ServerId::MAX;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At its proxy, which has not chosen a server yet or waits before it tries again.
    Proxy,
    /// At its proxy, which waits for probes since then.
    Waiting(u64),
    /// On its way to the server, there, or on its way back.
    Sent,
}

/// A request under way.
pub(crate) struct Request {
    pub(super) number: u32,
    pub(super) attempt: u8,
    proxy: u32,
    worker: u16,
    pub(super) method: u16,
    /// In ns at speed 1.
    pub(super) size: f64,
    arrived: u64,
    /// When its latest attempt was sent, and whither.
    pub(super) sent: u64,
    pub(super) server: ServerId,
    place: Place,
    /// At its arrival there.
    pub(super) in_flight: u32,
    /// What comes back.
    pub(super) outcome: Outcome,
    pub(super) stamp: Option<Stamp>,
    /// Servers that failed it.
    failed: Vec<ServerId>,
    /// Of a stream: messages to come, and those not answered.
    pub(super) messages: u32,
    pub(super) unanswered: u32,
}

impl Request {
    pub(super) fn id(&self, request: RequestId) -> Attempt {
        Attempt { request, number: self.number, nth: self.attempt }
    }
}

/// A client of a closed loop whose request fails asks again no sooner than so long after it, in ns.
const FAILED_ROUND: u64 = 1_000_000;

impl Simulation<'_> {
    /// The request of an attempt, if that is under way.
    pub(super) fn request(&mut self, of: Attempt) -> Option<&mut Request> {
        let request = self.requests.get_mut(of.request as usize)?;
        let same = of.nth == 0 || request.attempt == of.nth;
        (request.number == of.number && same).then_some(request)
    }

    pub(super) fn is_stream(&self, method: u16) -> bool {
        let methods = &self.scenario.traffic.methods;
        methods.get(usize::from(method)).is_some_and(|method| method.stream.is_some())
    }

    /// A request arrives at its proxy.
    #[allow(clippy::cast_possible_truncation)]
    pub(super) fn arrival(&mut self) {
        let (now, traffic) = (self.now, &self.scenario.traffic);
        if now >= self.scenario.duration.ns() {
            return;
        }
        let arrival = self.source.next();
        self.numbers = self.numbers.wrapping_add(1);
        let number = self.numbers;
        self.meter.begins(now);
        let request = self.requests.insert(Request {
            number,
            attempt: 0,
            proxy: arrival.proxy,
            worker: arrival.worker,
            method: arrival.method,
            size: arrival.size,
            arrived: now,
            sent: now,
            server: CENTRAL,
            place: Place::Proxy,
            in_flight: 0,
            outcome: Outcome::Answered,
            stamp: None,
            failed: Vec::new(),
            messages: 0,
            unanswered: 0,
        }) as RequestId;
        let whole = Attempt { request, number, nth: 0 };
        if let Some(deadline) = traffic.deadline {
            self.queue.push_lane(Lane::Deadline, now + deadline.ns(), What::Deadline(whole));
        }
        if arrival.cancels {
            self.queue.push(now + traffic.cancel.after.ns(), What::Cancel(whole));
        }
        self.attempt(request);
    }

    /// The proxy chooses a server.
    fn attempt(&mut self, id: RequestId) {
        let request = &mut self.requests[id as usize];
        request.attempt += 1;
        request.place = Place::Proxy;
        let failed = mem::take(&mut request.failed);
        let (proxy, worker, method) = (request.proxy, request.worker, request.method);
        if self.meter.is_on(request.arrived) {
            self.meter.attempts += 1;
            self.meter.picks += u64::from(request.attempt == 1);
        }
        let ask = Ask { request: id, worker, method, failed: &failed };
        let pick = self.policy(proxy, |policy, env| policy.pick(env, &ask));
        self.requests[id as usize].failed = failed;
        self.follow(id, pick);
    }

    /// A policy lets a request go on.
    pub(super) fn resume(&mut self, id: RequestId, pick: Pick) {
        let request = &mut self.requests[id as usize];
        let Place::Waiting(since) = request.place else { return };
        let (arrived, waited) = (request.arrived, self.now - since);
        request.place = Place::Proxy;
        self.meter.waited(arrived, waited);
        self.follow(id, pick);
    }

    fn follow(&mut self, id: RequestId, pick: Pick) {
        let now = self.now;
        match pick {
            Pick::Wait => self.requests[id as usize].place = Place::Waiting(now),
            Pick::Nobody => self.nobody(id),
            Pick::Server(server) => self.send(id, server),
            Pick::Central => self.send(id, CENTRAL),
        }
    }

    fn send(&mut self, id: RequestId, server: ServerId) {
        let now = self.now;
        let request = &mut self.requests[id as usize];
        request.place = Place::Sent;
        request.sent = now;
        request.server = server;
        request.stamp = None;
        let (attempt, arrived) = (request.id(id), request.arrived);
        if server != CENTRAL {
            self.truth[server as usize].outstanding += 1;
            self.meter.sent(arrived, server as usize);
            self.picked(server);
        }
        let at = now + self.delay();
        self.queue.push_lane(Lane::Network, at, What::Deliver { server, attempt });
    }

    /// The end of an attempt reaches its proxy.
    pub(super) fn answer(&mut self, of: Attempt) {
        let Some(&mut Request { outcome, stamp, server, .. }) = self.request(of) else { return };
        let retries = self.scenario.traffic.retries.most;
        let last = outcome == Outcome::Answered
            || self
                .requests
                .get(of.request as usize)
                .is_none_or(|r| u32::from(r.attempt) > retries);
        self.tell(of.request, outcome, last, stamp.as_ref());
        if outcome == Outcome::Answered {
            self.end(of.request, Fate::Answered);
        } else {
            self.requests[of.request as usize].failed.push(server);
            self.failed(of.request);
        }
    }

    /// Tells the policy that an attempt is over.
    fn tell(&mut self, id: RequestId, outcome: Outcome, last: bool, stamp: Option<&Stamp>) {
        let request = &self.requests[id as usize];
        let (proxy, worker, method, server) =
            (request.proxy, request.worker, request.method, request.server);
        let latency_ns = self.now - request.sent;
        if server != CENTRAL {
            let ended =
                Ended { request: id, worker, method, server, outcome, last, latency_ns, stamp };
            self.policy(proxy, |policy, env| policy.ended(env, &ended));
        }
    }

    /// Nobody is there to send it to.
    fn nobody(&mut self, id: RequestId) {
        if u32::from(self.requests[id as usize].attempt) > self.scenario.traffic.retries.most {
            self.abandon(id);
        }
        self.failed(id);
    }

    /// Tells the policy that a request is over while no server has it.
    fn abandon(&mut self, id: RequestId) {
        let Request { proxy, worker, method, .. } = self.requests[id as usize];
        let ask = Ask { request: id, worker, method, failed: &[] };
        self.policy(proxy, |policy, env| policy.abandoned(env, &ask));
    }

    /// An attempt failed: once more, or not.
    fn failed(&mut self, id: RequestId) {
        let retries = &self.scenario.traffic.retries;
        let request = &mut self.requests[id as usize];
        if u32::from(request.attempt) > retries.most {
            self.end(id, Fate::Failed);
            return;
        }
        request.place = Place::Proxy;
        let attempt = request.id(id);
        self.queue.push(self.now + retries.backoff.ns(), What::Retry(attempt));
    }

    pub(super) fn retry(&mut self, of: Attempt) {
        if self.request(of).is_some() {
            self.attempt(of.request);
        }
    }

    /// The client gives up.
    pub(super) fn give_up(&mut self, of: Attempt, deadline: bool) {
        if self.request(of).is_none() {
            return;
        }
        self.drop_attempt(of.request);
        self.end(of.request, if deadline { Fate::Deadline } else { Fate::Cancelled });
    }

    /// The attempt under way is over before its answer.
    fn drop_attempt(&mut self, id: RequestId) {
        let request = &self.requests[id as usize];
        let (attempt, server) = (request.id(id), request.server);
        match request.place {
            Place::Proxy => self.abandon(id),
            Place::Waiting(since) => {
                self.meter.waited(request.arrived, self.now - since);
                self.abandon(id);
            }
            Place::Sent => {
                self.tell(id, Outcome::GivenUp, true, None);
                let at = self.now + self.delay();
                self.queue.push_lane(Lane::Network, at, What::Withdraw { server, attempt });
            }
        }
    }

    /// A request is over.
    fn end(&mut self, id: RequestId, fate: Fate) {
        let request = self.requests.remove(id as usize);
        let is_stream = self.is_stream(request.method);
        self.meter.ends(self.now, request.arrived, fate, is_stream);
        if matches!(self.scenario.traffic.arrivals, Arrivals::Closed { .. }) {
            let mut at = self.now + self.source.think();
            // Where requests fail at once and nobody thinks, time has to go on all the same.
            if matches!(fate, Fate::Failed) {
                at = at.max(request.arrived + FAILED_ROUND);
            }
            if at < self.scenario.duration.ns() {
                self.queue.push(at, What::Thought);
            }
        }
    }

    /// The run is cut off.
    pub(super) fn abandon_all(&mut self) {
        let open: Vec<usize> = self.requests.iter().map(|(id, _)| id).collect();
        for id in open {
            #[allow(clippy::cast_possible_truncation)]
            self.end(id as RequestId, Fate::Unfinished);
        }
    }
}
