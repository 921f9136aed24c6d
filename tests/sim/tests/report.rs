//! The report: what it says, and what a real browser shows of it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;

use leastload_sim::batch::{run_all, tasks};
use leastload_sim::measure::{Errors, Line};
use leastload_sim::policy::Rule;
use leastload_sim::report::Report;
use leastload_sim::report::check::{Look, WIDTHS, look};
use leastload_sim::report::standing::{markdown, places};
use leastload_sim::report::summary::summaries;
use leastload_sim::scenario::{Document, read};
use serde_json::{Value, json};

const SEEDS: [u64; 3] = [1, 2, 3];

fn scenario(name: &str, policies: &[&str], varied: &Value) -> Document {
    let entry = |label: &&str| {
        let rule = if label.starts_with("leastload") { "full_scan" } else { label };
        json!({"label": label, "rule": {rule: {}}})
    };
    let mut scenario = json!({
        "name": name, "about": "Small, for <tests> & \"quotes\".",
        "duration": "3s", "warm_up": "1s", "proxies": {"count": 4},
        "servers": [
            {"name": "fast", "count": 3, "slots": 4},
            {"name": "slow", "count": 3, "slots": 4, "speed": 0.5},
        ],
        "traffic": {"load": 0.7, "service": {"exponential": {"mean": "20ms"}}, "deadline": "2s"},
        "policies": policies.iter().map(entry).collect::<Vec<_>>(),
    });
    for (field, value) in varied.as_object().unwrap() {
        scenario[field] = value.clone();
    }
    read(&scenario.to_string(), Path::new(".")).unwrap()
}

/// One of each kind: numeric axes, lengths of time, cases, nothing varied, streams alone.
fn documents() -> Vec<Document> {
    let all: Vec<&str> = ["leastload, another"].into_iter().chain(Rule::NAMES).collect();
    let some = ["leastload", "round_robin", "central"];
    let failing = json!([{"at": "0s", "effect": {"fail": {"percent": 100}}}]);
    let proxies = json!({"name": "proxies", "path": "/proxies/count", "values": [1, 40]});
    let load = json!({"name": "load", "path": "/traffic/load", "values": [0.5, 0.9, 0.95, 0.97]});
    let period = json!({"name": "period", "path": "/reports/period", "values": ["100ms", "1s"]});
    let stream = json!({"direction": "server", "messages": 20, "interval": "20ms"});
    vec![
        scenario("all policies", &all, &json!({"axes": [proxies, load]})),
        scenario(
            "times & cases",
            &some,
            &json!({
                "cases": [{"name": "none"}, {"name": "a case with quite a long name, to be cut"}],
                "axes": [period],
            }),
        ),
        scenario(
            "cases",
            &some,
            &json!({"cases": [
                {"name": "none"},
                {"name": "nothing is ever answered", "set": {"/events": failing}},
                {"name": "busy", "set": {"/traffic/load": 1.1}},
            ]}),
        ),
        scenario("one situation", &some, &json!({})),
        scenario(
            "streams",
            &some,
            &json!({"traffic": {
                "load": 0.5, "service": {"exponential": {"mean": "20ms"}},
                "methods": [{"name": "s", "stream": stream}],
            }}),
        ),
    ]
}

fn whole(html: &str) -> Vec<Look> {
    look(html).unwrap_or_else(|blind| panic!("{blind}"))
}

#[test]
fn every_scenario_and_plot_shows_on_a_telephone_and_on_a_screen() {
    let documents = documents();
    let report = Report::of(&documents, &SEEDS, |_, _| ());
    let looks = whole(&report.html);
    assert_eq!(looks.iter().map(|look| look.width).collect::<Vec<_>>(), WIDTHS);
    for look in &looks {
        assert_eq!(look.faults, Vec::<String>::new(), "at {} px", look.width);
        let names: Vec<&str> = documents.iter().map(|d| d.scenario.name.as_str()).collect();
        assert_eq!(look.scenarios, names);
        // Two percentiles for each number of proxies or case; p99 of cases; panels over time:
        // leastload and the limit everywhere, LEAST_REQUEST in the first.
        let panels = 3 + 2 * 4;
        assert_eq!(look.plots.len(), 4 + 4 + 1 + 1 + 1 + panels);
        assert!(look.plots.iter().all(|(width, height)| *width > 250.0 && *height > 60.0));
    }
    for outside in ["http:", "https:", "src=", "<link", "@import", "url("] {
        assert!(!report.html.contains(outside), "'{outside}' in the report");
    }
    assert!(!report.html.contains("NaN"));
}

#[test]
fn a_faulty_page_is_found_faulty() {
    let page = |body: &str| format!("<!DOCTYPE html><html><body>{body}</body></html>");
    let plot = |svg: &str| format!("<figure>{svg}</figure>");
    for (body, fault) in [
        ("<p style='width: 900px'>wide</p>".to_owned(), "too wide"),
        ("<img src='picture.png'>".to_owned(), "leads out"),
        ("<a href='#nowhere'>there</a>".to_owned(), "leads out"),
        ("<style>p { background: url(x.png) }</style>".to_owned(), "style leads out"),
        (plot("<svg width=200 height=90><circle cx='NaN'/></svg>"), "cx=\"NaN\""),
        (plot("<svg width=200 height=90></svg>"), "nothing is drawn"),
        (plot("<svg width=0 height=0><circle/></svg>"), ": 0 by 0"),
        (plot("<svg width=200 height=90><circle/><text x=190 y=50>cut</text></svg>"), "is cut"),
        (
            plot("<svg width=200 height=90><text y=50>a</text><text y=50>b</text></svg>"),
            "\"a\" lies upon \"b\"",
        ),
    ] {
        let looks = whole(&page(&body));
        let found = looks[0].faults.iter().any(|found| found.contains(fault));
        assert!(found, "{fault:?} of {body:?}: {:?}", looks[0].faults);
    }
    assert!(whole(&page("<p>well</p>")).iter().all(|look| look.faults.is_empty()));
}

#[test]
fn the_same_seeds_give_the_same_bytes_and_lines_come_in_order() {
    let documents = documents().split_off(2);
    let [first, second] = [(); 2].map(|()| Report::of(&documents, &[7, 8], |_, _| ()));
    assert!(first.html == second.html && first.standing == second.standing);
    let folder = tempfile::tempdir().unwrap();
    first.write(folder.path()).unwrap();
    let text = std::fs::read_to_string(folder.path().join("lines.jsonl")).unwrap();
    let expected = tasks(&documents, &[7, 8]);
    assert_eq!(text.lines().count(), expected.len());
    for (line, task) in text.lines().zip(expected) {
        let line: Line = serde_json::from_str(line).unwrap();
        assert_eq!((line.policy.as_str(), line.seed), (task.entry.label(), task.seed));
        let scenario = &task.document.scenario.name;
        assert_eq!((&line.scenario, &line.case), (scenario, &task.variant.case));
    }
}

#[test]
fn progress_names_each_scenario_once() {
    let documents = documents().split_off(2);
    let heard = Mutex::new(Vec::new());
    let hear = |name: &str, ended| heard.lock().unwrap().push((name.to_owned(), ended));
    Report::of(&documents, &[1], hear);
    let heard = heard.into_inner().unwrap();
    let names: HashSet<&str> = heard.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, HashSet::from(["cases", "one situation", "streams"]));
    assert_eq!(heard.iter().map(|(_, ended)| *ended).collect::<Vec<_>>(), [1, 2, 3]);
}

/// What a policy is said to have reached: p99 for each seed, and requests failed of a thousand.
type Said = ([f64; 3], u64);

/// The lines of a scenario, if this had come out, in the order of situations and policies.
fn lines(document: &Document, said: &[Said]) -> Vec<Line> {
    let mut lines = run_all(&tasks(std::slice::from_ref(document), &SEEDS), |_| ());
    assert_eq!(lines.len(), said.len() * 3);
    for (lines, (p99, failed)) in lines.chunks_mut(3).zip(said) {
        for (line, p99) in lines.iter_mut().zip(p99) {
            line.figures.offered = 1_000;
            line.figures.errors = Errors { failed: *failed, ..Errors::default() };
            line.figures.latency_ms.p99 = *p99;
        }
    }
    lines
}

#[test]
fn leastload_is_measured_by_rivals_that_answer_as_much_as_it_does() {
    let policies = [
        "leastload",
        "leastload, another",
        "join_shortest_queue",
        "c3",
        "round_robin",
        "random",
        "central",
    ];
    let documents = [scenario("s", &policies, &json!({}))];
    let of = |p99: f64| [p99 * 3.0, p99 / 2.0, p99];
    let run = |ours: u64| {
        let said = [
            (of(150.0), ours),
            (of(90.0), 0),
            (of(60.0), 0),
            (of(100.0), ours + 2),
            (of(200.0), ours),
            (of(300.0), 0),
            (of(50.0), 0),
        ];
        lines(&documents[0], &said)
    };

    let lines = run(0);
    let summary = summaries(&documents, &lines, 3);
    let all = places(&summary);
    assert_eq!(all.len(), 1);
    // c3 is faster, but fails two of a thousand requests.
    let row = "| s |  | 150 | 3.00 | round_robin | 200 | 0.75 | 0 | 0 |";
    assert!(markdown(&all).contains(row), "{}", markdown(&all));
    assert_eq!(all[0].fewest_errors, None);

    // It says so where others fail fewer.
    let lines = run(5);
    let summary = summaries(&documents, &lines, 3);
    assert_eq!(places(&summary)[0].fewest_errors, Some(0.0));
    let row = "| 0.75 | **0.50** (a rival has 0) | 0.50 |";
    assert!(markdown(&places(&summary)).contains(row), "{}", markdown(&places(&summary)));
}

#[test]
fn the_worst_comes_first() {
    let cases = json!({"cases": [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}]});
    let documents = [scenario("s", &["leastload", "random"], &cases)];
    // leastload, then random, whose p99 is 100: half, three times, a little more, failing.
    let ours = [(50.0, 0), (300.0, 0), (110.0, 0), (10.0, 90)];
    let said: Vec<Said> =
        ours.iter().flat_map(|(p99, failed)| [([*p99; 3], *failed), ([100.0; 3], 0)]).collect();
    let lines = lines(&documents[0], &said);
    let summaries = summaries(&documents, &lines, 3);
    let order: Vec<String> = places(&summaries).into_iter().map(|place| place.situation).collect();
    assert_eq!(order, ["d", "b", "c", "a"]);
}
