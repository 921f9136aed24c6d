//! Exact answers. Time is counted in mean service times throughout, so the rate of service is 1.

/// Where a falling tail has come down to `1 - share`.
pub(crate) fn quantile(tail: impl Fn(f64) -> f64, share: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while tail(high) > 1.0 - share {
        high *= 2.0;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if tail(middle) > 1.0 - share {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// Erlang's B: the probability that all of `slots` are busy where nobody waits. `offered`: mean
/// number of busy slots, were there enough.
pub(crate) fn erlang_b(slots: u32, offered: f64) -> f64 {
    (1..=slots).fold(1.0, |b, k| offered * b / (f64::from(k) + offered * b))
}

/// M/M/k, first come first served.
pub(crate) struct Mmk {
    slots: f64,
    /// Erlang's C: the probability of having to wait.
    waits: f64,
    /// The rate at which those who wait come nearer to their turn, less that of arrivals.
    spare: f64,
}

impl Mmk {
    pub(crate) fn new(slots: u32, load: f64) -> Self {
        let k = f64::from(slots);
        let b = erlang_b(slots, load * k);
        Self { slots: k, waits: b / (1.0 - load * (1.0 - b)), spare: k * (1.0 - load) }
    }

    pub(crate) fn mean(&self) -> f64 {
        1.0 + self.waits / self.spare
    }

    /// The wait is 0 or exponential at the spare rate, and the service exponential at rate 1.
    pub(crate) fn tail(&self, t: f64) -> f64 {
        let (service, wait) = ((-t).exp(), (-self.spare * t).exp());
        let both = if self.slots.to_bits() == 1f64.to_bits() {
            // All wait with probability `load`; in sum the whole is exponential.
            return wait;
        } else if (self.spare - 1.0).abs() < 1e-9 {
            (1.0 + t) * service
        } else {
            (self.spare * service - wait) / (self.spare - 1.0)
        };
        (1.0 - self.waits) * service + self.waits * both
    }
}

/// Mean latency of M/G/1, first come first served (Pollaczek and Khinchine). `squares`: mean square
/// of the service time.
pub(crate) fn pollaczek_khinchine(load: f64, squares: f64) -> f64 {
    1.0 + load * squares / (2.0 * (1.0 - load))
}

/// Share of the arrivals that an M/M/1 with room for `room` in all refuses.
pub(crate) fn refused(room: i32, load: f64) -> f64 {
    (1.0 - load) * load.powi(room) / (1.0 - load.powi(room + 1))
}

/// Throughput of machines that run for exponential times and are repaired one by one: clients that
/// think for `think` and one server (M/M/1//N).
pub(crate) fn repairman(clients: u32, think: f64) -> f64 {
    // Weight of n at the server, from that of n - 1.
    let mut weight = 1.0;
    let mut all = 1.0;
    for n in 0..clients {
        weight *= f64::from(clients - n) / think;
        all += weight;
    }
    1.0 - 1.0 / all
}

/// The time that a job spends in an M/M/1 with processor sharing.
///
/// A tagged job that finds n others leaves at rate 1 / (n + 1), one of the others at n / (n + 1),
/// and others come at the rate `load`. On arrival there are n with probability (1 - load) load^n.
/// The chain is uniformized: it jumps at the constant rate 1 + load.
pub(crate) struct Sharing {
    rate: f64,
    /// The probability that the job is still there after so many jumps.
    stays: Vec<f64>,
}

impl Sharing {
    pub(crate) fn new(load: f64) -> Self {
        const OTHERS: usize = 600;
        const JUMPS: usize = 6_000;
        let rate = 1.0 + load;
        let mut now: Vec<f64> =
            (0..OTHERS).map(|n| (1.0 - load) * load.powi(i32::try_from(n).unwrap())).collect();
        let mut stays = Vec::with_capacity(JUMPS);
        for _ in 0..JUMPS {
            stays.push(now.iter().sum());
            let mut next = vec![0.0; OTHERS];
            let mut here = 0.0;
            for (n, share) in now.iter().enumerate() {
                // Whoever would be one too many is left out: there are hardly ever so many.
                next[(n + 1).min(OTHERS - 1)] += share * load / rate;
                if n > 0 {
                    next[n - 1] += share * here / (here + 1.0) / rate;
                }
                here += 1.0;
            }
            now = next;
        }
        Self { rate, stays }
    }

    /// The number of jumps in a time is Poisson.
    pub(crate) fn tail(&self, t: f64) -> f64 {
        let mean = self.rate * t;
        let mut log = -mean;
        let mut sum = 0.0;
        let mut jumps = 0.0;
        for stays in &self.stays {
            sum += log.exp() * stays;
            jumps += 1.0;
            log += (mean / jumps).ln();
        }
        sum
    }

    /// Mean and variance: the density of the tail's jumps integrates to 1 / rate, and its first
    /// moment to (jumps + 1) / rate^2.
    pub(crate) fn moments(&self) -> (f64, f64) {
        let mean = self.stays.iter().sum::<f64>() / self.rate;
        let mut jumps = 0.0;
        let mut square = 0.0;
        for stays in &self.stays {
            jumps += 1.0;
            square += 2.0 * stays * jumps / self.rate.powi(2);
        }
        (mean, square - mean * mean)
    }
}

#[test]
fn the_tagged_job_has_the_known_mean_and_variance() {
    for load in [0.3, 0.5, 0.8] {
        let (mean, variance) = Sharing::new(load).moments();
        assert!((mean * (1.0 - load) - 1.0).abs() < 1e-6, "{load}: {mean}");
        // Coffman, Muntz and Trotter, "Waiting time distributions for processor-sharing systems",
        // 1970.
        let known = (2.0 + load) / (2.0 - load) / (1.0 - load).powi(2);
        assert!((variance / known - 1.0).abs() < 1e-6, "{load}: {variance} {known}");
    }
}

#[test]
fn one_slot_and_few_clients_are_as_by_hand() {
    let one = Mmk::new(1, 0.8);
    assert!((one.mean() - 5.0).abs() < 1e-12 && (one.tail(5.0) - (-1f64).exp()).abs() < 1e-12);
    // Two slots, each half busy: one third of the arrivals wait.
    let two = Mmk::new(2, 0.5);
    assert!((two.waits - 1.0 / 3.0).abs() < 1e-12);
    let mean: f64 = (0..400_000).map(|i| two.tail(f64::from(i) * 1e-4) * 1e-4).sum();
    assert!((mean / two.mean() - 1.0).abs() < 1e-4, "the tail's area is the mean: {mean}");
    assert!((erlang_b(2, 1.0) - 0.2).abs() < 1e-12);
    assert!((repairman(1, 3.0) - 0.25).abs() < 1e-12);
    assert!((refused(1, 1.0 - 1e-9) - 0.5).abs() < 1e-6);
}
