//! What holds whatever happens, in whatever order: arbitrary interleavings of requests, endings,
//! time, membership, failures of the admin interface, host calls that fail, crashes, restarts and
//! changes of configuration over 1 to 8 workers.
//!
//! After every step: nothing trapped that was not planned, no gauge is below zero, every override
//! names a host that is eligible in what the admin interface last said (see `model.rs`), no
//! client's override header passes, no override header reaches a client, no request fails that
//! Envoy alone would have served. At the end, after the documented bound: no work is left, in
//! either set of gauges, and no context.
//!
//! `PROPTEST_CASES=2000` runs more of them. What failed once is kept in `regressions.txt` and run
//! first.

mod action;
mod model;
mod world;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use crate::action::{Action, actions};
use crate::world::World;

/// Cases of each property in `make test`.
const CASES: u32 = 200;

fn config() -> ProptestConfig {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() {
        ProptestConfig::default().cases
    } else {
        CASES
    };
    let kept = FileFailurePersistence::Direct("tests/properties/regressions.txt");
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(kept)),
        max_shrink_iters: 2_000,
        ..ProptestConfig::default()
    }
}

fn hold(workers: usize, by_policy: bool, seed: u64, actions: &[Action]) {
    let mut world = World::new(workers, by_policy, seed);
    for action in actions {
        world.step(action);
    }
    world.end();
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_session_filter_steers(workers in 1..=8_usize, seed: u64, actions in actions(80)) {
        hold(workers, false, seed, &actions);
    }

    #[test]
    fn the_policy_steers(workers in 1..=8_usize, seed: u64, actions in actions(80)) {
        hold(workers, true, seed, &actions);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    let actions = actions(80).new_tree(&mut runner).expect("a case").current();
    let trace = || {
        let mut world = World::new(3, false, 42);
        for action in &actions {
            world.step(action);
        }
        world.trace()
    };
    let first = trace();
    assert!(first.len() > 1_000);
    assert!(first == trace(), "two runs differ");
}
