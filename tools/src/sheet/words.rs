//! How numbers, figures and remarks are written on the page.

use cic_trainer::interval::wilson;
use maud::{Markup, PreEscaped, html};

pub(crate) use crate::console::count;
use crate::plots::{Estimate, percent};

/// With `decimals` after the point, and a dash for what is no number.
pub(crate) fn decimal(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return "–".into();
    }
    let text = format!("{:.decimals$}", value.abs());
    // What rounds to zero has no sign.
    let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    if value < 0.0 && !is_zero { format!("−{text}") } else { text }
}

/// A share with its interval.
pub(crate) fn share_of(right: u64, n: u64) -> Estimate {
    let value = if n == 0 { f64::NAN } else { right as f64 / n as f64 };
    Estimate { value, interval: Some(wilson(right, n)) }
}

/// Its bounds as per cent.
pub(crate) fn interval(estimate: Estimate) -> String {
    match estimate.interval {
        Some((low, high)) => format!("{:.1}–{:.1}\u{a0}%", 100.0 * low, 100.0 * high),
        None => String::new(),
    }
}

/// A number that other programs can read back.
pub(crate) fn readable(value: f64, text: &str) -> Markup {
    html! { data value=(value) { (text) } }
}

/// A share as per cent, that other programs can read back.
pub(crate) fn readable_percent(value: f64) -> Markup {
    readable(value, &percent(value))
}

/// A figure and what it says.
pub(crate) fn figure(svg: String, caption: Markup) -> Markup {
    html! {
        figure {
            div.scroll tabindex="0" { (PreEscaped(svg)) }
            figcaption { (caption) }
        }
    }
}

/// A table that scrolls on a narrow page.
pub(crate) fn table(head: &[&str], rows: Vec<Vec<Markup>>) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table {
                thead { tr { @for name in head { th scope="col" { (name) } } } }
                tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
            }
        }
    }
}

/// A table to look up in.
pub(crate) fn details(summary: &str, body: Markup) -> Markup {
    html! { details { summary { (summary) } (body) } }
}

/// What to be careful with.
pub(crate) fn beware(body: Markup) -> Markup {
    html! { p.beware { strong { "Beware. " } (body) } }
}

/// A part that was not asked for, and how to get it.
pub(crate) fn absent(what: &str, how: &str) -> Markup {
    html! { p.absent { (what) " " code { (how) } } }
}

pub(crate) fn text(text: impl Into<String>) -> Markup {
    let text = text.into();
    html! { (text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_signs_and_separators() {
        assert_eq!(decimal(-0.0004, 3), "0.000");
        assert_eq!(decimal(-1.25, 1), "−1.2");
        assert_eq!(decimal(f64::NAN, 3), "–");
        assert_eq!([count(0), count(999), count(1_234_567)], ["0", "999", "1,234,567"]);
        assert_eq!(interval(share_of(600, 660)), "88.5–92.9\u{a0}%");
    }

    #[test]
    fn text_from_outside_stays_text() {
        let table = table(&["a"], vec![vec![text("<script>x</script>")]]).into_string();
        assert!(table.contains("&lt;script&gt;") && !table.contains("<script>"));
    }
}
