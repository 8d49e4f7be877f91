//! Horizontal bars with their numbers.

use super::Axis;
use super::axis::Span;
use super::canvas::{Anchor, Canvas, Colour, MARGIN, Rectangle, shorten, text_width};

/// Bars from zero, one below another.
#[derive(Clone, Debug, Default)]
pub struct Bars {
    /// What is shown.
    pub title: String,
    /// What the lengths are.
    pub axis: Axis,
    /// The bars, from top to bottom.
    pub bars: Vec<Bar>,
}

/// One bar.
#[derive(Clone, Debug, Default)]
pub struct Bar {
    /// Its name.
    pub name: String,
    /// How long it is; nothing is drawn for what is no number.
    pub value: f64,
    /// What is written at its end.
    pub text: String,
    /// Its colour.
    pub category: usize,
}

impl Bars {
    /// The figure.
    pub fn svg(&self) -> String {
        let names: Vec<String> = self.bars.iter().map(|bar| shorten(&bar.name, 40)).collect();
        let longest = names.iter().map(|name| text_width(name)).fold(0.0, f64::max);
        let ends = self.bars.iter().map(|bar| text_width(&bar.text)).fold(0.0, f64::max);
        let (left, top) = (longest + MARGIN + 12.0, 42.0);
        let mut canvas = Canvas::new((left + ends + 300.0).max(640.0));
        let right = canvas.width() - ends - 22.0;
        canvas.text((MARGIN, 22.0), Anchor::Start, "title", &self.title);
        let bottom = top + 26.0 * self.bars.len() as f64;
        let values = self.bars.iter().map(|bar| bar.value).chain([0.0]);
        let x = Span::new(&self.axis, values, left, right);
        x.draw_below(&mut canvas, &self.axis.label, top, bottom);
        let zero = x.place(0.0).unwrap_or(left);
        for (at, (bar, name)) in self.bars.iter().zip(&names).enumerate() {
            let y = top + 26.0 * at as f64;
            canvas.text((left - 10.0, y + 17.0), Anchor::End, "", name);
            let end = x.place(bar.value);
            if let Some(end) = end {
                canvas.group(Colour::Of(bar.category), &bar.name, |canvas| {
                    canvas.rectangle(Rectangle {
                        at: (zero.min(end), y + 5.0),
                        size: ((end - zero).abs(), 16.0),
                        class: "fill",
                        ..Rectangle::default()
                    });
                });
            }
            let text_at = end.unwrap_or(zero).max(zero) + 7.0;
            canvas.text((text_at, y + 17.0), Anchor::Start, "value", &bar.text);
        }
        canvas.line((zero, top), (zero, bottom), "axis");
        canvas.finish(bottom + 50.0, &self.title)
    }
}
