//! Sections about what the answer depends on: noise, and the number format.

use cic_trainer::interval::wilson;
use maud::{Markup, html};

use super::calls::fifths;
use super::findings::{Findings, Noise, Sources};
use crate::noise::{Kind, Level};
use crate::plots::{Axis, LineChart, Point, Scale, Series, Spread, Stroke, percent};
use crate::sheet::Section;
use crate::sheet::words::{
    absent, beware, count, decimal, details, figure, interval, share_of, table, text,
};

/// What becomes of calls and codes when profiles are worse.
pub(super) fn noise(findings: &Findings) -> Section {
    let noise = &findings.noise;
    let body = html! {
        @if noise.found.levels.is_empty() {
            p { "There are too few test cells with a label to spoil." }
        } @else {
            p { "What if the cells had been measured worse? " (count(noise.found.n_test)) " test cells "
                @if !noise.is_all { "(taken evenly from all) " }
                "were spoiled in several ways and typed again."
                @if let Some(best) = &noise.found.best_linear {
                    " Beside the model stands the linear method that cross-validation on training cells chose: " (best) "."
                }
            }
            @for way in WAYS.iter().filter(|way| noise.has(way.kind)) { (worse(noise, way)) }
            (beware(html! {
                "One draw of chance (seed 1), so small steps between neighbouring points mean nothing. Labels were given \
                 to the full profiles. Real data are worse in several ways at once, and no noise in them is as simple."
            }))
        }
    };
    Section { id: "noise", title: "With worse profiles", body }
}

/// A way of being worse, as the page tells it.
struct Way {
    kind: Kind,
    title: &'static str,
    what: &'static str,
    axis: &'static str,
    /// Amount of a profile as measured, as it is drawn.
    clean: f64,
}

const WAYS: [Way; 3] = [
    Way {
        kind: Kind::Thinning,
        title: "Fewer counts",
        what: "As if sequenced less deeply: each count was kept with the probability below.",
        axis: "counts kept",
        clean: 1.0,
    },
    Way {
        kind: Kind::Gaussian,
        title: "Noise on every gene",
        what: "Normal noise was added to what the network reads, of so many standard deviations as each gene has \
               between cells.",
        axis: "noise added, in standard deviations of each gene",
        clean: 0.0,
    },
    Way {
        kind: Kind::Genes,
        title: "Missing genes",
        what: "As if measured with a smaller panel: so many of the model's genes, taken at random, were not there. Linear \
               methods see the mean of the training cells in their place; refitted is logistic regression trained anew on \
               the genes that are left, which needs the training cells.",
        axis: "genes missing",
        clean: 0.0,
    },
];

impl Way {
    fn is_depth(&self) -> bool {
        self.kind == Kind::Thinning
    }

    fn tick(&self, amount: f64) -> String {
        if self.kind == Kind::Gaussian {
            amount.to_string()
        } else {
            format!("{:.0} %", 100.0 * amount)
        }
    }

    /// How much, from as measured on.
    fn points<'a>(&self, noise: &'a Noise) -> Vec<(f64, &'a Level)> {
        let levels = noise.found.levels.iter();
        let of = levels.filter(|level| level.kind() == "clean" || level.kind() == self.kind.name());
        of.map(
            |level| {
                if level.kind() == "clean" { (self.clean, level) } else { (level.amount(), level) }
            },
        )
        .collect()
    }

    fn chart(&self, noise: &Noise, title: &str, y: Axis, series: Vec<Series>) -> String {
        let ticks = self.points(noise).into_iter().map(|(amount, _)| (amount, self.tick(amount)));
        let x = Axis {
            scale: if self.is_depth() { Scale::LogFalling } else { Scale::Linear },
            ticks: ticks.collect(),
            ..Axis::new(self.axis)
        };
        LineChart { title: title.into(), x, y, series }.svg()
    }
}

/// One way of being worse.
fn worse(noise: &Noise, way: &Way) -> Markup {
    let points = way.points(noise);
    let n = noise.found.n_test as u64;
    let line = |method: &str, figure: &str| -> Vec<Point> {
        let of = |&(x, level): &(f64, &Level)| Point::new(x, level.mean(method, figure));
        points.iter().map(of).filter(|point| point.y.is_finite()).collect()
    };
    let with_interval = |point: Point| Point {
        interval: Some(wilson((point.y * n as f64).round() as u64, n)),
        ..point
    };
    let first = noise.models.first().map_or("", String::as_str);
    // What rounding changes is small: the curves would hide one another.
    let models = noise.models.iter().enumerate().map(|(at, name)| {
        let is_last = at + 1 == noise.models.len();
        let accuracy = line(name, "accuracy").into_iter();
        Series {
            name: name.clone(),
            points: if at == 0 {
                accuracy.map(with_interval).collect()
            } else {
                accuracy.collect()
            },
            spread: Spread::Band,
            stroke: if is_last { Stroke::Solid } else { Stroke::Wide },
        }
    });
    let linear = noise.linear(way.kind).into_iter().map(|name| Series {
        points: line(name, "accuracy"),
        name: name.into(),
        ..Series::default()
    });
    let mut series: Vec<Series> =
        models.chain(linear).filter(|one| !one.points.is_empty()).collect();
    series.push(Series {
        name: "refused".into(),
        points: line(first, "refused"),
        stroke: Stroke::Dashed,
        ..Series::default()
    });
    let calls = way.chart(
        noise,
        "Best guesses that are right",
        Axis { ticks: fifths(), ..Axis::between("share of the cells", 0.0, 1.0) },
        series,
    );
    let shifts = noise.models.iter().map(String::as_str).chain(noise.has_linear().then_some("PCA"));
    let shift = way.chart(
        noise,
        "How far codes move",
        Axis::new("mean distances between cells"),
        shifts
            .map(|name| Series {
                name: name.into(),
                points: line(name, "code_shift"),
                ..Series::default()
            })
            .collect(),
    );
    let methods = noise.models.iter().map(String::as_str).chain(noise.linear(way.kind));
    let rows = methods.flat_map(|name| {
        points.iter().map(move |&(amount, level)| {
            let of = |figure| level.mean(name, figure);
            vec![
                text(name),
                text(way.tick(amount)),
                text(share(of("accuracy"))),
                text(decimal(of("macro_f1"), 3)),
                text(share(of("refused"))),
                text(decimal(of("code_shift"), 3)),
            ]
        })
    });
    let head = ["", way.axis, "accuracy", "macro-F1", "refused", "code shift"];
    html! {
        h3 { (way.title) }
        p { (way.what) }
        (figure(calls, html! {
            "Share whose best guess is right, with a band for the 95 % interval of " (first) ". Dashes: share that the \
             model refuses, because it knows that it has too little to go by."
        }))
        (figure(shift, html! {
            "Mean distance of the codes from those of the undisturbed cells, by the mean distance between the codes of \
             different cells"
            @if noise.has_linear() { "; the same of as many principal components" }
            ". At 1, a code moves as far as cells differ from one another."
        }))
        (details("Numbers", table(&head, rows.collect())))
    }
}

fn share(value: f64) -> String {
    if value.is_finite() { percent(value) } else { "–".into() }
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
