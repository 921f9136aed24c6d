//! What happens to attempts at servers.

use super::Simulation;
use super::queue::{Attempt, Lane, What};
use super::requests::{CENTRAL, Request};
use super::server::Job;
use crate::policy::{Outcome, ServerId};
use crate::scenario::{Direction, Stream};

impl Simulation<'_> {
    fn stream(&self, method: u16) -> Option<&Stream> {
        self.scenario.traffic.methods.get(usize::from(method))?.stream.as_ref()
    }

    /// An attempt reaches its server.
    pub(super) fn deliver(&mut self, server: ServerId, of: Attempt) {
        let now = self.now;
        let Some(&mut Request { method, size, .. }) = self.request(of) else {
            // Given up on the way.
            if server != CENTRAL {
                self.truth[server as usize].outstanding -= 1;
            }
            return;
        };
        let is_stream = self.is_stream(method);
        let job = Job { of, size, due: now, counts: true };
        if server == CENTRAL {
            if is_stream {
                self.open(of);
            } else {
                self.queue_up(job);
            }
            return;
        }
        let host = &mut self.fleet.hosts[server as usize];
        if !host.work.is_up() {
            self.leave(of, Outcome::Failed, 0);
            return;
        }
        if let Some((percent, after)) = host.fails
            && self.chance(percent)
        {
            if let Some(twin) = &mut self.fleet.hosts[server as usize].twin {
                twin.ended(None);
                twin.saw(now, 0, None);
            }
            self.leave(of, Outcome::Failed, after);
            return;
        }
        let host = &mut self.fleet.hosts[server as usize];
        if !is_stream && !host.work.admit(now, job) {
            self.leave(of, Outcome::Failed, 0);
            return;
        }
        let before = host.arrived(of);
        if let Some(request) = self.request(of) {
            request.in_flight = before;
        }
        if is_stream {
            self.fleet.hosts[server as usize].streams.push(of);
            self.open(of);
        } else {
            self.plan(server);
        }
    }

    /// The attempt is over at its server; its end travels back.
    fn leave(&mut self, of: Attempt, outcome: Outcome, after: u64) {
        let Some(&mut Request { server, .. }) = self.request(of) else { return };
        let mut stamp = None;
        if server != CENTRAL {
            self.truth[server as usize].outstanding -= 1;
            if self.needs.stamps && !self.chance(self.scenario.reports.lost_percent) {
                stamp = self.stamp(server, false);
            }
        }
        if let Some(request) = self.request(of) {
            request.outcome = outcome;
            request.stamp = stamp;
        }
        let at = self.now + after + self.delay();
        self.queue.push_lane(Lane::Network, at, What::Answer(of));
    }

    /// The news that an attempt was given up reaches its server.
    pub(super) fn withdraw(&mut self, server: ServerId, of: Attempt) {
        if server == CENTRAL {
            self.central.retain(|job| job.of != of);
            return;
        }
        let host = &mut self.fleet.hosts[server as usize];
        let streams = host.streams.len();
        host.streams.retain(|stream| *stream != of);
        let had_stream = host.streams.len() < streams;
        let had_work = host.work.withdraw(self.now, of);
        if had_stream || had_work {
            host.departed(of);
            self.truth[server as usize].outstanding -= 1;
        }
        self.plan(server);
        self.feed(server);
    }

    /// A server dies with all it has.
    pub(super) fn lose_all(&mut self, server: ServerId) {
        let host = &mut self.fleet.hosts[server as usize];
        let jobs = host.work.lose_all(self.now);
        let streams = std::mem::take(&mut host.streams);
        host.in_flight = 0;
        if let Some(twin) = &mut host.twin {
            twin.lost_all();
        }
        self.plan(server);
        let counted = jobs.into_iter().filter(|job| job.counts).map(|job| job.of);
        for of in counted.chain(streams) {
            match self.request(of) {
                Some(request) if request.server == server => self.leave(of, Outcome::Failed, 0),
                alive => {
                    // Given up, or a message from the central queue.
                    let alive = alive.is_some();
                    self.truth[server as usize].outstanding -= 1;
                    if alive {
                        self.leave(of, Outcome::Failed, 0);
                    }
                }
            }
        }
    }

    /// A stream begins at its server.
    fn open(&mut self, of: Attempt) {
        let Some(&mut Request { method, .. }) = self.request(of) else { return };
        let Some(messages) = self.stream(method).map(|stream| stream.messages) else { return };
        if let Some(request) = self.request(of) {
            request.messages = messages;
            request.unanswered = messages;
        }
        self.queue.push(self.now, What::Message(of));
    }

    /// A message of a stream reaches the server, or arises there.
    pub(super) fn message(&mut self, of: Attempt) {
        let now = self.now;
        let Some(request) = self.request(of) else { return };
        request.messages -= 1;
        let (server, method, more) = (request.server, request.method, request.messages > 0);
        let central = server == CENTRAL;
        if !central && !self.fleet.hosts[server as usize].streams.contains(&of) {
            // Broken; the client does not know yet.
            return;
        }
        if more && let Some(stream) = self.stream(method) {
            self.queue.push(now + stream.interval.ns(), What::Message(of));
        }
        let job = Job { of, size: self.source.message(method), due: now, counts: central };
        if central {
            self.queue_up(job);
            return;
        }
        let host = &mut self.fleet.hosts[server as usize];
        if !host.work.admit(now, job) {
            host.work.withdraw(now, of);
            host.streams.retain(|stream| *stream != of);
            host.departed(of);
            self.leave(of, Outcome::Failed, 0);
        }
        self.plan(server);
    }

    /// Plans the next completion of a server.
    pub(super) fn plan(&mut self, server: ServerId) {
        if let Some(at) = self.fleet.hosts[server as usize].work.plan(self.now) {
            self.queue.push(at, What::Complete { server });
        }
    }

    /// A server completes a job, if that is still planned for now.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn complete(&mut self, server: ServerId) {
        let (now, needs) = (self.now, self.needs);
        let host = &mut self.fleet.hosts[server as usize];
        let Some((job, started)) = host.work.complete(now) else { return };
        let found = if job.counts { host.departed(job.of) } else { 0 };
        if needs.stamps
            && let Some(twin) = &mut host.twin
        {
            twin.ended(Some((now - started) as f64));
        }
        match self.request(job.of) {
            // A unary request.
            Some(&mut Request { server: at, in_flight, .. }) if job.counts && at == server => {
                if needs.twin.is_some()
                    && let Some(twin) = &mut self.fleet.hosts[server as usize].twin
                {
                    twin.saw(now, found, Some(now - job.due));
                }
                if needs.latency_at_rif {
                    let host = &mut self.fleet.hosts[server as usize];
                    host.latency.record(in_flight, now - job.due, now);
                }
                self.leave(job.of, Outcome::Answered, 0);
            }
            Some(&mut Request { method, .. }) => {
                if job.counts {
                    self.truth[server as usize].outstanding -= 1;
                }
                self.answered_message(job, method);
            }
            // Given up a moment ago: the news of it is on the way, and will find only streams.
            None if job.counts => self.truth[server as usize].outstanding -= 1,
            None => {}
        }
        self.plan(server);
        self.feed(server);
    }

    fn answered_message(&mut self, job: Job, method: u16) {
        let bidi = self.stream(method).is_some_and(|s| s.direction == Direction::Bidi);
        let there = if bidi { self.delay() } else { 0 };
        let way = there + self.delay();
        self.meter.message(job.due, self.now - job.due + way);
        let Some(request) = self.request(job.of) else { return };
        request.unanswered -= 1;
        let (over, server) = (request.unanswered == 0, request.server);
        if over {
            if server != CENTRAL {
                let host = &mut self.fleet.hosts[server as usize];
                host.departed(job.of);
                host.streams.retain(|stream| *stream != job.of);
            }
            self.leave(job.of, Outcome::Answered, 0);
        }
    }

    /// A job for whichever server is free: the fastest of them, or the first that becomes so.
    fn queue_up(&mut self, job: Job) {
        self.central.push_back(job);
        let hosts = (0..).zip(&self.fleet.hosts);
        let free =
            hosts.filter(|(_, host)| host.listed && host.work.is_up() && host.work.is_free());
        let best = |a: &(u32, &super::fleet::Host), b: &(u32, &super::fleet::Host)| {
            let speed = a.1.work.speed().total_cmp(&b.1.work.speed());
            speed.then(b.1.in_flight.cmp(&a.1.in_flight))
        };
        if let Some((server, _)) = free.max_by(best) {
            self.feed(server);
        }
    }

    /// A free server takes what waits in the central queue.
    pub(super) fn feed(&mut self, server: ServerId) {
        while let Some(job) = self.central.front().copied() {
            let host = &mut self.fleet.hosts[server as usize];
            if !(host.listed && host.work.is_up() && host.work.is_free()) {
                return;
            }
            self.central.pop_front();
            let Some(request) = self.requests.get_mut(job.of.request as usize) else { continue };
            if request.id(job.of.request) != job.of {
                continue;
            }
            if request.messages == 0 && request.unanswered == 0 {
                request.server = server;
                request.in_flight = host.in_flight;
            }
            host.arrived(job.of);
            self.truth[server as usize].outstanding += 1;
            host.work.admit(self.now, job);
            self.plan(server);
        }
    }
}
