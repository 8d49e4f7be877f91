//! Tables of numbers as coloured cells: confusion matrices, weights.

use super::canvas::{Anchor, Canvas, MARGIN, Rectangle, shorten, text_width};

/// A table of numbers. Positive values are blue, negative ones orange, and the stronger, the further from zero.
#[derive(Clone, Debug, Default)]
pub struct Heatmap {
    /// What is shown.
    pub title: String,
    /// What the rows are.
    pub row_label: String,
    /// What the columns are.
    pub column_label: String,
    /// Names of the rows.
    pub rows: Vec<String>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// `[rows × columns]`, row-major. What is missing is empty.
    pub cells: Vec<Cell>,
    /// The value that has full colour; by the cells where it is not said.
    pub full: Option<f64>,
}

/// One number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// What the colour is of.
    pub value: f64,
    /// What is written on it.
    pub text: String,
    /// What is told where the reader points.
    pub tip: String,
}

impl Heatmap {
    /// The figure.
    pub fn svg(&self) -> String {
        let names = |names: &[String]| -> Vec<String> {
            names.iter().map(|name| shorten(name, 30)).collect()
        };
        let (rows, columns) = (names(&self.rows), names(&self.columns));
        let longest =
            |names: &[String]| names.iter().map(|name| text_width(name)).fold(0.0, f64::max);
        let widest = self.cells.iter().map(|cell| text_width(&cell.text)).fold(0.0, f64::max);
        let width = (widest + 10.0).clamp(34.0, 110.0);
        let height = 28.0;
        // Names of columns rise at 45 degrees.
        let slanted = longest(&columns) * 0.71 + 12.0;
        let (left, top) = (longest(&rows) + 44.0, slanted + 54.0);
        let (right, bottom) =
            (left + width * columns.len() as f64, top + height * rows.len() as f64);
        let title_width = text_width(&self.title) * 1.2 + 2.0 * MARGIN;
        let mut canvas = Canvas::new((right + slanted + MARGIN).max(title_width).max(240.0));
        canvas.text((MARGIN, 22.0), Anchor::Start, "title", &self.title);
        canvas.text((left, 46.0), Anchor::Start, "muted", &self.column_label);
        canvas.text_upwards((18.0, (top + bottom) / 2.0), "muted", &self.row_label);
        for (at, name) in columns.iter().enumerate() {
            canvas.text_slanted((left + width * (at as f64 + 0.6), top - 8.0), "", name);
        }
        let full = self.full.filter(|full| full.is_finite() && *full > 0.0).unwrap_or_else(|| {
            let sizes = self.cells.iter().map(|cell| cell.value.abs());
            sizes.filter(|size| size.is_finite()).fold(0.0, f64::max)
        });
        for (row, name) in rows.iter().enumerate() {
            let y = top + height * row as f64;
            canvas.text((left - 8.0, y + height / 2.0 + 4.0), Anchor::End, "", name);
            for column in 0..columns.len() {
                let at = (left + width * column as f64, y);
                let cell = self.cells.get(row * columns.len() + column);
                draw(&mut canvas, cell, full, at, (width, height));
            }
        }
        canvas.finish(bottom + MARGIN, &self.title)
    }
}

fn draw(canvas: &mut Canvas, cell: Option<&Cell>, full: f64, at: (f64, f64), size: (f64, f64)) {
    let square = Rectangle {
        at: (at.0 + 1.0, at.1 + 1.0),
        size: (size.0 - 2.0, size.1 - 2.0),
        class: "fill empty",
        ..Rectangle::default()
    };
    canvas.rectangle(square);
    let Some(cell) = cell else { return };
    let value = if cell.value.is_finite() { cell.value } else { 0.0 };
    let strength = if full > 0.0 { (value.abs() / full).min(1.0) } else { 0.0 };
    canvas.rectangle(Rectangle {
        class: if value < 0.0 { "fill warm" } else { "fill cool" },
        // A little more than in proportion: what is weak is still seen.
        opacity: Some(0.96 * strength.powf(0.7)),
        tip: (!cell.tip.is_empty()).then_some(&cell.tip),
        ..square
    });
    let class = if strength > 0.42 { "value on" } else { "value" };
    canvas.text(
        (at.0 + size.0 / 2.0, at.1 + size.1 / 2.0 + 4.0),
        Anchor::Middle,
        class,
        &cell.text,
    );
}
