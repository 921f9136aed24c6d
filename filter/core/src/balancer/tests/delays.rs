//! How long requests take where servers do not report.

use super::informed::{host, unasked};
use super::*;
use crate::test;

/// A request that takes so many milliseconds at a server and ends so; the number of that server.
fn one(rig: &mut Rig, fate: impl Fn(usize) -> (u64, Ending), ticks: usize) -> usize {
    let mut call = rig.start(0);
    let n = rig.picked(0, &call);
    rig.served(0, &mut call, &host(n), 1);
    let (ms, ending) = fate(n);
    rig.pass(ms);
    rig.end(0, call, ending);
    rig.ticks(ticks);
    n
}

/// How many of so many requests, one at a time, each of four servers gets, of which the first takes four
/// times as long as the others and all end so.
fn served_without_reports(more: &str, requests: usize, ending: Ending) -> Vec<usize> {
    let mut rig = Rig::new(1, &unasked_with(more));
    let mut served = vec![0; 4];
    for _ in 0..requests {
        let n = one(&mut rig, |n| (if n == 0 { 40 } else { 10 }, ending), 1);
        served[n] += 1;
    }
    assert_eq!(rig.proxy.leftovers(), []);
    served
}

fn unasked_with(more: &str) -> String {
    let config = unasked(4);
    format!("{}{more}}}", config.strip_suffix('}').unwrap())
}

#[test]
fn a_server_that_takes_longer_gets_less_and_is_tried_again() {
    let served = served_without_reports("", 2_000, Ending::Answered);
    assert!((4..200).contains(&served[0]), "{served:?}");
    assert!(served[1..].iter().all(|requests| (400..900).contains(requests)), "{served:?}");
}

#[test]
fn how_long_requests_take_does_not_matter_where_configuration_says_so_or_nothing_is_answered() {
    let switched_off = r#","estimate":{"speed":false}"#;
    for (more, ending) in [(switched_off, Ending::Answered), ("", Ending::Erred)] {
        let served = served_without_reports(more, 2_000, ending);
        assert!(served.iter().all(|requests| (400..600).contains(requests)), "{more}: {served:?}");
    }
}

#[test]
fn of_one_that_was_given_up_it_is_known_how_long_it_took_at_least() {
    let mut rig = Rig::new(1, &unasked(2));
    for request in 0..200 {
        let fate = |n| match n {
            0 if request > 100 => (200, Ending::Undecided),
            _ => (10, Ending::Answered),
        };
        one(&mut rig, fate, usize::from(request % 10 == 0));
    }
    assert!(rig.picks(0, 100)[1..].iter().sum::<usize>() > 90);
}

#[test]
fn what_was_long_ago_does_not_count_where_requests_are_rare() {
    let mut rig = Rig::new(1, &unasked(2));
    for _ in 0..200 {
        one(&mut rig, |n| (if n == 0 { 100 } else { 10 }, Ending::Answered), 1);
    }
    // A minute between two of them.
    let picks: Vec<_> = (0..40).map(|_| one(&mut rig, |_| (10, Ending::Answered), 240)).collect();
    assert!(picks[10..].iter().filter(|n| **n == 0).count() > 5, "{picks:?}");
}
