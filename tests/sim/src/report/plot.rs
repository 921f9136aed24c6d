//! Plots as SVG whose colours come from the page's CSS, so that they follow its scheme.

use std::error::Error;

use plotters::chart::ChartContext;
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::prelude::*;

use super::axis::Axis;
use super::palette::{Mark, Palette};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;
type Drawn<T = ()> = Result<T, Box<dyn Error>>;

/// Width of every plot, in the SVG's own units: as wide as a telephone shows it in full size.
const WIDTH: u32 = 460;
/// Room for labels.
const LEFT: u32 = 66;
const BOTTOM: u32 = 27;
/// plotters divides sizes of fonts by this.
const FONT: f64 = 13.0 * 1.24;

/// Colours that stand for those of the page; no policy has one of these.
const SOFT: RGBColor = RGBColor(2, 0, 0);
const RULE: RGBColor = RGBColor(2, 0, 1);
const INK: RGBColor = RGBColor(2, 0, 2);

fn colour(number: u8) -> RGBColor {
    RGBColor(1, number, 0)
}

/// A value at a place, and the range of the seeds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// Place: a value of the axis.
    pub(super) at: f64,
    /// Median.
    pub(super) value: f64,
    /// Least and most.
    pub(super) range: (f64, f64),
}

/// A policy's points.
#[derive(Debug)]
pub(super) struct Series<'a> {
    /// The policy.
    pub(super) label: &'a str,
    /// Its points, from left to right.
    pub(super) points: Vec<Point>,
}

/// A situation's row in a plot of points: what it is called and its policies.
pub(super) struct Group<'a> {
    /// In words.
    pub(super) name: String,
    /// Policies and their values, from above; `at` is not used.
    pub(super) points: Vec<(&'a str, Point)>,
}

/// What a plot draws with.
struct Pen<'a> {
    palette: &'a Palette,
}

impl Pen<'_> {
    fn style(&self, label: &str) -> ShapeStyle {
        let width = if label == "leastload" { 3 } else { 2 };
        colour(self.palette.number(label)).stroke_width(width)
    }

    fn mark(&self, chart: &mut Chart<'_, '_>, label: &str, at: (f64, f64)) -> Drawn {
        let style = self.style(label).filled();
        let once = std::iter::once(at);
        match self.palette.mark(label) {
            Mark::Circle => chart.draw_series(once.map(|at| Circle::new(at, 4, style)))?,
            Mark::Square => chart.draw_series(
                once.map(|at| EmptyElement::at(at) + Rectangle::new([(-4, -4), (4, 4)], style)),
            )?,
            Mark::Triangle => {
                chart.draw_series(once.map(|at| TriangleMarker::new(at, 5, style)))?
            }
            Mark::Cross => chart.draw_series(once.map(|at| Cross::new(at, 4, style)))?,
        };
        Ok(())
    }

    /// The range of the seeds as a thin line.
    fn range(&self, chart: &mut Chart<'_, '_>, label: &str, ends: [(f64, f64); 2]) -> Drawn {
        let style = colour(self.palette.number(label)).stroke_width(1);
        chart.draw_series(std::iter::once(PathElement::new(ends.to_vec(), style)))?;
        Ok(())
    }
}

/// Values against an axis: a line for each policy, leastload's on top.
pub(super) fn lines(
    palette: &Palette,
    about: &str,
    x: Axis,
    y: Axis,
    all: &[Series<'_>],
) -> String {
    let pen = Pen { palette };
    draw(about, 300, |area| {
        let mut chart = chart(area, LEFT, x, y)?;
        let (ours, others): (Vec<_>, Vec<_>) =
            all.iter().partition(|series| series.label == "leastload");
        for series in others.into_iter().chain(ours) {
            let style = pen.style(series.label);
            let places = series.points.iter().map(|point| (point.at, point.value));
            chart.draw_series(LineSeries::new(places, style))?;
            for point in &series.points {
                let ends = [(point.at, point.range.0), (point.at, point.range.1)];
                pen.range(&mut chart, series.label, ends)?;
                pen.mark(&mut chart, series.label, (point.at, point.value))?;
            }
        }
        Ok(())
    })
}

/// Height of a situation's name, and of each of its policies.
const NAME: u32 = 26;
const ROW: u32 = 10;

/// Values of each policy in each situation: a mark on the scale, rows from above.
pub(super) fn marks(palette: &Palette, about: &str, x: &Axis, groups: &[Group<'_>]) -> String {
    let pen = Pen { palette };
    #[allow(clippy::cast_possible_truncation)]
    let rows: u32 = groups.iter().map(|group| NAME + ROW * group.points.len() as u32).sum();
    draw(about, rows + BOTTOM + 16, |area| {
        let mut chart = chart(area, 0, x.clone(), Axis::rows(f64::from(rows)))?;
        let mut y = 0.0;
        for group in groups {
            let low = Ranged::range(x).start;
            if !group.name.is_empty() {
                let text = TextStyle::from(("sans-serif", FONT)).color(&INK);
                let name = Text::new(group.name.clone(), (low, y + 4.0), text);
                chart.draw_series(std::iter::once(name))?;
            }
            y += f64::from(NAME);
            for (label, point) in &group.points {
                let ends = [(low, y), (point.value, y)];
                let faint = PathElement::new(ends.to_vec(), RULE.stroke_width(1));
                chart.draw_series(std::iter::once(faint))?;
                pen.range(&mut chart, label, [(point.range.0, y), (point.range.1, y)])?;
                pen.mark(&mut chart, label, (point.value, y))?;
                y += f64::from(ROW);
            }
        }
        Ok(())
    })
}

/// Numbers in flight over time: the mean over servers in a soft colour, the most in the policy's.
pub(super) fn timeline(
    palette: &Palette,
    about: &str,
    (x, y): (Axis, Axis),
    label: &str,
    samples: &[super::trace::Sample],
) -> String {
    let pen = Pen { palette };
    draw(about, 250, |area| {
        let mut chart = chart(area, LEFT, x, y)?;
        let most = samples.iter().map(|sample| (sample.at, sample.most));
        chart.draw_series(LineSeries::new(most, pen.style(label)))?;
        let mean = samples.iter().map(|sample| (sample.at, sample.mean));
        chart.draw_series(LineSeries::new(mean, SOFT.stroke_width(2)))?;
        Ok(())
    })
}

/// Axes, ticks and grid.
fn chart<'a, 'b>(area: &'a Area<'b>, left: u32, x: Axis, y: Axis) -> Drawn<Chart<'a, 'b>> {
    let mut chart = ChartBuilder::on(area)
        .margin_top(10)
        .margin_right(26)
        .margin_left(if left == 0 { 26 } else { 0 })
        .x_label_area_size(BOTTOM)
        .y_label_area_size(left)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .axis_style(RULE)
        .bold_line_style(RULE)
        .light_line_style(TRANSPARENT)
        .label_style(TextStyle::from(("sans-serif", FONT)).color(&SOFT))
        .x_labels(20)
        .y_labels(20)
        .draw()?;
    Ok(chart)
}

/// An SVG that says what it is about.
fn draw(about: &str, height: u32, on: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        on(&area).and_then(|()| Ok(area.present()?))
    };
    // Text in memory: nothing that could fail.
    if let Err(error) = drawn {
        return format!("<p>{}</p>", super::page::escape(&error.to_string()));
    }
    for (stands_for, name) in [(SOFT, "--soft"), (RULE, "--rule"), (INK, "--ink")] {
        svg = replace(&svg, stands_for, name);
    }
    for number in 0..=u8::MAX {
        svg = replace(&svg, colour(number), &format!("--p{number}"));
    }
    let label = format!("role=\"img\" aria-label=\"{}\"", super::page::escape(about));
    svg.replacen("xmlns=\"http://www.w3.org/2000/svg\"", &label, 1)
        .replace(" font-family=\"sans-serif\"", "")
        .replace(" opacity=\"1\"", "")
}

fn replace(svg: &str, RGBColor(r, g, b): RGBColor, variable: &str) -> String {
    svg.replace(&format!("\"#{r:02X}{g:02X}{b:02X}\""), &format!("\"var({variable})\""))
}
