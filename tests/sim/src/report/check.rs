//! Looks at a report in a headless Chromium, as wide as a telephone and as wide as a screen.

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

/// Widths at which the page is looked at, in CSS pixels.
pub const WIDTHS: [u32; 2] = [400, 1200];

/// Loads the page into frames (a window cannot be as narrow as a telephone), unfolds everything,
/// and writes down what it sees.
const PROBE: &str = include_str!("check.js");

/// Names under which distributions install it.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// What the page looks like at one width.
#[derive(Clone, Debug, Deserialize)]
pub struct Look {
    /// The width, in CSS pixels.
    pub width: u32,
    /// Headings of the scenarios' sections.
    pub scenarios: Vec<String>,
    /// Width and height of each plot.
    pub plots: Vec<(f64, f64)>,
    /// All that is wrong.
    pub faults: Vec<String>,
}

/// Why nothing was seen.
#[derive(Debug)]
pub enum Blind {
    /// There is no Chromium: not in `$CHROMIUM`, not in `$PATH`.
    NoBrowser,
    /// It failed, or the page did.
    Failed(String),
}

impl fmt::Display for Blind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBrowser => {
                f.write_str("no Chromium here (apt-get install chromium, or set CHROMIUM)")
            }
            Self::Failed(what) => write!(f, "Chromium: {what}"),
        }
    }
}

fn chromium() -> Option<PathBuf> {
    if let Some(path) = env::var_os("CHROMIUM") {
        return Some(path.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .flat_map(|folder| NAMES.map(|name| folder.join(name)))
        .find(|candidate| candidate.is_file())
}

/// The page at each of [`WIDTHS`].
///
/// # Errors
/// Where there is no Chromium, or it says nothing of the page.
pub fn look(html: &str) -> Result<Vec<Look>, Blind> {
    let browser = chromium().ok_or(Blind::NoBrowser)?;
    look_with(&browser, html).map_err(Blind::Failed)
}

fn look_with(browser: &Path, html: &str) -> Result<Vec<Look>, String> {
    let failed = |error: std::io::Error| error.to_string();
    let folder = tempfile::tempdir().map_err(failed)?;
    let page = folder.path().join("probe.html");
    // A string of a script may not contain its end.
    let text =
        serde_json::to_string(html).map_err(|error| error.to_string())?.replace("</", "<\\/");
    let script = format!("const page = {text};\nconst widths = {WIDTHS:?};\n{PROBE}");
    fs::write(
        &page,
        format!("<!DOCTYPE html><meta charset=\"utf-8\"><body><script>{script}</script>"),
    )
    .map_err(failed)?;
    let output = Command::new(browser)
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
            "--window-size=1300,1000",
            "--virtual-time-budget=10000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output()
        .map_err(failed)?;
    let dom = String::from_utf8_lossy(&output.stdout);
    let found =
        dom.rsplit_once("<pre id=\"probe\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let Some((found, _)) = found else {
        let said = String::from_utf8_lossy(&output.stderr);
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        return Err(format!("it said nothing, {}: {}", output.status, last.join(" | ")));
    };
    let json = found.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let looks: Vec<Look> = serde_json::from_str(&json).map_err(|error| error.to_string())?;
    if looks.len() == WIDTHS.len() { Ok(looks) } else { Err("a frame is missing".to_owned()) }
}
