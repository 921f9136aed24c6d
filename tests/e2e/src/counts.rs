//! What the filter says: outstanding work by slot, decisions by result.

use std::collections::BTreeMap;

use leastload_fleet::envoy::{Admin, Envoy};

use crate::wait::eventually;

/// The filter's counters and gauges at one moment, by full name.
#[derive(Clone, Debug)]
pub struct Counts(BTreeMap<String, i64>);

impl Counts {
    /// Reads them.
    pub async fn read(envoy: &Envoy) -> Self {
        Self::read_from(envoy.admin()).await
    }

    /// Reads them by this admin interface.
    pub async fn read_from(admin: &Admin) -> Self {
        Self(admin.stats("leastload_").await.expect("the admin interface answers"))
    }

    /// The sum over all series of `leastload_METRIC` that have these labels, each without its
    /// `leastload_`.
    pub fn sum(&self, metric: &str, labels: &[(&str, &str)]) -> i64 {
        self.series(metric)
            .filter(|(name, _)| labels.iter().all(|(l, value)| label(name, l) == Some(*value)))
            .map(|(_, value)| value)
            .sum()
    }

    /// How many requests had this result: `override`, `excluded`, `panic`, ...
    pub fn picks(&self, result: &str) -> i64 {
        self.sum("picks", &[("result", result)])
    }

    /// Outstanding work of `cluster` by slot, in thousandths of a request: both sets of gauges, of
    /// which one is 0 but for a moment after a worker died. Slots without work are left out.
    pub fn work(&self, cluster: &str) -> BTreeMap<u32, i64> {
        let mut work = BTreeMap::new();
        for (name, value) in self.series("work_milli") {
            if label(name, "cluster") == Some(cluster) {
                let slot = label(name, "slot").and_then(|slot| slot.parse().ok());
                *work.entry(slot.expect("a slot is a number")).or_insert(0) += value;
            }
        }
        work.retain(|_, milli| *milli != 0);
        work
    }

    /// The amounts of [`Counts::work`] without their slots, largest first.
    pub fn amounts(&self, cluster: &str) -> Vec<i64> {
        let mut amounts: Vec<i64> = self.work(cluster).into_values().collect();
        amounts.sort_unstable_by(|a, b| b.cmp(a));
        amounts
    }

    /// Gauges of work, of all clusters and both sets, that are not 0.
    pub fn not_zero(&self) -> Vec<(&str, i64)> {
        self.series("work_milli").filter(|(_, value)| *value != 0).collect()
    }

    fn series(&self, metric: &str) -> impl Iterator<Item = (&str, i64)> {
        // Labels stand before the name, each with `;.;` at its end.
        let ends = [format!(";.;leastload_{metric}"), format!("wasmcustom.leastload_{metric}")];
        let fits = move |name: &str| ends.iter().any(|end| name.ends_with(end));
        self.0.iter().filter(move |(name, _)| fits(name)).map(|(name, value)| (&**name, *value))
    }
}

/// The value of `leastload_LABEL=.=VALUE;.;` in a metric's name.
fn label<'a>(name: &'a str, label: &str) -> Option<&'a str> {
    let (_, rest) = name.split_once(&format!("leastload_{label}=.="))?;
    rest.split_once(";.;").map(|(value, _)| value)
}

/// Waits until every count of work, in both sets of gauges and of all clusters, is 0.
pub async fn nothing_is_outstanding(envoy: &Envoy) {
    eventually("every count is 0", async || {
        let counts = Counts::read(envoy).await;
        if counts.not_zero().is_empty() { Ok(()) } else { Err(format!("{:?}", counts.not_zero())) }
    })
    .await;
}

/// Waits until the endpoints of `cluster` that have work have exactly these amounts, in whatever
/// order, in thousandths of a request.
pub async fn work_is(envoy: &Envoy, cluster: &str, amounts: &[i64]) {
    let mut wanted = amounts.to_vec();
    wanted.sort_unstable_by(|a, b| b.cmp(a));
    eventually(&format!("the work is {wanted:?}"), async || {
        let amounts = Counts::read(envoy).await.amounts(cluster);
        if amounts == wanted { Ok(()) } else { Err(amounts) }
    })
    .await;
}
