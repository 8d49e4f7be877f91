//! What quantisation did: as JSON, as a table on the terminal, and as a page.

use std::io::{self, Write};
use std::path::Path;

use cic_model::{Dtype, Model};
use cic_quant::{AwareReport, Comparison, LayerReport, N_NEIGHBOURS, OutputReport};
use maud::{Markup, html};
use serde_json::{Value, json};

use crate::budget::{self, Task};
use crate::diff::interval;
use crate::failure::Failure;
use crate::fine_tune::FineTunedModel;
use crate::plots::{Axis, Bar, Bars, percent};
use crate::sheet::words::{
    beware, count, decimal, details, figure, interval as bounds, share_of, table, text,
};
use crate::sheet::{Section, Sheet};

use super::search::Search;

/// Two models, and what was measured on calibration cells.
pub(super) struct Report<'a> {
    pub(super) source: &'a Model<'a>,
    pub(super) result: &'a Model<'a>,
    /// Bytes of their files.
    pub(super) bytes: [usize; 2],
    pub(super) comparison: &'a Comparison,
    pub(super) layers: &'a [LayerReport],
    pub(super) fine_tuned: Option<&'a FineTunedModel>,
    pub(super) aware: Option<&'a AwareReport>,
    /// What was tried to find it.
    pub(super) search: Option<&'a Search>,
    /// Names of the rows of the calibration file.
    pub(super) cells: &'a [String],
}

impl Report<'_> {
    pub(super) fn json(&self) -> Result<Value, Failure> {
        let Comparison { flips, n_cells, .. } = self.comparison;
        let flips: Vec<Value> = flips
            .iter()
            .map(|flip| {
                json!({
                    "id": self.cells[flip.row],
                    "reference": self.source.labels().leaf_name(flip.reference_leaf),
                    "quantised": self.result.labels().leaf_name(flip.leaf),
                    "reference_confidence": flip.reference_probability,
                    "quantised_confidence": flip.probability,
                    "margin": flip.margin,
                })
            })
            .collect();
        let mut report = json!({
            "schema_version": 1,
            "source_model": self.source.id().to_string(),
            "model_id": self.result.id().to_string(),
            "to": self.result.dtype().name(),
            "bytes_before": self.bytes[0],
            "bytes_after": self.bytes[1],
            "n_cells": n_cells,
            "n_rejected": self.comparison.n_rejected,
            "label_agreement": self.comparison.agreement(),
            "label_agreement_interval": interval(self.comparison),
            "neighbour_overlap": self.comparison.neighbour_overlap,
            "flips": flips,
            "code_error_pooled": self.comparison.pooled_code_error,
            "code_error": self.comparison.code_error,
            "layers": self.layers.iter().map(layer_json).collect::<Vec<_>>(),
        });
        if self.result.dtype() == Dtype::S8 {
            report["targets"] = budget::targets(self.result, self.bytes[1])?;
        }
        if let Some(search) = self.search {
            report["search"] = search.json();
        }
        if let Some(tuned) = self.fine_tuned {
            report["fine_tuning"] = tuned.report();
        }
        if let Some(tuned) = self.aware {
            report["qat"] = json!({
                "n_cells": tuned.n_cells[0],
                "n_held_out": tuned.n_cells[1],
                "epoch": tuned.epoch,
                "code_error": tuned.code_error,
                "logit_error": tuned.logit_error,
            });
        }
        Ok(report)
    }

    /// The page, of the model file of this name.
    pub(super) fn html(&self, output: &Path) -> Result<String, Failure> {
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        let mut sections = vec![self.labels(), self.codes(), self.layer_section()];
        sections.extend(self.search.map(Search::section));
        if self.result.dtype() == Dtype::S8 {
            sections.push(targets(&budget::targets(self.result, self.bytes[1])?));
        }
        sections.push(self.provenance());
        let sheet = Sheet {
            kind: "Quantization report",
            name: &name,
            head: self.head(),
            sections,
            written_by: "cic-quantize",
        };
        Ok(sheet.html())
    }

    fn head(&self) -> Markup {
        let comparison = self.comparison;
        let [before, after] = self.bytes;
        let n = comparison.n_cells as u64;
        let same = share_of(n - comparison.flips.len() as u64, n);
        html! {
            p.lead {
                "A model of " (count(self.source.n_genes())) " genes and " (count(self.source.n_leaves()))
                " cell types in " (self.result.dtype().name()) ", beside the f32 model that it was made from, on "
                (count(comparison.n_cells)) " calibration cells."
            }
            dl.keys {
                div {
                    dt { "Same label" }
                    dd { (percent(same.value)) }
                    dd.note { "95 % interval " (bounds(same)) }
                }
                div {
                    dt { "Code error" }
                    dd { (decimal(comparison.pooled_code_error, 4)) }
                    dd.note { "in standard deviations between cells" }
                }
                @if let Some(overlap) = comparison.neighbour_overlap {
                    div {
                        dt { "Same neighbours" }
                        dd { (percent(overlap)) }
                        dd.note { "of the " (N_NEIGHBOURS) " nearest cells by code" }
                    }
                }
                div {
                    dt { "Bytes" }
                    dd { (count(after)) }
                    dd.note { (percent(after as f64 / before.max(1) as f64)) " of " (count(before)) }
                }
            }
            p.scope {
                @if self.result.dtype() != Dtype::F16 {
                    "The model was fitted to the same cells, so these figures flatter a little. "
                }
                code { "cic-quantize diff" } " compares the two models on cells that neither has seen."
            }
        }
    }

    fn labels(&self) -> Section {
        let name = |leaf: usize| self.source.labels().leaf_name(leaf).to_owned();
        let comparison = self.comparison;
        let of_type = |leaf: usize| {
            let n = comparison.n_called[leaf] as u64;
            let flips = comparison.flips.iter().filter(|flip| flip.reference_leaf == leaf).count();
            let share = share_of(n - flips as u64, n);
            vec![
                text(name(leaf)),
                text(count(n as usize)),
                text(count(flips)),
                text(if n == 0 { "–".into() } else { bounds(share) }),
            ]
        };
        let flips = comparison.flips.iter().map(|flip| {
            vec![
                text(&self.cells[flip.row]),
                text(name(flip.reference_leaf)),
                text(percent(flip.reference_probability)),
                text(self.result.labels().leaf_name(flip.leaf)),
                text(percent(flip.probability)),
                text(decimal(flip.margin, 3)),
            ]
        });
        let called = (0..comparison.n_called.len()).filter(|&leaf| comparison.n_called[leaf] > 0);
        let [before, after] = comparison.n_rejected;
        let body = html! {
            @if comparison.flips.is_empty() {
                p.result { "No label changes." }
            } @else {
                (table(
                    &["cell", "f32", "confidence", self.result.dtype().name(), "confidence", "margin"],
                    flips.collect(),
                ))
                p { "Margin: by how much f32 preferred its label. Near zero the cell was a toss-up before rounding." }
            }
            p {
                "f32 rejects " (count(before)) " of these cells, " (self.result.dtype().name()) " " (count(after)) "; "
                (count(comparison.n_rejects_differ)) " are rejected by one only, or for another reason."
            }
            (details(
                "By type",
                table(&["called by f32", "cells", "labels that change", "95 % interval of the same label"],
                    called.map(of_type).collect()),
            ))
        };
        Section { id: "labels", title: "Labels that change", body }
    }

    fn codes(&self) -> Section {
        let bars = self.comparison.code_error.iter().enumerate().map(|(dim, &error)| Bar {
            name: format!("dimension {dim}"),
            value: error,
            text: format!("{error:.4}"),
            category: 0,
        });
        let chart = Bars {
            title: "Error of each code dimension".into(),
            axis: Axis::new("root mean square, in standard deviations between cells"),
            bars: bars.collect(),
        };
        let body = html! {
            (figure(chart.svg(), html! {
                "Over all dimensions " (decimal(self.comparison.pooled_code_error, 4)) "."
            }))
        };
        Section { id: "codes", title: "Codes", body }
    }

    fn layer_section(&self) -> Section {
        let outputs = self.layers.iter().filter_map(|layer| Some((layer, layer.outputs?)));
        let bars = outputs.filter(|(_, outputs)| outputs.sqnr_db.is_finite()).map(
            |(layer, OutputReport { sqnr_db, .. })| Bar {
                name: layer.name(),
                value: sqnr_db,
                text: format!("{sqnr_db:.1} dB"),
                category: 0,
            },
        );
        let chart = Bars {
            title: "Signal to noise of what each layer gives".into(),
            axis: Axis::new("decibels; errors of all layers before are in it"),
            bars: bars.collect(),
        };
        let rows = self.layers.iter().map(|layer| {
            let of_outputs =
                layer.outputs.map(|OutputReport { range: (lo, hi), sqnr_db, clipped }| {
                    [
                        text(format!("{} to {}", decimal(lo, 3), decimal(hi, 3))),
                        text(decimal(sqnr_db, 1)),
                        text(format!("{:.2}\u{a0}%", 100.0 * clipped)),
                    ]
                });
            let shape = format!("{} to {}", layer.dims.0, layer.dims.1);
            let dtype = layer.dtype.name();
            [text(layer.name()), text(shape), text(dtype), text(decimal(layer.weights_db, 1))]
                .into_iter()
                .chain(of_outputs.into_iter().flatten())
                .collect()
        });
        let columns =
            ["layer", "shape", "weights", "their dB", "outputs in f32", "their dB", "clipped"];
        let has_outputs = self.layers.iter().any(|layer| layer.outputs.is_some());
        let columns = if has_outputs { &columns[..] } else { &columns[..4] };
        let body = html! {
            @if !chart.bars.is_empty() { (figure(chart.svg(), html! { "Each 6 dB more halve the error." })) }
            (table(columns, rows.collect()))
            p { "dB: signal to noise." }
            @if has_outputs {
                p { "Clipped: outputs in full precision that no level expresses. Ranges are chosen with " code { "--ranges" } "." }
            }
        };
        Section { id: "layers", title: "Layer by layer", body }
    }

    fn provenance(&self) -> Section {
        let facts = self.result.provenance().iter();
        let rows = facts.map(|(key, value)| vec![text(key), html! { code { (value) } }]);
        let body = html! {
            (table(&["fact", "value"], rows.collect()))
        };
        Section { id: "provenance", title: "Where this comes from", body }
    }
}

/// What microcontrollers need, by [`budget::targets`].
fn targets(targets: &Value) -> Section {
    let none = Vec::new();
    let number = |value: &Value| value.as_u64().map_or("–".into(), |n| count(n as usize));
    let rows = targets.as_array().unwrap_or(&none).iter().map(|target| {
        let boards = target["boards"].as_array().unwrap_or(&none).iter();
        let fitting: Vec<&str> = boards
            .filter(|board| board["fits"] == true)
            .filter_map(|board| board["name"].as_str())
            .collect();
        let bytes = |part: &str| target["ram"][part].as_u64().unwrap_or(0);
        let stack = bytes("stack_limit").max(bytes("opening_stack_limit"));
        let ram = bytes("scratch") + bytes("opened_model") + stack;
        let instructions = &target["instructions"];
        let cell = match instructions.is_object() {
            true => html! { (number(&instructions[Task::Sparse.name()])) " to " (number(&instructions[Task::Dense.name()])) },
            false => html! { "other " code { "--layout" } },
        };
        vec![
            text(target["target"].as_str().unwrap_or_default()),
            text(number(&target["flash"]["code_limit"])),
            text(count(ram as usize)),
            cell,
            text(if fitting.is_empty() { "none".into() } else { fitting.join(", ") }),
        ]
    });
    let body = html! {
        (table(&["core", "bytes of code, at most", "bytes of memory", "instructions a cell", "boards with room"], rows.collect()))
        (beware(html! {
            "Calculated from measurements on emulators; " code { "cic budget" } " tells more. Memory is for scratch, opened model and stack."
        }))
    };
    Section { id: "targets", title: "On microcontrollers", body }
}

fn layer_json(layer: &LayerReport) -> Value {
    // JSON has no infinity: null where nothing was lost.
    let finite = |db: f64| Some(db).filter(|db| db.is_finite());
    json!({
        "stage": layer.stage,
        "layer": layer.layer,
        "inputs": layer.dims.0,
        "outputs": layer.dims.1,
        "weights": layer.dtype.name(),
        "weights_sqnr_db": finite(layer.weights_db),
        "range": layer.outputs.map(|outputs| [outputs.range.0, outputs.range.1]),
        "sqnr_db": layer.outputs.and_then(|outputs| finite(outputs.sqnr_db)),
        "clipped": layer.outputs.map(|outputs| outputs.clipped),
    })
}

/// A line a layer.
pub(super) fn write_layers(out: &mut dyn Write, layers: &[LayerReport]) -> io::Result<()> {
    let has_outputs = layers.iter().any(|layer| layer.outputs.is_some());
    write!(out, "{:<16}{:>14}{:>10}{:>8}", "layer", "shape", "weights", "dB")?;
    match has_outputs {
        true => writeln!(out, "{:>22}{:>10}{:>10}", "outputs", "dB", "clipped")?,
        false => writeln!(out)?,
    }
    for layer in layers {
        let shape = format!("{} to {}", layer.dims.0, layer.dims.1);
        let dtype = layer.dtype.name();
        write!(out, "{:<16}{shape:>14}{dtype:>10}{:>8.1}", layer.name(), layer.weights_db)?;
        match layer.outputs {
            None => writeln!(out)?,
            Some(OutputReport { range: (lo, hi), sqnr_db, clipped }) => {
                let range = format!("{lo:.3} to {hi:.3}");
                writeln!(out, "{range:>22}{sqnr_db:>10.1}{:>8.2} %", 100.0 * clipped)?;
            }
        }
    }
    if !has_outputs {
        return writeln!(out, "\ndB  signal to noise");
    }
    writeln!(
        out,
        "\ndB       signal to noise, of weights, and of outputs with the errors of all layers before"
    )?;
    writeln!(out, "clipped  outputs in full precision that no level expresses")
}
