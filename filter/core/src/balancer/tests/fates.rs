//! What became of a pick, as it is told.

use super::*;
use crate::test;

const TWO: [(&str, u32, &str); 2] = [("10.0.0.1:80", 0, "HEALTHY"), ("10.0.0.2:80", 0, "HEALTHY")];

/// Picks, then lets the admin interface tell of the pick what `pick_is` says, then another serves.
fn after(pick_is: Option<&str>) -> Option<Fate> {
    let mut rig = Rig::new(1, "{}");
    rig.admin = Some(admin(&TWO));
    rig.call(0, "x");
    rig.ticks(8);
    let mut call = rig.start(0);
    let pick = rig.pick(0, &call);
    let other = TWO.iter().find(|host| host.0 != pick).unwrap();
    let mut hosts = vec![*other];
    hosts.extend(pick_is.map(|status| (pick.as_str(), 0, status)));
    rig.admin = Some(admin(&hosts));
    rig.ticks(8);
    let fate = rig.served(0, &mut call, other.0, 1);
    rig.end(0, call, Ending::Answered);
    assert_eq!(rig.proxy.leftovers(), []);
    fate
}

#[test]
fn a_pick_that_envoy_had_reason_not_to_take_is_told_apart() {
    assert_eq!(after(Some("HEALTHY")), Some(Fate::Ignored));
    assert_eq!(after(Some("UNHEALTHY")), Some(Fate::NotEligible));
    assert_eq!(after(None), Some(Fate::Gone));
}

#[test]
fn in_shadow_mode_envoys_choice_is_compared() {
    let config = r#"{"rollout":{"mode":"shadow"},"discovery":{"static":{"c":["a:1","b:1"]}}}"#;
    let mut rig = Rig::new(1, config);
    let mut fates = Vec::new();
    for _ in 0..100 {
        let mut call = rig.start(0);
        fates.push(rig.served(0, &mut call, "a:1", 1).unwrap());
        rig.end(0, call, Ending::Answered);
    }
    let same = fates.iter().filter(|fate| **fate == Fate::ShadowSame).count();
    assert!((20..80).contains(&same), "{same}");
    assert_eq!(fates.iter().filter(|fate| **fate == Fate::ShadowOther).count(), 100 - same);
}

#[test]
fn fates_are_numbered_without_a_gap() {
    let all = [
        Fate::Honoured,
        Fate::Retry,
        Fate::NotEligible,
        Fate::Gone,
        Fate::Ignored,
        Fate::ShadowSame,
        Fate::ShadowOther,
    ];
    assert_eq!(all.map(|fate| fate as usize), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(all.len(), Fate::COUNT);
}
