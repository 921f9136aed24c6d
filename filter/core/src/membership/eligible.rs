//! Which of a cluster's hosts may be picked.
//!
//! Both override mechanisms reach hosts of every priority, and one of them also sick ones, so
//! whatever Envoy's own balancer would not do must be left out here. Envoy blends: as the healthy
//! share of a priority falls, it spills over to degraded hosts and to lower priorities bit by bit.
//! We do not blend: the best priority that has a healthy host takes all, and where that share is
//! too small for it, `panic_threshold` hands the cluster back to Envoy, which blends.

use super::admin::{Health, Host};

/// What may be done with a cluster's hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pick among these: indices into the hosts judged, ascending, at least one.
    Eligible(Vec<usize>),
    /// None is fit, or too few are: leave the choice to Envoy.
    Panic,
    /// The cluster has no hosts.
    Empty,
}

/// Judges a cluster's hosts. The highest priority (lowest number) with a healthy host is the only
/// one eligible, with its healthy hosts; where no priority has a healthy host, the highest one with
/// a degraded host, with its degraded ones.
///
/// `panic_threshold_percent` is the least share of eligible hosts among that priority's, 0 to 100;
/// hosts that Envoy excludes ([`Health::Excluded`]) are not counted, as in its own panic mode, so a
/// rolling update with many draining hosts is no panic.
pub fn eligible(hosts: &[Host], panic_threshold_percent: f64) -> Verdict {
    if hosts.is_empty() {
        return Verdict::Empty;
    }
    let best =
        |health| hosts.iter().filter(|host| host.health == health).map(|host| host.priority).min();
    let Some((health, priority)) = best(Health::Healthy)
        .map(|priority| (Health::Healthy, priority))
        .or_else(|| best(Health::Degraded).map(|priority| (Health::Degraded, priority)))
    else {
        return Verdict::Panic;
    };
    let peers = || hosts.iter().enumerate().filter(move |(_, host)| host.priority == priority);
    let chosen: Vec<usize> =
        peers().filter(|(_, host)| host.health == health).map(|(index, _)| index).collect();
    let counted = peers().filter(|(_, host)| host.health != Health::Excluded).count();
    if percent(chosen.len(), counted) < panic_threshold_percent {
        return Verdict::Panic;
    }
    Verdict::Eligible(chosen)
}

/// `part` of `whole` in percent; `whole` is at least 1 wherever there is a part.
fn percent(part: usize, whole: usize) -> f64 {
    let float = |count| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    100.0 * float(part) / float(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test;
    use proptest::prelude::*;

    /// Hosts from a picture: each word is a priority level from 0 on, each letter a host of it:
    /// `h`ealthy, `d`egraded, `u`nhealthy, e`x`cluded.
    fn hosts(picture: &str) -> Vec<Host> {
        let mut hosts = Vec::new();
        for (priority, level) in picture.split(' ').enumerate() {
            for letter in level.chars().filter(|letter| *letter != '.') {
                hosts.push(Host {
                    endpoint: format!("10.0.{priority}.{}:80", hosts.len()),
                    priority: u32::try_from(priority).unwrap(),
                    weight: 1,
                    health: match letter {
                        'h' => Health::Healthy,
                        'd' => Health::Degraded,
                        'u' => Health::Unhealthy,
                        _ => Health::Excluded,
                    },
                });
            }
        }
        hosts
    }

    #[test]
    fn verdicts() {
        let some = |indices: &[usize]| Verdict::Eligible(indices.to_vec());
        for (picture, threshold, verdict) in [
            ("", 0.0, Verdict::Empty),
            ("", 100.0, Verdict::Empty),
            ("hhh", 0.0, some(&[0, 1, 2])),
            ("huh", 0.0, some(&[0, 2])),
            // One healthy host is enough, and degraded ones wait for none to be.
            ("uuh", 0.0, some(&[2])),
            ("ddh", 0.0, some(&[2])),
            ("dud", 0.0, some(&[0, 2])),
            ("uuu", 0.0, Verdict::Panic),
            ("xxx", 0.0, Verdict::Panic),
            // A healthy host of a lower priority beats a degraded one of a higher.
            ("uh hh", 0.0, some(&[1])),
            ("uu hh", 0.0, some(&[2, 3])),
            ("dd hh", 0.0, some(&[2, 3])),
            ("uu ud", 0.0, some(&[3])),
            ("ud dd", 0.0, some(&[1])),
            (". hu", 0.0, some(&[0])),
            ("uu xx h", 0.0, some(&[4])),
            // The threshold: met exactly is met; only the eligible priority counts; excluded
            // hosts do not count.
            ("hhuu", 50.0, some(&[0, 1])),
            ("hhuu", 50.1, Verdict::Panic),
            ("huu hhh", 50.0, Verdict::Panic),
            ("hh uuuuuu", 100.0, some(&[0, 1])),
            ("hhxxxx", 100.0, some(&[0, 1])),
            ("hddd", 50.0, Verdict::Panic),
            ("ddd", 50.0, some(&[0, 1, 2])),
            ("duu", 50.0, Verdict::Panic),
            ("huu", f64::NAN, some(&[0])),
            ("h", 100.0, some(&[0])),
        ] {
            assert_eq!(eligible(&hosts(picture), threshold), verdict, "{picture:?} {threshold}");
        }
    }

    #[test]
    fn order_of_priorities_does_not_matter() {
        let mut mixed = hosts("uh h");
        mixed.reverse();
        assert_eq!(eligible(&mixed, 0.0), Verdict::Eligible(vec![1]));
    }

    proptest! {
        #[test]
        fn only_the_best_of_one_priority(picture in "[hdux.]{0,6}( [hdux]{0,6}){0,3}",
                                         threshold in 0.0..=100.0f64) {
            let hosts = hosts(&picture);
            match eligible(&hosts, threshold) {
                Verdict::Empty => prop_assert!(hosts.is_empty()),
                Verdict::Panic => {
                    let fit = |h: &Host| matches!(h.health, Health::Healthy | Health::Degraded);
                    prop_assert!(threshold > 0.0 || !hosts.iter().any(fit));
                }
                Verdict::Eligible(indices) => {
                    let first = &hosts[indices[0]];
                    prop_assert!(indices.iter().all(|i| hosts[*i].priority == first.priority));
                    prop_assert!(indices.iter().all(|i| hosts[*i].health == first.health));
                    prop_assert!(!hosts.iter().any(|h| h.health == Health::Healthy
                        && (h.priority < first.priority || first.health != Health::Healthy)));
                }
            }
        }
    }
}
