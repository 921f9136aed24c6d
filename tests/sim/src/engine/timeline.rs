//! What happens to servers: the scenario's events, warm-ups and neighbours.

use super::Simulation;
use super::queue::What;
use crate::random::unit_exponential;
use crate::scenario::{Effect, Event, Scenario};
use crate::span::Span;

/// One step of an event at one server.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) at: u64,
    pub(crate) server: u32,
    what: Step,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Factor(f64),
    Fails(Option<(f64, Span)>),
    Lie(f64),
    Silent(bool),
    /// It joins.
    Joins,
    /// It is back, if it ever was there.
    Back,
    /// It dies.
    Crash,
    /// The control plane is told that it leaves.
    Leaves,
    /// It refuses requests; what it has still ends.
    Refuses,
}

/// Steps of a warm-up.
const WARM_STEPS: u64 = 20;

/// Every change of a run.
pub(crate) fn changes(scenario: &Scenario) -> Vec<Change> {
    let mut changes = Vec::new();
    for event in &scenario.events {
        let mut at = event.at;
        while at < scenario.duration {
            once(scenario, event, at.ns(), &mut changes);
            match event.every {
                Some(every) => at = at.plus(every),
                None => break,
            }
        }
    }
    changes
}

/// The servers an event is about.
fn targets(scenario: &Scenario, event: &Event) -> Vec<u32> {
    let targets = &event.servers;
    let mut servers = Vec::new();
    let mut first = 0;
    for group in &scenario.servers {
        if targets.covers(group) {
            servers.extend(first..first + group.count);
        }
        first += group.count;
    }
    let count = targets.count.map_or(usize::MAX, |count| count as usize);
    servers.into_iter().skip(targets.skip as usize).take(count).collect()
}

fn once(scenario: &Scenario, event: &Event, at: u64, changes: &mut Vec<Change>) {
    for (nth, server) in (0..).zip(targets(scenario, event)) {
        let at = at + event.stagger.ns() * nth;
        let mut push = |at, what| changes.push(Change { at, server, what });
        let (begin, end) = match event.effect {
            Effect::Speed { factor } => (Step::Factor(factor), Step::Factor(1.0)),
            Effect::Fail { percent, after } => {
                (Step::Fails(Some((percent, after))), Step::Fails(None))
            }
            Effect::Lie { factor } => (Step::Lie(factor), Step::Lie(1.0)),
            Effect::Silence {} => (Step::Silent(true), Step::Silent(false)),
            Effect::Crash {} => (Step::Crash, Step::Back),
            Effect::Drain { grace } => {
                push(at + grace.ns(), Step::Refuses);
                (Step::Leaves, Step::Back)
            }
            Effect::Join {} => (Step::Joins, Step::Leaves),
        };
        push(at, begin);
        if let Some(lasts) = event.lasts {
            push(at + lasts.ns(), end);
        }
    }
}

impl Simulation<'_> {
    pub(super) fn change(&mut self, index: u32) {
        let Change { server, what, .. } = self.changes[index as usize];
        let now = self.now;
        let host = &mut self.fleet.hosts[server as usize];
        match what {
            Step::Factor(factor) => host.factor = factor,
            Step::Fails(fails) => host.fails = fails.map(|(percent, after)| (percent, after.ns())),
            Step::Lie(factor) => host.lie = factor,
            Step::Silent(silent) => host.silent = silent,
            Step::Refuses => host.work.set_up(now, false),
            Step::Back if !host.joined => {}
            Step::Joins | Step::Back => self.comes(server),
            Step::Crash => {
                host.work.set_up(now, false);
                self.list(server, false);
                self.lose_all(server);
            }
            Step::Leaves => self.list(server, false),
        }
        self.respeed(server);
    }

    /// The control plane lists a server, or does not any more.
    fn list(&mut self, server: u32, listed: bool) {
        let host = &mut self.fleet.hosts[server as usize];
        if std::mem::replace(&mut host.listed, listed) != listed {
            self.publish();
        }
    }

    fn comes(&mut self, server: u32) {
        let now = self.now;
        let host = &mut self.fleet.hosts[server as usize];
        host.work.set_up(now, true);
        host.joined = true;
        host.started = now;
        if host.listed {
            return;
        }
        self.warmer(server);
        self.list(server, true);
        self.newcomers.joins(now, server, self.meter.is_on(now));
    }

    /// The next step of a warm-up.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn warmer(&mut self, server: u32) {
        let now = self.now;
        let host = &mut self.fleet.hosts[server as usize];
        let Some(warm_up) = &host.warm_up else { return };
        let share = (now - host.started) as f64 / warm_up.lasts.as_f64();
        host.warmth = (warm_up.from + (1.0 - warm_up.from) * share).min(1.0);
        if share < 1.0 {
            let step = (warm_up.lasts.ns() / WARM_STEPS).max(1);
            self.queue.push(now + step, What::Warmer { server });
        }
        self.respeed(server);
    }

    /// A neighbour comes or goes. `first`: it is not there at the start.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn antagonist(&mut self, server: u32, first: bool) {
        let host = &mut self.fleet.hosts[server as usize];
        let Some(antagonist) = &host.antagonist else { return };
        let comes = !first && host.taken == 0.0;
        let (least, most) = antagonist.takes;
        let mean = if comes { antagonist.on } else { antagonist.off };
        host.taken = if comes { least + (most - least) * self.world.f64() } else { 0.0 };
        let stays = (mean.as_f64() * unit_exponential(&mut self.world)).max(1.0) as u64;
        self.queue.push(self.now + stays, What::Antagonist { server });
        self.respeed(server);
    }

    /// Something that makes a server's speed may have changed.
    fn respeed(&mut self, server: u32) {
        let host = &mut self.fleet.hosts[server as usize];
        let speed = host.speed();
        if (speed - host.work.speed()).abs() > 0.0 {
            host.work.set_speed(self.now, speed);
            self.truth[server as usize].speed = speed;
            self.plan(server);
        }
        self.feed(server);
    }
}
