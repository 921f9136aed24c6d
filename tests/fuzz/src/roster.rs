//! A cluster's roster under any sequence of changes.

use std::collections::BTreeSet;

use leastload_core::membership::roster::{self, Listing};
use leastload_core::records::{Roster, Source, Standing};

use crate::take::Take;

/// Endpoints of a roster's living members.
pub(crate) fn live(roster: &Roster) -> Vec<&str> {
    let lives = roster.entries.iter().filter(|entry| entry.standing() != Standing::Gone);
    lives.map(|entry| entry.endpoint.as_str()).collect()
}

pub(crate) fn distinct(names: &[&str]) -> bool {
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).all(|pair| pair[0] != pair[1])
}

/// Input: steps of two bytes or more, each a change of the roster.
pub fn roster(data: &[u8]) {
    let mut take = Take(data);
    let mut roster = Roster::default();
    let mut distinct_names = BTreeSet::new();
    while !take.is_empty() {
        let before = roster.clone();
        let (changed, vacated) = step(&mut take, &mut roster, &mut distinct_names);
        let name_of = |index: usize| before.entries.get(index).map(|entry| &entry.endpoint);
        assert_eq!(changed, roster.version != before.version, "a change is seen by its version");
        assert!(changed || roster == before);
        assert!(roster.entries.len() >= before.entries.len(), "slots stay");
        assert!(roster.entries.len() <= distinct_names.len(), "a slot for each name at most");
        let mut held: Vec<&str> = roster.entries.iter().map(|e| e.endpoint.as_str()).collect();
        held.retain(|name| !name.is_empty());
        assert!(distinct(&held), "one slot each: {held:?}");
        for (index, entry) in roster.entries.iter().enumerate() {
            assert!(!entry.endpoint.is_empty() || entry.standing() == Standing::Gone);
            let kept = name_of(index).is_none_or(|old| old.is_empty() || *old == entry.endpoint);
            assert!(kept || vacated.contains(&u32::try_from(index).unwrap_or(u32::MAX)));
        }
    }
}

fn name(take: &mut Take<'_>) -> String {
    format!("10.0.0.{}:80", take.below(24))
}

/// Whether anything changed, and the slots that may have been vacated.
fn step(
    take: &mut Take<'_>,
    roster: &mut Roster,
    names: &mut BTreeSet<String>,
) -> (bool, Vec<u32>) {
    match take.below(4) {
        0 => {
            let seen = name(take);
            names.insert(seen.clone());
            let changed = roster::learn(roster, Some(&seen), &[]);
            assert!(live(roster).contains(&seen.as_str()), "it is learned");
            (changed, Vec::new())
        }
        1 => {
            let forgotten: Vec<String> = (0..take.below(4)).map(|_| name(take)).collect();
            let forgotten: Vec<&str> = forgotten.iter().map(String::as_str).collect();
            let changed = roster::learn(roster, None, &forgotten);
            assert!(!live(roster).iter().any(|name| forgotten.contains(name)));
            (changed, Vec::new())
        }
        2 => {
            let slots: Vec<u32> = (0..take.below(8)).map(|_| u32::from(take.byte()) % 32).collect();
            let before: Vec<String> = live(roster).iter().map(|name| (*name).to_owned()).collect();
            let changed = roster::vacate(roster, &slots);
            assert!(live(roster).iter().eq(before.iter()), "nobody living loses a slot");
            (changed, slots)
        }
        _ => {
            let source = [Source::Static, Source::Admin, Source::Learned][take.below(3)];
            let mut listing = Listing::empty(source);
            listing.panic = take.below(2) == 1;
            for _ in 0..take.below(12) {
                let (name, standing) = (name(take), [Standing::Known, Standing::Eligible]);
                if !listing.members.iter().any(|(known, ..)| *known == name) {
                    names.insert(name.clone());
                    listing.members.push((name, 1, standing[take.below(2)]));
                }
            }
            let changed = roster::merge(roster, &listing);
            assert!(!roster::merge(&mut roster.clone(), &listing), "nothing new");
            assert_eq!(live(roster).len(), listing.members.len());
            (changed, Vec::new())
        }
    }
}
