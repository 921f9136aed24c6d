//! C3 (Suresh, Canini, Schmid, Feldmann: "C3: Cutting Tail Latency in Cloud Data Stores via
//! Adaptive Replica Selection", NSDI 2015, section 3.1): a client ranks all servers by what their
//! responses said of queue and service time, and by its own requests there, times the number of
//! clients.
//!
//! Only the ranking; the rate control (section 3.2) is left out, as it was by Prequal's authors
//! when they compared it (NSDI 2024, section 5.2). They also let it choose among probed servers
//! instead of all: that is the policy `prequal` with the score `c3`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Ask, Ended, Env, Member, Needs, Outcome, Pick, Policy, ServerId, Stamp};

/// Parameters of C3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct C3Config {
    /// Weight of a new sample in the averages, above 0 up to 1. The authors' own simulator (absim)
    /// has 0.9, Elasticsearch 0.3; the paper does not say.
    pub weight: f64,
}

impl Default for C3Config {
    fn default() -> Self {
        Self { weight: 0.9 }
    }
}

impl C3Config {
    /// The policy of one of so many clients.
    pub(super) fn build(&self, clients: u32) -> C3 {
        C3 { members: Vec::new(), feedback: Feedback::new(self.weight, clients) }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.weight > 0.0 && self.weight <= 1.0 {
            Ok(())
        } else {
            Err("weight: expected above 0, at most 1".into())
        }
    }
}

/// An average that forgets; the first sample is its first value.
#[derive(Clone, Copy, Default)]
struct Average(Option<f64>);

impl Average {
    fn add(&mut self, sample: f64, weight: f64) {
        self.0 = Some(self.0.map_or(sample, |old| weight * sample + (1.0 - weight) * old));
    }
}

/// What one client knows of a server. Times in ns.
#[derive(Clone, Copy, Default)]
struct Known {
    outstanding: u32,
    response: Average,
    service: Average,
    queue: Average,
}

/// What one client knows of all servers.
pub(super) struct Feedback {
    /// By server.
    servers: Vec<Known>,
    /// Weight of a new sample.
    weight: f64,
    clients: f64,
}

impl Feedback {
    /// `clients`: how many there are, all like this one.
    pub(super) fn new(weight: f64, clients: u32) -> Self {
        Self { servers: Vec::new(), weight, clients: clients.into() }
    }

    fn known(&mut self, server: ServerId) -> &mut Known {
        let index = server as usize;
        if index >= self.servers.len() {
            self.servers.resize(index + 1, Known::default());
        }
        &mut self.servers[index]
    }

    pub(super) fn sent(&mut self, server: ServerId) {
        self.known(server).outstanding += 1;
    }

    /// A request ended, however; a failure says nothing of the time a response takes.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn ended(&mut self, ended: &Ended<'_>) {
        let weight = self.weight;
        let known = self.known(ended.server);
        known.outstanding = known.outstanding.saturating_sub(1);
        if ended.outcome == Outcome::Answered {
            known.response.add(ended.latency_ns as f64, weight);
        }
    }

    /// The server said what it has in flight, and how long it works on a request.
    pub(super) fn heard(&mut self, server: ServerId, in_flight: f32, service_ns: f32) {
        let weight = self.weight;
        let known = self.known(server);
        known.queue.add(in_flight.into(), weight);
        known.service.add(service_ns.into(), weight);
    }

    /// R - 1/mu + qhat^3 / mu, with qhat = 1 + outstanding * clients + qbar; the least is best. A
    /// server that was never heard of is tried first.
    pub(super) fn score(&self, server: ServerId) -> f64 {
        let known = self.servers.get(server as usize).copied().unwrap_or_default();
        let queue =
            1.0 + f64::from(known.outstanding) * self.clients + known.queue.0.unwrap_or(0.0);
        match (known.response.0, known.service.0) {
            // Without stamps: as if the whole response were service.
            (Some(response), None) => queue.powi(3) * response,
            (None, None) if known.outstanding == 0 => f64::NEG_INFINITY,
            // Sent to and never heard of: behind all servers that are known.
            (None, None) => f64::MAX,
            (response, Some(service)) => {
                response.unwrap_or(service) - service + queue.powi(3) * service
            }
        }
    }
}

/// Ranks all servers.
pub(super) struct C3 {
    members: Vec<Member>,
    feedback: Feedback,
}

impl Policy for C3 {
    fn needs(&self) -> Needs {
        Needs { stamps: true, ..Needs::default() }
    }

    fn members(&mut self, _: &mut Env<'_>, members: &[Member]) {
        self.members = members.to_vec();
    }

    fn pick(&mut self, env: &mut Env<'_>, _: &Ask<'_>) -> Pick {
        let (mut best, mut least, mut ties) = (None, f64::INFINITY, 0);
        for member in &self.members {
            let score = self.feedback.score(member.server);
            if score < least {
                (best, least, ties) = (Some(member.server), score, 1);
            } else if score <= least {
                // Each of the tied is as likely as any other.
                ties += 1;
                if env.rng.u32(..ties) == 0 {
                    best = Some(member.server);
                }
            }
        }
        let Some(server) = best else { return Pick::Nobody };
        self.feedback.sent(server);
        Pick::Server(server)
    }

    fn ended(&mut self, _: &mut Env<'_>, ended: &Ended<'_>) {
        self.feedback.ended(ended);
        if let Some(&Stamp { in_flight, service_ns, .. }) = ended.stamp {
            self.feedback.heard(ended.server, in_flight, service_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::*;

    const MS: u64 = 1_000_000;

    fn stamp(in_flight: f32, service_ms: f32) -> Stamp {
        Stamp { in_flight, service_ns: service_ms * 1e6, ..Stamp::default() }
    }

    /// A client that has heard once from each server.
    fn heard(clients: u32, weight: f64, stamps: &[Stamp]) -> Rig<C3> {
        let mut rig = Rig::new(C3Config { weight }.build(clients), &vec![1; stamps.len()]);
        let mut open: Vec<ServerId> = stamps.iter().map(|_| rig.pick()).collect();
        for &server in &open {
            rig.answer(server, 50 * MS, Some(stamps[server as usize]));
        }
        open.sort_unstable();
        assert!(open.iter().zip(0..).all(|(&server, index)| server == index), "each tried once");
        rig
    }

    #[test]
    fn the_score_is_that_of_the_paper() {
        let mut feedback = Feedback::new(0.9, 10);
        feedback.heard(0, 2.0, 4e6);
        feedback.sent(0);
        feedback.sent(0);
        let end = |latency_ns| Ended {
            request: 0,
            worker: 0,
            method: 0,
            server: 0,
            outcome: Outcome::Answered,
            last: true,
            latency_ns,
            stamp: None,
        };
        feedback.ended(&end(30 * MS));
        // qhat = 1 + 1 * 10 + 2, R = 30 ms, 1/mu = 4 ms.
        let expected = 30e6 - 4e6 + 13_f64.powi(3) * 4e6;
        assert!((feedback.score(0) - expected).abs() < 1.0);
        feedback.ended(&end(10 * MS));
        feedback.heard(0, 12.0, 24e6);
        // 0.9 of the new sample: R = 12 ms, 1/mu = 22 ms, qbar = 11.
        let expected = 12e6 - 22e6 + 12_f64.powi(3) * 22e6;
        assert!((feedback.score(0) / expected - 1.0).abs() < 1e-9);
    }

    #[test]
    fn long_queues_weigh_by_the_cube() {
        // Four times as fast may not have more than 4^(1/3) = 1.59 times the queue.
        for (queue, chosen) in [(6.8, 1), (7.2, 0)] {
            let mut rig = heard(1, 0.9, &[stamp(4.0, 40.0), stamp(queue, 10.0)]);
            assert_eq!(rig.pick(), chosen, "{queue}");
        }
    }

    #[test]
    fn own_requests_count_once_for_each_client() {
        // Each of the own requests stands for one of every client.
        for (clients, own) in [(1, 8), (100, 1)] {
            let mut rig = heard(clients, 0.9, &[stamp(0.0, 10.0), stamp(8.5, 10.0)]);
            let first = (0..20).take_while(|_| rig.pick() == 0).count();
            assert!(first.abs_diff(own) <= 1, "{clients} clients: {first} before the other");
        }
    }

    #[test]
    fn a_failure_is_no_response_time() {
        let mut rig = heard(1, 0.9, &[stamp(1.0, 10.0), stamp(1.1, 10.0)]);
        let before = rig.policy.feedback.score(0);
        assert_eq!(rig.pick(), 0);
        rig.end(0, Outcome::Failed, 0, None);
        assert!((rig.policy.feedback.score(0) - before).abs() < 1e-6);
    }
}
