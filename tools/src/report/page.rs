//! The page: head, key figures, contents, sections.

use std::path::Path;

use maud::{Markup, html};

use super::findings::{Findings, Sources};

use super::{calls, codes, provenance, robustness};
use crate::plots::percent;
use crate::sheet::Sheet;
use crate::sheet::words::{count, decimal, interval, readable_percent, share_of};

/// The whole page.
pub(super) fn page(sources: &Sources<'_>, findings: &Findings) -> String {
    let sections = [
        calls::data(sources, findings),
        calls::confusion(sources, findings),
        calls::calibration(findings),
        codes::map(findings),
        codes::reproduction(sources, findings),
        robustness::noise(findings),
        codes::unseen(sources, findings),
        codes::pathways(sources, findings),
        robustness::quantization(sources, findings),
        provenance::provenance(sources, findings),
    ];
    let head = html! {
        p.lead { (summary(sources, findings)) }
        (key_figures(findings))
        (rows_note(sources, findings))
    };
    let sheet = Sheet {
        kind: "Cell identity report",
        name: &provenance::file_name(&sources.args.data.data),
        head,
        sections: sections.into(),
        written_by: "cic report",
    };
    sheet.html()
}

fn summary(sources: &Sources<'_>, findings: &Findings) -> Markup {
    let confusion = &findings.assessment.confusion;
    let (right, n) = (confusion.right(), confusion.total());
    let model = sources.model;
    let is_known = findings.assessment.evaluation.n_seen_in_training == Some(0);
    html! {
        "A model with " (count(model.n_leaves())) " cell types and codes of " (model.code_dim())
        " numbers was shown " (count(n as usize)) " labelled cells"
        @if is_known { " that are no part of its training" }
        ". It gave " (count(right as usize)) " of them (" (percent(share_of(right, n).value))
        ") the label of the file."
    }
}

fn key_figures(findings: &Findings) -> Markup {
    let evaluation = &findings.assessment.evaluation;
    let confusion = &findings.assessment.confusion;
    let accuracy = share_of(confusion.right(), confusion.total());
    let number = |value: Option<f64>| value.unwrap_or(f64::NAN);
    html! {
        dl.keys {
            div {
                dt { "Accuracy" }
                dd id="accuracy" { (readable_percent(number(evaluation.accuracy))) }
                dd.note { "95 % interval " (interval(accuracy)) }
            }
            div {
                dt { "Macro-F1" }
                dd { (decimal(number(evaluation.macro_f1), 3)) }
                dd.note { "every type weighs the same" }
            }
            div {
                dt { "Calibration error" }
                dd { (decimal(number(evaluation.ece), 3)) }
                dd.note { "ECE; 0 is perfect" }
            }
            div {
                dt { "Refused" }
                dd { (count(evaluation.n_rejected)) }
                dd.note { "of " (count(evaluation.n)) " cells; they count as wrong" }
            }
            @if let Some(reproduction) = &findings.reproduction {
                @if let Some(model) = reproduction.report.methods.first() {
                    div {
                        dt { "Reproduction R²" }
                        dd { (decimal(model.r2, 3)) }
                        dd.note { "over " (count(reproduction.report.n_genes)) " variable genes" }
                    }
                }
            }
            @if let Some(quantization) = &findings.quantization {
                div {
                    dt { "Same label, " (quantization.assessment.evaluation.dtype()) }
                    dd { (percent(quantization.comparison.agreement())) }
                    dd.note {
                        (count(quantization.comparison.flips.len())) " of "
                        (count(quantization.comparison.n_cells)) " labels change"
                    }
                }
            }
        }
    }
}

/// Which rows the figures are of, and whether these are a fair test.
fn rows_note(sources: &Sources<'_>, findings: &Findings) -> Markup {
    let evaluation = &findings.assessment.evaluation;
    let seen = evaluation.n_seen_in_training;
    html! {
        @if let Some(seen) = seen.filter(|&seen| seen > 0) {
            p.alarm role="alert" {
                strong { "This is no test. " }
                (count(seen)) " of the " (count(evaluation.n)) " rows were used to train the model. All figures \
                 flatter it."
            }
        }
        p.scope {
            "All figures on this page are of the "
            strong { (count(evaluation.n)) " test rows" }
            @match &sources.args.split.split {
                Some(split) => { " of the split " code { (provenance::file_name(Path::new(split))) } },
                None => { " that the model itself set aside before its training" },
            }
            @if seen.is_none() { "; the model does not tell which rows it was trained on, so this could not be checked" }
            ". Labels are those of the column " code { (sources.args.labels.labels.as_deref().unwrap_or("")) }
            ". If they came from clustering these same data, as is usual for single cells, they are no independent \
             truth: methods that resemble the clustering, principal components above all, look better than they are."
        }
    }
}
