//! Envoy's admin interface.

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use crate::{Error, Result};

/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client of one Envoy's admin interface; outlives the Envoy, cheap to clone.
#[derive(Clone, Debug)]
pub struct Admin {
    address: SocketAddr,
}

/// One host of a cluster, as `/clusters` tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// `ip:port`.
    pub address: String,
    /// `HEALTHY`, `UNHEALTHY`, ... as set by discovery.
    pub eds_health: String,
    /// Whether health checks or outlier detection hold it unhealthy or ejected.
    pub failed: bool,
    /// 0 is the highest.
    pub priority: u64,
    /// Its counters and gauges: `rq_active`, `rq_total`, `rq_error`, `cx_active`, ...
    pub stats: BTreeMap<String, u64>,
}

/// One sample of the Prometheus view.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name of the metric.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Admin {
    /// A client of the interface at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Address of the interface.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// GET; the answer's text.
    ///
    /// # Errors
    /// When there is no answer within ten seconds or it is not 200.
    pub async fn get(&self, path: &str) -> Result<String> {
        self.request("GET", path).await
    }

    /// POST without a body; the answer's text.
    ///
    /// # Errors
    /// As [`Admin::get`].
    pub async fn post(&self, path: &str) -> Result<String> {
        self.request("POST", path).await
    }

    /// GET; the answer as JSON.
    ///
    /// # Errors
    /// As [`Admin::get`]; also when it is no JSON.
    pub async fn json(&self, path: &str) -> Result<Value> {
        let body = self.get(path).await?;
        serde_json::from_str(&body).map_err(|error| Error::Admin {
            path: path.into(),
            status: 200,
            body: format!("no JSON ({error}): {}", start(&body)),
        })
    }

    /// Counters and gauges whose names match the regular expression. A gauge that went below 0
    /// reads negative.
    ///
    /// # Errors
    /// As [`Admin::get`].
    pub async fn stats(&self, regex: &str) -> Result<BTreeMap<String, i64>> {
        let stats = self.json(&format!("/stats?format=json&filter={}", encode(regex))).await?;
        let stats = stats["stats"].as_array().cloned().unwrap_or_default();
        Ok(stats
            .iter()
            .filter_map(|stat| {
                let value = &stat["value"];
                // Gauges are unsigned in Envoy: -1 shows as 2^64 - 1.
                let value = value.as_i64().or_else(|| value.as_u64().map(|v| v as i64))?;
                Some((stat["name"].as_str()?.to_owned(), value))
            })
            .collect())
    }

    /// One counter or gauge by its name; 0 where there is none.
    ///
    /// # Errors
    /// As [`Admin::get`].
    pub async fn stat(&self, name: &str) -> Result<i64> {
        let stats = self.stats(&format!("^{}$", escape(name))).await?;
        Ok(stats.get(name).copied().unwrap_or(0))
    }

    /// Waits until `wanted` holds for the counters and gauges that match, and returns them.
    ///
    /// # Errors
    /// When it does not within `patience`; the error holds what they were last.
    pub async fn wait_stats(
        &self,
        regex: &str,
        patience: Duration,
        wanted: impl Fn(&BTreeMap<String, i64>) -> bool,
    ) -> Result<BTreeMap<String, i64>> {
        let deadline = Instant::now() + patience;
        loop {
            let stats = self.stats(regex).await?;
            if wanted(&stats) {
                return Ok(stats);
            }
            if Instant::now() > deadline {
                return Err(Error::Timeout(format!("stats {regex} are {stats:?}")));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The Prometheus view of metrics whose names (before tags are taken out) match.
    ///
    /// # Errors
    /// As [`Admin::get`].
    pub async fn prometheus(&self, regex: &str) -> Result<Vec<Sample>> {
        let path = format!("/stats/prometheus?filter={}", encode(regex));
        Ok(self.get(&path).await?.lines().filter_map(sample).collect())
    }

    /// Hosts of a cluster.
    ///
    /// # Errors
    /// As [`Admin::get`].
    pub async fn hosts(&self, cluster: &str) -> Result<Vec<Host>> {
        let clusters = self.json("/clusters?format=json").await?;
        let statuses = clusters["cluster_statuses"].as_array().cloned().unwrap_or_default();
        let found = statuses.iter().find(|status| status["name"] == cluster);
        let hosts = found.and_then(|status| status["host_statuses"].as_array()).cloned();
        Ok(hosts.unwrap_or_default().iter().map(host).collect())
    }

    /// Addresses that listeners bound, by name.
    ///
    /// # Errors
    /// As [`Admin::get`].
    pub async fn listeners(&self) -> Result<BTreeMap<String, SocketAddr>> {
        let listeners = self.json("/listeners?format=json").await?;
        let listeners = listeners["listener_statuses"].as_array().cloned().unwrap_or_default();
        Ok(listeners
            .iter()
            .filter_map(|listener| {
                let name = listener["name"].as_str()?.to_owned();
                Some((name, socket(&listener["local_address"])?.parse().ok()?))
            })
            .collect())
    }

    /// Sets a runtime value, e.g. `health_check.verify_cluster` to `true`.
    ///
    /// # Errors
    /// As [`Admin::get`].
    pub async fn set_runtime(&self, key: &str, value: &str) -> Result<()> {
        self.post(&format!("/runtime_modify?{}={}", encode(key), encode(value))).await.map(drop)
    }

    async fn request(&self, method: &str, path: &str) -> Result<String> {
        let failed =
            |status, body: &str| Error::Admin { path: path.into(), status, body: start(body) };
        let answer = timeout(PATIENCE, self.exchange(method, path))
            .await
            .unwrap_or_else(|_| Err("no answer in ten seconds".into()));
        match answer {
            Ok((200, body)) => Ok(body),
            Ok((status, body)) => Err(failed(status, &body)),
            Err(error) => Err(failed(0, &error.to_string())),
        }
    }

    async fn exchange(
        &self,
        method: &str,
        path: &str,
    ) -> std::result::Result<(u16, String), Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        connection.abort();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

/// `ip:port`, `[ip]:port` of an address in admin JSON.
/// As Envoy writes an address: `ip:port`, or `envoy://listener/endpoint` of an internal one.
fn socket(address: &Value) -> Option<String> {
    let internal = &address["envoy_internal_address"];
    if let Some(listener) = internal["server_listener_name"].as_str() {
        return Some(format!("envoy://{listener}/{}", internal["endpoint_id"].as_str()?));
    }
    let socket = &address["socket_address"];
    let (ip, port) = (socket["address"].as_str()?, socket["port_value"].as_u64().unwrap_or(0));
    Some(if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") })
}

fn host(host: &Value) -> Host {
    let health = &host["health_status"];
    let failed = ["failed_active_health_check", "failed_outlier_check"];
    let stats = host["stats"].as_array().cloned().unwrap_or_default();
    Host {
        address: socket(&host["address"]).unwrap_or_default(),
        eds_health: health["eds_health_status"].as_str().unwrap_or_default().to_owned(),
        failed: failed.iter().any(|flag| health[flag] == true),
        priority: host["priority"].as_u64().unwrap_or(0),
        stats: stats
            .iter()
            .filter_map(|stat| {
                // 64-bit numbers are strings in protobuf's JSON, and 0 is left out.
                let value = stat["value"].as_str().and_then(|value| value.parse().ok());
                Some((stat["name"].as_str()?.to_owned(), value.unwrap_or(0)))
            })
            .collect(),
    }
}

/// `name{label="value",...} 1.5`
fn sample(line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.trim_end_matches('}')),
        None => (series, ""),
    };
    let labels = labels
        .split("\",")
        .filter_map(|label| {
            let (name, value) = label.split_once("=\"")?;
            Some((name.to_owned(), value.trim_end_matches('"').to_owned()))
        })
        .collect();
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

/// Escapes a literal for a regular expression.
fn escape(literal: &str) -> String {
    let mut escaped = String::with_capacity(literal.len());
    for c in literal.chars() {
        if !(c.is_ascii_alphanumeric() || c == '_') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// Percent-encodes a part of a query.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn start(text: &str) -> String {
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prometheus_line_is_read() {
        let read = sample(r#"leastload_picks{cluster="a|b, c",result="ok"} 12"#).unwrap();
        assert_eq!((read.name.as_str(), read.value), ("leastload_picks", 12.0));
        assert_eq!(read.labels["cluster"], "a|b, c");
        assert_eq!(read.labels["result"], "ok");
        assert_eq!(sample("# TYPE x counter"), None);
        assert!(sample("plain 1").unwrap().labels.is_empty());
    }

    #[test]
    fn regular_expressions_pass_through_a_query() {
        assert_eq!(escape("a.b|c"), r"a\.b\|c");
        assert_eq!(encode("^a|b$"), "%5Ea%7Cb%24");
    }
}
