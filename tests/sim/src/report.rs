//! All scenarios as one page, a table and a file of lines.

mod axis;
pub mod check;
mod each;
mod page;
mod palette;
mod plot;
mod section;
pub mod standing;
pub mod summary;
mod trace;

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use crate::batch::{run_all, tasks};
use crate::measure::Line;
use crate::scenario::Document;

/// A report of these scenarios.
pub struct Report {
    /// The page.
    pub html: String,
    /// Where leastload stands, in Markdown.
    pub standing: String,
    /// Every run's line, in the order of [`tasks`].
    pub lines: Vec<Line>,
}

impl Report {
    /// Runs every scenario with every seed, on all cores. `done` hears the name of each scenario
    /// when its last run has ended, and how many have ended.
    ///
    /// The same scenarios and seeds give the same report to the byte.
    ///
    /// # Panics
    /// Without scenarios or seeds.
    pub fn of(documents: &[Document], seeds: &[u64], done: impl Fn(&str, usize) + Sync) -> Self {
        assert!(!documents.is_empty() && !seeds.is_empty(), "a report of nothing");
        let tasks = tasks(documents, seeds);
        let runs = |document: &Document| {
            let policies = document.variants.iter().map(|v| v.scenario.policies.len());
            policies.sum::<usize>() * seeds.len()
        };
        let left: Vec<(&str, usize)> = documents
            .iter()
            .map(|document| (document.scenario.name.as_str(), runs(document)))
            .collect();
        let left = Mutex::new((left, 0));
        let lines = run_all(&tasks, |line| {
            let Ok(mut left) = left.lock() else { return };
            let (left, ended) = &mut *left;
            let open = left.iter_mut().find(|(name, runs)| *name == line.scenario && *runs > 0);
            if let Some((name, runs)) = open {
                *runs -= 1;
                if *runs == 0 {
                    *ended += 1;
                    done(name, *ended);
                }
            }
        });
        let summaries = summary::summaries(documents, &lines, seeds.len());
        let places = standing::places(&summaries);
        let traces = trace::traces(&summaries, seeds[0]);
        let content =
            page::Content { summaries: &summaries, places: &places, traces: &traces, seeds };
        let html = page::render(&content);
        let standing = standing::markdown(&places) + &each::markdown(&summaries);
        Self { html, standing, lines }
    }

    /// Writes `report.html`, `standing.md` and `lines.jsonl` into a folder.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let mut text = String::new();
        for line in &self.lines {
            let line = serde_json::to_string(line).map_err(io::Error::other)?;
            let _ = writeln!(text, "{line}");
        }
        fs::create_dir_all(folder)?;
        fs::write(folder.join("lines.jsonl"), text)?;
        fs::write(folder.join("standing.md"), &self.standing)?;
        fs::write(folder.join("report.html"), &self.html)
    }
}
