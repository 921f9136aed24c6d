//! All servers in one process of one thread: they only sleep.

use std::{net::SocketAddr, path::Path};

use tonic::transport::Channel;

use super::result::{self, ServerRound};
use crate::{
    Result,
    fleet::connect,
    proto::stats::{StatsRequest, stats_client::StatsClient},
    server::{self, ServerOptions},
    serving::{self, Servers},
};

/// Starts one server for each of `speeds` by `program serve --slots N --speeds A,B,...`, which must
/// be [`serve`].
///
/// # Errors
/// When it does not start.
pub fn start(program: &Path, slots: usize, speeds: &[f64]) -> Result<Servers> {
    let speeds: Vec<String> = speeds.iter().map(f64::to_string).collect();
    let arguments =
        ["serve".into(), format!("--slots={slots}"), format!("--speeds={}", speeds.join(","))];
    Servers::start(program, &arguments)
}

/// What the servers count, asked without a proxy.
#[derive(Debug)]
pub struct Meters(Vec<StatsClient<Channel>>);

impl Meters {
    /// Connects to all of them.
    ///
    /// # Errors
    /// When one cannot be reached.
    pub async fn of(servers: &[SocketAddr]) -> Result<Self> {
        let mut clients = Vec::with_capacity(servers.len());
        for server in servers {
            clients.push(StatsClient::new(connect(*server).await?));
        }
        Ok(Self(clients))
    }

    /// Starts the counting anew.
    ///
    /// # Errors
    /// When a server does not answer.
    pub async fn reset(&self) -> Result<()> {
        for client in &self.0 {
            client.clone().reset(StatsRequest {}).await?;
        }
        Ok(())
    }

    /// What each has counted since.
    ///
    /// # Errors
    /// When a server does not answer.
    pub async fn read(&self) -> Result<Vec<ServerRound>> {
        let mut all = Vec::with_capacity(self.0.len());
        for client in &self.0 {
            let stats = client.clone().get(StatsRequest {}).await?.into_inner();
            all.push(ServerRound {
                calls: stats.calls.values().sum(),
                mean_in_flight: result::round(stats.mean_in_flight),
                most_in_flight: stats.max_in_flight,
                told: None,
            });
        }
        Ok(all)
    }
}

/// The process, see [`serving::serve`].
///
/// # Errors
/// When a port cannot be had.
pub async fn serve(slots: usize, speeds: &[f64]) -> Result<()> {
    serving::serve(speeds.len(), |index, listener| {
        let speed = speeds.get(index).copied().unwrap_or(1.0);
        let options = ServerOptions { slots, speed, ..ServerOptions::default() };
        tokio::spawn(server::serve(listener, options, std::future::pending()));
    })
    .await
}
