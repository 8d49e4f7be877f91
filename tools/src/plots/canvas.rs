//! What figures are drawn on: SVG text, escaped, with finite coordinates.

use std::fmt::Write;

use super::N_COLOURS;

/// An `<svg>` element while it is drawn.
pub(super) struct Canvas {
    width: f64,
    text: String,
}

/// A colour of the palette, or that of what others are compared with.
#[derive(Clone, Copy)]
pub(super) enum Colour {
    Of(usize),
    Grey,
}

/// How far a figure may shrink on a narrow page until its text is too small to read.
const READABLE: f64 = 0.72;

/// Where a text is anchored, left to right.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Room at the edges of a figure. A page has its own margins, and a file gets some.
pub(super) const MARGIN: f64 = 2.0;

impl Canvas {
    /// Nothing drawn yet. The height is known at the end.
    pub(super) fn new(width: f64) -> Self {
        Self { width, text: String::new() }
    }

    pub(super) fn width(&self) -> f64 {
        self.width
    }

    pub(super) fn text(&mut self, at: (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let (x, y) = (coordinate(at.0), coordinate(at.1));
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let text = escape(text);
        self.push(format_args!(
            "<text x=\"{x}\" y=\"{y}\"{anchor} class=\"{class}\">{text}</text>"
        ));
    }

    /// Text that reads upwards, centred.
    pub(super) fn text_upwards(&mut self, (x, y): (f64, f64), class: &str, text: &str) {
        let (x, y, text) = (coordinate(x), coordinate(y), escape(text));
        self.push(format_args!(
            "<text transform=\"translate({x} {y}) rotate(-90)\" text-anchor=\"middle\" class=\"{class}\">{text}</text>"
        ));
    }

    /// Text that rises from a point at 45 degrees.
    pub(super) fn text_slanted(&mut self, (x, y): (f64, f64), class: &str, text: &str) {
        let (x, y, text) = (coordinate(x), coordinate(y), escape(text));
        self.push(format_args!(
            "<text transform=\"translate({x} {y}) rotate(-45)\" class=\"{class}\">{text}</text>"
        ));
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let path = format!("M{} {}L{} {}", c(from.0), c(from.1), c(to.0), c(to.1));
        self.path(&path, class);
    }

    pub(super) fn path(&mut self, path: &str, class: &str) {
        self.push(format_args!("<path d=\"{path}\" class=\"{class}\"/>"));
    }

    pub(super) fn circle(&mut self, at: (f64, f64), radius: f64, class: &str) {
        let (x, y, r) = (c(at.0), c(at.1), c(radius));
        self.push(format_args!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\" class=\"{class}\"/>"));
    }

    pub(super) fn rectangle(&mut self, rectangle: Rectangle<'_>) {
        let Rectangle { at: (x, y), size: (width, height), opacity, class, tip } = rectangle;
        let (x, y, width, height) = (c(x), c(y), c(width.max(0.0)), c(height.max(0.0)));
        let opacity = match opacity {
            Some(opacity) => format!(" fill-opacity=\"{}\"", c(opacity)),
            None => String::new(),
        };
        let attributes =
            format!("x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"2\"{opacity}");
        match tip {
            Some(tip) => {
                let tip = escape(tip);
                self.push(format_args!(
                    "<rect {attributes} class=\"{class}\"><title>{tip}</title></rect>"
                ));
            }
            None => self.push(format_args!("<rect {attributes} class=\"{class}\"/>")),
        }
    }

    /// What `draw` draws has this colour, and the name where the reader points.
    pub(super) fn group(&mut self, colour: Colour, name: &str, draw: impl FnOnce(&mut Self)) {
        let name = escape(name);
        match colour {
            Colour::Of(category) => {
                let class = category % N_COLOURS;
                self.push(format_args!("<g class=\"s{class}\"><title>{name}</title>"));
            }
            Colour::Grey => self.push(format_args!("<g class=\"muted\"><title>{name}</title>")),
        }
        draw(self);
        self.push(format_args!("</g>"));
    }

    /// The names of series in their colours, broken into lines; the height below the last.
    pub(super) fn legend(&mut self, names: &[(Colour, &str)], (left, top): (f64, f64)) -> f64 {
        let (mut x, mut y) = (left, top);
        for (colour, name) in names {
            let name = shorten(name, 40);
            let width = 20.0 + text_width(&name) + 16.0;
            if x > left && x + width > self.width - MARGIN {
                (x, y) = (left, y + 20.0);
            }
            self.group(*colour, &name, |canvas| {
                canvas.rectangle(Rectangle {
                    at: (x, y + 3.0),
                    size: (14.0, 8.0),
                    class: "fill",
                    ..Rectangle::default()
                });
            });
            self.text((x + 20.0, y + 11.0), Anchor::Start, "", &name);
            x += width;
        }
        if names.is_empty() { top } else { y + 26.0 }
    }

    /// The figure. Its title is what it is called where it is not seen.
    pub(super) fn finish(self, height: f64, title: &str) -> String {
        let (width, height, title) = (c(self.width), c(height), escape(title));
        let least = c(self.width * READABLE);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"cic-plot\" role=\"img\" width=\"{width}\" \
             height=\"{height}\" style=\"min-width:{least}px\" viewBox=\"0 0 {width} {height}\"><title>{title}</title>{}</svg>",
            self.text
        )
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(text);
    }
}

/// A filled rectangle.
#[derive(Clone, Copy, Default)]
pub(super) struct Rectangle<'a> {
    pub(super) at: (f64, f64),
    pub(super) size: (f64, f64),
    pub(super) opacity: Option<f64>,
    pub(super) class: &'a str,
    pub(super) tip: Option<&'a str>,
}

/// A coordinate with at most two decimals.
pub(super) fn coordinate(value: f64) -> String {
    let value = if value.is_finite() { value.clamp(-1e6, 1e6) } else { 0.0 };
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

use coordinate as c;

/// Text that XML may hold: markup is escaped, and characters that XML forbids are replaced.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => {
                escaped.push('\u{fffd}')
            }
            character => escaped.push(character),
        }
    }
    escaped
}

/// Text of at most so many characters.
pub(super) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// How much room twelve-pixel text gets. Which font the reader has is not known: this is that of a wide one.
pub(super) fn text_width(text: &str) -> f64 {
    let width = |character: char| match character {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '|' | '!' | '\'' | '(' | ')' | ' ' => 4.2,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 11.5,
        'A'..='Z' | '+' | '=' | '−' | '<' | '>' => 8.8,
        character if character.is_ascii() => 7.4,
        character if character < '\u{1100}' => 8.8,
        _ => 12.5,
    };
    text.chars().map(width).sum()
}

/// A number to read: three significant digits or so, thousands separated, `–` for what is no number.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        "–".into()
    } else if value == 0.0 {
        "0".into()
    } else if !(1e-3..1e9).contains(&size) {
        format!("{value:.1e}").replace('-', "−")
    } else if size >= 1000.0 {
        let digits = format!("{size:.0}");
        let mut text = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at) % 3 == 0 {
                text.push(',');
            }
            text.push(digit);
        }
        if value < 0.0 { format!("−{text}") } else { text }
    } else {
        let decimals = if size >= 100.0 {
            0
        } else if size >= 10.0 {
            1
        } else {
            3
        };
        let text = format!("{size:.decimals$}");
        let text = if size.fract() == 0.0 { format!("{size:.0}") } else { text };
        if value < 0.0 { format!("−{text}") } else { text }
    }
}

/// A share as per cent with one decimal.
pub fn percent(share: f64) -> String {
    if share.is_finite() { format!("{:.1}\u{a0}%", 100.0 * share) } else { "–".into() }
}
