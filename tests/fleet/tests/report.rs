//! The demo's report in a real browser: charts are drawn, labels can be read, nothing is fetched.

// Pixels are few.
#![allow(clippy::cast_precision_loss)]

use std::{
    collections::HashSet,
    fs::{self, File},
    io::BufReader,
    path::Path,
};

use leastload_browser::{dump_dom, screenshot};
use leastload_fleet::demo::{PICTURE, html, result::Outcome, table};
use serde_json::Value;

/// Looks at the page from within: what was drawn, where, and what lies upon what.
const PROBE: &str = r#"<script>
const errors = [];
addEventListener("error", event => errors.push(event.message));
addEventListener("load", () => {
  const box = element => element.getBoundingClientRect();
  const texts = [...document.querySelectorAll("svg text")].map(t => [t.textContent, box(t)]);
  const overlaps = [];
  texts.forEach(([a, p], i) => texts.slice(i + 1).forEach(([b, q]) => {
    if (p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 3 && q.top < p.bottom - 3)
      overlaps.push(a + " / " + b);
  }));
  const cut = texts.filter(([, p]) => p.left < 0 || p.right > innerWidth).map(([a]) => a);
  const found = {
    errors, overlaps, cut,
    curves: [...document.querySelectorAll("polyline")].map(line => {
      const b = box(line);
      return {chart: line.closest("svg").classList[0], width: b.width, height: b.height,
        color: getComputedStyle(line).stroke};
    }),
    tooSmall: texts.filter(([, p]) => p.height < 9).length,
    overflow: document.documentElement.scrollWidth - innerWidth,
  };
  const out = document.createElement("pre");
  out.id = "probe";
  out.textContent = btoa(unescape(encodeURIComponent(JSON.stringify(found))));
  document.body.append(out);
});
</script>"#;

fn sample() -> Outcome {
    let text = include_str!("data/result.json");
    serde_json::from_str(text).expect("the sample fits the model")
}

fn probe(page: &Path, size: (u32, u32)) -> Value {
    use base64::Engine as _;
    let dom = dump_dom(page, size).unwrap();
    let (_, rest) = dom.split_once("<pre id=\"probe\">").expect("the probe ran");
    let (encoded, _) = rest.split_once("</pre>").unwrap();
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).unwrap();
    serde_json::from_slice(&decoded).unwrap()
}

#[test]
fn charts_draw_in_a_browser_and_their_labels_can_be_read() {
    let outcome = sample();
    let html = html::render(&outcome);
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    fs::write(&page, html.replace("</head>", &format!("{PROBE}</head>"))).unwrap();

    let found = probe(&page, PICTURE);
    for fault in ["errors", "overlaps", "cut"] {
        assert_eq!(found[fault].as_array().unwrap().len(), 0, "{fault}: {}", found[fault]);
    }
    assert_eq!(found["tooSmall"], 0, "labels below nine pixels");
    assert!(found["overflow"].as_i64().unwrap() <= 0, "wider than the window");
    let curves = found["curves"].as_array().unwrap();
    let (arms, servers) = (outcome.arms.len(), outcome.settings.servers.len());
    let of = |chart: &str| curves.iter().filter(|c| c["chart"] == chart).collect::<Vec<_>>();
    assert_eq!((of("load").len(), of("latency").len()), (arms * servers, arms));
    assert!(of("load").iter().all(|curve| curve["width"].as_f64().unwrap() > 150.0));
    assert!(of("latency").iter().all(|curve| curve["width"].as_f64().unwrap() > 500.0));
    // The one of L4 is nearly flat: everything takes as long as it may.
    let heights = of("latency").into_iter().map(|curve| curve["height"].as_f64().unwrap());
    assert_eq!(heights.filter(|height| *height > 100.0).count(), arms - 1);
    let colors: HashSet<String> = of("latency").iter().map(|c| c["color"].to_string()).collect();
    assert_eq!(colors.len(), arms, "a colour for each arm: {colors:?}");

    // A telephone: charts may scroll in their boxes, the page must not.
    let narrow = probe(&page, (500, 900));
    assert!(narrow["overflow"].as_i64().unwrap() <= 0, "wider than a narrow window");
}

#[test]
fn pictures_are_not_blank_and_the_dark_one_is_dark() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    fs::write(&page, html::render(&sample())).unwrap();
    let mut brightness = Vec::new();
    for dark in [false, true] {
        let picture = folder.path().join(format!("dark-{dark}.png"));
        screenshot(&page, &picture, PICTURE, dark).unwrap();
        let (colors, mean) = look(&picture);
        assert!(colors > 200, "{colors} colours: blank?");
        brightness.push(mean);
    }
    assert!(brightness[0] > 200.0 && brightness[1] < 70.0, "mean brightness {brightness:?}");
}

/// Number of colours in a picture, and its mean brightness (0 to 255).
fn look(picture: &Path) -> (usize, f64) {
    let decoder = png::Decoder::new(BufReader::new(File::open(picture).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let pixels = pixels.chunks_exact(info.color_type.samples());
    let count = pixels.len();
    let sum: u64 = pixels.clone().map(|pixel| u64::from(pixel[1])).sum();
    (pixels.map(|pixel| &pixel[..3]).collect::<HashSet<_>>().len(), sum as f64 / count as f64)
}

#[test]
fn the_report_is_one_file_and_says_what_the_table_says() {
    let outcome = sample();
    let html = html::render(&outcome);
    for outside in ["http:", "https:", "src=", "<link", "@import", "url("] {
        assert!(!html.contains(outside), "'{outside}' in the report");
    }
    let gaps =
        ["style", "lead", "checks", "legend", "panels", "latency", "table", "fair", "method"];
    assert!(gaps.iter().all(|gap| !html.contains(&format!("{{{gap}}}"))), "a gap is unfilled");
    let table = table::render(&outcome);
    for arm in &outcome.arms {
        assert!(html.contains(&arm.name) && table.contains(&arm.name));
        let p99 = format!("{:.1}", arm.p99_ms.median);
        assert!(arm.p99_ms.median >= 1_000.0 || (html.contains(&p99) && table.contains(&p99)));
    }
    assert_eq!(table.lines().filter(|line| line.starts_with("ok  ")).count(), outcome.checks.len());
}
