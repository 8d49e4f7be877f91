//! A model around a network that was trained elsewhere, made with cells of which the labels are known.

use std::collections::BTreeMap;

use cic_data::ExpressionMatrix;
use cic_model::genes::is_ensembl;
use cic_model::profile::{Library, Scaling, is_scaled};
use cic_model::spec::{ModelSpec, PanelSpec};
use cic_model::{DenseLayer, IdKind, Network, ValueKind};

use crate::UNLABELLED;
use crate::assembly::{Assembly, Least, network_inputs, panel_spec, panel_values, row_sums};
use crate::codes::Coder;
use crate::error::TrainError;
use crate::input_rule::InputRule;
use crate::parts::{Assigned, PartRow, Parts};
use crate::pipeline::{MIN_CALIBRATION_ROWS, data_digest, facts_of_parts};

/// A network, and what its inputs and outputs are.
pub struct Adoption<'a> {
    /// Encoder and classifier; no decoder.
    pub network: Network,
    /// Cells like those that it was trained on.
    pub matrix: &'a ExpressionMatrix,
    /// Whether it was trained on none of them. Otherwise nobody knows on which, and what it says of them tells nothing of
    /// how sure it may be: its temperature stays one, and no sets of labels are promised.
    pub are_held_out: bool,
    /// What their values are.
    pub kind: ValueKind,
    /// Which sum divides counts and linear values.
    pub library: Library,
    /// What they are scaled to sum to.
    pub target_sum: u32,
    /// Columns of the matrix in the order of the network's inputs.
    pub columns: &'a [u32],
    /// What the network brings of its inputs; without, names, and what stands for missing genes, are those of the matrix.
    pub own_inputs: Option<OwnInputs<'a>>,
    /// Names of the classes in the order of its outputs; empty without a classifier.
    pub classes: &'a [String],
    /// Label per row, or none.
    pub labels: &'a [Option<String>],
    /// Donor, batch or study per row; empty for none.
    pub groups: &'a [Option<String>],
    /// What a given split says per row. Nothing is taken from test rows.
    pub assigned: &'a [Assigned],
    /// How rows are divided follows from it.
    pub seed: u64,
    /// Facts about where the network is from.
    pub facts: &'a [(&'static str, String)],
}

/// What a network knows of its inputs, in their order.
#[derive(Clone, Copy, Debug)]
pub struct OwnInputs<'a> {
    /// The names that genes of files are found by.
    pub names: &'a [String],
    /// What stands for missing genes, `[n_genes]`, in network input units.
    pub fill_values: &'a [f32],
    /// What the inputs are at most, `[n_genes]`, above zero; see [`cic_model::profile::Profile::limits`].
    pub limits: &'a [f32],
}

/// The model. Its code has mean zero and unit standard deviation in every dimension, as those of our own training have: what
/// that takes is folded into the layers before and after. A tenth of the rows are for calibration, and none for a test, unless
/// a split says so.
///
/// # Errors
/// [`TrainError::Shape`] where network, columns and classes do not fit; too few rows.
pub fn adopt(adoption: &Adoption<'_>) -> Result<ModelSpec, TrainError> {
    let Adoption { matrix, classes, columns, .. } = adoption;
    check(adoption)?;
    let labels: Vec<u32> = (adoption.labels.iter())
        .map(|label| {
            let class = label.as_ref().and_then(|label| classes.iter().position(|c| c == label));
            class.map_or(UNLABELLED, |class| class as u32)
        })
        .collect();
    let is_empty = |row: usize| matrix.values.row(row).1.is_empty();
    let rows: Vec<PartRow<'_>> = (0..matrix.n_obs())
        .map(|row| PartRow {
            id: &matrix.obs_names[row],
            label: Some(labels[row]).filter(|&label| label != UNLABELLED),
            group: adoption.groups.get(row).and_then(|group| group.as_deref()),
            assigned: match adoption.assigned.get(row) {
                _ if is_empty(row) => Assigned::Excluded,
                // A model that is given is not tested on a part of these cells unless that is asked for.
                None | Some(Assigned::Open) => Assigned::Train,
                Some(&assigned) => assigned,
            },
        })
        .collect();
    let parts = Parts::choose(&rows, adoption.seed);
    let mut seen = [&parts.fit[..], &parts.early_stop].concat();
    seen.sort_unstable();
    if seen.len() < MIN_ROWS {
        return Err(TrainError::TooFewRows { needed: MIN_ROWS, found: seen.len() });
    }
    let scaling = Scaling {
        kind: adoption.kind,
        library: if is_scaled(adoption.kind) { adoption.library } else { Library::None },
        target_sum: if is_scaled(adoption.kind) { adoption.target_sum } else { 0 },
    };
    let raw = panel_values(&matrix.values, columns);
    let totals = row_sums(&matrix.values);
    let own = adoption.own_inputs;
    let rule = InputRule { scaling, limits: own.map_or(&[], |own| own.limits) };
    let inputs = network_inputs(&raw, &totals, rule);
    let network = standardised(&adoption.network, &inputs, &seen);
    let provenance = facts(adoption, &parts, &rows, &network);
    let held = if are_calibrated(adoption, &parts) { &parts.calibrate[..] } else { &[] };
    let mut panel = panel_spec(matrix, columns, &raw, &seen);
    if let Some(own) = own {
        rename(&mut panel, own.names);
    }
    let assembly = Assembly {
        panel,
        classes,
        labels: &labels,
        parts: &parts,
        seen: &seen,
        judged: held,
        held,
        raw: &raw,
        inputs: &inputs,
        totals: &totals,
        rule,
        fill_values: own.map(|own| own.fill_values),
        least: Least { coverage: 0.5, depth: 0.5 },
        seed: adoption.seed,
    };
    assembly.spec(&matrix.obs_names, network, provenance)
}

/// Whether there are cells to tell with how sure it may be.
fn are_calibrated(adoption: &Adoption<'_>, parts: &Parts) -> bool {
    adoption.are_held_out && parts.calibrate.len() >= MIN_CALIBRATION_ROWS
}

fn check(adoption: &Adoption<'_>) -> Result<(), TrainError> {
    let Network { encoder, classifier, .. } = &adoption.network;
    let n_inputs = encoder.first().map_or(0, |layer| layer.in_dim);
    let n_scores = classifier.last().map_or(0, DenseLayer::out_dim);
    let n_rows = adoption.matrix.n_obs();
    let own = &adoption.own_inputs;
    for (what, expected, found) in [
        ("genes", n_inputs, adoption.columns.len()),
        ("names of classes", n_scores, adoption.classes.len()),
        ("labels", n_rows, adoption.labels.len()),
        ("names of genes", n_inputs, own.map_or(n_inputs, |own| own.names.len())),
        ("fill values", n_inputs, own.map_or(n_inputs, |own| own.fill_values.len())),
        ("limits", n_inputs, own.map_or(n_inputs, |own| own.limits.len())),
    ] {
        if expected != found {
            return Err(TrainError::Shape { what, expected, found });
        }
    }
    Ok(())
}

/// Genes by these names, and by no others.
fn rename(panel: &mut PanelSpec, names: &[String]) {
    for (gene, name) in panel.genes.iter_mut().zip(names) {
        gene.id.clone_from(name);
        gene.symbol.clear();
    }
    let n_ensembl = names.iter().filter(|name| is_ensembl(name)).count();
    panel.id_kind = if 2 * n_ensembl > names.len() { IdKind::Ensembl } else { IdKind::Symbol };
}

/// The same network, its code with mean zero and unit standard deviation over these rows.
fn standardised(network: &Network, inputs: &cic_data::CsrMatrix, rows: &[usize]) -> Network {
    let coder = Coder::new(network);
    let codes: Vec<Vec<f64>> = (rows.iter())
        .map(|&row| {
            let (genes, values) = inputs.row(row);
            coder.code(genes, values).code
        })
        .collect();
    let n = codes.len() as f64;
    let mut network = network.clone();
    let Some(last) = network.encoder.last_mut() else { return network };
    let mut moments = Vec::with_capacity(last.out_dim());
    for dim in 0..last.out_dim() {
        let mean = codes.iter().map(|code| code[dim]).sum::<f64>() / n;
        let square = codes.iter().map(|code| (code[dim] - mean).powi(2)).sum::<f64>() / n;
        // A dimension that never varies keeps its scale.
        moments.push((mean, if square > 1e-24 { square.sqrt() } else { 1.0 }));
    }
    for ((row, bias), (mean, sd)) in
        last.weights.chunks_exact_mut(last.in_dim.max(1)).zip(&mut last.bias).zip(&moments)
    {
        row.iter_mut().for_each(|weight| *weight = (f64::from(*weight) / sd) as f32);
        *bias = ((f64::from(*bias) - mean) / sd) as f32;
    }
    let readers = [network.classifier.first_mut(), network.decoder.first_mut()];
    for layer in readers.into_iter().flatten() {
        for (row, bias) in layer.weights.chunks_exact_mut(layer.in_dim.max(1)).zip(&mut layer.bias)
        {
            let mut sum = f64::from(*bias);
            for (weight, (mean, sd)) in row.iter_mut().zip(&moments) {
                sum += f64::from(*weight) * mean;
                *weight = (f64::from(*weight) * sd) as f32;
            }
            *bias = sum as f32;
        }
    }
    network
}

fn facts(
    adoption: &Adoption<'_>,
    parts: &Parts,
    rows: &[PartRow<'_>],
    network: &Network,
) -> BTreeMap<String, String> {
    let name = adoption.matrix.source.path.file_name();
    let name = name.map_or(String::new(), |name| name.to_string_lossy().into_owned());
    let mut facts = vec![
        ("data.digest", data_digest(adoption.matrix)),
        ("data.name", name),
        (
            "rows.calibrate.fitted",
            if are_calibrated(adoption, parts) { "no" } else { "yes" }.to_string(),
        ),
        ("training.version", env!("CARGO_PKG_VERSION").to_string()),
    ];
    facts.extend(adoption.facts.iter().cloned());
    facts.extend(facts_of_parts(parts, rows, network));
    facts.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}

/// Fewer rows say too little of genes and codes.
const MIN_ROWS: usize = 10;
