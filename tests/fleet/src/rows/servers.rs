//! All servers in one process of one thread: they only sleep.

use std::path::Path;

use crate::{
    Result,
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
