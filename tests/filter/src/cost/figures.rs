//! What a scenario's requests cost, from the trace.

use core::fmt;
use std::collections::{BTreeMap, HashMap};

use leastload_testhost::{CallRecord, Callback, CallbackRecord, HostCall, Thread, Trace};
use serde::{Deserialize, Serialize};

/// A stream context: number of its VM and its own.
pub(super) type Key = (u32, u32);

/// What many requests or ticks cost. It is written `median / mean / most`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Spread {
    /// The median.
    pub median: u64,
    /// The mean, rounded down.
    pub mean: u64,
    /// The most.
    pub most: u64,
}

impl Spread {
    fn of(mut all: Vec<u64>) -> Self {
        all.sort_unstable();
        let count = all.len();
        let median = all.get(count / 2).copied().unwrap_or(0);
        let mean = all.iter().sum::<u64>() / (count as u64).max(1);
        Self { median, mean, most: all.last().copied().unwrap_or(0) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} / {} / {}", self.median, self.mean, self.most))
    }
}

impl From<Spread> for String {
    fn from(spread: Spread) -> Self {
        spread.to_string()
    }
}

impl TryFrom<String> for Spread {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let numbers: Result<Vec<u64>, _> = text.split(" / ").map(str::parse).collect();
        match numbers.as_deref() {
            Ok([median, mean, most]) => Ok(Self { median: *median, mean: *mean, most: *most }),
            _ => Err(format!("expected `median / mean / most`, got {text:?}")),
        }
    }
}

/// What a tick, or the answer of the admin interface, costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// Host calls.
    pub calls: Spread,
    /// Wasm instructions, as wasmtime counts fuel.
    pub fuel: Spread,
}

/// What was counted in one scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The request seen most often: its callbacks, each followed by its host calls, indented.
    pub typical: Vec<String>,
    /// Share of the requests that were exactly so, in percent, rounded down.
    pub typical_percent: u64,
    /// Entries into the VM of the typical request, without the allocations for values.
    pub entries: usize,
    /// Host calls of the typical request.
    pub calls: usize,
    /// Host calls of the typical request for which the host allocated in the VM.
    pub values: usize,
    /// Mean host calls of all requests.
    pub mean_calls: f64,
    /// Mean host calls of all requests for which the host allocated in the VM.
    pub mean_values: f64,
    /// Most host calls of a request.
    pub most_calls: usize,
    /// Wasm instructions of a request, as wasmtime counts fuel.
    pub fuel: Spread,
    /// Instructions by callback: for readers of the table, no part of the budget.
    #[serde(skip)]
    pub fuel_of: BTreeMap<String, Spread>,
    /// Memory of the largest VM once warm, in pages of 64 KiB.
    pub pages: usize,
    /// By how much it grew over 10,000 further requests.
    pub growth_pages: usize,
    /// What happens beside requests.
    pub beside: BTreeMap<String, Beside>,
}

fn short(callback: Callback) -> &'static str {
    callback.name().trim_start_matches("proxy_on_")
}

/// A host call with what tells it from others; numbers and values, which differ, are left out.
fn described(record: &CallRecord) -> String {
    let arguments = record.arguments.as_str();
    let what = match record.call {
        HostCall::ReplaceHeaderMapValue | HostCall::AddHeaderMapValue => {
            arguments.splitn(3, ", ").take(2).collect::<Vec<_>>().join(", ")
        }
        HostCall::IncrementMetric
        | HostCall::RecordMetric
        | HostCall::GetMetric
        | HostCall::DefineMetric => {
            let name = arguments.rsplit(";.;").next().unwrap_or(arguments);
            name.split(", ").next().unwrap_or(name).to_owned()
        }
        _ => arguments.to_owned(),
    };
    let absent = record.call.returns_value() && !record.returned_value;
    format!("{} {what}{}", record.call, if absent { ": none" } else { "" })
}

/// One line for each entry and call; equal ones in a row are one line.
fn lines(request: &[&CallbackRecord]) -> Vec<String> {
    let mut lines: Vec<(String, usize)> = Vec::new();
    let mut add = |line: String| match lines.last_mut() {
        Some((last, times)) if *last == line => *times += 1,
        _ => lines.push((line, 1)),
    };
    for record in request {
        add(short(record.callback).to_owned());
        record.calls.iter().for_each(|call| add(format!("  {}", described(call))));
    }
    let written = lines.into_iter().map(|(line, times)| match times {
        1 => line,
        _ => format!("{line} x{times}"),
    });
    written.collect()
}

fn mean(total: usize, count: usize) -> f64 {
    let float = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    (100.0 * float(total) / float(count.max(1))).round() / 100.0
}

fn calls_of(request: &[&CallbackRecord]) -> usize {
    request.iter().map(|record| record.calls.len()).sum()
}

fn values_of(request: &[&CallbackRecord]) -> usize {
    let calls = request.iter().flat_map(|record| &record.calls);
    calls.filter(|call| call.returned_value).count()
}

impl Figures {
    /// Of the requests with these contexts that began in the trace.
    ///
    /// # Panics
    ///
    /// Where there are none.
    pub(super) fn of(trace: &Trace, ended: &[Key]) -> Self {
        let mut requests: HashMap<Key, Vec<&CallbackRecord>> = HashMap::new();
        for record in trace.callbacks() {
            requests.entry((record.vm, record.context)).or_default().push(record);
        }
        let began = |records: &&Vec<&CallbackRecord>| {
            records.first().is_some_and(|first| first.callback == Callback::OnContextCreate)
        };
        let requests: Vec<_> =
            ended.iter().filter_map(|key| requests.get(key)).filter(began).collect();
        let mut seen: BTreeMap<Vec<String>, (usize, &[&CallbackRecord])> = BTreeMap::new();
        let mut fuel_of: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let mut fuel = Vec::new();
        for request in &requests {
            seen.entry(lines(request)).or_insert((0, request)).0 += 1;
            let mut by_callback: BTreeMap<&str, u64> = BTreeMap::new();
            for record in *request {
                *by_callback.entry(short(record.callback)).or_default() += record.fuel.unwrap_or(0);
            }
            fuel.push(by_callback.values().sum());
            for (callback, fuel) in by_callback {
                fuel_of.entry(callback.to_owned()).or_default().push(fuel);
            }
        }
        let most_often = seen.into_iter().max_by_key(|(_, (times, _))| *times);
        let (typical, (times, example)) = most_often.expect("there are requests to count");
        let count = requests.len();
        Self {
            typical,
            typical_percent: (100 * times / count) as u64,
            entries: example.len(),
            calls: calls_of(example),
            values: values_of(example),
            mean_calls: mean(requests.iter().map(|request| calls_of(request)).sum(), count),
            mean_values: mean(requests.iter().map(|request| values_of(request)).sum(), count),
            most_calls: requests.iter().map(|request| calls_of(request)).max().unwrap_or(0),
            fuel: Spread::of(fuel),
            fuel_of: fuel_of.into_iter().map(|(name, fuel)| (name, Spread::of(fuel))).collect(),
            ..Self::default()
        }
    }

    /// Adds what this trace has of ticks and answers; ticks of workers under this name.
    pub(super) fn ticks(&mut self, trace: &Trace, worker: &str) {
        let mut found: BTreeMap<String, (Vec<u64>, Vec<u64>)> = BTreeMap::new();
        for record in trace.callbacks() {
            let name = match (record.callback, record.thread) {
                (Callback::OnTick, Thread::Main) if worker.starts_with("busy") => "coordinator",
                (Callback::OnTick, Thread::Worker(_)) => worker,
                (Callback::OnHttpCallResponse, _) => "admin answer",
                _ => continue,
            };
            let (calls, fuel) = found.entry(name.to_owned()).or_default();
            calls.push(record.calls.len() as u64);
            fuel.push(record.fuel.unwrap_or(0));
        }
        for (name, (calls, fuel)) in found {
            let figures = Beside { calls: Spread::of(calls), fuel: Spread::of(fuel) };
            self.beside.entry(name).or_insert(figures);
        }
    }
}
