//! The outcome as a table for the terminal, with warnings where it should not be believed.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    OTHERS, Pattern,
    result::{Outcome, Round, RowResult},
};
use crate::demo::table::{align, spread};

/// Share of the machine above which latencies are partly its own.
const BUSY: f64 = 0.85;
/// Lateness of the client, in milliseconds, that is more than its timer's.
const LATE_MS: f64 = 10.0;
/// Part of the calls of others of its speed below which something is wrong with a server or with who
/// chooses.
const LIKE: f64 = 0.7;
/// So few calls to each differ by chance.
const FEW: f64 = 200.0;
/// Share of leastload's calls that must have gone where it said.
const STEERED: f64 = 0.95;

/// Lines of text.
pub fn render(outcome: &Outcome) -> String {
    let head = [
        "load", "policy", "proxies", "p50 ms", "", "p90 ms", "p99 ms", "", "p99.9 ms", "mean ms",
        "errors", "calls", "proxy us", "twin us", "probes", "busy", "others", "late ms",
    ];
    let mut lines = vec![head.map(ToOwned::to_owned).to_vec()];
    lines.extend(outcome.rows.iter().map(line));
    let mut text = align(&lines);
    text.push_str(
        "\nLatencies of calls that ended well, from when they were due; median of the rounds, and \
         the lowest and highest.\nproxy us, twin us: CPU time by call, of the proxies that the calls \
         went through and of all the servers' own Envoys; probes: questions to servers by call.\nbusy: share of all cores used, highest round; others: of this, by \
         neither client nor servers nor Envoys; late: how late the client sent, p99, highest \
         round.\n",
    );
    for warning in warnings(outcome) {
        let _ = writeln!(text, "WARNING: {warning}");
    }
    text
}

fn line(row: &RowResult) -> Vec<String> {
    let (p50, p50_range) = spread(row.p50_ms);
    let (p99, p99_range) = spread(row.p99_ms);
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    vec![
        row.load.to_string(),
        name(row),
        row.proxies.to_string(),
        p50,
        p50_range,
        spread(row.p90_ms).0,
        p99,
        p99_range,
        spread(row.p999_ms).0,
        spread(row.mean_ms).0,
        row.errors.to_string(),
        row.calls.to_string(),
        format!("{:.1}", row.proxies_us.median),
        format!("{:.1}", row.twins_us.median),
        format!("{:.2}", row.probes.median),
        percent(row.most(|round| round.machine_busy)),
        percent(row.most(|round| round.others_busy)),
        format!("{:.1}", row.most(|round| round.client_late_p99_ms)),
    ]
}

fn name(row: &RowResult) -> String {
    // What wrote the row can read its name.
    row.arm.parse::<Pattern>().map_or_else(|_| row.arm.clone(), |pattern| pattern.arm.name())
}

/// Why a row should not be believed.
fn warnings(outcome: &Outcome) -> Vec<String> {
    let mut all = Vec::new();
    for row in &outcome.rows {
        let name = format!("{} x {} at {}", row.proxies, name(row), row.load);
        let mut warn = |what: String| all.push(format!("{name}: {what}"));
        let busy = row.most(|round| round.machine_busy);
        if busy > BUSY {
            warn(format!("the machine was {:.0} % busy, so it is measured too", busy * 100.0));
        }
        let others = row.most(|round| round.others_busy);
        if others > OTHERS {
            warn(format!("other programs used {:.0} % of the machine", others * 100.0));
        }
        let late = row.most(|round| round.client_late_p99_ms);
        if late > LATE_MS {
            warn(format!("the client sent late, p99 {late:.1} ms"));
        }
        let steered = row.rounds.iter().filter_map(|round| round.steered).fold(1.0, f64::min);
        if steered < STEERED {
            warn(format!("only {:.0} % of the calls of a round were steered", steered * 100.0));
        }
        for (number, share) in neglected(&row.rounds, &outcome.spec.speeds) {
            let share = share * 100.0;
            warn(format!("in a round server {number} got {share:.0} % of the calls of its like"));
        }
        if row.errors > 0 {
            warn(format!("{} of {} calls did not end well", row.errors, row.calls));
        }
    }
    all
}

/// The numbers of servers that in some round got clearly fewer calls than others of their speed, and
/// what part of those.
fn neglected(rounds: &[Round], speeds: &[f64]) -> BTreeMap<usize, f64> {
    let mut found = BTreeMap::new();
    for round in rounds {
        let servers = round.servers.iter().map(|server| server.calls as f64).zip(speeds);
        for (number, (calls, speed)) in (1..).zip(servers.clone()) {
            let like = servers.clone().filter(|(_, other)| speed.total_cmp(other).is_eq());
            let like: Vec<f64> = like.map(|(calls, _)| calls).collect();
            let mean = like.iter().sum::<f64>() / like.len() as f64;
            let share = calls / mean;
            if mean > FEW && share < LIKE {
                let least = found.entry(number).or_insert(share);
                *least = share.min(*least);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{
        Policy, Row, Spec,
        result::{Idle, ServerRound, Settings, VERSION},
    };

    fn outcome(policy: Policy, round: Round) -> Outcome {
        let (spec, row) = (Spec::default(), Row { arm: policy.into(), proxies: 3, load: 0.9 });
        let rows = vec![RowResult::new(&spec, &row, vec![Round::default(), round])];
        Outcome { version: VERSION, spec: Settings::new(&spec, Idle::default()), rows }
    }

    fn served(calls: [u64; 4]) -> Vec<ServerRound> {
        calls.map(|calls| ServerRound { calls, ..ServerRound::default() }).to_vec()
    }

    #[test]
    fn a_good_round_has_no_warning() {
        let servers = served([900, 450, 870, 440]);
        let round = Round { machine_busy: 0.8, steered: Some(1.0), servers, ..Round::default() };
        let text = render(&outcome(Policy::Leastload, round));
        assert!(text.contains("leastload") && !text.contains("WARNING"), "{text}");
    }

    #[test]
    fn one_bad_round_is_named_with_its_row() {
        let cases = [
            (Round { machine_busy: 0.9, ..Round::default() }, "90 % busy"),
            (Round { others_busy: 0.2, ..Round::default() }, "used 20 %"),
            (Round { client_late_p99_ms: 12.0, ..Round::default() }, "late, p99 12.0 ms"),
            (Round { steered: Some(0.5), ..Round::default() }, "only 50 %"),
            (Round { calls: 10, errors: 2, ..Round::default() }, "2 of 10 calls"),
            (
                Round { servers: served([900, 450, 400, 440]), ..Round::default() },
                "server 3 got 62 % of the calls of its like",
            ),
        ];
        for (round, what) in cases {
            let text = render(&outcome(Policy::FullScan, round));
            let line = text.lines().find(|line| line.starts_with("WARNING")).unwrap_or_default();
            assert!(line.contains("3 x LEAST_REQUEST, FULL_SCAN at 0.9"), "{text}");
            assert!(line.contains(what), "{line}");
            assert_eq!(text.matches("WARNING").count(), 1, "{text}");
        }
    }
}
