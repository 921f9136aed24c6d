//! What no machine would get to the end of, or nobody would see anything of.

use super::read::Fault;
use super::{Arrivals, Effect, Event, Scenario};

/// Most requests and messages of a run: some minutes.
const MOST_REQUESTS: f64 = 1e8;
/// Most servers that all workers together know: some GB, for the membership that leastload reads.
const MOST_KNOWN: f64 = 5e6;
/// Most changes by events, by neighbours, or by bursts.
const MOST_CHANGES: f64 = 1e6;

/// Faults of a situation whose samples are loaded.
pub(super) fn check(scenario: &Scenario) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut most = |what: f64, most: f64, path: &str, of: &str| {
        if what > most {
            faults.push(Fault::new(path, format!("expected at most {most} {of}, not {what:.0}")));
        }
    };
    let seconds = scenario.duration.seconds();
    let (requests, messages) = requests(scenario);
    most(requests * messages.max(1.0), MOST_REQUESTS, "traffic", "requests and messages in a run");

    let servers: f64 = scenario.servers.iter().map(|group| f64::from(group.count)).sum();
    let workers = f64::from(scenario.proxies.count) * f64::from(scenario.proxies.workers);
    most(workers * servers, MOST_KNOWN, "proxies", "proxies times workers times servers");

    for (index, event) in scenario.events.iter().enumerate() {
        let left = seconds - event.at.seconds();
        let times = event.every.map_or(1.0, |every| left / every.seconds());
        let path = format!("events[{index}].every");
        most(times * hit(scenario, event), MOST_CHANGES, &path, "times in a run");
    }
    for (index, group) in scenario.servers.iter().enumerate() {
        if let Some(neighbour) = &group.antagonist {
            let times = seconds / neighbour.on.plus(neighbour.off).seconds();
            let path = format!("servers[{index}].antagonist");
            most(times * f64::from(group.count), MOST_CHANGES, &path, "times on and off in a run");
        }
    }
    if let Arrivals::Bursts { on, off, .. } = scenario.traffic.arrivals {
        let times = seconds / on.plus(off).seconds();
        most(times, MOST_CHANGES, "traffic.arrivals.bursts", "bursts in a run");
    }
    if requests < 1.0 {
        let what = format!("expected requests: on average there are {requests:.3} in a run");
        faults.push(Fault::new("traffic", what));
    }
    faults
}

/// Requests of a run, on average or at most, and messages of each.
fn requests(scenario: &Scenario) -> (f64, f64) {
    let traffic = &scenario.traffic;
    let weight: f64 = traffic.methods.iter().map(|method| method.weight).sum();
    let messages = traffic.methods.iter().map(|method| {
        method.weight * method.stream.as_ref().map_or(1.0, |stream| f64::from(stream.messages))
    });
    let messages = if traffic.methods.is_empty() { 1.0 } else { messages.sum::<f64>() / weight };
    let seconds = scenario.duration.seconds();
    if let Some(rate) = crate::engine::rate(scenario) {
        return (rate * seconds, messages);
    }
    let Arrivals::Closed { clients, think } = traffic.arrivals else { return (0.0, messages) };
    // A round takes a client at least so long; the first one is on its way at the start.
    let delay = scenario.network.delay;
    let fastest = scenario.servers.iter().map(|group| group.speed).fold(0.0, f64::max);
    let cost = traffic.methods.iter().map(|method| method.cost).reduce(f64::min).unwrap_or(1.0);
    let work = traffic.service.mean() * cost / fastest / 1e9;
    let round = think.plus(delay).plus(delay).seconds() + work;
    let slots: f64 =
        scenario.servers.iter().map(|group| f64::from(group.count) * f64::from(group.slots)).sum();
    let clients = f64::from(clients);
    ((clients / round).min(slots / work) * seconds + clients, messages)
}

/// How many servers an event is about.
fn hit(scenario: &Scenario, event: &Event) -> f64 {
    let named = scenario.servers.iter().filter(|group| event.servers.covers(group));
    let all: f64 = named.map(|group| f64::from(group.count)).sum();
    all.min(event.servers.count.map_or(f64::INFINITY, f64::from))
}

/// Whether an event can do anything: none is left to join where all are there already, and nothing
/// befalls those who never are.
pub(super) fn is_felt(scenario: &Scenario, event: &Event) -> Result<(), &'static str> {
    let groups = scenario.servers.iter().filter(|group| event.servers.covers(group));
    let ever = |what: fn(&Effect) -> bool| {
        scenario.events.iter().any(|other| {
            what(&other.effect) && groups.clone().any(|group| other.servers.covers(group))
        })
    };
    let joins = matches!(event.effect, Effect::Join {});
    let goes = |effect: &Effect| matches!(effect, Effect::Crash {} | Effect::Drain { .. });
    if joins && groups.clone().all(|group| group.present) && !ever(goes) {
        return Err("servers to join: they are there from the start (\"present\": false?)");
    }
    let comes = |effect: &Effect| matches!(effect, Effect::Join {});
    if !joins && groups.clone().all(|group| !group.present) && !ever(comes) {
        return Err("servers that are there: no event lets them join");
    }
    Ok(())
}
