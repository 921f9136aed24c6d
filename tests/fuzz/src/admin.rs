//! The admin interface's answer, as it becomes membership.

use std::io::Read;

use leastload_core::config::is_endpoint;
use leastload_core::membership::admin::{self, Health, Host, MOST_HOSTS, ParseError, Snapshot};
use leastload_core::membership::eligible::{Verdict, eligible};
use leastload_core::membership::roster::{self, Listing};
use leastload_core::records::{Roster, Standing};

use crate::roster::live;

/// A body that comes in pieces of odd lengths.
struct Pieces<'a> {
    rest: &'a [u8],
    next: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let length = self.next.min(to.len()).min(self.rest.len());
        self.next = self.next % 7 * 2 + 1;
        let (piece, rest) = self.rest.split_at(length);
        to[..length].copy_from_slice(piece);
        self.rest = rest;
        Ok(length)
    }
}

/// Input: the body.
pub fn admin(data: &[u8]) {
    let length = data.len() as u64;
    let next = data.len() % 13 + 1;
    let [whole, stream] = [length, u64::MAX].map(|length| {
        let whole = admin::parse(data, length, &|_| true);
        let pieces = admin::parse(Pieces { rest: data, next }, length, &|_| true);
        assert_eq!(whole, pieces, "in pieces, {length}");
        whole
    });
    match (&whole, &stream) {
        // The two ways to read may differ in the byte that they call faulty.
        (Err(ParseError::Syntax { .. }), Err(ParseError::Syntax { .. })) => {}
        _ => assert_eq!(whole, stream, "as a stream"),
    }
    if let Err(error) = &whole {
        assert!((1..=100).contains(&error.to_string().len()));
    }
    let Ok(all) = whole else { return };
    bounded(&all, data.len());
    let wanted = |name: &str| name.len().is_multiple_of(2);
    // What is skipped is not read, so it may hide a fault.
    let some = admin::parse(data, length, &wanted).expect("wanting less is no fault");
    if names_once(data) {
        let chosen = all.clusters.iter().filter(|cluster| wanted(&cluster.name));
        assert!(some.clusters.iter().eq(chosen), "what is wanted does not depend on what is not");
    }
    membership(&all);
}

/// Whether no object has two names, of which one might be wanted and the other not.
fn names_once(data: &[u8]) -> bool {
    let count = |text: &[u8]| text.windows(6).filter(|part| *part == b"\"name\"").count();
    let once = serde_json::from_slice::<serde_json::Value>(data).map(|value| value.to_string());
    once.is_ok_and(|once| count(once.as_bytes()) == count(data))
        && !data.windows(2).any(|p| p == b"\\u")
}

fn bounded(snapshot: &Snapshot, length: usize) {
    assert!(snapshot.clusters.is_sorted_by(|one, other| one.name <= other.name));
    let mut counted = snapshot.clusters.len() + snapshot.faulty + snapshot.dropped;
    for cluster in &snapshot.clusters {
        counted += cluster.hosts.len();
        assert!(cluster.hosts.len() <= MOST_HOSTS);
        assert!(snapshot.cluster(&cluster.name).is_some());
        for host in &cluster.hosts {
            assert!(is_endpoint(&host.endpoint) && host.weight > 0, "{host:?}");
        }
    }
    assert!(counted <= length, "each takes at least a byte");
}

fn membership(snapshot: &Snapshot) {
    let mut roster = Roster::default();
    let mut slots: Vec<String> = Vec::new();
    for (cluster, threshold) in snapshot.clusters.iter().zip([0.0, 50.0, 100.0].into_iter().cycle())
    {
        let verdict = eligible(&cluster.hosts, threshold);
        let listing = Listing::told(cluster, threshold);
        assert_eq!(listing.panic, verdict == Verdict::Panic);
        roster::merge(&mut roster, &listing);
        assert!(!roster::merge(&mut roster.clone(), &listing), "nothing new, nothing changes");
        let known: Vec<&str> = cluster.hosts.iter().map(|host| host.endpoint.as_str()).collect();
        let mut lives = live(&roster);
        lives.sort_unstable();
        let mut told = known.clone();
        told.sort_unstable();
        assert_eq!(lives, told, "each host once, nobody else");
        let picked: Vec<&str> = roster
            .entries
            .iter()
            .filter(|entry| entry.standing() == Standing::Eligible)
            .map(|entry| entry.endpoint.as_str())
            .collect();
        let expected = match &verdict {
            Verdict::Eligible(indices) => indices.len(),
            Verdict::Empty | Verdict::Panic => 0,
        };
        assert_eq!(picked.len(), expected, "eligible as the verdict says");
        assert!(picked.iter().all(|endpoint| known.contains(endpoint)));
        if let Verdict::Eligible(indices) = &verdict {
            let chosen = || indices.iter().map(|index| &cluster.hosts[*index]);
            let (health, priority) =
                (cluster.hosts[indices[0]].health, cluster.hosts[indices[0]].priority);
            assert!(health >= Health::Degraded);
            assert!(chosen().all(|host| (host.health, host.priority) == (health, priority)));
            let better = |host: &Host| {
                host.health > health || (host.health == health && host.priority < priority)
            };
            assert!(!cluster.hosts.iter().any(better), "the best of them");
        }
        for (slot, name) in slots.iter().enumerate() {
            assert_eq!(roster.entries[slot].endpoint, *name, "an endpoint keeps its slot");
        }
        slots = roster.entries.iter().map(|entry| entry.endpoint.clone()).collect();
    }
}
