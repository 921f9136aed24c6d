//! A headless Chromium: pictures of reports, and what their pages look like from within.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// Virtual milliseconds a page gets to settle; they pass as quickly as its scripts let them.
const SETTLE_MS: u32 = 10_000;

/// Names under which distributions install it.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Why there is no picture, or no document.
#[derive(Debug)]
pub enum Error {
    /// There is no Chromium: not in `$CHROMIUM`, not in `$PATH`.
    NoBrowser,
    /// It failed, or the page did; says how.
    Failed(String),
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBrowser => {
                f.write_str("no Chromium here (apt-get install chromium, or set CHROMIUM)")
            }
            Self::Failed(what) => write!(f, "Chromium: {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    fn io(doing: &str) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::Failed(format!("cannot {doing}: {error}"))
    }
}

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
        .ok_or(Error::NoBrowser)
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
    std::path::absolute(path).map_err(Error::io("resolve the path"))
}

fn failed(output: &Output) -> Error {
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = said.lines().rev().take(5).collect();
    Error::Failed(format!("{}: {}", output.status, last.join(" | ")))
}
