//! Sections about what the answer depends on: noise, and the number format.

use maud::html;

use super::calls::fifths;
use super::findings::{Findings, Sources};
use super::noise::{Noise, NoisePoint};
use super::words::{
    Section, absent, beware, count, decimal, details, figure, interval, share_of, table, text,
};
use crate::plots::{Axis, LineChart, Point, Scale, Series, Spread, Stroke, percent};

/// What becomes of calls and codes when profiles are worse.
pub(super) fn noise(findings: &Findings) -> Section {
    let curves = &findings.noise;
    let is_depth = curves.noise == Noise::FewerCounts;
    let level = |level: f64| match is_depth {
        true => format!("{:.0} %", 100.0 * level),
        false => level.to_string(),
    };
    let levels = curves.curves.first().map_or(&[][..], |curve| &curve.points);
    let x = || Axis {
        scale: if is_depth { Scale::LogFalling } else { Scale::Linear },
        range: (!is_depth).then_some((0.0, 1.0)),
        ticks: levels.iter().map(|point| (point.level, level(point.level))).collect(),
        ..Axis::new(match is_depth {
            true => "counts kept",
            false => "noise added, in standard deviations of each gene",
        })
    };
    let chart = |title: &str, y: Axis, series: Vec<Series>| {
        LineChart { title: title.into(), x: x(), y, series }.svg()
    };
    // What rounding changes is small: the curves would hide one another.
    let series = |point: &dyn Fn(&NoisePoint) -> Point| -> Vec<Series> {
        let series = curves.curves.iter().enumerate().map(|(at, curve)| Series {
            name: curve.name.into(),
            points: curve.points.iter().map(point).collect(),
            spread: Spread::Band,
            stroke: if at + 1 < curves.curves.len() { Stroke::Wide } else { Stroke::Solid },
        });
        series.collect()
    };
    let mut of_calls = series(&|point| {
        let share = share_of(point.n_right, point.n);
        Point { x: point.level, y: share.value, interval: share.interval }
    });
    of_calls.iter_mut().skip(1).flat_map(|series| &mut series.points).for_each(|point| {
        point.interval = None;
    });
    of_calls.push(Series {
        name: "refused".into(),
        points: (levels.iter())
            .map(|point| Point::new(point.level, share_of(point.n_refused, point.n).value))
            .collect(),
        stroke: Stroke::Dashed,
        ..Series::default()
    });
    let first = curves.curves.first().map_or("", |curve| curve.name);
    let title = if is_depth { "Calls with fewer counts" } else { "Calls with noise" };
    let calls = chart(
        title,
        Axis { ticks: fifths(), ..Axis::between("share of the cells", 0.0, 1.0) },
        of_calls,
    );
    let shift = chart(
        "How far codes move",
        Axis::new("standard deviations between cells"),
        series(&|point| Point::new(point.level, point.code_shift)),
    );
    let rows = curves.curves.iter().flat_map(|curve| {
        curve.points.iter().map(|point| {
            let share = share_of(point.n_right, point.n);
            vec![
                text(curve.name),
                text(level(point.level)),
                text(percent(share.value)),
                text(interval(share)),
                text(count(point.n_refused as usize)),
                text(percent(share_of(point.n_right, point.n - point.n_refused).value)),
                text(decimal(point.code_shift, 3)),
            ]
        })
    });
    let head = [
        "model",
        if is_depth { "counts kept" } else { "noise" },
        "accuracy",
        "95 % interval",
        "refused",
        "code shift",
    ];
    let body = html! {
        @match is_depth {
            true => p { "What if the cells had been sequenced less deeply? Each count of the test cells was kept with a \
                         probability of 50, 25 and 10 %, and the cells were typed again." },
            false => p { "What if the profiles were noisier? Normal noise was added to every gene of the test profiles, \
                          of a quarter, a half and one standard deviation that the gene has between them, and they were \
                          typed again. Values are cut at zero." },
        }
        (figure(calls, html! {
            "Share called right, with a band for the 95 % interval of " (first)
            "; a cell that is refused counts as wrong. Dashes: share that is refused, because the model knows that it \
             has too little to go by."
        }))
        (figure(shift, html! {
            "Distance of the codes from those of the undisturbed cells (root mean square). At 1, a code moves as far as \
             cells differ from one another."
        }))
        (details("Numbers", table(&head, rows.collect())))
        (beware(html! {
            "One draw of chance (seed 1), so small steps between neighbouring points mean nothing. Labels were given to \
             the full profiles. "
            @match is_depth {
                true => "Thinning shows less depth alone: real shallow data differ in other ways too.",
                false => "Real noise is not normal, nor independent between genes.",
            }
        }))
    };
    Section { id: "noise", title: if is_depth { "With fewer counts" } else { "With noise" }, body }
}

/// Cells that are listed by name.
const MOST_FLIPS: usize = 100;

/// What rounding the numbers changes.
pub(super) fn quantization(sources: &Sources<'_>, findings: &Findings) -> Section {
    const ID: &str = "quantization";
    const TITLE: &str = "What rounding changes";
    let (Some(quantization), Some(model)) = (&findings.quantization, sources.quantized) else {
        let how = "cic-quantize M.cic --calibrate DATA --to int8 -o Q.cic";
        let body =
            absent("No quantized model was given. Make one, and give it with --quantized:", how);
        return Section { id: ID, title: TITLE, body };
    };
    let comparison = &quantization.comparison;
    let n = comparison.n_cells as u64;
    let same = share_of(n.saturating_sub(comparison.flips.len() as u64), n);
    let pair = |of: &dyn Fn(&crate::evaluate::Evaluation) -> String| {
        [&findings.assessment, &quantization.assessment].map(|one| text(of(&one.evaluation)))
    };
    let number = |value: Option<f64>| value.unwrap_or(f64::NAN);
    let mut rows = Vec::new();
    let mut row = |name: &str, pair: [maud::Markup; 2]| {
        rows.push([text(name)].into_iter().chain(pair).collect::<Vec<_>>());
    };
    row("accuracy", pair(&|of| percent(number(of.accuracy))));
    row("macro-F1", pair(&|of| decimal(number(of.macro_f1), 3)));
    row("ECE", pair(&|of| decimal(number(of.ece), 3)));
    row("refused", pair(&|of| count(of.n_rejected)));
    row(
        "R², all genes of the panel",
        pair(&|of| decimal(of.reconstruction.map_or(f64::NAN, |scores| scores.r2), 3)),
    );
    row("bytes", [sources.model_bytes, sources.quantized_bytes].map(|bytes| text(count(bytes))));
    let labels = |leaf: usize| sources.model.labels().leaf_name(leaf).to_owned();
    let flips = comparison.flips.iter().take(MOST_FLIPS).map(|flip| {
        let truth = sources.annotations.label(flip.row).unwrap_or_else(|| "–".into());
        vec![
            text(&sources.dataset.matrix.obs_names[flip.row]),
            text(truth),
            text(labels(flip.reference_leaf)),
            text(labels(flip.leaf)),
            text(decimal(flip.margin, 3)),
        ]
    });
    let names = [sources.model.dtype().name(), model.dtype().name()];
    let body = html! {
        p { "The model was trained with 32-bit numbers; " (names[1]) " makes it small enough for microcontrollers. \
             Both were shown the same test cells." }
        p.result {
            strong { (percent(same.value)) } " of " (count(comparison.n_cells)) " cells keep their label (95 % interval "
            (interval(same)) "). Codes move by " strong { (decimal(comparison.pooled_code_error, 3)) }
            " standard deviations between cells (root mean square)."
        }
        (table(&["", names[0], names[1]], rows))
        @if comparison.flips.is_empty() {
            p { "No label changes." }
        } @else {
            h3 { "Cells whose label changes" }
            (table(&["cell", "label of the file", names[0], names[1], "margin"], flips.collect()))
            @if comparison.flips.len() > MOST_FLIPS {
                p { "The first " (MOST_FLIPS) " of " (count(comparison.flips.len())) "." }
            }
            p { "Margin: by how much the first model preferred its label. Near zero the cell was a toss-up before \
                 rounding." }
        }
        (beware(html! {
            "The interval is about these test cells. Other tissues or protocols may lie elsewhere in the ranges that \
             rounding was calibrated for."
        }))
    };
    Section { id: ID, title: TITLE, body }
}
