//! Which call is due when: decided by the specification and its seed alone, so that two runs offer
//! the same load to the microsecond, whatever answers it.

use std::time::Duration;

use fastrand::Rng;

use super::LoadSpec;
use crate::server::{ServiceTime, service_time::unit_exponential};

/// Spacing of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// Independent callers: exponential gaps.
    Poisson,
    /// Equal gaps.
    Constant,
}

/// When to stop sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// After this many calls.
    Calls(u64),
    /// When the next call would be due after this time.
    Time(Duration),
}

/// Methods of the greeter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `SayHello`
    Unary,
    /// `SayHelloServerStream`
    ServerStream,
    /// `SayHelloClientStream`
    ClientStream,
    /// `SayHelloBidi`
    Bidi,
}

/// One call to come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Planned {
    /// When it is due, from the start.
    pub due: Duration,
    /// What is called.
    pub method: Method,
    /// Work of the whole call, in milliseconds at speed 1, where the client draws it.
    pub work_ms: Option<f64>,
}

/// The calls of a specification in the order they are due.
#[derive(Debug)]
pub struct Plan {
    /// Separate streams of random numbers: another mix does not change the due times.
    due_rng: Rng,
    work_rng: Rng,
    mix_rng: Rng,
    mean_gap: f64,
    arrivals: Arrivals,
    bound: Bound,
    work: Option<ServiceTime>,
    mix: Vec<(Method, u32)>,
    /// Seconds; a float's 52 bits are nanoseconds over weeks.
    next: f64,
    planned: u64,
}

impl Plan {
    /// The plan of `spec`.
    pub fn new(spec: &LoadSpec) -> Self {
        Self {
            due_rng: Rng::with_seed(spec.seed),
            work_rng: Rng::with_seed(spec.seed ^ 0x5eed_0000_0000_0001),
            mix_rng: Rng::with_seed(spec.seed ^ 0x5eed_0000_0000_0002),
            mean_gap: 1.0 / spec.rate,
            arrivals: spec.arrivals,
            bound: spec.bound,
            work: spec.work,
            mix: spec.mix.clone(),
            next: 0.0,
            planned: 0,
        }
    }

    fn method(&mut self) -> Method {
        let total: u32 = self.mix.iter().map(|(_, weight)| weight).sum();
        if total == 0 {
            return Method::Unary;
        }
        let mut ticket = self.mix_rng.u32(0..total);
        for &(method, weight) in &self.mix {
            if ticket < weight {
                return method;
            }
            ticket -= weight;
        }
        Method::Unary
    }
}

impl Iterator for Plan {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        let gap = match self.arrivals {
            Arrivals::Poisson => self.mean_gap * unit_exponential(&mut self.due_rng),
            Arrivals::Constant => self.mean_gap,
        };
        let due = Duration::from_secs_f64(self.next);
        let over = match self.bound {
            Bound::Calls(calls) => self.planned >= calls,
            Bound::Time(time) => due >= time,
        };
        if over {
            return None;
        }
        self.next += gap;
        self.planned += 1;
        let work = self.work;
        Some(Planned {
            due,
            method: self.method(),
            work_ms: work.map(|work| work.sample(&mut self.work_rng).as_secs_f64() * 1e3),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(arrivals: Arrivals) -> LoadSpec {
        LoadSpec {
            rate: 1_000.0,
            arrivals,
            bound: Bound::Time(Duration::from_secs(20)),
            work: Some(ServiceTime::Exponential(Duration::from_millis(10))),
            ..LoadSpec::default()
        }
    }

    #[test]
    fn constant_arrivals_are_exact_and_poisson_has_the_rate() {
        let constant: Vec<_> = Plan::new(&spec(Arrivals::Constant)).collect();
        assert_eq!(constant.len(), 20_000);
        assert!((constant[12_345].due.as_secs_f64() - 12.345).abs() < 1e-6);
        let poisson = Plan::new(&spec(Arrivals::Poisson)).count();
        // Standard deviation is sqrt(20,000) = 141.
        assert!((19_400..20_600).contains(&poisson), "{poisson}");
    }

    #[test]
    fn the_seed_decides_and_the_mix_leaves_due_times_and_work_alone() {
        let plain: Vec<_> = Plan::new(&spec(Arrivals::Poisson)).collect();
        assert_eq!(plain, Plan::new(&spec(Arrivals::Poisson)).collect::<Vec<_>>());
        let mixed = LoadSpec {
            mix: vec![(Method::Unary, 1), (Method::Bidi, 3)],
            ..spec(Arrivals::Poisson)
        };
        let mixed: Vec<_> = Plan::new(&mixed).collect();
        assert!(plain.iter().zip(&mixed).all(|(a, b)| a.due == b.due && a.work_ms == b.work_ms));
        let bidi = mixed.iter().filter(|call| call.method == Method::Bidi).count();
        assert!((0.73..0.77).contains(&(bidi as f64 / mixed.len() as f64)));
    }

    #[test]
    fn a_number_of_calls_is_a_bound_too() {
        let spec = LoadSpec { bound: Bound::Calls(17), ..LoadSpec::default() };
        assert_eq!(Plan::new(&spec).count(), 17);
    }
}
