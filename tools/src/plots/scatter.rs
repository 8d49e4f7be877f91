//! Points in the plane, coloured and shaped by category.

use std::fmt::Write;

use super::axis::Span;
use super::canvas::{Anchor, Canvas, Colour, MARGIN, number, shorten, text_width};
use super::{Axis, N_COLOURS};

/// Points by category. A category is one path, so that thousands of points stay small.
#[derive(Clone, Debug, Default)]
pub struct Scatter {
    /// What is shown.
    pub title: String,
    /// The axis below.
    pub x: Axis,
    /// The axis on the left.
    pub y: Axis,
    /// The categories, in the order of the legend.
    pub categories: Vec<Category>,
}

/// Points of one colour and shape.
#[derive(Clone, Debug, Default)]
pub struct Category {
    /// Its name in the legend.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// Shapes of marks, by category. Colours come again after [`N_COLOURS`], these after four: no two of 64 categories
/// have both in common.
#[derive(Clone, Copy)]
enum Shape {
    Disc,
    Square,
    Triangle,
    Diamond,
}

impl Scatter {
    /// The figure.
    pub fn svg(&self) -> String {
        let longest =
            self.categories.iter().map(|one| text_width(&legend_text(one))).fold(0.0, f64::max);
        let (left, top, size) = (44.0, 40.0, 500.0);
        let legend_left = left + size + 24.0;
        let mut canvas = Canvas::new(legend_left + 22.0 + longest + MARGIN);
        canvas.text((MARGIN, 22.0), Anchor::Start, "title", &self.title);
        let (right, bottom) = (left + size, top + size * 0.86);
        let points = || self.categories.iter().flat_map(|category| &category.points);
        let x = Span::new(&self.x, points().map(|point| point.0), left, right);
        let y = Span::new(&self.y, points().map(|point| point.1), bottom, top);
        canvas.path(&format!("M{left} {top}V{bottom}H{right}"), "axis");
        canvas.text(((left + right) / 2.0, bottom + 22.0), Anchor::Middle, "muted", &self.x.label);
        canvas.text_upwards((left - 14.0, (top + bottom) / 2.0), "muted", &self.y.label);
        for (at, category) in self.categories.iter().enumerate() {
            let shape = Shape::of(at);
            let placed = category
                .points
                .iter()
                .filter_map(|point| Some((x.place(point.0)?, y.place(point.1)?)));
            let path = shape.path(placed);
            if !path.is_empty() {
                canvas.group(Colour::Of(at), &category.name, |canvas| {
                    canvas.path(&path, shape.class())
                });
            }
        }
        for (at, category) in self.categories.iter().enumerate() {
            let y = top + 6.0 + 21.0 * at as f64;
            let mark = Shape::of(at).path([(legend_left + 6.0, y)].into_iter());
            canvas.group(Colour::Of(at), &category.name, |canvas| {
                canvas.path(&mark, Shape::of(at).class())
            });
            canvas.text((legend_left + 20.0, y + 4.0), Anchor::Start, "", &legend_text(category));
        }
        let legend_bottom = top + 21.0 * self.categories.len() as f64;
        if points().next().is_none() {
            canvas.text(
                ((left + right) / 2.0, (top + bottom) / 2.0),
                Anchor::Middle,
                "muted",
                "no points",
            );
        }
        canvas.finish((bottom + 34.0).max(legend_bottom + MARGIN), &self.title)
    }
}

fn legend_text(category: &Category) -> String {
    format!("{} ({})", shorten(&category.name, 34), number(category.points.len() as f64))
}

impl Shape {
    fn of(category: usize) -> Self {
        // The shape moves on with every round of colours.
        match (category + category / N_COLOURS) % 4 {
            0 => Self::Disc,
            1 => Self::Square,
            2 => Self::Triangle,
            _ => Self::Diamond,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Disc => "dots",
            Self::Square | Self::Triangle | Self::Diamond => "marks",
        }
    }

    /// All points, with one decimal.
    fn path(self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        for (x, y) in points {
            // Writing to a string cannot fail. A line of no length with round ends is a disc.
            let _ = match self {
                Self::Disc => write!(path, "M{x:.1} {y:.1}h0"),
                Self::Square => write!(path, "M{:.1} {:.1}h4v4h-4z", x - 2.0, y - 2.0),
                Self::Triangle => write!(path, "M{x:.1} {:.1}l2.8 4.8h-5.6z", y - 2.9),
                Self::Diamond => write!(path, "M{x:.1} {:.1}l2.8 2.8l-2.8 2.8l-2.8-2.8z", y - 2.8),
            };
        }
        path
    }
}
