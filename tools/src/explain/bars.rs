//! Horizontal bars in panels, as an SVG image.

use std::fmt::Write;

use cic_data::sanitise_for_terminal;

/// A panel of bars.
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) subtitle: String,
    /// From above to below.
    pub(super) bars: Vec<Bar>,
    /// What the bars leave out.
    pub(super) footer: String,
}

/// A bar from zero to its value.
pub(super) struct Bar {
    pub(super) name: String,
    /// Beside the name, smaller.
    pub(super) note: String,
    pub(super) value: f64,
}

/// Panels beside and below one another, each with a scale of its own.
pub(super) fn panels(title: &str, panels: &[Panel]) -> String {
    let columns = panels.len().clamp(1, 3);
    let heights: Vec<f64> = panels.chunks(columns).map(row_height).collect();
    let width = MARGIN + columns as f64 * (WIDTH + MARGIN);
    let height = TOP + heights.iter().map(|height| height + MARGIN).sum::<f64>();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    text(&mut svg, MARGIN, 26.0, "font-size=\"14\"", title);
    let mut top = TOP;
    for (row, height) in panels.chunks(columns).zip(heights) {
        for (at, panel) in row.iter().enumerate() {
            draw(&mut svg, panel, MARGIN + at as f64 * (WIDTH + MARGIN), top);
        }
        top += height + MARGIN;
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw(svg: &mut String, panel: &Panel, left: f64, top: f64) {
    text(svg, left, top + 12.0, "font-weight=\"bold\" font-size=\"12\"", &panel.title);
    text(svg, left, top + 27.0, "fill=\"#555\"", &panel.subtitle);
    let values = || panel.bars.iter().map(|bar| bar.value);
    let (low, high) = (values().fold(0.0, f64::min), values().fold(0.0, f64::max));
    // Numbers stand outside of the bars, on both sides if need be.
    let room = WIDTH - NAMES - NUMBER - if low < 0.0 { NUMBER } else { 0.0 };
    let unit = if high > low { room / (high - low) } else { 0.0 };
    let zero = left + NAMES + if low < 0.0 { NUMBER } else { 0.0 } - low * unit;
    let first = top + HEAD;
    for (at, bar) in panel.bars.iter().enumerate() {
        let y = first + at as f64 * STEP;
        let (length, middle) = (bar.value.abs() * unit, y + 0.5 * STEP + 4.0);
        let name = format!(
            "{} <tspan fill=\"#777\" font-size=\"9\">{}</tspan>",
            escaped(&bar.name),
            escaped(&bar.note)
        );
        marked_up(svg, left + NAMES - 6.0, middle, "text-anchor=\"end\"", &name);
        let (x, end, anchor, colour) = match bar.value < 0.0 {
            true => (zero - length, zero - length - 4.0, "end", AGAINST),
            false => (zero, zero + length + 4.0, "start", FOR),
        };
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
            y + 2.0,
            STEP - 4.0
        );
        let number = format!("{:+.2}", bar.value);
        let style = format!("text-anchor=\"{anchor}\" fill=\"#555\" font-size=\"9\"");
        text(svg, end, middle - 0.5, &style, &number);
    }
    let bottom = first + panel.bars.len() as f64 * STEP;
    let _ = writeln!(
        svg,
        "<line x1=\"{zero:.1}\" y1=\"{first:.1}\" x2=\"{zero:.1}\" y2=\"{bottom:.1}\" stroke=\"#333\"/>"
    );
    text(svg, left + NAMES, bottom + 14.0, "fill=\"#555\"", &panel.footer);
}

fn row_height(panels: &[Panel]) -> f64 {
    let most = panels.iter().map(|panel| panel.bars.len()).max().unwrap_or(0);
    HEAD + most as f64 * STEP + FOOT
}

fn text(svg: &mut String, x: f64, y: f64, style: &str, text: &str) {
    marked_up(svg, x, y, style, &escaped(text));
}

fn marked_up(svg: &mut String, x: f64, y: f64, style: &str, text: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{text}</text>");
}

/// Names come from files: nothing in them is markup.
fn escaped(text: &str) -> String {
    let text = sanitise_for_terminal(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const MARGIN: f64 = 24.0;
const TOP: f64 = 44.0;
const WIDTH: f64 = 340.0;
const NAMES: f64 = 130.0;
const NUMBER: f64 = 34.0;
const HEAD: f64 = 36.0;
const FOOT: f64 = 18.0;
const STEP: f64 = 16.0;
/// Told apart by eyes that do not see red beside green.
const FOR: &str = "#0072b2";
const AGAINST: &str = "#d55e00";

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(values: &[f64]) -> Panel {
        let bar = |&value: &f64| Bar { name: "<G>&".into(), note: "1.0".into(), value };
        Panel {
            title: "B \"x\"".into(),
            subtitle: "s\u{1b}".into(),
            footer: String::new(),
            bars: values.iter().map(bar).collect(),
        }
    }

    #[test]
    fn names_are_no_markup() {
        let svg = panels("a < b", &[panel(&[1.0, -0.5])]);
        assert!(svg.contains("a &lt; b") && svg.contains("&lt;G&gt;&amp;"), "{svg}");
        assert!(svg.contains("&quot;x&quot;") && !svg.contains('\u{1b}'), "{svg}");
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let svg = panels("", &[panel(&[2.0, -1.0])]);
        let widths: Vec<f64> = svg
            .lines()
            .filter(|line| line.contains(FOR) || line.contains(AGAINST))
            .filter_map(|line| line.split("width=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(widths.len(), 2);
        assert!((widths[0] - 2.0 * widths[1]).abs() < 0.11, "{widths:?}");
    }

    #[test]
    fn nothing_to_draw_is_an_image_all_the_same() {
        for nothing in [panels("t", &[]), panels("t", &[panel(&[])]), panels("t", &[panel(&[0.0])])]
        {
            assert!(nothing.ends_with("</svg>\n") && !nothing.contains("NaN"), "{nothing}");
        }
    }
}
