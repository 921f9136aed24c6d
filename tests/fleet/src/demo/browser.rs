//! A headless Chromium: pictures of the report, and what its page looks like from within.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::{Error, Result};

/// Width and height of the picture for the README, in CSS pixels.
pub const PICTURE: (u32, u32) = (1200, 1600);

/// Virtual milliseconds a page gets to settle.
const SETTLE_MS: u32 = 3_000;

/// Names under which distributions install it.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Path of a Chromium: `$CHROMIUM` where set, else the first of the usual names in `$PATH`.
///
/// # Errors
/// When there is none.
pub fn chromium() -> Result<PathBuf> {
    if let Some(path) = env::var_os("CHROMIUM") {
        return Ok(path.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .flat_map(|folder| NAMES.map(|name| folder.join(name)))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| {
            Error::Missing(
                "Chromium (apt-get install chromium, or set CHROMIUM)".into(),
                "$PATH".into(),
            )
        })
}

/// Writes a PNG of the page, in the light or the dark scheme.
///
/// # Errors
/// When there is no Chromium or it writes no picture.
pub fn screenshot(page: &Path, picture: &Path, size: (u32, u32), dark: bool) -> Result<()> {
    if let Some(folder) = picture.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io("make the picture's folder"))?;
    }
    let mut arguments = vec![
        format!("--screenshot={}", absolute(picture)?.display()),
        format!("--window-size={},{}", size.0, size.1),
        "--hide-scrollbars".into(),
    ];
    if dark {
        // 0 is dark in Chromium's settings.
        arguments.push("--blink-settings=preferredColorScheme=0".into());
    }
    let output = run(page, &arguments)?;
    if picture.is_file() { Ok(()) } else { Err(failed(&output)) }
}

/// The page's document after its scripts ran, as HTML, in a window of this size.
///
/// # Errors
/// When there is no Chromium or it prints nothing.
pub fn dump_dom(page: &Path, size: (u32, u32)) -> Result<String> {
    let size = format!("--window-size={},{}", size.0, size.1);
    let output = run(page, &["--dump-dom".into(), size])?;
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() && !dom.is_empty() { Ok(dom) } else { Err(failed(&output)) }
}

fn run(page: &Path, arguments: &[String]) -> Result<Output> {
    let profile = tempfile::tempdir().map_err(Error::io("make a browser profile"))?;
    Command::new(chromium()?)
        .args([
            "--headless",
            // Containers run tests as root and have no user namespaces.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            // No connection to anywhere: the report is one file.
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-default-apps",
            "--force-device-scale-factor=1",
        ])
        .arg(format!("--virtual-time-budget={SETTLE_MS}"))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(arguments)
        .arg(format!("file://{}", absolute(page)?.display()))
        .stdin(Stdio::null())
        .output()
        .map_err(Error::io("run Chromium"))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::io(format!("resolve {}", path.display())))
}

fn failed(output: &Output) -> Error {
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = said.lines().rev().take(5).collect();
    Error::Child(format!("Chromium failed, {}: {}", output.status, last.join(" | ")))
}
