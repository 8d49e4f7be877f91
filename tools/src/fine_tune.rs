//! `cic-quantize --fine-tune`: classifier and decoder fitted to the codes of the int8 encoder.

use cic_data::{AlignedMatrix, CsrMatrix};
use cic_model::provenance::Part;
use cic_model::spec::{ModelSpec, NetworkSpec};
use cic_model::{AlignedBytes, Dtype, Model};
use cic_quant::{
    CellRunner, CodeCopy, FineTunedHeads, QuantError, QuantizeOptions, fitted_parts,
    quantize_fine_tuned, rows_of,
};
use cic_runtime::Session;
use cic_trainer::fine_tune::{FineTuneSettings, FineTuned, Gain, fine_tune, inv_temperature_q16};
use cic_trainer::{Expression, TrainingData, UNLABELLED};
use serde_json::json;

use crate::console::tell;
use crate::dataset::{Annotations, Dataset};
use crate::failure::Failure;
use crate::quantize::{Calibration, refuse_test_rows};
use crate::results::network_input;

/// What there is to fine-tune with.
pub(crate) struct FineTuning<'a> {
    pub(crate) model: &'a Model<'a>,
    pub(crate) dataset: &'a Dataset,
    pub(crate) cells: &'a AlignedMatrix,
    /// Without a column of labels the classifier stays as it is.
    pub(crate) annotations: &'a Annotations,
}

/// A model with classifier and decoder fitted to its own codes.
pub(crate) struct FineTunedModel {
    pub(crate) bytes: Vec<u8>,
    tuned: FineTuned,
    n_cells: usize,
}

impl FineTuning<'_> {
    /// Fine-tunes behind the encoder of `rounded`, which was made of the model with the same calibration and options, and
    /// quantises again.
    pub(crate) fn run(
        &self,
        rounded: &[u8],
        calibration: &Calibration,
        options: &QuantizeOptions,
    ) -> Result<FineTunedModel, Failure> {
        let labels = self.labels()?;
        let spec = ModelSpec::from_model(self.model);
        let NetworkSpec::F32(mut network) = spec.network else {
            return Err(QuantError::NotFullPrecision { found: self.model.dtype() }.into());
        };
        let own_decoder = network.decoder.clone();
        if !options.with_decoder {
            network.decoder.clear();
        }
        if network.decoder.is_empty() && labels.is_none() {
            return Err(Failure::usage(format!(
                "nothing to fine-tune: {}, and no --labels KEY names the cell types for the classifier",
                match own_decoder.is_empty() {
                    true => "the model has no decoder",
                    false => "--no-decoder leaves the decoder out",
                }
            )));
        }
        let aligned = AlignedBytes::new(rounded);
        let rounded = Model::open(&aligned).map_err(Failure::internal)?;
        let rows = self.training_rows(labels.as_deref())?;
        let cells = Coded::read(&rounded, self.cells, &rows, labels.as_deref())?;
        let data = TrainingData {
            expression: Expression::Csr {
                indptr: &cells.inputs.indptr,
                indices: &cells.inputs.indices,
                values: &cells.inputs.data,
            },
            n_genes: self.model.n_genes(),
            labels: labels.is_some().then_some(&cells.labels),
            n_classes: if labels.is_some() { self.model.n_leaves() } else { 0 },
            counts: None,
        };
        let mut tuned = fine_tune(&network, &cells.codes, &data, &FineTuneSettings::default())?;
        if !options.with_decoder {
            tuned.network.decoder = own_decoder;
        }
        let mut temperature = self.model.rules().inv_temperature_q16;
        if let Some(labels) = labels.as_deref().filter(|_| is_changed(tuned.classifier)) {
            // No weight has seen these, unless they are too few to say anything.
            let names = &self.dataset.matrix.obs_names;
            let held = rows_of(self.model, names, &[Part::Calibrate]);
            let held = Coded::read(&rounded, self.cells, &held, Some(labels))?;
            let fitted = inv_temperature_q16(&tuned.network, &held.codes, &held.labels)?;
            temperature = fitted.unwrap_or(temperature);
        }
        let n_cells = cells.labels.len();
        let facts = [
            ("quantize.fine_tuned", changed_stages(&tuned).to_string()),
            ("quantize.fine_tuning_cells", n_cells.to_string()),
        ];
        let heads = FineTunedHeads {
            classifier: &tuned.network.classifier,
            decoder: &tuned.network.decoder,
            inv_temperature_q16: temperature,
            facts: &facts,
        };
        let bytes = quantize_fine_tuned(self.model, &rounded, &heads, &calibration.set(), options)?;
        Ok(FineTunedModel { bytes, tuned, n_cells })
    }

    /// Class of every row of the file; `None` where no column was named.
    fn labels(&self) -> Result<Option<Vec<u32>>, Failure> {
        if self.annotations.labels.is_none() {
            return Ok(None);
        }
        let names = self.model.labels();
        if self.model.n_leaves() == 0 {
            return Err(Failure::usage(
                "the model has no classifier to fine-tune; leave --labels out",
            ));
        }
        let classes: Vec<&str> = (0..names.n_leaves()).map(|leaf| names.leaf_name(leaf)).collect();
        let class = |label: String| classes.iter().position(|class| *class == label);
        let label = |row| self.annotations.label(row).and_then(class);
        // Leaves of a model are few.
        let labels = |row| label(row).map_or(UNLABELLED, |class| class as u32);
        Ok(Some((0..self.cells.values.n_rows()).map(labels).collect()))
    }

    fn training_rows(&self, labels: Option<&[u32]>) -> Result<Vec<usize>, Failure> {
        let (names, path) =
            (&self.dataset.matrix.obs_names, self.dataset.matrix.source.path.display());
        let rows = rows_of(self.model, names, fitted_parts(self.model));
        if rows.is_empty() {
            return Err(Failure::input(format!(
                "{path}: none of its {} cells (the first is {:?}) is one that the model was fitted to; fine-tune with the \
                 data that the model was trained on, with the same ids",
                names.len(),
                names.first().map_or("", |name| name),
            )));
        }
        refuse_test_rows(self.dataset, self.annotations.split.as_deref(), &rows)?;
        let parts = fitted_parts(self.model).iter();
        let n_fitted: usize = parts.map(|&part| self.model.rows().part(part).len()).sum();
        if rows.len() < n_fitted {
            tell(format_args!(
                "note: {path} has {} of the {n_fitted} cells that the model was fitted to; fine-tuning is the worse for it",
                rows.len(),
            ));
        }
        if let Some(labels) = labels
            && rows.iter().all(|&row| labels[row] == UNLABELLED)
        {
            let theirs = rows.iter().find_map(|&row| self.annotations.label(row));
            return Err(Failure::input(format!(
                "{path}: none of its {} training cells has a label that the model knows: {}, the model has {:?}; name the \
                 column that it was trained with",
                rows.len(),
                theirs.map_or("no cell has any".to_string(), |label| format!("one has {label:?}")),
                self.model.labels().leaf_name(0),
            )));
        }
        Ok(rows)
    }
}

impl FineTunedModel {
    /// One line.
    pub(crate) fn summary(&self) -> String {
        let verdict = |gain: Gain| if gain.is_changed { "fine-tuned" } else { "kept" };
        let mut parts = Vec::new();
        if let Some(gain) = self.tuned.decoder {
            let [before, after] = [gain.before, gain.after].map(|loss| 1.0 - loss);
            parts.push(format!("decoder {} (R2 {before:.4} -> {after:.4})", verdict(gain)));
        }
        if let Some(gain) = self.tuned.classifier {
            let Gain { before, after, .. } = gain;
            let losses = format!("cross-entropy {before:.4} -> {after:.4}");
            parts.push(format!("classifier {} ({losses})", verdict(gain)));
        }
        format!("{} training cells, cross-validated: {}", self.n_cells, parts.join(", "))
    }

    /// For the report.
    pub(crate) fn report(&self) -> serde_json::Value {
        let gain = |gain: Gain| {
            json!({
                "before": gain.before,
                "after": gain.after,
                "changed": gain.is_changed,
                "n_cells": gain.n_rows,
            })
        };
        json!({
            "n_cells": self.n_cells,
            "decoder_unexplained": self.tuned.decoder.map(gain),
            "classifier_cross_entropy": self.tuned.classifier.map(gain),
        })
    }
}

/// Refuses what cannot be fine-tuned, before anything is read.
pub(crate) fn check(to: Dtype) -> Result<(), Failure> {
    match to {
        Dtype::S8 => Ok(()),
        _ => Err(Failure::usage(format!(
            "--fine-tune is for int8; {} changes next to nothing, leave it out",
            to.name()
        ))),
    }
}

fn is_changed(gain: Option<Gain>) -> bool {
    gain.is_some_and(|gain| gain.is_changed)
}

fn changed_stages(tuned: &FineTuned) -> &'static str {
    match (is_changed(tuned.classifier), is_changed(tuned.decoder)) {
        (true, true) => "classifier, decoder",
        (true, false) => "classifier",
        (false, true) => "decoder",
        (false, false) => "nothing",
    }
}

/// Cells as the classifier and the decoder of an int8 model know them.
struct Coded {
    /// Network inputs, `[n × n_genes]`.
    inputs: CsrMatrix,
    /// What the levels of the code stand for, `[n × code_dim]`.
    codes: Vec<f32>,
    /// `[n]`
    labels: Vec<u32>,
}

impl Coded {
    /// Runs rows of a file; those without any value are left out.
    fn read(
        rounded: &Model<'_>,
        cells: &AlignedMatrix,
        rows: &[usize],
        labels: Option<&[u32]>,
    ) -> Result<Self, Failure> {
        let session = Session::new(rounded, 0).map_err(Failure::internal)?;
        let mut runner = CellRunner::new(session, &cells.present).map_err(Failure::internal)?;
        let n_genes = rounded.n_genes();
        let mut input = vec![0.0; n_genes];
        let mut read = Self {
            inputs: CsrMatrix { n_cols: n_genes, indptr: vec![0], indices: vec![], data: vec![] },
            codes: Vec::with_capacity(rows.len() * rounded.code_dim()),
            labels: Vec::with_capacity(rows.len()),
        };
        for &row in rows {
            let (genes, values) = cells.values.row(row);
            let outcome =
                runner.run(genes, values, cells.totals[row]).map_err(Failure::internal)?;
            let Some(numbers) = outcome.numbers.as_ref() else { continue };
            let code = CodeCopy::new(numbers).values(rounded);
            if !network_input(rounded, cells, row, &mut input) {
                continue;
            }
            read.codes.extend(code);
            for (gene, &value) in (0_u32..).zip(&input) {
                if value != 0.0 {
                    read.inputs.indices.push(gene);
                    read.inputs.data.push(value);
                }
            }
            read.inputs.indptr.push(read.inputs.data.len());
            read.labels.push(labels.map_or(UNLABELLED, |labels| labels[row]));
        }
        Ok(read)
    }
}
