//! The outcome as one self-contained page: no script, no font, no picture from elsewhere.

// Written once: clarity before allocations.
#![allow(clippy::format_push_string, clippy::format_collect)]

use super::{
    result::{ArmResult, FAIR_SHARE, Outcome},
    svg,
    table::spread,
};

/// The page.
pub fn render(outcome: &Outcome) -> String {
    let settings = &outcome.settings;
    let most = outcome
        .arms
        .iter()
        .flat_map(|arm| &arm.servers)
        .flat_map(|server| &server.timeline)
        .map(|(_, calls)| *calls)
        .fold(1.0, f64::max);
    let panels: String = outcome
        .arms
        .iter()
        .map(|arm| {
            format!(
                "<figure class=\"panel\"><figcaption class=\"{}\">{}<small>{}</small></figcaption>\n\
                 {}</figure>\n",
                arm.key,
                escape(&arm.name),
                escape(&caption(arm)),
                svg::load_over_time(arm, settings, most)
            )
        })
        .collect();
    let slow = settings.servers.iter().find(|server| server.speed < 1.0);
    let slots = settings.servers.first().map_or(0, |server| server.slots);
    let legend = format!(
        "<p class=\"legend\"><span class=\"key fast\"></span>servers at full speed{}\
         <span class=\"key slots\"></span>{slots} slots: calls above this line wait</p>",
        slow.map_or(String::new(), |server| format!(
            "<span class=\"key slow\"></span>{}, at speed {}",
            escape(&server.name),
            server.speed
        ))
    );
    let checks: String = outcome
        .checks
        .iter()
        .map(|check| {
            format!(
                "<li class=\"{}\"><b>{}</b> {}</li>\n",
                if check.holds { "holds" } else { "fails" },
                escape(&check.what),
                escape(&check.found)
            )
        })
        .collect();
    PAGE.replace("{style}", STYLE)
        .replace("{lead}", &escape(&lead(outcome)))
        .replace("{checks}", &checks)
        .replace("{legend}", &legend)
        .replace("{panels}", &panels)
        .replace("{latency}", &svg::latency(&outcome.arms))
        .replace("{table}", &table(outcome))
        .replace("{fair}", &escape(FAIR_SHARE))
        .replace("{method}", &escape(&method(outcome)))
}

fn caption(arm: &ArmResult) -> String {
    let failed = match arm.failed {
        0 => "none failed".into(),
        failed => format!("{:.1} % failed", 100.0 * failed as f64 / arm.calls as f64),
    };
    let p99 = arm.p99_ms.median;
    if p99 >= 1_000.0 {
        format!("p99 {:.1} s, {failed}", p99 / 1e3)
    } else {
        format!("p99 {p99:.0} ms, {failed}")
    }
}

fn lead(outcome: &Outcome) -> String {
    let settings = &outcome.settings;
    format!(
        "The same {:.0} gRPC calls a second through one Envoy, balanced in {} ways over {} servers, \
         one of them slow. Offered work: {:.0} % of what the servers can do.",
        settings.rate,
        outcome.arms.len(),
        settings.servers.len(),
        settings.load * 100.0
    )
}

fn method(outcome: &Outcome) -> String {
    let settings = &outcome.settings;
    format!(
        "Real servers, Envoy {} with {} workers, {} client connections (one by L4). Open loop: \
         random arrivals and the work of each call ({}) come from a seed and are the same in every \
         arm; latency counts from the moment a call was due, so waiting in the client counts too. \
         {} rounds of {:.0} s after {:.0} s of warm-up, arms in turn with a fresh Envoy each; L4 \
         runs in the first round only. A call that takes longer than {:.0} s is cancelled and \
         failed; in the curves it counts with the time until then. Servers sleep for the work \
         instead of computing it.",
        settings.envoy,
        settings.workers,
        settings.connections,
        settings.work,
        settings.rounds,
        settings.measured_s,
        settings.warm_up_s,
        settings.deadline_s
    )
}

fn table(outcome: &Outcome) -> String {
    let mut head = String::from("<th scope=\"col\">balanced by</th>");
    for server in &outcome.settings.servers {
        let speed =
            if server.speed < 1.0 { format!(" &times;{}", server.speed) } else { String::new() };
        head += &format!("<th scope=\"col\">{}{speed}</th>", escape(&server.name));
    }
    for name in ["in flight", "max", "p50 ms", "p99 ms", "p99.9 ms", "failed"] {
        head += &format!("<th scope=\"col\">{name}</th>");
    }
    let rows: String = outcome.arms.iter().map(row).collect();
    format!("<table><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table>")
}

fn row(arm: &ArmResult) -> String {
    let mut cells = format!("<th scope=\"row\" class=\"{}\">{}</th>", arm.key, escape(&arm.name));
    for server in &arm.servers {
        let unfair = (server.of_fair_share - 1.0).abs() > super::result::FAIR_WITHIN;
        let class = if unfair { " class=\"unfair\"" } else { "" };
        let (served, share) = (server.calls, server.of_fair_share);
        cells += &format!("<td>{served}<small{class}>{share:.2}</small></td>");
    }
    let mean = arm.servers.iter().map(|server| server.mean_in_flight).fold(0.0, f64::max);
    let max = arm.servers.iter().map(|server| server.max_in_flight).max().unwrap_or(0);
    let failed = if arm.failed == 0 {
        "0".into()
    } else {
        format!("{:.1} %", 100.0 * arm.failed as f64 / arm.calls as f64)
    };
    cells += &format!("<td>{mean:.1}</td><td>{max}</td>");
    for figure in [arm.p50_ms, arm.p99_ms, arm.p999_ms] {
        let (median, range) = spread(figure);
        cells += &format!("<td>{median}<small>{range}</small></td>");
    }
    cells += &format!("<td>{failed}</td>");
    format!("<tr>{cells}</tr>\n")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const PAGE: &str = include_str!("report.html");
const STYLE: &str = include_str!("report.css");
