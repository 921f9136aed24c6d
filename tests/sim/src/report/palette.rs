//! One colour and one mark for each policy, the same on the whole page.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::summary::Summary;

/// Policies that always have the same colour, in the order of [`COLOURS`].
const KNOWN: [&str; 13] = [
    "leastload",
    "least_request",
    "round_robin",
    "central",
    "join_shortest_queue",
    "shortest_expected_delay",
    "full_scan",
    "peak_ewma",
    "weighted_round_robin",
    "c3",
    "prequal",
    "prequal_sync",
    "random",
];

/// On light ground, on dark ground. The first are of [`KNOWN`], the others go to who comes first.
const COLOURS: [(&str, &str); 26] = [
    ("#08805a", "#3ed6a0"),
    ("#1f6fd1", "#6bb0ff"),
    ("#7a4fd0", "#b596f7"),
    ("#2b2f36", "#e3e6ea"),
    ("#b5737f", "#dba5b0"),
    ("#a08c6a", "#b09c7c"),
    ("#0892ab", "#4fd5ea"),
    ("#d9480f", "#ff8f5a"),
    ("#c2188f", "#ff7ad1"),
    ("#a67c00", "#e6bf3c"),
    ("#c02636", "#ff6673"),
    ("#7c3a12", "#cf9168"),
    ("#8a8f98", "#8d949f"),
    ("#004d7a", "#3f9fd6"),
    ("#e0607e", "#ffb0c3"),
    ("#5f3dc4", "#8f7bff"),
    ("#00897b", "#80cbc4"),
    ("#ef6c00", "#ffcc80"),
    ("#283593", "#9fa8da"),
    ("#ad1457", "#f06292"),
    ("#827717", "#dce775"),
    ("#6d4c41", "#bcaaa4"),
    ("#0277bd", "#81d4fa"),
    ("#6a1b9a", "#ce93d8"),
    ("#4b5d16", "#c4d38a"),
    ("#455a64", "#b0bec5"),
];

/// The form of a policy's points, so that colour is not all that tells policies apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Circle,
    Square,
    Triangle,
    Cross,
}

/// Numbers of policies, by label, and the colour of each number.
pub(super) struct Palette {
    numbers: HashMap<String, u8>,
    colours: Vec<usize>,
}

impl Palette {
    /// Of all policies in these scenarios.
    pub(super) fn new(summaries: &[Summary<'_>]) -> Self {
        let labels = |summary: &Summary<'_>| -> Vec<String> {
            let policies = summary.document.scenario.policies.iter();
            policies.map(|entry| entry.label().to_owned()).collect()
        };
        Self::of(&summaries.iter().map(labels).collect::<Vec<_>>())
    }

    /// Of policies, scenario by scenario. Those that meet in a scenario have different colours, as
    /// far as there are enough.
    fn of(scenarios: &[Vec<String>]) -> Self {
        let known = KNOWN.iter().map(|label| (*label).to_owned());
        let mut numbers: HashMap<String, u8> = known.zip(0..).collect();
        let mut colours: Vec<usize> = (0..KNOWN.len()).collect();
        for label in scenarios.iter().flatten() {
            if numbers.contains_key(label) {
                continue;
            }
            let met = scenarios.iter().filter(|labels| labels.contains(label)).flatten();
            let met = met.filter_map(|other| numbers.get(other));
            let taken: HashSet<usize> = met.map(|number| colours[usize::from(*number)]).collect();
            let free = |colour: &usize| {
                let uses = colours.iter().filter(|used| *used == colour).count();
                (taken.contains(colour), uses)
            };
            let colour = (KNOWN.len()..COLOURS.len()).min_by_key(free).unwrap_or(0);
            // More than 255 policies share the last number.
            let number = u8::try_from(colours.len()).unwrap_or(u8::MAX);
            colours.push(colour);
            numbers.insert(label.clone(), number);
        }
        Self { numbers, colours }
    }

    /// The number of a policy.
    pub(super) fn number(&self, label: &str) -> u8 {
        self.numbers.get(label).copied().unwrap_or(0)
    }

    /// The form of its points.
    pub(super) fn mark(&self, label: &str) -> Mark {
        match self.number(label) % 4 {
            0 => Mark::Circle,
            1 => Mark::Square,
            2 => Mark::Triangle,
            _ => Mark::Cross,
        }
    }

    /// The colours as CSS variables `--p0`, `--p1` and so on, for both schemes.
    pub(super) fn css(&self) -> String {
        let mut numbers: Vec<u8> = self.numbers.values().copied().collect();
        numbers.sort_unstable();
        let scheme = |colour: fn((&'static str, &'static str)) -> &'static str| {
            numbers.iter().fold(String::new(), |mut css, number| {
                let colour = colour(COLOURS[self.colours[usize::from(*number)]]);
                let _ = write!(css, " --p{number}: {colour};");
                css
            })
        };
        format!(
            ":root {{{} }}\n@media (prefers-color-scheme: dark) {{ :root {{{} }} }}\n",
            scheme(|(light, _)| light),
            scheme(|(_, dark)| dark)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_that_meet_differ_in_colour_and_known_ones_keep_theirs() {
        let scenario = |number: usize| -> Vec<String> {
            let own = (0..9).map(|at| format!("setting {number}.{at}"));
            KNOWN[..4].iter().map(|label| (*label).to_owned()).chain(own).collect()
        };
        let scenarios: Vec<Vec<String>> = (0..8).map(scenario).collect();
        let palette = Palette::of(&scenarios);
        for labels in &scenarios {
            let colour = |label: &String| palette.colours[usize::from(palette.number(label))];
            assert_eq!(labels.iter().map(colour).collect::<HashSet<_>>().len(), labels.len());
            assert_eq!(colour(&labels[0]), 0);
        }
        assert_eq!(palette.css().matches("--p").count(), 2 * (KNOWN.len() + 8 * 9));
    }
}
