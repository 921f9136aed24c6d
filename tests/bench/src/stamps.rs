//! Load reports of servers ("stamps"): those that the servers here send, and whether what was sent
//! arrived where it should.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use fastrand::Rng;
use http::HeaderValue;
use leastload_core::{
    config::Format,
    load::Load,
    report::{Report, Stamp},
};

use crate::{arm::Arm, load::Sent};

/// The header by which leastload asks for one, where the configuration names no other.
pub const ASK: &str = "x-leastload-ask";
/// Its value.
pub const STAMP: &str = "stamp";
/// What a twin in a real Envoy sent in the arm [`Arm::Asked`]: 87 requests in flight, 23.4375 ms for one,
/// 120.25 slots.
const RECORDED: &str = "Qg4KA3JpZhEAAAAAAMBVQEIOCgNzdmMRAAAAAABwN0BCDgoDY2FwEQAAAAAAEF5A";
/// At least this share of the stamps that were asked for must have come and been read.
const STAMPED: f64 = 0.99;
/// leastload asks at least so large a part of the responses for one: it does once in a tenth of the time
/// of service, and this load is far beyond what a real server has in that time.
const LEAST_ASKED: f64 = 0.01;
/// How many different ones there are: more than a connection's HPACK table or any cache of values holds.
const MANY: usize = 4_096;

/// What servers say, in turn, written once: the servers' own time must not differ between arms.
#[derive(Debug)]
pub struct Stamps {
    /// Empty where none are sent.
    values: Vec<HeaderValue>,
    asked: AtomicU64,
}

impl Stamps {
    /// Values to be sent, or none.
    pub fn new(sent: bool) -> Self {
        let mut rng = Rng::with_seed(1);
        let values = (0..if sent { MANY } else { 0 }).filter_map(|_| stamp(&mut rng)).collect();
        Self { values, asked: AtomicU64::new(0) }
    }

    /// Counts somebody who asks; what to answer.
    pub fn next(&self) -> Option<HeaderValue> {
        let number = self.asked.fetch_add(1, Relaxed) as usize;
        self.values.get(number % self.values.len().max(1)).cloned()
    }

    /// How many asked so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Relaxed)
    }
}

/// The recorded one, but that each figure is up to a quarter more or less.
fn stamp(rng: &mut Rng) -> Option<HeaderValue> {
    let mut about = |figure: f32| figure * rng.f32().mul_add(0.5, 0.75);
    let recorded = load(&HeaderValue::from_static(RECORDED))?;
    let load = Load {
        in_flight: about(recorded.in_flight).round(),
        service_us: recorded.service_us.map(&mut about),
        slots: recorded.slots.map(&mut about),
        ..recorded
    };
    HeaderValue::try_from(brief(load).write(Format::Bin)).ok()
}

/// What a twin says to leastload, and to nobody else.
const fn brief(load: Load) -> Stamp {
    Stamp { load, rps: 0.0, eps: 0.0, utilization: 0.0 }
}

/// The stamps of one measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that reached the servers asking for one.
    pub asked: u64,
    /// Reports that leastload counted as faulty.
    pub dropped: u64,
}

impl Tally {
    /// What was added since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            asked: self.asked.saturating_sub(earlier.asked),
            dropped: self.dropped.saturating_sub(earlier.dropped),
        }
    }

    /// Share of the responses with a stamp that arrived where it should; `None` for an arm that is not
    /// about stamps.
    ///
    /// # Errors
    /// With what was wrong, if that makes the measurement void.
    pub fn share(self, arm: Arm, sent: &Sent) -> Result<Option<f64>, String> {
        if !arm.counts_stamps() {
            return Ok(None);
        }
        let responses = sent.ok as f64;
        let (count, wanted) = match arm {
            // The servers answered all who asked; what leastload read it took out.
            arm if arm.asks() => {
                let wanted = (self.asked as f64).max(LEAST_ASKED * responses);
                (self.asked.saturating_sub(sent.stamps), wanted)
            }
            arm if arm.is_asked() => (sent.stamps, responses),
            _ => (self.asked.max(sent.stamps), 0.0),
        };
        let share = count as f64 / responses;
        let fault = if self.dropped > 0 {
            Some(format!("{} load reports were dropped", self.dropped))
        } else if arm.without_stamps().is_none() {
            (count > 0).then(|| format!("{count} stamps where nobody should ask"))
        } else if (count as f64) < STAMPED * wanted {
            Some(format!("only {count} of {wanted} stamps were read"))
        } else {
            let faulty = sent.stamp.as_ref().filter(|stamp| load(stamp).is_none());
            faulty.map(|stamp| format!("this is no stamp: {stamp:?}"))
        };
        fault.map_or(Ok(Some(share)), Err)
    }
}

/// What a stamp says.
fn load(stamp: &HeaderValue) -> Option<Load> {
    Load::of(&Report::parse_binary(stamp.as_bytes(), &Load::WANTED).ok()?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn stamps_are_as_a_twin_writes_them_and_change_each_time() {
        let recorded = load(&HeaderValue::from_static(RECORDED)).unwrap();
        assert_eq!(brief(recorded).write(Format::Bin), RECORDED);

        let stamps = Stamps::new(true);
        let sent: Vec<_> = (0..MANY).map(|_| stamps.next().unwrap()).collect();
        assert!(sent.iter().all(|stamp| stamp.len() == RECORDED.len()));
        let different: BTreeSet<_> = sent.iter().map(HeaderValue::as_bytes).collect();
        assert!(different.len() > MANY * 9 / 10, "{}", different.len());
        assert_eq!((stamps.asked(), Stamps::new(false).next()), (MANY as u64, None));
        for stamp in sent {
            let load = load(&stamp).unwrap();
            assert!((65.0..=109.0).contains(&load.in_flight), "{load:?}");
            assert!((17_500.0..=29_400.0).contains(&load.service_us.unwrap()), "{load:?}");
            assert!((90.0..=151.0).contains(&load.slots.unwrap()), "{load:?}");
        }
    }

    #[test]
    fn a_measurement_is_void_where_stamps_are_missing_or_nobody_asked() {
        let sent = |stamps, stamp| Sent { ok: 1_000, stamps, stamp, ..Sent::default() };
        let share =
            |arm, asked, arrived| Tally { asked, dropped: 0 }.share(arm, &sent(arrived, None));
        assert_eq!(share(Arm::Reports, 1_000, 5), Ok(Some(0.995)));
        assert!(share(Arm::Reports, 1_000, 11).is_err());
        assert_eq!(share(Arm::Reports, 100, 0), Ok(Some(0.1)));
        assert!(share(Arm::Reports, 100, 2).is_err() && share(Arm::Reports, 9, 0).is_err());
        assert_eq!(share(Arm::Asked, 0, 990), Ok(Some(0.99)));
        assert!(share(Arm::Asked, 1_000, 989).is_err());
        for arm in [Arm::NoReports, Arm::Unasked, Arm::LeastNoReports, Arm::LeastUnasked] {
            assert_eq!(share(arm, 0, 0), Ok(Some(0.0)));
            assert!(share(arm, 1, 0).is_err() && share(arm, 0, 1).is_err());
        }
        assert_eq!(share(Arm::StatefulSession, 1_000, 0), Ok(None));
        let dropped = Tally { asked: 1_000, dropped: 1 };
        assert!(dropped.share(Arm::Reports, &sent(0, None)).is_err());
        let other = Some(HeaderValue::from_static("AAAA"));
        assert!(Tally { asked: 0, dropped: 0 }.share(Arm::Asked, &sent(1_000, other)).is_err());
    }
}
