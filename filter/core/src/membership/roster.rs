//! One cluster's published membership: who is in it, in which slot, and who may be picked.

use super::admin::{Cluster, Host};
use super::eligible::{Verdict, eligible};
use crate::Map;
use crate::config::is_endpoint;
use crate::proxy::Proxy;
use crate::records::{self, CLUSTERS, Clusters, Entry, Roster, STATE, Source, Standing, State};
use rustc_hash::FxBuildHasher;

/// Most clusters followed in one process; requests to any further one are left to Envoy.
pub const MOST_CLUSTERS: usize = 1_024;
/// Most endpoints followed in one cluster.
pub const MOST_ENDPOINTS: usize = 20_000;

/// A cluster's membership as one source tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// Who tells it.
    pub source: Source,
    /// Too few are healthy.
    pub panic: bool,
    /// Envoy routes here by another rule than balancing.
    pub unbalanced: bool,
    /// Endpoint, weight and standing.
    pub members: Vec<(String, u32, Standing)>,
}

impl Listing {
    /// From `discovery.static`: all eligible, or those that the admin interface holds eligible
    /// where it tells of the cluster.
    pub fn given(endpoints: &[String], told: Option<&Cluster>, panic_threshold: f64) -> Self {
        if let Some(told) = told {
            let given: Map<&str, u32> = endpoints.iter().map(|e| (e.as_str(), 0)).collect();
            let is_given = |host: &&Host| given.contains_key(host.endpoint.as_str());
            let hosts: Vec<Host> = told.hosts.iter().filter(is_given).cloned().collect();
            return Self { source: Source::Static, ..Self::of(&hosts, panic_threshold) };
        }
        let member = |endpoint: &String| (endpoint.clone(), 1, Standing::Eligible);
        let members = endpoints.iter().map(member).collect();
        Self { members, ..Self::empty(Source::Static) }
    }

    /// From Envoy's admin interface.
    pub fn told(cluster: &Cluster, panic_threshold: f64) -> Self {
        let unbalanced = cluster.original_destination;
        Self { unbalanced, ..Self::of(&cluster.hosts, panic_threshold) }
    }

    /// No endpoints.
    pub fn empty(source: Source) -> Self {
        Self { source, panic: false, unbalanced: false, members: Vec::new() }
    }

    fn of(hosts: &[Host], panic_threshold: f64) -> Self {
        let verdict = eligible(hosts, panic_threshold);
        let member = |host: &Host| (host.endpoint.clone(), host.weight, Standing::Known);
        let mut members: Vec<_> = hosts.iter().map(member).collect();
        if let Verdict::Eligible(indices) = &verdict {
            for index in indices {
                if let Some(member) = members.get_mut(*index) {
                    member.2 = Standing::Eligible;
                }
            }
        }
        let panic = matches!(verdict, Verdict::Panic);
        Self { panic, members, ..Self::empty(Source::Admin) }
    }
}

/// Brings a roster up to date. Whoever is no longer told is gone but keeps its slot; a newcomer
/// takes a vacant slot (see [`vacate`]), or a new one. True if anything changed.
pub fn merge(roster: &mut Roster, listing: &Listing) -> bool {
    let before = roster.clone();
    let mut slots: Map<String, u32> =
        Map::with_capacity_and_hasher(roster.entries.len(), FxBuildHasher);
    let mut vacant = Vec::new();
    for (slot, entry) in (0_u32..).zip(roster.entries.iter_mut()) {
        entry.standing = Standing::Gone.into();
        if entry.endpoint.is_empty() {
            vacant.push(slot);
        } else {
            slots.insert(entry.endpoint.clone(), slot);
        }
    }
    for (endpoint, weight, standing) in &listing.members {
        let member =
            Entry { endpoint: endpoint.clone(), weight: *weight, standing: (*standing).into() };
        let slot = slots.get(endpoint).copied().or_else(|| vacant.pop());
        if let Some(entry) = slot.and_then(|slot| roster.entries.get_mut(slot as usize)) {
            *entry = member;
        } else if roster.entries.len() < MOST_ENDPOINTS {
            roster.entries.push(member);
        }
    }
    roster.source = listing.source.into();
    roster.panic = listing.panic;
    roster.unbalanced = listing.unbalanced;
    bump(roster, &before)
}

/// Adds an endpoint that was learned, and lets go of those that were forgotten. One that no header
/// can name, such as a Unix socket with a comma in its path, is not learned.
pub fn learn(roster: &mut Roster, seen: Option<&str>, forgotten: &[&str]) -> bool {
    let seen = seen.filter(|seen| is_endpoint(seen));
    let is = |entry: &Entry, standing| entry.standing() == standing;
    let known = seen.is_none_or(|seen| {
        roster.entries.iter().any(|entry| entry.endpoint == seen && is(entry, Standing::Eligible))
    });
    let leaves = |entry: &Entry| {
        let name = entry.endpoint.as_str();
        !is(entry, Standing::Gone) && forgotten.contains(&name)
    };
    if known && !roster.entries.iter().any(leaves) {
        return false;
    }
    // A record of another version of the module may hold what this one would not have learned.
    let stays = |entry: &&Entry| {
        let name = entry.endpoint.as_str();
        !is(entry, Standing::Gone) && !leaves(entry) && seen != Some(name) && is_endpoint(name)
    };
    let member = |entry: &Entry| (entry.endpoint.clone(), entry.weight, entry.standing());
    let mut members: Vec<_> = roster.entries.iter().filter(stays).map(member).collect();
    members.extend(seen.map(|name| (name.to_owned(), 1, Standing::Eligible)));
    merge(roster, &Listing { members, ..Listing::empty(Source::Learned) })
}

/// Makes slots available to newcomers, unless their endpoints came back.
pub fn vacate(roster: &mut Roster, slots: &[u32]) -> bool {
    let before = roster.clone();
    for slot in slots {
        if let Some(entry) = roster.entries.get_mut(*slot as usize)
            && entry.standing() == Standing::Gone
        {
            entry.endpoint.clear();
        }
    }
    bump(roster, &before)
}

/// Raises the version if anything changed since `before`.
fn bump(roster: &mut Roster, before: &Roster) -> bool {
    let changed = *roster != *before || roster.version == 0;
    if changed {
        roster.version = roster.version.wrapping_add(1).max(1);
    }
    changed
}

/// Enters a cluster in the list of those in use, unless it is full; its index there is its own for
/// the life of the process. `None` where the list could not be written this time.
pub fn enlist(proxy: &dyn Proxy, cluster: &str) -> Option<Clusters> {
    records::update::<Clusters>(proxy, CLUSTERS, |clusters| {
        let enter = clusters.names.len() < MOST_CLUSTERS
            && !clusters.names.iter().any(|name| name == cluster);
        if enter {
            clusters.names.push(cluster.to_owned());
        }
        enter
    })
}

/// Changes a cluster's roster and tells every VM that it changed.
pub fn publish(
    proxy: &dyn Proxy,
    cluster: &str,
    index: usize,
    mut change: impl FnMut(&mut Roster) -> bool,
) -> Option<Roster> {
    let mut changed = false;
    let roster = records::update::<Roster>(proxy, &records::roster_key(cluster), |roster| {
        changed = change(roster);
        changed
    })?;
    if changed {
        records::update::<State>(proxy, STATE, |state| {
            if state.versions.len() <= index {
                state.versions.resize(index + 1, 0);
            }
            match state.versions.get_mut(index) {
                Some(version) => core::mem::replace(version, roster.version) != roster.version,
                None => false,
            }
        });
    }
    Some(roster)
}

#[cfg(test)]
mod tests;
