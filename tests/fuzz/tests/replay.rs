//! Every input that is kept, through every target: what fuzzing found once is tried on any Rust.

use std::fs;
use std::path::Path;

use leastload_fuzz::TARGETS;

/// The inputs of one target; a panic in one names it.
fn replay(target: &str) {
    let (_, body) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
    let mut inputs = 0;
    for folder in ["corpus", "findings"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
        // Git keeps no empty folder, and there may be no finding.
        let Ok(files) = fs::read_dir(&folder) else { continue };
        let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        paths.sort();
        for path in paths {
            let data = fs::read(&path).expect("a readable file");
            let tried = std::panic::catch_unwind(|| body(&data));
            assert!(tried.is_ok(), "{} fails, see above", path.display());
            inputs += usize::from(folder.ends_with(Path::new("corpus").join(target)));
        }
    }
    assert!(inputs > 0, "the corpus of {target} is empty");
}

macro_rules! replays {
    ($($target:ident)*) => {
        $(#[test] fn $target() { replay(stringify!($target)); })*

        #[test]
        fn every_target_is_replayed_and_fuzzed() {
            let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, [$(stringify!($target)),*]);
            for name in names {
                let shim = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("targets/{name}.rs"));
                let shim = fs::read_to_string(&shim).expect("a shim for each target");
                assert!(shim.contains(&format!("leastload_fuzz::{name}(")), "{name}");
            }
        }
    };
}

replays! { address admin config headers path records report roster sequence }
