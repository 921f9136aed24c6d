//! The servers of a run, and their state beside their work.

use super::latency::LatencyAtRif;
use super::queue::Attempt;
use super::server::Server;
use super::twin::Twin;
use crate::policy::Truth;
use crate::random::is_among;
use crate::scenario::{Antagonist, Group, Scenario, WarmUp};

/// A server.
pub(crate) struct Host {
    pub(crate) work: Server,
    pub(crate) weight: u32,
    /// Speed of its own, and what it is multiplied with.
    base_speed: f64,
    pub(crate) factor: f64,
    pub(crate) warmth: f64,
    pub(crate) taken: f64,
    pub(crate) warm_up: Option<WarmUp>,
    /// When it began to warm up.
    pub(crate) started: u64,
    pub(crate) antagonist: Option<Antagonist>,
    /// It was there at the start, or came since.
    pub(crate) joined: bool,
    /// The control plane lists it.
    pub(crate) listed: bool,
    /// It stamps responses and answers probes.
    pub(crate) twin: Option<Twin>,
    pub(crate) silent: bool,
    /// Its reports are so many times the truth.
    pub(crate) lie: f64,
    /// Percent of requests that it fails at once, and after how many ns.
    pub(crate) fails: Option<(f64, u64)>,
    /// Requests and streams that reached it and have not ended there.
    pub(crate) in_flight: u32,
    /// Streams among them.
    pub(crate) streams: Vec<Attempt>,
    pub(crate) latency: LatencyAtRif,
}

impl Host {
    fn new(group: &Group, twin: bool) -> Self {
        Self {
            work: Server::new(group),
            weight: group.weight,
            base_speed: group.speed,
            factor: 1.0,
            warmth: 1.0,
            taken: 0.0,
            warm_up: group.warm_up.clone(),
            started: 0,
            antagonist: group.antagonist.clone(),
            joined: group.present,
            listed: group.present,
            twin: twin.then(Twin::default),
            silent: false,
            lie: 1.0,
            fails: None,
            in_flight: 0,
            streams: Vec::new(),
            latency: LatencyAtRif::default(),
        }
    }

    /// A request or stream reaches it. How many were in flight before.
    pub(crate) fn arrived(&mut self, of: Attempt) -> u32 {
        self.in_flight += 1;
        if let Some(twin) = &mut self.twin {
            twin.arrived(of);
        }
        self.in_flight - 1
    }

    /// It ends there. How many its twin counted before it.
    pub(crate) fn departed(&mut self, of: Attempt) -> u32 {
        self.in_flight -= 1;
        self.twin.as_mut().map_or(0, |twin| twin.departed(of))
    }

    /// What it works at now, of all that acts on it.
    pub(crate) fn speed(&self) -> f64 {
        self.base_speed * self.factor * self.warmth * (1.0 - self.taken)
    }
}

/// All servers, group after group.
pub(crate) struct Fleet {
    pub(crate) hosts: Vec<Host>,
}

impl Fleet {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let hosts = scenario.servers.iter().flat_map(|group| {
            (0..group.count)
                .map(move |nth| Host::new(group, is_among(nth, scenario.reports.twin_percent)))
        });
        Self { hosts: hosts.collect() }
    }

    pub(crate) fn truth(&self) -> Vec<Truth> {
        let truth =
            |host: &Host| Truth { outstanding: 0, slots: host.work.slots(), speed: host.speed() };
        self.hosts.iter().map(truth).collect()
    }

    /// Work done and possible so far, by server.
    pub(crate) fn work(&mut self, now: u64) -> Vec<(f64, f64)> {
        let work = |host: &mut Host| {
            host.work.advance(now);
            (host.work.done, host.work.possible)
        };
        self.hosts.iter_mut().map(work).collect()
    }
}
