//! Sections about the data and about the calls: who is taken for whom, and how sure.

use maud::{Markup, html};
use serde_json::Value;

use super::findings::{Findings, Sources};
use crate::plots::{
    Axis, Cell, Forest, ForestRow, Heatmap, LineChart, Point, Series, Spread, Stroke, percent,
};
use crate::sheet::Section;
use crate::sheet::words::{
    beware, count, decimal, details, figure, interval, readable, readable_percent, share_of, table,
    text,
};

/// What the file holds.
pub(super) fn data(sources: &Sources<'_>, findings: &Findings) -> Section {
    let file = &findings.file;
    let whole = |key: &str| count(file[key].as_u64().unwrap_or(0) as usize);
    let words = |key: &str| file[key].as_str().unwrap_or("").to_owned();
    let quantiles = |key: &str| {
        let at = |q: &str| crate::plots::number(file[key][q].as_f64().unwrap_or(f64::NAN));
        format!("{} (median), {} to {}", at("median"), at("min"), at("max"))
    };
    let evaluation = &findings.assessment.evaluation;
    let facts = [
        ("Cells × genes", format!("{} × {}", whole("n_obs"), whole("n_vars"))),
        ("Values", format!("{}: {}", words("value_kind").replace('_', " "), words("evidence"))),
        ("Zeros", percent(file["zeros"].as_f64().unwrap_or(f64::NAN))),
        ("Sum per cell", quantiles("sum_per_cell")),
        ("Genes per cell", quantiles("genes_per_cell")),
        ("Genes of the model found", percent(evaluation.gene_coverage)),
        (
            "Rows",
            format!(
                "{} for training, {} for testing",
                count(findings.n_train),
                count(findings.rows.len())
            ),
        ),
    ];
    let n_labels = findings.labels.len();
    let rare: Vec<&str> = (findings.labels.iter())
        .filter(|(_, (_, test))| (1..FEW).contains(test))
        .map(|(label, _)| label.as_str())
        .collect();
    let rows = findings
        .labels
        .iter()
        .map(|(label, &(train, test))| vec![text(label), text(count(train)), text(count(test))]);
    let notes = file["notes"].as_array().map_or(&[][..], Vec::as_slice);
    let body = html! {
        p { "What was read from " code { (super::provenance::file_name(&sources.args.data.data)) } ", as it stands in \
             the file." }
        dl.facts { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } }
        @for note in notes.iter().filter_map(Value::as_str) { p.absent { (note) } }
        (details(&format!("Cells of each of the {n_labels} labels"), table(&["label", "training", "test"], rows.collect())))
        @if evaluation.n_unknown_labels > 0 {
            (beware(html! {
                (count(evaluation.n_unknown_labels)) " test rows have labels that the model does not know. It cannot \
                 name them; they count as wrong."
            }))
        }
        @if !rare.is_empty() {
            (beware(html! {
                "Fewer than " (FEW) " test cells each have: " (rare.join(", ")) ". What is said of these types \
                 rests on a handful of cells."
            }))
        }
    };
    Section { id: "data", title: "The data", body }
}

/// Cells of a type below which its figures say little.
const FEW: usize = 10;

/// Who is taken for whom.
pub(super) fn confusion(sources: &Sources<'_>, findings: &Findings) -> Section {
    let assessment = &findings.assessment;
    let confusion = &assessment.confusion;
    let scores = confusion.per_class();
    let shown: Vec<usize> = (0..assessment.classes.len())
        .filter(|&class| scores[class].support > 0 || scores[class].predicted > 0)
        .collect();
    let name = |class: usize| assessment.classes[class].clone();
    let refused = confusion.refused() > 0;
    let mut columns: Vec<String> = shown.iter().map(|&class| name(class)).collect();
    if refused {
        columns.push("refused".into());
    }
    let mut cells = Vec::new();
    for &truth in &shown {
        let support = scores[truth].support.max(1) as f64;
        let called = shown.iter().map(|&class| Some(class)).chain(refused.then_some(None));
        for called in called {
            let n = confusion.count(truth, called);
            let called =
                called.map_or("refused".to_owned(), |class| format!("called {}", name(class)));
            cells.push(Cell {
                value: n as f64 / support,
                text: if n > 0 { n.to_string() } else { String::new() },
                tip: format!("{}, {called}: {n} ({})", name(truth), percent(n as f64 / support)),
            });
        }
    }
    let heatmap = Heatmap {
        title: "Confusion matrix".into(),
        row_label: "label of the file".into(),
        column_label: "called by the model".into(),
        rows: columns[..shown.len()].to_vec(),
        columns,
        cells,
        full: Some(1.0),
    };
    let supported: Vec<usize> =
        shown.iter().copied().filter(|&class| scores[class].support > 0).collect();
    let recall =
        |class: usize| share_of(confusion.count(class, Some(class)), scores[class].support);
    let forest = Forest {
        title: "Cells of each type that are called right".into(),
        axis: Axis { ticks: fifths(), ..Axis::between("share called right (recall)", 0.0, 1.0) },
        groups: vec!["recall".into()],
        rows: (supported.iter())
            .map(|&class| ForestRow {
                name: format!("{} ({})", name(class), scores[class].support),
                estimates: vec![Some(recall(class))],
            })
            .collect(),
    };
    let rows = assessment.evaluation.classes.iter().map(|class| {
        let share = readable_percent;
        vec![
            text(&class.label),
            text(count(class.support as usize)),
            share(class.precision),
            share(class.recall),
            html! { (decimal(class.f1, 3)) },
        ]
    });
    let body = html! {
        p { "Each row is a type of the file, each column a call of " (sources.model.dtype().name()) " model "
            code { (&sources.model.id().to_string()[..12]) } ". Numbers are cells; the colour is the share of the \
             row. A perfect model has only the diagonal." }
        (figure(heatmap.svg(), mistakes(findings, &shown)))
        (figure(forest.svg(), html! {
            "Dots are measured shares, bars the 95 % intervals (Wilson). In brackets the number of test cells: \
             few cells make wide bars."
        }))
        (details("Precision, recall and F1 of every type", html! {
            (table(&["type", "cells", "precision", "recall", "F1"], rows.collect()))
            p { "Precision: of the cells called so, how many are. Recall: of the cells that are, how many are called \
                 so. F1 is their harmonic mean." }
        }))
        (beware(html! {
            "A cell off the diagonal may be the model's mistake or the label's. Types that differ by degree, such as \
             naive and memory T cells, have no sharp border in the data either."
        }))
    };
    Section { id: "confusion", title: "Who is taken for whom", body }
}

/// The most frequent confusions in words.
fn mistakes(findings: &Findings, shown: &[usize]) -> Markup {
    let confusion = &findings.assessment.confusion;
    let mut wrong: Vec<(u64, usize, usize)> = Vec::new();
    for &truth in shown {
        for &called in shown.iter().filter(|&&called| called != truth) {
            let n = confusion.count(truth, Some(called));
            if n > 0 {
                wrong.push((n, truth, called));
            }
        }
    }
    wrong.sort_by_key(|&(n, truth, called)| (std::cmp::Reverse(n), truth, called));
    let name = |class: usize| &findings.assessment.classes[class];
    html! {
        @if wrong.is_empty() { "No cell was taken for one of another type." } @else {
            "Most often taken for another type: "
            @for (at, &(n, truth, called)) in wrong.iter().take(4).enumerate() {
                @if at > 0 { "; " }
                strong { (name(truth)) } " called " (name(called)) ", " (n) (if n == 1 { " cell" } else { " cells" })
            }
            "."
        }
    }
}

/// Whether the model knows how sure it is.
pub(super) fn calibration(findings: &Findings) -> Section {
    let bins = findings.assessment.calibration.bins();
    let filled = || bins.iter().filter(|bin| bin.count > 0);
    let points = filled().map(|bin| {
        let right = share_of(bin.right, bin.count);
        Point { x: bin.confidence_sum / bin.count as f64, y: right.value, interval: right.interval }
    });
    let model = Series {
        name: "this model".into(),
        points: points.collect(),
        spread: Spread::Bars,
        stroke: Stroke::None,
    };
    let perfect = Series {
        name: "perfectly calibrated".into(),
        points: vec![Point::new(0.0, 0.0), Point::new(1.0, 1.0)],
        stroke: Stroke::Dashed,
        ..Series::default()
    };
    let axis = |label: &str| Axis { ticks: fifths(), ..Axis::between(label, 0.0, 1.0) };
    let chart = LineChart {
        title: "Reliability diagram".into(),
        x: axis("confidence that the model states"),
        y: axis("share called right"),
        series: vec![model, perfect],
    };
    let n_bins = bins.len() as f64;
    let rows = (0_u32..).zip(bins).filter(|(_, bin)| bin.count > 0).map(|(at, bin)| {
        let right = share_of(bin.right, bin.count);
        vec![
            text(format!(
                "{} to {}",
                decimal(f64::from(at) / n_bins, 2),
                decimal(f64::from(at + 1) / n_bins, 2)
            )),
            text(count(bin.count as usize)),
            text(decimal(bin.confidence_sum / bin.count as f64, 3)),
            text(decimal(right.value, 3)),
            text(interval(right)),
        ]
    });
    let head = ["confidence", "cells", "mean confidence", "share right", "95 % interval"];
    let ece = findings.assessment.evaluation.ece.unwrap_or(f64::NAN);
    let few = filled().filter(|bin| bin.count < FEW as u64).count();
    let body = html! {
        p { "When the model says that it is 80 % sure, is it right in 8 of 10 cells? Cells are sorted into bins by \
             stated confidence; a dot above the dashed line means that the model is better than it says, below it that \
             it is too sure of itself." }
        (figure(chart.svg(), html! {
            "Expected calibration error (ECE): " strong { (readable(ece, &decimal(ece, 3))) } ", the mean distance from the \
             dashed line over all cells. Bars are 95 % intervals."
        }))
        (details("Numbers of the diagram", table(&head, rows.collect())))
        @if few > 0 {
            (beware(html! {
                (few) " of the " (filled().count()) " bins hold fewer than " (FEW) " cells: their dots may stray far by \
                 chance, and weigh little in the ECE."
            }))
        }
    };
    Section { id: "calibration", title: "Does it know how sure it is?", body }
}

/// Ticks of shares.
pub(super) fn fifths() -> Vec<(f64, String)> {
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0].map(|tick| (tick, format!("{:.0} %", 100.0 * tick))).into()
}
