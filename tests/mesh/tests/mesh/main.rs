//! leastload in a real mesh. One lab for all tests, which run one after the other.

#![allow(clippy::cast_precision_loss)]

use std::{
    env,
    path::Path,
    process::ExitCode,
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::Duration,
};

use leastload_mesh::{kubelet::Kubelet, lab::Lab, user::User};
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;

/// A test: its name, and what it does with the lab.
type Test = (&'static str, fn(&Lab, &Runtime));

/// Makes a list of [`Test`]s of async functions that take `&Lab`.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub(crate) const TESTS: &[crate::Test] = &[
            $((concat!(module_path!(), "::", stringify!($name)), |lab, runtime| {
                runtime.block_on($name(lab));
            })),*
        ];
    };
}

mod ambient;
mod endpoints;
mod gateway;
mod headless;
mod manifests;
mod metrics;
mod missing;
mod overlays;
mod readme;
mod rules;
mod stage;
mod steering;
mod twin;
mod updates;

/// Tests that measure shares of calls, start istiod anew, or do something to all namespaces: no other
/// runs meanwhile.
const ALONE: [&str; 8] = [
    "readme::",
    "manifests::every",
    "steering::work",
    "endpoints::a_new_pod",
    "gateway::a_classic",
    "rules::weights",
    "ambient::",
    "headless::",
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Most of a test is waiting, but those of ALONE.
    arguments.test_threads = arguments.test_threads.or(Some(3));
    // Several, with commas between them.
    let filter = arguments.filter.take().unwrap_or_default();
    let wanted = |name: &str| filter.split(',').any(|part| name.contains(part));
    let tests = [
        readme::TESTS,
        manifests::TESTS,
        steering::TESTS,
        overlays::TESTS,
        updates::TESTS,
        endpoints::TESTS,
        gateway::TESTS,
        rules::TESTS,
        twin::TESTS,
        metrics::TESTS,
        missing::TESTS,
        ambient::TESTS,
        headless::TESTS,
    ];
    let runtime = Arc::new(Runtime::new().expect("a runtime starts"));
    let turn = Arc::new(RwLock::new(()));
    let folder = env::var("LEASTLOAD_MESH_RUN").unwrap_or_else(|_| "mesh".into());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let lab = (!arguments.list).then(|| Arc::new(Lab::start(&folder)));
    let tests = tests.concat().into_iter().filter(|(name, _)| wanted(name));
    if let Some(lab) = lab.as_ref().filter(|_| env::var_os("LEASTLOAD_MESH_SHELL").is_some()) {
        return shell(lab, &runtime);
    }
    let trials = tests.map(|(name, test)| {
        let name = name.trim_start_matches("mesh::");
        let alone = ALONE.iter().any(|start| name.starts_with(start));
        let (lab, runtime, turn) = (lab.clone(), Arc::clone(&runtime), Arc::clone(&turn));
        Trial::test(name, move || {
            // A test that failed has let go of it all the same.
            let _other = (!alone).then(|| turn.read().unwrap_or_else(PoisonError::into_inner));
            let _only = alone.then(|| turn.write().unwrap_or_else(PoisonError::into_inner));
            if let Some(lab) = &lab {
                test(lab, &runtime);
            }
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// A shell in the mesh; the Deployments of `sample` get their pods.
fn shell(lab: &Arc<Lab>, runtime: &Arc<Runtime>) -> ExitCode {
    let (theirs, rounds) = (Arc::clone(lab), Arc::clone(runtime));
    thread::spawn(move || {
        let mut kubelet = Kubelet::new("sample");
        loop {
            rounds.block_on(kubelet.reconcile(&theirs));
            thread::sleep(Duration::from_secs(1));
        }
    });
    println!("istio/README.md can be followed here; kubectl and pilot-agent are in PATH");
    let status = User::new(lab).shell("bash").status();
    ExitCode::from(u8::from(!status.is_ok_and(|status| status.success())))
}
