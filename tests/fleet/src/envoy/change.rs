//! Changes while an Envoy runs: hosts, the filter, listeners; each through its watched file.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Envoy, write};
use crate::{
    Error, Result,
    config::{Endpoint, EnvoyConfig, Listener, Wasm, listeners_discovery},
};

/// Time for Envoy to notice and take or refuse a change.
const PATIENCE: Duration = Duration::from_secs(20);

/// What Envoy did with a change. It ignores unknown fields in what comes from files, unless it was
/// started with `--reject-unknown-dynamic-fields`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// In force.
    Accepted,
    /// Refused; the old stays in force.
    Rejected,
}

impl Envoy {
    /// Replaces the hosts of a cluster that has them from a file
    /// ([`crate::config::Cluster::from_file`]), and waits until Envoy has judged them.
    ///
    /// # Errors
    /// When there is no such cluster, or Envoy does not react within 20 seconds.
    pub async fn set_endpoints<E: Into<Endpoint>>(
        &mut self,
        cluster: &str,
        endpoints: impl IntoIterator<Item = E>,
    ) -> Result<Change> {
        let endpoints: Vec<Endpoint> = endpoints.into_iter().map(Into::into).collect();
        let found = self.config()?.clusters.iter().find(|c| c.name == cluster && c.from_file);
        let content = found
            .ok_or_else(|| Error::Argument(format!("cluster '{cluster}' has no file of hosts")))?
            .discovery(&endpoints);
        let path = self.place.endpoints(cluster);
        let stats = format!("^cluster\\.{cluster}\\.update_(success|rejected|failure)$");
        self.change(&path, &content.to_string(), &stats).await
    }

    /// Replaces the filter that comes from a file and has the same name ([`Wasm::from_file`]), and
    /// waits until Envoy has judged it.
    ///
    /// # Errors
    /// When there is no such filter, or Envoy does not react within 20 seconds.
    pub async fn set_wasm(&mut self, wasm: &Wasm) -> Result<Change> {
        let listeners = &self.config()?.listeners;
        if !listeners.iter().filter_map(Listener::wasm_from_file).any(|w| w.name == wasm.name) {
            return Err(Error::Argument(format!("no filter '{}' comes from a file", wasm.name)));
        }
        let path = self.place.filter(&wasm.name);
        let stats = format!(
            "extension_config_discovery\\..*{}\\.update_(success|rejected|failure)$",
            wasm.name
        );
        self.change(&path, &wasm.discovery().to_string(), &stats).await
    }

    /// Replaces all listeners ([`EnvoyConfig::listeners_from_file`]), and waits until Envoy has
    /// judged them. Addresses are read anew.
    ///
    /// # Errors
    /// When listeners do not come from a file, or Envoy does not react within 20 seconds.
    pub async fn set_listeners(&mut self, listeners: Vec<Listener>) -> Result<Change> {
        let config = self.config()?;
        if !config.listeners_from_file {
            return Err(Error::Argument("listeners do not come from a file".into()));
        }
        let content = listeners_discovery(&listeners, &self.place, config.mechanism);
        for wasm in listeners.iter().filter_map(Listener::wasm_from_file) {
            let path = self.place.filter(&wasm.name);
            if !path.exists() {
                write(&path, &wasm.discovery().to_string())?;
            }
        }
        let stats = "^listener_manager\\.lds\\.update_(success|rejected|failure)$";
        let path = self.place.listeners();
        let change = self.change(&path, &content.to_string(), stats).await?;
        if change == Change::Accepted {
            self.wait_warm().await?;
            if let Some(config) = &mut self.config {
                config.listeners = listeners;
            }
            self.listeners = self.admin.listeners().await?;
        }
        Ok(change)
    }

    fn config(&self) -> Result<&EnvoyConfig> {
        let none = || Error::Argument("this Envoy was started with YAML: change its files".into());
        self.config.as_ref().ok_or_else(none)
    }

    async fn wait_warm(&self) -> Result<()> {
        let warm =
            |stats: &std::collections::BTreeMap<String, i64>| stats.values().all(|v| *v == 0);
        self.admin
            .wait_stats("^listener_manager\\.total_listeners_warming$", PATIENCE, warm)
            .await
            .map(drop)
    }

    async fn change(&self, path: &std::path::PathBuf, text: &str, stats: &str) -> Result<Change> {
        let before = self.judged(stats).await?;
        write(path, text)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.judged(stats).await?;
            if now.1 > before.1 {
                return Ok(Change::Rejected);
            }
            if now.0 > before.0 {
                return Ok(Change::Accepted);
            }
            if Instant::now() > deadline {
                return Err(Error::Timeout(format!("Envoy did not notice {}", path.display())));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Changes accepted and refused so far; a file that is no discovery response is a "failure".
    async fn judged(&self, stats: &str) -> Result<(i64, i64)> {
        let all = self.admin.stats(stats).await?;
        let sum = |end: &str| -> i64 {
            all.iter().filter(|(name, _)| name.ends_with(end)).map(|(_, value)| value).sum()
        };
        Ok((sum("success"), sum("rejected") + sum("failure")))
    }
}
