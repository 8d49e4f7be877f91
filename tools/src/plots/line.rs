//! Lines over an axis, with bands or bars for how sure they are.

use std::fmt::Write;

use super::Axis;
use super::axis::Span;
use super::canvas::{Anchor, Canvas, Colour, MARGIN, coordinate};

/// Lines over one axis.
#[derive(Clone, Debug, Default)]
pub struct LineChart {
    /// What is shown.
    pub title: String,
    /// The axis below.
    pub x: Axis,
    /// The axis on the left.
    pub y: Axis,
    /// The lines, in the order of the legend.
    pub series: Vec<Series>,
}

/// One line.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<Point>,
    /// How intervals are drawn.
    pub spread: Spread,
    /// How the line is drawn.
    pub stroke: Stroke,
}

/// A point of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Along the axis below.
    pub x: f64,
    /// Along the axis on the left.
    pub y: f64,
    /// Between which values `y` lies.
    pub interval: Option<(f64, f64)>,
}

/// How intervals are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spread {
    /// As a bar at each point.
    #[default]
    Bars,
    /// As a band along the line.
    Band,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stroke {
    /// Points, joined.
    #[default]
    Solid,
    /// A wide pale line under the others, for one that another lies on.
    Wide,
    /// Grey dashes without points: what is compared with.
    Dashed,
    /// Points alone.
    None,
}

impl Point {
    /// A point without an interval.
    pub fn new(x: f64, y: f64) -> Self {
        Self { x, y, interval: None }
    }
}

impl LineChart {
    /// The figure.
    pub fn svg(&self) -> String {
        let mut canvas = Canvas::new(640.0);
        canvas.text((MARGIN, 22.0), Anchor::Start, "title", &self.title);
        let names: Vec<(Colour, &str)> = (self.series.iter().enumerate())
            .map(|(category, series)| (series.colour(category), series.name.as_str()))
            .collect();
        let top = canvas.legend(&names, (MARGIN, 36.0)) + 6.0;
        let (left, right) = (68.0, canvas.width() - 20.0);
        let bottom = top + 280.0;
        let points = || self.series.iter().flat_map(|series| &series.points);
        let x = Span::new(&self.x, points().map(|point| point.x), left, right);
        let heights = points().flat_map(|point| {
            let (low, high) = point.interval.unwrap_or((point.y, point.y));
            [point.y, low, high]
        });
        let y = Span::new(&self.y, heights, bottom, top);
        y.draw_beside(&mut canvas, &self.y.label, left, right);
        x.draw_below(&mut canvas, &self.x.label, top, bottom);
        canvas.line((left, bottom), (right, bottom), "axis");
        for (category, series) in self.series.iter().enumerate() {
            let colour = series.colour(category);
            canvas.group(colour, &series.name, |canvas| series.draw(canvas, &x, &y));
        }
        canvas.finish(bottom + 50.0, &self.title)
    }
}

impl Series {
    fn colour(&self, category: usize) -> Colour {
        if self.stroke == Stroke::Dashed { Colour::Grey } else { Colour::Of(category) }
    }

    fn draw(&self, canvas: &mut Canvas, x: &Span, y: &Span) {
        let placed = |point: &Point| Some((x.place(point.x)?, y.place(point.y)?));
        let intervals: Vec<(f64, f64, f64)> = (self.points.iter())
            .filter_map(|point| {
                let (low, high) = point.interval?;
                Some((x.place(point.x)?, y.place(low)?, y.place(high)?))
            })
            .collect();
        match self.spread {
            Spread::Band if intervals.len() > 1 => {
                let upper = intervals.iter().map(|&(x, _, high)| (x, high));
                let lower = intervals.iter().rev().map(|&(x, low, _)| (x, low));
                canvas.path(&format!("{}Z", path(upper.chain(lower))), "band");
            }
            Spread::Band | Spread::Bars => {
                let mut whiskers = String::new();
                for (x, low, high) in
                    intervals.into_iter().map(|(x, low, high)| (c(x), c(low), c(high)))
                {
                    // Writing to a string cannot fail.
                    let _ = write!(whiskers, "M{x} {low}V{high}m-4 0h8M{x} {low}m-4 0h8");
                }
                if !whiskers.is_empty() {
                    canvas.path(&whiskers, "whisker");
                }
            }
        }
        let line = path(self.points.iter().filter_map(placed));
        match self.stroke {
            _ if line.is_empty() => return,
            Stroke::Solid => canvas.path(&line, "line"),
            Stroke::Wide => return canvas.path(&line, "line wide"),
            Stroke::Dashed => return canvas.path(&line, "line dashed"),
            Stroke::None => {}
        }
        self.points.iter().filter_map(placed).for_each(|at| canvas.circle(at, 3.5, "fill"));
    }
}

use coordinate as c;

fn path(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (x, y) in points {
        path.push(if path.is_empty() { 'M' } else { 'L' });
        path.push_str(&format!("{} {}", c(x), c(y)));
    }
    path
}
