//! Estimates with their intervals, one row each, some methods side by side.

use super::axis::Span;
use super::canvas::{Anchor, Canvas, Colour, MARGIN, coordinate, shorten, text_width};
use super::{Axis, Estimate};

/// Rows of estimates.
#[derive(Clone, Debug, Default)]
pub struct Forest {
    /// What is shown.
    pub title: String,
    /// What is estimated.
    pub axis: Axis,
    /// What the estimates of a row are by, in the order of the legend.
    pub groups: Vec<String>,
    /// From top to bottom.
    pub rows: Vec<ForestRow>,
}

/// Estimates of one thing.
#[derive(Clone, Debug, Default)]
pub struct ForestRow {
    /// What is estimated.
    pub name: String,
    /// One for every group; `None` where there is none.
    pub estimates: Vec<Option<Estimate>>,
}

impl Forest {
    /// The figure.
    pub fn svg(&self) -> String {
        let names: Vec<String> = self.rows.iter().map(|row| shorten(&row.name, 40)).collect();
        let longest = names.iter().map(|name| text_width(name)).fold(0.0, f64::max);
        let left = longest + MARGIN + 14.0;
        let mut canvas = Canvas::new((left + 360.0).max(640.0));
        canvas.text((MARGIN, 22.0), Anchor::Start, "title", &self.title);
        let groups: Vec<(Colour, &str)> = (self.groups.iter().enumerate())
            .map(|(at, name)| (Colour::Of(at), name.as_str()))
            .collect();
        let top = match groups.len() {
            0 | 1 => 40.0,
            _ => canvas.legend(&groups, (MARGIN, 36.0)) + 4.0,
        };
        let right = canvas.width() - 24.0;
        let spacing = 9.0;
        let height = spacing * (self.groups.len().max(1) - 1) as f64 + 24.0;
        let bottom = top + height * self.rows.len() as f64;
        let estimates = self.rows.iter().flat_map(|row| row.estimates.iter().flatten());
        let values = estimates.flat_map(|one| {
            let (low, high) = one.interval.unwrap_or((one.value, one.value));
            [one.value, low, high]
        });
        let x = Span::new(&self.axis, values, left, right);
        x.draw_below(&mut canvas, &self.axis.label, top, bottom);
        for (at, (row, name)) in self.rows.iter().zip(&names).enumerate() {
            let middle = top + height * (at as f64 + 0.5);
            canvas.text((left - 12.0, middle + 4.0), Anchor::End, "", name);
            let first = middle - spacing * (self.groups.len().max(1) - 1) as f64 / 2.0;
            for (group, estimate) in row.estimates.iter().enumerate() {
                let Some(estimate) = estimate else { continue };
                let y = first + spacing * group as f64;
                let of = self.groups.get(group).map_or("", String::as_str);
                canvas.group(Colour::Of(group), of, |canvas| estimate.draw(canvas, &x, y));
            }
        }
        canvas.line((left, top), (left, bottom), "axis");
        canvas.finish(bottom + 50.0, &self.title)
    }
}

impl Estimate {
    fn draw(&self, canvas: &mut Canvas, x: &Span, y: f64) {
        let Some(value) = x.place(self.value) else { return };
        let ends = self.interval.and_then(|(low, high)| Some((x.place(low)?, x.place(high)?)));
        if let Some((low, high)) = ends {
            let (low, high, y) = (coordinate(low), coordinate(high), coordinate(y));
            canvas.path(&format!("M{low} {y}H{high}"), "whisker");
        }
        canvas.circle((value, y), 4.0, "fill");
    }
}
