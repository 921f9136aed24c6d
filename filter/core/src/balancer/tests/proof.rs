//! When the address that served is read, and when its absence from the response is believed.

use super::*;
use crate::test;

/// One request that is steered and served as Envoy with `stateful_session` would have it: by the
/// pick, or by `other`, which the response then names. Whether the address was asked for.
fn serve(rig: &mut Rig, other: Option<&str>) -> bool {
    let mut call = rig.start(0);
    let pick = rig.pick(0, &call);
    if other.is_some() {
        call.contradict();
    }
    let asked = call.wants_address();
    if asked {
        rig.served(0, &mut call, other.unwrap_or(&pick), 1);
    }
    rig.end(0, call, Ending::Answered);
    asked
}

/// How many addresses are asked for in so many requests that the pick serves.
fn asked(rig: &mut Rig, requests: usize) -> usize {
    (0..requests).filter(|_| serve(rig, None)).count()
}

#[test]
fn silence_is_believed_once_it_was_seen_to_be_true_and_checked_from_then_on() {
    let mut rig = Rig::new(1, THREE);
    assert_eq!(asked(&mut rig, 32), 32);
    let checks = asked(&mut rig, 16_000);
    // Six standard deviations of a binomial with p = 1/16.
    assert!(checks.abs_diff(1_000) < 190, "{checks}");
}

#[test]
fn one_pick_that_was_silently_ignored_ends_the_belief() {
    let mut rig = Rig::new(1, THREE);
    asked(&mut rig, 32);
    let checked = (0..1_000).find_map(|_| {
        let call = rig.start(0);
        if call.wants_address() {
            return Some(call);
        }
        rig.end(0, call, Ending::Answered);
        None
    });
    let mut call = checked.unwrap();
    let pick = rig.pick(0, &call);
    let other = if pick == "a:1" { "b:1" } else { "a:1" };
    assert_eq!(rig.served(0, &mut call, other, 1), Some(Fate::Ignored));
    rig.end(0, call, Ending::Answered);
    assert_eq!(asked(&mut rig, 32), 32);
}

#[test]
fn a_response_that_names_another_is_looked_at_and_shows_that_the_filter_is_there() {
    let mut rig = Rig::new(1, THREE);
    asked(&mut rig, 32);
    for _ in 0..20 {
        assert!(serve(&mut rig, Some("10.9.9.9:80")), "the count follows");
        rig.now_ms += 60_000;
        rig.ticks(1);
        assert!(asked(&mut rig, 40) < 20, "silence is still believed");
    }
    assert_eq!(rig.outstanding(0, "a:1") + rig.outstanding(0, "b:1"), 0);
}

#[test]
fn picks_believed_to_be_honoured_outweigh_a_few_that_were_refused() {
    let mut rig = Rig::new(1, THREE);
    asked(&mut rig, 32);
    for _ in 0..200 {
        rig.now_ms += 60_000;
        rig.ticks(1);
        serve(&mut rig, Some("10.9.9.9:80"));
        asked(&mut rig, 9);
    }
    let warnings = rig.proxy.warnings.borrow();
    assert!(!warnings.iter().any(|said| said.contains("no override")), "one in ten is no pattern");
}

#[test]
fn where_no_response_header_tells_every_address_is_read() {
    let config = r#"{"override":{"mechanism":"override_host"},
        "discovery":{"static":{"c":["a:1","b:1","d:1"]}}}"#;
    assert_eq!(asked(&mut Rig::new(1, config), 500), 500);
}

#[test]
fn three_honoured_picks_end_deafness_however_long_it_lasted() {
    let mut cluster = Cluster::new(CLUSTER, 0, 0);
    let mut dice = fastrand::Rng::with_seed(5);
    let mut deaf = |cluster: &Cluster| (0..1_000).any(|_| cluster.is_deaf(&mut dice));
    assert_eq!((1..=1_000).filter(|_| cluster.ignored()).count(), 1, "said once");
    for honoured in 0..3 {
        assert!(deaf(&cluster), "after {honoured}");
        cluster.heard(0);
    }
    assert!(!deaf(&cluster));
}
