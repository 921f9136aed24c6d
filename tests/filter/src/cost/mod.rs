//! What a request costs, counted: host calls, entries into the VM, Wasm instructions, memory. None
//! of it depends on how busy the machine is, so it may fail a build.

mod budget;
mod figures;
mod load;
mod scenario;
mod table;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

pub use budget::{Budget, Finding, Toolchain};
pub use figures::{Beside, Figures, Spread};
pub use scenario::{Arm, Scenario, Shape};
pub use table::print;

/// What was counted, by the name of the scenario.
pub type Counted = BTreeMap<String, Figures>;

/// Counts these scenarios, as many at a time as the machine has cores.
///
/// # Panics
///
/// Where a VM died, or a scenario did not do what its name says.
pub fn count(scenarios: &[Scenario]) -> Counted {
    let (next, counted) = (AtomicUsize::new(0), Mutex::new(Counted::new()));
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads {
            scope.spawn(|| {
                // The last ones are the largest.
                while let Some(scenario) = scenarios
                    .len()
                    .checked_sub(1 + next.fetch_add(1, Ordering::Relaxed))
                    .and_then(|index| scenarios.get(index))
                {
                    let figures = load::run(scenario);
                    let mut all = counted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    all.insert(scenario.to_string(), figures);
                }
            });
        }
    });
    counted.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
