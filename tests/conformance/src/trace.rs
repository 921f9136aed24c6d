//! Traces: the probe's lines with the names of things instead of their numbers.

use std::collections::BTreeMap;

/// A line that the probe logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whether the main thread's VM said it.
    pub main: bool,
    /// Level, as Envoy calls it.
    pub level: String,
    /// Root id of the plugin.
    pub label: String,
    /// Number of the context.
    pub context: u32,
    /// What was seen.
    pub text: String,
}

/// Headers that each proxy adds or words in its own way.
const NOISE: [&str; 6] = [
    "x-forwarded-proto",
    "x-request-id",
    "date",
    "server",
    "x-probe",
    "x-envoy-expected-rq-timeout-ms",
];
const MORE_NOISE: [&str; 4] =
    ["x-envoy-upstream-service-time", "x-envoy-attempt-count", "x-envoy-internal", "grpc-timeout"];

/// Whether a header is left out of traces.
pub fn is_noise(name: &str) -> bool {
    NOISE.contains(&name) || MORE_NOISE.contains(&name)
}

/// Reads what the probe logged: `@label context text`.
pub fn line(main: bool, level: &str, message: &str) -> Option<Line> {
    let mut parts = message.strip_prefix('@')?.splitn(3, ' ');
    let (label, context, text) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Line {
        main,
        level: level.to_owned(),
        label: label.to_owned(),
        context: context.parse().ok()?,
        text: text.to_owned(),
    })
}

impl Line {
    /// Whether it is of that thread, and starts with these words.
    pub fn starts(&self, main: bool, words: &str) -> bool {
        let rest = self.text.trim_start().strip_prefix(words);
        self.main == main
            && rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    }

    /// Whether every stream of the worker that was created has been deleted.
    pub fn streams_are_gone(lines: &[Self]) -> bool {
        let worker = || lines.iter().filter(|line| !line.main);
        let streams = worker().filter(|line| {
            line.text.starts_with("on_context_create") && !line.text.ends_with("ctx:0")
        });
        let gone = |context| {
            worker().any(|line| line.context == context && line.text.starts_with("on_delete"))
        };
        streams.map(|line| line.context).all(gone)
    }
}

/// Gives things names in the order of their appearance: `ctx:17` becomes `stream1`, `cas:9` `cas:a`.
#[derive(Debug, Default)]
pub struct Names {
    contexts: BTreeMap<(bool, u32), String>,
    others: BTreeMap<String, Vec<String>>,
    addresses: Vec<(String, String)>,
    roots: u32,
    streams: u32,
}

impl Names {
    /// Shows this text, an address, as that name.
    pub fn address(&mut self, address: impl Into<String>, name: &str) {
        self.addresses.push((address.into(), format!("<{name}>")));
    }

    /// Lines as a trace has them: those of the worker, then those of the main thread.
    pub fn trace(&mut self, lines: &[Line], main_thread: bool) -> Vec<String> {
        let of = |main: bool| lines.iter().filter(move |line| line.main == main);
        let mut trace: Vec<String> = of(false).filter_map(|line| self.line(line)).collect();
        // The order of different headers in a map is the proxy's.
        for pairs in trace.chunk_by_mut(|a, b| a.contains("    pair ") && b.contains("    pair ")) {
            pairs.sort_by_key(|line| line.split('=').next().unwrap_or_default().to_owned());
        }
        if main_thread {
            (self.roots, self.streams) = (0, 0);
            let lines = of(true).filter_map(|line| self.line(line));
            trace.extend(lines.map(|line| format!("main {line}")));
        }
        trace
    }

    /// The line as a trace has it.
    fn line(&mut self, line: &Line) -> Option<String> {
        if let Some(pair) = line.text.trim_start().strip_prefix("pair \"")
            && is_noise(pair.split('"').next().unwrap_or_default())
        {
            return None;
        }
        if let Some(parent) = line.text.strip_prefix("on_context_create parent=ctx:") {
            self.created(line, parent == "0");
        }
        let who = self.context(line.main, line.context);
        let words: Vec<String> =
            line.text.split(' ').map(|word| self.name(line.main, word)).collect();
        let mut text = words.join(" ");
        for (address, name) in &self.addresses {
            text = text.replace(address, name);
        }
        let level = if line.level == "info" { String::new() } else { format!("[{}] ", line.level) };
        Some(format!("{level}{who} {text}").trim_end().to_owned())
    }

    fn created(&mut self, line: &Line, root: bool) {
        let name = if root {
            self.roots += 1;
            if self.roots == 1 { "root".to_owned() } else { format!("root{}", self.roots) }
        } else {
            self.streams += 1;
            format!("stream{}", self.streams)
        };
        self.contexts.insert((line.main, line.context), name);
    }

    fn context(&self, main: bool, context: u32) -> String {
        let known = self.contexts.get(&(main, context)).cloned();
        known.unwrap_or_else(|| if context == 0 { "none".into() } else { "root".into() })
    }

    fn name(&mut self, main: bool, part: &str) -> String {
        let Some((kind, number)) = part.split_once(':') else { return part.to_owned() };
        let digits = number.trim_end_matches(',');
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return part.to_owned();
        }
        match kind {
            "ctx" | "parent=ctx" => {
                let context = digits.parse().unwrap_or(u32::MAX);
                part.replace(&format!("ctx:{digits}"), &self.context(main, context))
            }
            "token" | "metric" | "cas" | "queue" => {
                let known = self.others.entry(kind.to_owned()).or_default();
                let at = known.iter().position(|known| known == digits).unwrap_or_else(|| {
                    known.push(digits.to_owned());
                    known.len() - 1
                });
                format!("{kind}#{}", at + 1)
            }
            _ => part.to_owned(),
        }
    }
}

/// What one trace has that another has not: lines with `-` and `+`, in order.
pub fn difference(ours: &[String], theirs: &[String]) -> Vec<String> {
    let (n, m) = (ours.len(), theirs.len());
    let mut common = vec![vec![0_u32; m + 1]; n + 1];
    for i in (0..n).rev() {
        for j in (0..m).rev() {
            common[i][j] = if ours[i] == theirs[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < n || j < m {
        if i < n && j < m && ours[i] == theirs[j] {
            (i, j) = (i + 1, j + 1);
        } else if i < n && (j == m || common[i + 1][j] >= common[i][j + 1]) {
            lines.push(format!("- {}", ours[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", theirs[j]));
            j += 1;
        }
    }
    lines
}
