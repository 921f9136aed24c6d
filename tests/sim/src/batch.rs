//! Many runs, on all cores.

use std::io::Write;

use rayon::prelude::*;

use crate::engine::run;
use crate::measure::Line;
use crate::scenario::{Document, Entry, Variant};

/// One run to be made.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The scenario it belongs to.
    pub document: &'a Document,
    /// Which of its situations.
    pub variant: &'a Variant,
    /// Who balances.
    pub entry: &'a Entry,
    /// The seed.
    pub seed: u64,
}

impl Task<'_> {
    /// Makes it.
    pub fn run(&self) -> Line {
        self.line(None)
    }

    /// Makes it, and writes what each server has in flight: a JSON line for each sample.
    pub fn run_traced<'t>(&'t self, trace: &'t mut (dyn Write + 't)) -> Line {
        self.line(Some(trace))
    }

    fn line<'t>(&'t self, trace: Option<&'t mut (dyn Write + 't)>) -> Line {
        Line {
            scenario: self.document.scenario.name.clone(),
            case: self.variant.case.clone(),
            policy: self.entry.label().to_owned(),
            seed: self.seed,
            figures: run(&self.variant.scenario, &self.entry.rule, self.seed, trace),
        }
    }
}

/// Every run of the scenarios: by situation, policy and seed, in this order.
pub fn tasks<'a>(documents: &'a [Document], seeds: &[u64]) -> Vec<Task<'a>> {
    let mut tasks = Vec::new();
    for document in documents {
        for variant in &document.variants {
            for entry in &variant.scenario.policies {
                let each = |seed: &u64| Task { document, variant, entry, seed: *seed };
                tasks.extend(seeds.iter().map(each));
            }
        }
    }
    tasks
}

/// Makes all runs, on all cores; `done` hears of each as it ends. The lines come in the order of the
/// tasks, whatever the number of cores.
pub fn run_all(tasks: &[Task<'_>], done: impl Fn(&Line) + Sync) -> Vec<Line> {
    let each = |task: &Task<'_>| {
        let line = task.run();
        done(&line);
        line
    };
    tasks.par_iter().with_max_len(1).map(each).collect()
}
