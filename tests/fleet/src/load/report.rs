//! What the callers saw.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Code of a call that ended well.
pub const OK: &str = "Ok";
/// Code of a call that had no answer when the client lost patience.
pub const UNFINISHED: &str = "Unfinished";
/// Longest latency told apart, in microseconds: an hour.
const MAX_US: u64 = 3_600_000_000;

/// One call that ended.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRecord {
    /// When it was due, from the start.
    pub due: Duration,
    /// From when it was due until its end.
    pub latency: Duration,
    /// gRPC status code by name: `Ok`, `Unavailable`, ...
    pub code: String,
    /// Who served it, by its own words; None where no reply came.
    pub server: Option<String>,
    /// Work done, in milliseconds at speed 1.
    pub work_ms: f64,
}

/// What one server did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ServerShare {
    /// Calls it answered well.
    pub calls: u64,
    /// Their work, in milliseconds at speed 1.
    pub work_ms: f64,
}

/// Counts and latencies of a run. Latencies are in microseconds from the due time, to three digits.
#[derive(Clone, Debug)]
pub struct LoadReport {
    /// Latencies of calls that ended well.
    pub ok: Histogram<u64>,
    /// Latencies until the failure of calls that failed.
    pub errors: Histogram<u64>,
    /// How late this client sent: should be about a millisecond, or the client was overloaded.
    pub lateness: Histogram<u64>,
    /// Calls by gRPC status code name; `Ok` and `Unfinished` included.
    pub codes: BTreeMap<String, u64>,
    /// Calls that ended well, by who served them.
    pub servers: BTreeMap<String, ServerShare>,
    /// Every call in the order of its end, where asked for.
    pub calls: Vec<CallRecord>,
    /// Calls sent, warm-up excluded.
    pub sent: u64,
    /// From the first due time to the last end.
    pub elapsed: Duration,
}

impl Default for LoadReport {
    fn default() -> Self {
        Self {
            ok: histogram(),
            errors: histogram(),
            lateness: histogram(),
            codes: BTreeMap::new(),
            servers: BTreeMap::new(),
            calls: Vec::new(),
            sent: 0,
            elapsed: Duration::ZERO,
        }
    }
}

impl LoadReport {
    pub(super) fn sent(&mut self, late: Duration) {
        self.sent += 1;
        self.lateness.saturating_record(micros(late));
    }

    pub(super) fn ended(&mut self, record: CallRecord, keep: bool) {
        let histogram = if record.code == OK { &mut self.ok } else { &mut self.errors };
        histogram.saturating_record(micros(record.latency));
        *self.codes.entry(record.code.clone()).or_default() += 1;
        if let Some(server) = &record.server {
            let share = self.servers.entry(server.clone()).or_default();
            share.calls += 1;
            share.work_ms += record.work_ms;
        }
        if keep {
            self.calls.push(record);
        }
    }

    pub(super) fn finish(&mut self, elapsed: Duration) {
        self.elapsed = elapsed;
        let ended: u64 = self.codes.values().sum();
        if self.sent > ended {
            self.codes.insert(UNFINISHED.to_owned(), self.sent - ended);
        }
    }

    /// Calls that ended well.
    pub fn succeeded(&self) -> u64 {
        self.codes.get(OK).copied().unwrap_or(0)
    }

    /// Calls that did not, unfinished ones included.
    pub fn failed(&self) -> u64 {
        self.sent - self.succeeded()
    }

    /// Latency in milliseconds that `percentile` (0 to 100) percent of the calls that ended well
    /// did not exceed; 0 where there were none.
    pub fn percentile_ms(&self, percentile: f64) -> f64 {
        self.ok.value_at_percentile(percentile) as f64 / 1e3
    }

    /// Latencies of all calls that ended, failed ones with the time until the failure.
    pub fn all(&self) -> Histogram<u64> {
        let mut all = self.ok.clone();
        // Same bounds, so adding cannot fail.
        let _ = all.add(&self.errors);
        all
    }

    /// Adds another run of the same kind.
    pub fn merge(&mut self, other: &Self) {
        let _ = self.ok.add(&other.ok);
        let _ = self.errors.add(&other.errors);
        let _ = self.lateness.add(&other.lateness);
        for (code, calls) in &other.codes {
            *self.codes.entry(code.clone()).or_default() += calls;
        }
        for (server, share) in &other.servers {
            let mine = self.servers.entry(server.clone()).or_default();
            mine.calls += share.calls;
            mine.work_ms += share.work_ms;
        }
        self.calls.extend(other.calls.iter().cloned());
        self.sent += other.sent;
        self.elapsed += other.elapsed;
    }

    /// The report for people and tools; times in milliseconds.
    pub fn to_json(&self) -> Value {
        let servers: BTreeMap<_, _> = self
            .servers
            .iter()
            .map(|(server, share)| {
                (server, json!({"calls": share.calls, "work_ms": round(share.work_ms)}))
            })
            .collect();
        json!({
            "sent": self.sent,
            "codes": self.codes,
            "elapsed_s": round(self.elapsed.as_secs_f64()),
            "latency_ms": {
                "mean": round(self.ok.mean() / 1e3),
                "p50": self.percentile_ms(50.0),
                "p90": self.percentile_ms(90.0),
                "p99": self.percentile_ms(99.0),
                "p99.9": self.percentile_ms(99.9),
                "max": self.ok.max() as f64 / 1e3,
            },
            "sent_late_ms_p99": self.lateness.value_at_percentile(99.0) as f64 / 1e3,
            "servers": servers,
        })
    }
}

fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(MAX_US).max(1)
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_US, 3).expect("constant bounds are valid")
}
