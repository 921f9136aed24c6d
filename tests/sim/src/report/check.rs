//! Looks at a report in a headless Chromium, as wide as a telephone and as wide as a screen.

use std::fs;

pub use leastload_browser::Error;
use leastload_browser::dump_dom;
use serde::Deserialize;
use serde_json::Value;

/// Widths at which the page is looked at, in CSS pixels.
pub const WIDTHS: [u32; 2] = [400, 1200];

/// Loads the page into frames (a window cannot be as narrow as a telephone), unfolds everything,
/// and writes down what it sees.
const PROBE: &str = include_str!("check.js");

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

/// The page at each of [`WIDTHS`].
///
/// # Errors
/// Where there is no Chromium, or it says nothing of the page.
pub fn look(html: &str) -> Result<Vec<Look>, Error> {
    let failed = |error: std::io::Error| Error::Failed(error.to_string());
    let folder = tempfile::tempdir().map_err(failed)?;
    let page = folder.path().join("probe.html");
    fs::write(&page, probe(html)).map_err(failed)?;
    let dom = dump_dom(&page, (1300, 1000))?;
    looks(&dom).map_err(Error::Failed)
}

/// A page that loads another one and writes down what it sees.
fn probe(html: &str) -> String {
    // A string of a script may not contain its end.
    let text = Value::from(html).to_string().replace("</", "<\\/");
    let script = format!("const page = {text};\nconst widths = {WIDTHS:?};\n{PROBE}");
    format!("<!DOCTYPE html><meta charset=\"utf-8\"><body><script>{script}</script>")
}

/// What it wrote down.
fn looks(dom: &str) -> Result<Vec<Look>, String> {
    let found =
        dom.rsplit_once("<pre id=\"probe\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let (found, _) = found.ok_or("it said nothing of the page")?;
    let json = found.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let looks: Vec<Look> = serde_json::from_str(&json).map_err(|error| error.to_string())?;
    if looks.len() == WIDTHS.len() { Ok(looks) } else { Err("a frame is missing".to_owned()) }
}
