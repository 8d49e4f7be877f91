//! Figures for reports, as SVG text: lines with bands or bars, scatters, heatmaps, bars, and estimates with intervals.
//!
//! A figure is one `<svg>` element without scripts and without links. Colours are set by classes and painted with
//! `currentColor`, which also viewers understand that know no CSS variables, and change with the reader's light or
//! dark preference. A page puts [`STYLE`] once into its head and the figures where they belong; [`standalone`] makes a
//! file of a figure.
//!
//! Text is escaped. Values that are not finite are left out, and every coordinate that is written is finite, also for
//! empty and for constant data.

mod axis;
mod bars;
mod canvas;
mod forest;
mod heatmap;
mod line;
mod scatter;

pub use axis::{Axis, Scale};
pub use bars::{Bar, Bars};
pub use forest::{Forest, ForestRow};
pub use heatmap::{Cell, Heatmap};
pub use line::{LineChart, Point, Series, Spread, Stroke};
pub use scatter::{Category, Scatter};

pub use canvas::{number, percent};

/// An estimate, and between which bounds it lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Its interval, lower bound first.
    pub interval: Option<(f64, f64)>,
}

/// Colours that are told apart, also with colour blindness; later categories take them again.
pub const N_COLOURS: usize = 16;

/// The style of all figures, for the head of a page.
///
/// The colours were chosen one after another, each as far as possible from those before it to normal, protan, deutan
/// and tritan eyes (Machado 2009, distances in OKLab), from those with enough contrast to the background.
pub const STYLE: &str = "\
.cic-plot{font-family:system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;color:#1d2530}\
.cic-plot text{fill:currentColor;font-size:12px}\
.cic-plot .title{font-size:14px;font-weight:600}\
.cic-plot .muted,.cic-plot .tick{color:#5b6675}\
.cic-plot .tick,.cic-plot .value{font-size:11px;font-variant-numeric:tabular-nums}\
.cic-plot .halo{stroke:#fff;stroke-width:3px;stroke-linejoin:round;paint-order:stroke;font-weight:600}\
.cic-plot .grid{stroke:currentColor;color:#e3e7ec;stroke-width:1}\
.cic-plot .axis{stroke:currentColor;color:#9aa4b1;stroke-width:1;fill:none}\
.cic-plot .line{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}\
.cic-plot .wide{stroke-width:8;stroke-opacity:.4}\
.cic-plot .dashed{stroke-dasharray:5 5;stroke-width:1.5}\
.cic-plot .whisker{fill:none;stroke:currentColor;stroke-width:1.5}\
.cic-plot .fill{fill:currentColor}\
.cic-plot .band{fill:currentColor;fill-opacity:.16}\
.cic-plot .dots{fill:none;stroke:currentColor;stroke-width:4.4;stroke-linecap:round;stroke-opacity:.8}\
.cic-plot .marks{fill:currentColor;fill-opacity:.8}\
.cic-plot .cool{color:#0b5a94}.cic-plot .warm{color:#a8460b}\
.cic-plot .empty{color:#eff2f5}.cic-plot .on{color:#fff}\
.cic-plot .s0{color:#0072b2}.cic-plot .s1{color:#d55e00}.cic-plot .s2{color:#009e73}.cic-plot .s3{color:#5c010b}\
.cic-plot .s4{color:#d193f6}.cic-plot .s5{color:#1a0c85}.cic-plot .s6{color:#a61859}.cic-plot .s7{color:#89bf28}\
.cic-plot .s8{color:#494c00}.cic-plot .s9{color:#463bb1}.cic-plot .s10{color:#908db5}.cic-plot .s11{color:#3d1d4e}\
.cic-plot .s12{color:#6f4e82}.cic-plot .s13{color:#905a32}.cic-plot .s14{color:#f290a2}.cic-plot .s15{color:#5dbcc1}\
@media screen and (prefers-color-scheme:dark){\
.cic-plot{color:#e4e8ee}\
.cic-plot .muted,.cic-plot .tick{color:#a3adba}\
.cic-plot .halo{stroke:#15191f}\
.cic-plot .grid{color:#2b323c}.cic-plot .axis{color:#5f6a78}\
.cic-plot .cool{color:#7cc4f5}.cic-plot .warm{color:#f5a56b}\
.cic-plot .empty{color:#1f252d}.cic-plot .on{color:#10141a}\
.cic-plot .s0{color:#56b4e9}.cic-plot .s1{color:#e69f00}.cic-plot .s2{color:#2fbf93}.cic-plot .s3{color:#d23a8c}\
.cic-plot .s4{color:#fbd7f9}.cic-plot .s5{color:#4a78ea}.cic-plot .s6{color:#8dfc8e}.cic-plot .s7{color:#8a7a36}\
.cic-plot .s8{color:#907bf8}.cic-plot .s9{color:#cc5ab5}.cic-plot .s10{color:#b9d4ad}.cic-plot .s11{color:#089772}\
.cic-plot .s12{color:#8d66b8}.cic-plot .s13{color:#e45366}.cic-plot .s14{color:#a8654c}.cic-plot .s15{color:#dbcf4a}\
}";

/// A figure as a file of its own, with its style and a background.
pub fn standalone(figure: &str) -> String {
    let Some(end) = figure.find('>') else { return figure.to_owned() };
    let (head, rest) = figure.split_at(end + 1);
    let background = "svg.cic-plot{background:#fff;padding:16px}@media screen and (prefers-color-scheme:dark){svg.cic-plot\
                      {background:#15191f}}";
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{head}<style>{STYLE}{background}</style>{rest}\n"
    )
}

#[cfg(test)]
mod tests;
