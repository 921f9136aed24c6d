//! How long requests take at an endpoint beside the others, as one VM saw it itself: what is known of the
//! speed of servers that do not report.

/// What requests took at an endpoint; the past fades.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delays {
    /// How many, and the sums of what they took, in microseconds, and of its squares.
    count: f32,
    sum: f32,
    squares: f32,
    /// How many times as long as at all endpoints they take here, as far as that is sure. 0: nothing is
    /// known.
    ratio: f32,
}

impl Delays {
    /// A request took so many microseconds; at all endpoints it is usually `usual_us`, 0 where that is
    /// not known yet.
    pub fn took(&mut self, took_us: f32, usual_us: f32) {
        /// One that took so many times the usual, or longer, counts as so many: it may be a stream.
        const MOST: f32 = 8.0;
        let took_us = if usual_us > 0.0 { took_us.min(MOST * usual_us) } else { took_us };
        self.count += 1.0;
        self.sum += took_us;
        self.squares += took_us * took_us;
    }

    /// Whether any request of late is known.
    pub fn any(&self) -> bool {
        self.count > 0.0
    }

    /// Time has passed: so much is left of the past.
    pub fn fade(&mut self, kept: f32) {
        /// Of so little of a request, nothing will be left beside the next.
        const NOTHING: f32 = 0.01;
        self.count *= kept;
        self.sum *= kept;
        self.squares *= kept;
        if self.count <= NOTHING {
            *self = Self::default();
        }
    }

    /// Of all that it may be, what is nearest to 1: what differs by chance, or by next to nothing, is
    /// alike, for whoever seemed a little faster would get all.
    fn beside(&self, all: &Typical) -> Option<f32> {
        /// So many times as long is next to nothing more.
        const LITTLE: f32 = 1.1;
        /// Nobody is so many times as slow or as fast as all.
        const MOST: f32 = 64.0;
        let usual_us = all.mean_us();
        if self.count < FEWEST || usual_us <= 0.0 {
            return None;
        }
        let error = (all.variance() / self.count).sqrt();
        // Few requests tell less than their error says, for most are shorter than the mean.
        let chance = error * (1.0 + 1.0 / self.count.sqrt());
        let ratio = (self.sum / self.count / usual_us).clamp(1.0 / MOST, MOST);
        Some(1.0_f32.max(ratio / LITTLE - chance).min(ratio * LITTLE + chance))
    }
}

/// How long requests of a cluster took of late.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lately {
    /// In microseconds; 0: not known.
    pub mean_us: f32,
    /// Some have ended, and that matters still.
    pub any: bool,
    /// By how many times as long as at all they take at the fastest endpoint; `None`: all are alike, as
    /// far as is known.
    fastest: Option<f32>,
}

/// What is left of the past after so many ticks at the usual pace.
pub fn kept(ticks: u64) -> f32 {
    /// After one, a quarter of a second: the half after ten seconds.
    const KEPT: f32 = 0.983;
    KEPT.powi(i32::try_from(ticks).unwrap_or(i32::MAX))
}

impl Lately {
    /// Whether any endpoint is known to be slower or faster than others.
    pub fn differ(&self) -> bool {
        self.fastest.is_some()
    }

    /// Compares how long requests take at endpoints with how long they take at all.
    pub fn compare<'a>(all: Typical, endpoints: impl Iterator<Item = &'a mut Delays>) -> Self {
        let (mut fastest, mut alike) = (1.0_f32, true);
        for delays in endpoints {
            let ratio = delays.beside(&all);
            delays.ratio = ratio.unwrap_or_default();
            if let Some(ratio) = ratio {
                fastest = fastest.min(ratio);
                alike &= ratio.to_bits() == 1.0_f32.to_bits();
            }
        }
        Self { mean_us: all.mean_us(), any: true, fastest: (!alike).then_some(fastest) }
    }

    /// Work as it counts at an endpoint. `random`: from 0 to 1.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "precise enough for a comparison"
    )]
    pub fn weigh(&self, delays: &Delays, milli: u64, random: f32) -> u64 {
        /// Endpoints that differ by less fall at random.
        const NEAR: f32 = 0.1;
        /// Such a part of requests takes an endpoint of which nothing is known for as fast as any.
        /// More would overload slow ones where nobody sends one of them enough to know.
        const TRIALS: f32 = 1.0 / 16.0;
        let Some(fastest) = self.fastest else { return milli };
        let ratio = match delays.ratio {
            ratio if ratio > 0.0 => ratio,
            _ if random < TRIALS => fastest,
            _ => 1.0,
        };
        (milli as f32 * ratio * (1.0 + NEAR * random)) as u64
    }
}

/// Of fewer requests nothing is known.
const FEWEST: f32 = 2.0;

/// What requests took at all endpoints of a cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct Typical {
    count: f32,
    sum: f32,
    /// Squares of the differences from the mean of the same endpoint, and how many differences beyond
    /// one for each mean.
    within: f32,
    spare: f32,
}

impl Typical {
    /// Adds an endpoint's.
    pub fn add(&mut self, delays: &Delays) {
        if delays.count >= FEWEST {
            self.count += delays.count;
            self.sum += delays.sum;
            self.spare += delays.count - 1.0;
            self.within += (delays.squares - delays.sum * delays.sum / delays.count).max(0.0);
        }
    }

    /// In microseconds; 0: not known.
    pub fn mean_us(&self) -> f32 {
        if self.count > 0.0 { self.sum / self.count } else { 0.0 }
    }

    /// By how much latencies at one endpoint vary, as the square of a part of their mean. The few that
    /// are known at first may be alike by chance, and so are those of streams that begin and end together:
    /// until many say so, they vary as times of service often do.
    fn variance(&self) -> f32 {
        /// As much as these many would say: exponential ones.
        const EXPECTED: f32 = 4.0;
        let mean_us = self.mean_us();
        (self.within / (mean_us * mean_us) + EXPECTED) / (self.spare + EXPECTED)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test;

    /// Endpoints at which so many requests took what `took` draws, in microseconds.
    fn seen(
        servers: &[f32],
        requests: usize,
        took: impl Fn(&mut fastrand::Rng) -> f32,
    ) -> Vec<Delays> {
        let mut dice = fastrand::Rng::with_seed(11);
        let mut all = vec![Delays::default(); servers.len()];
        for (delays, times) in all.iter_mut().zip(servers) {
            (0..requests).for_each(|_| delays.took(times * took(&mut dice), 0.0));
        }
        all
    }

    fn compare(all: &mut [Delays]) -> Lately {
        let mut typical = Typical::default();
        for delays in &*all {
            typical.add(delays);
        }
        Lately::compare(typical, all.iter_mut())
    }

    /// What a thousand requests count for at each.
    fn weighed(all: &mut [Delays]) -> Vec<u64> {
        let lately = compare(all);
        all.iter().map(|delays| lately.weigh(delays, 1_000_000, 0.0)).collect()
    }

    fn exponential(dice: &mut fastrand::Rng) -> f32 {
        -10_000.0 * (1.0 - dice.f32()).ln()
    }

    #[test]
    fn work_counts_by_how_long_requests_take() {
        // The mean of all is 20 ms.
        let mut all = seen(&[1.0, 1.0, 4.0], 10_000, exponential);
        let weighed = weighed(&mut all);
        assert!((530_000..600_000).contains(&weighed[0]), "{weighed:?}");
        assert!((1_700_000..1_850_000).contains(&weighed[2]), "{weighed:?}");
    }

    #[test]
    fn what_may_be_chance_counts_for_nothing() {
        for requests in [0, 1, 3, 30, 1_000] {
            let mut all = seen(&[1.0; 40], requests, exponential);
            let weighed = weighed(&mut all);
            let alike = weighed.iter().filter(|milli| **milli == 1_000_000).count();
            assert!(alike >= 32, "{requests}: {weighed:?}");
            let little = weighed.iter().all(|milli| (700_000..1_750_000).contains(milli));
            assert!(little, "{requests}: {weighed:?}");
        }
        // Streams that began one after the other and end together: the first are twice as long.
        let mut all = [Delays::default(); 4];
        for stream in 0_u16..14 {
            all[usize::from(stream / 4)].took(2e6 - 7e4 * f32::from(stream), 0.0);
        }
        assert_eq!(weighed(&mut all), [1_000_000; 4]);
        // Of whom nothing is known is taken for as fast as any now and then.
        let mut all = seen(&[1.0, 4.0], 100, exponential);
        let lately = compare(&mut all);
        let fastest = lately.weigh(&all[0], 1_000_000, 0.0);
        let unknown = Delays::default();
        assert_eq!(lately.weigh(&unknown, 1_000_000, 0.0), fastest);
        assert_eq!(lately.weigh(&unknown, 1_000_000, 0.5), 1_050_000);
    }

    #[test]
    fn what_was_seen_fades() {
        let mut all = seen(&[1.0, 4.0], 100, exponential);
        assert!(weighed(&mut all)[1] > 1_100_000);
        for delays in &mut all {
            delays.fade(kept(40));
        }
        assert!((49.0..51.0).contains(&all[1].count), "half of it in ten seconds");
        for delays in &mut all {
            delays.fade(kept(u64::MAX));
        }
        assert_eq!(weighed(&mut all), [1_000_000, 1_000_000]);
    }

    #[test]
    fn a_stream_is_one_long_request() {
        let mut delays = Delays::default();
        delays.took(3.6e9, 10_000.0);
        assert!((delays.sum - 80_000.0).abs() < 1.0);
    }

    proptest! {
        #[test]
        fn nothing_makes_work_count_for_nothing(
            took in prop::collection::vec((0_usize..4, 0.0_f32..1e12), 0..200),
            ticks in 0_u64..1_000,
        ) {
            let mut all = [Delays::default(); 4];
            for (at, took_us) in took {
                all[at].took(took_us, 0.0);
            }
            for delays in &mut all {
                delays.fade(kept(ticks));
            }
            prop_assert!(weighed(&mut all).iter().all(|milli| (1_000..100_000_000).contains(milli)));
        }
    }
}
