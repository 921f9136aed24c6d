use Standing::{Eligible, Gone, Known};

use super::*;
use crate::membership::admin::Health;
use crate::memory::Memory;
use crate::test;

fn listing(members: &[(&str, u32, Standing)]) -> Listing {
    let member =
        |(name, weight, standing): &(&str, u32, Standing)| ((*name).to_owned(), *weight, *standing);
    Listing { members: members.iter().map(member).collect(), ..Listing::empty(Source::Admin) }
}

fn entries(roster: &Roster) -> Vec<(&str, u32, Standing)> {
    let entry = |entry: &'_ Entry| (entry.weight, entry.standing());
    let names = roster.entries.iter().map(|entry| entry.endpoint.as_str());
    names.zip(roster.entries.iter().map(entry)).map(|(name, (w, s))| (name, w, s)).collect()
}

fn host(endpoint: &str, weight: u32, health: Health) -> Host {
    Host { endpoint: endpoint.to_owned(), priority: 0, weight, health }
}

#[test]
fn an_endpoint_keeps_its_slot_and_each_change_raises_the_version() {
    let mut roster = Roster::default();
    assert!(merge(&mut roster, &listing(&[("a", 1, Eligible), ("b", 2, Known)])));
    assert_eq!((roster.version, roster.source()), (1, Source::Admin));
    assert_eq!(entries(&roster), [("a", 1, Eligible), ("b", 2, Known)]);
    assert!(!merge(&mut roster, &listing(&[("b", 2, Known), ("a", 1, Eligible)])), "the same");
    assert_eq!(roster.version, 1);
    assert!(merge(&mut roster, &listing(&[("c", 1, Eligible), ("b", 3, Eligible)])));
    assert_eq!(entries(&roster), [("a", 1, Gone), ("b", 3, Eligible), ("c", 1, Eligible)]);
    assert!(merge(&mut roster, &listing(&[("a", 1, Eligible)])));
    assert_eq!(entries(&roster), [("a", 1, Eligible), ("b", 3, Gone), ("c", 1, Gone)]);
    assert_eq!(roster.version, 3);
    for change in [
        Listing { panic: true, ..listing(&[("a", 1, Eligible)]) },
        Listing { unbalanced: true, ..listing(&[("a", 1, Eligible)]) },
        Listing { source: Source::Static, ..listing(&[("a", 1, Eligible)]) },
    ] {
        assert!(merge(&mut roster, &change), "{change:?}");
        assert!(!merge(&mut roster, &change), "{change:?}");
    }
    assert_eq!(roster.version, 6);
}

#[test]
fn a_vacated_slot_is_taken_by_a_newcomer() {
    let mut roster = Roster::default();
    merge(&mut roster, &listing(&[("a", 1, Eligible), ("b", 1, Eligible), ("c", 1, Eligible)]));
    assert!(!vacate(&mut roster, &[0, 9]), "it is in use, and there is no such slot");
    merge(&mut roster, &listing(&[("c", 1, Eligible)]));
    let version = roster.version;
    assert!(vacate(&mut roster, &[1]));
    assert_eq!(roster.version, version + 1);
    assert!(!vacate(&mut roster, &[1]), "it is vacant already");
    merge(&mut roster, &listing(&[("c", 1, Eligible), ("d", 1, Eligible)]));
    assert_eq!(entries(&roster), [("a", 1, Gone), ("d", 1, Eligible), ("c", 1, Eligible)]);
}

#[test]
fn a_version_says_that_there_is_one() {
    let mut roster = Roster::default();
    // Version 0 means that nobody published anything, so nothing is something to publish.
    assert!(merge(&mut roster, &Listing::empty(Source::Unknown)));
    assert_eq!(roster.version, 1);
    assert!(!merge(&mut roster, &Listing::empty(Source::Unknown)));
    roster.version = u32::MAX;
    assert!(merge(&mut roster, &Listing::empty(Source::Admin)));
    assert_eq!(roster.version, 1);
}

#[test]
fn endpoints_are_bounded() {
    let names: Vec<String> = (0..=MOST_ENDPOINTS).map(|index| index.to_string()).collect();
    let given = Listing::given(&names, None, 0.0);
    let mut roster = Roster::default();
    merge(&mut roster, &given);
    assert_eq!(roster.entries.len(), MOST_ENDPOINTS);
}

#[test]
fn clusters_are_bounded_and_entered_once() {
    let proxy = Memory::default();
    for index in 0..=MOST_CLUSTERS {
        enlist(&proxy, &index.to_string());
    }
    let clusters = enlist(&proxy, "0").unwrap();
    assert_eq!(clusters.names.len(), MOST_CLUSTERS);
    assert_eq!(clusters.names.iter().position(|name| name == "7"), Some(7));
}

#[test]
fn learning_adds_who_served_and_drops_who_was_forgotten() {
    let mut roster = Roster::default();
    assert!(!learn(&mut roster, None, &[]));
    assert!(learn(&mut roster, Some("a"), &[]));
    assert!(!learn(&mut roster, Some("a"), &[]), "known");
    assert!(learn(&mut roster, Some("b"), &[]));
    assert_eq!(roster.source(), Source::Learned);
    assert_eq!(entries(&roster), [("a", 1, Eligible), ("b", 1, Eligible)]);
    assert!(!learn(&mut roster, Some("a"), &["x"]), "nobody knows x");
    assert!(learn(&mut roster, Some("b"), &["a"]));
    assert_eq!(entries(&roster), [("a", 1, Gone), ("b", 1, Eligible)]);
    assert!(!learn(&mut roster, None, &["a"]), "gone already");
    assert!(learn(&mut roster, Some("c"), &[]));
    assert_eq!(entries(&roster), [("a", 1, Gone), ("b", 1, Eligible), ("c", 1, Eligible)]);
    assert!(learn(&mut roster, Some("a"), &["c"]), "it is back");
    assert_eq!(entries(&roster), [("a", 1, Eligible), ("b", 1, Eligible), ("c", 1, Gone)]);
    assert!(learn(&mut roster, None, &["b"]));
    assert_eq!(entries(&roster), [("a", 1, Eligible), ("b", 1, Gone), ("c", 1, Gone)]);
}

#[test]
fn who_was_known_from_another_source_is_learned_as_it_was() {
    let mut roster = Roster::default();
    merge(&mut roster, &listing(&[("a", 7, Known), ("b", 3, Eligible), ("c", 5, Known)]));
    assert!(learn(&mut roster, Some("a"), &[]), "it served, so it may be picked");
    assert_eq!(entries(&roster), [("a", 1, Eligible), ("b", 3, Eligible), ("c", 5, Known)]);
}

#[test]
fn a_given_list_is_all_eligible_or_what_the_admin_interface_holds_of_it() {
    let given = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
    let all = Listing::given(&given, None, 90.0);
    assert_eq!(all.source, Source::Static);
    let every = |standing| given.iter().map(|name| (name.clone(), 1, standing)).collect::<Vec<_>>();
    assert_eq!((all.panic, all.members), (false, every(Eligible)));

    let told = Cluster {
        name: "x".to_owned(),
        hosts: vec![
            host("b", 4, Health::Healthy),
            host("c", 1, Health::Unhealthy),
            host("z", 1, Health::Healthy),
        ],
        original_destination: true,
    };
    let listing = Listing::given(&given, Some(&told), 50.0);
    assert_eq!((listing.source, listing.panic, listing.unbalanced), (Source::Static, false, false));
    assert_eq!(listing.members, [("b".to_owned(), 4, Eligible), ("c".to_owned(), 1, Known)]);
    assert!(Listing::given(&given, Some(&told), 50.1).panic);

    let listing = Listing::told(&told, 70.0);
    assert_eq!((listing.source, listing.panic, listing.unbalanced), (Source::Admin, true, true));
    assert!(listing.members.iter().all(|(_, _, standing)| *standing == Known), "panic: none");
}

#[test]
fn a_change_is_published_with_its_version_and_nothing_else_is() {
    let proxy = Memory::default();
    let versions =
        || records::read::<State>(&proxy, STATE).map(|(state, cas)| (state.versions, cas));
    let put = |cluster: &str, index, listing: &Listing| {
        publish(&proxy, cluster, index, |roster| merge(roster, listing)).unwrap().version
    };
    assert_eq!(put("c", 2, &listing(&[("a", 1, Eligible)])), 1);
    let (told, cas) = versions().unwrap();
    assert_eq!(told, [0, 0, 1]);
    assert_eq!(put("c", 2, &listing(&[("a", 1, Eligible)])), 1);
    assert_eq!(versions().unwrap(), (told, cas), "nothing changed, so nothing is written");
    assert_eq!(put("c", 2, &listing(&[])), 2);
    assert_eq!(put("d", 0, &listing(&[])), 1);
    assert_eq!(versions().unwrap().0, [1, 0, 2]);
    put("e", 3, &listing(&[]));
    assert_eq!(versions().unwrap().0, [1, 0, 2, 1]);
}
