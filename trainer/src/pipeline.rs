//! From a file of expression profiles to a model: parts, panel, preprocessing, training,
//! calibration of the confidence, golden cells.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cic_data::{ExpressionMatrix, rank_rows};
use cic_model::profile::{Library, Scaling, is_scaled};
use cic_model::spec::ModelSpec;
use cic_model::{Activation, Network, ValueKind};
use sha2::{Digest, Sha256};

use crate::assembly::{Assembly, Least, network_inputs, panel_spec, panel_values, row_sums};
use crate::error::TrainError;
use crate::fit::{FitControl, Trained, fit};
use crate::input_rule::InputRule;
use crate::panel::{self, PanelChoice, PanelRequest, PanelSize};
use crate::parts::{Assigned, PartRow, Parts};
use crate::settings::Setting;
use crate::{Architecture, Expression, FromCounts, TrainParams, TrainingData, UNLABELLED};

/// What to train on and what to make of it.
pub struct Request<'a> {
    /// The data.
    pub matrix: &'a ExpressionMatrix,
    /// What its values are.
    pub kind: ValueKind,
    /// Which sum divides counts and linear values: [`Library::Panel`] or [`Library::AllMeasured`].
    /// Other kinds have none, whatever this says.
    pub library: Library,
    /// Label per row; rows without one take part in the reconstruction only.
    pub labels: &'a [Option<String>],
    /// Donor, batch or study per row; empty for none.
    pub groups: &'a [Option<String>],
    /// What a given split says per row.
    pub assigned: &'a [Assigned],
    /// Panel.
    pub panel: PanelSize,
    /// Hidden layers of the encoder, mirrored in the decoder; a default for the size of the data
    /// when `None`.
    pub hidden: Option<Vec<usize>>,
    /// Activation of the hidden layers.
    pub activation: Activation,
    /// Dimensions of the code.
    pub code: usize,
    /// Epochs at most; a default for the size of the data when `None`.
    pub epochs: Option<usize>,
    /// Other parameters of training than their defaults.
    pub settings: &'a [Setting],
    /// Whether the calibration rows are trained on too: for comparisons with methods that are fitted on all rows. The
    /// model's confidence is then not calibrated.
    pub trains_on_calibration: bool,
    /// Everything random follows from it.
    pub seed: u64,
}

/// A trained model and how it came about.
pub struct TrainedModel {
    /// The model in full precision.
    pub spec: ModelSpec,
    /// Rows of each part.
    pub parts: Parts,
    /// The panel.
    pub panel: PanelChoice,
    /// The run.
    pub run: Trained,
}

/// What counts and linear values are scaled to sum to over the panel.
pub const TARGET_SUM: u32 = 10_000;

/// With fewer rows no confidence can be calibrated. They then also decide when to stop, and the
/// final network is fitted on them too; quantisation takes its ranges from all training rows.
pub const MIN_CALIBRATION_ROWS: usize = 30;

/// Smallest share of the panel's genes that a file must have: one half, or less for a model that was trained with more of its genes
/// missing.
fn least_coverage(params: &TrainParams) -> f64 {
    (1.0 - f64::from(params.gene_dropout)).min(0.5)
}

/// Smallest share of the counts and genes of shallow training cells that a cell must have: one half, or less for a model that
/// was trained on cells with more of them missing.
fn least_depth(params: &TrainParams) -> f64 {
    ((1.0 - f64::from(params.gene_dropout)) * (1.0 - f64::from(params.thinning))).min(0.5)
}

/// Trains a model.
///
/// # Errors
/// Those of [`fit`]; too few rows or genes.
pub fn train(
    request: &Request<'_>,
    control: &mut FitControl<'_>,
) -> Result<TrainedModel, TrainError> {
    let matrix = request.matrix;
    let mut assigned = request.assigned.to_vec();
    for (row, assigned) in assigned.iter_mut().enumerate() {
        if matrix.values.row(row).1.is_empty() {
            *assigned = Assigned::Excluded;
        }
    }
    let classes = class_names(request.labels, &assigned);
    let labels: Vec<u32> = request
        .labels
        .iter()
        .map(|label| {
            let class = label.as_ref().and_then(|label| classes.binary_search(label).ok());
            class.map_or(UNLABELLED, |class| class as u32)
        })
        .collect();
    let rows: Vec<PartRow<'_>> = (0..matrix.n_obs())
        .map(|row| PartRow {
            id: &matrix.obs_names[row],
            label: Some(labels[row]).filter(|&label| label != UNLABELLED),
            group: request.groups.get(row).and_then(|group| group.as_deref()),
            assigned: assigned[row],
        })
        .collect();
    let mut parts = Parts::choose(&rows, request.seed);
    if request.trains_on_calibration {
        parts.fit.append(&mut parts.calibrate);
        parts.fit.sort_unstable();
    }
    let panel = choose_panel(request, &parts, &labels, classes.len())?;
    let mut held_out = parts.early_stop.clone();
    if parts.calibrate.len() < MIN_CALIBRATION_ROWS {
        held_out.extend(&parts.calibrate);
    }
    let seen: Vec<usize> = parts.fit.iter().chain(&held_out).copied().collect();
    let n_genes = panel.genes.len();
    let params =
        training_params(request, n_genes, classes.len(), parts.fit.len() + parts.early_stop.len())?;
    let kind = if params.ranks { ValueKind::Ranks } else { request.kind };
    let scaling = Scaling {
        kind,
        library: if is_scaled(kind) { request.library } else { Library::None },
        target_sum: if is_scaled(kind) { TARGET_SUM } else { 0 },
    };
    let mut raw = panel_values(&matrix.values, &panel.columns());
    let panel_spec = panel_spec(matrix, &panel.columns(), &raw, &seen);
    if params.ranks {
        rank_rows(&mut raw, n_genes);
    }
    let totals = row_sums(&matrix.values);
    let rule = InputRule { scaling, limits: &[] };
    let inputs = network_inputs(&raw, &totals, rule);
    let libraries = match scaling.library {
        Library::Panel => row_sums(&raw),
        _ => totals.clone(),
    };
    let counts = FromCounts { scale: scaling.target_sum as f32, totals: &libraries };

    let data = TrainingData {
        expression: Expression::Csr {
            indptr: &inputs.indptr,
            indices: &inputs.indices,
            values: &inputs.data,
        },
        n_genes,
        labels: Some(&labels),
        n_classes: classes.len(),
        counts: (kind == ValueKind::Counts).then_some(counts),
    };
    let run = fit(&params, &data, &parts.fit, &held_out, control)?;
    let network = run.freeze();

    let assembly = Assembly {
        panel: panel_spec,
        classes: &classes,
        labels: &labels,
        parts: &parts,
        seen: &seen,
        judged: &parts.calibrate,
        held: if parts.calibrate.len() < MIN_CALIBRATION_ROWS { &[] } else { &parts.calibrate },
        raw: &raw,
        inputs: &inputs,
        totals: &totals,
        rule,
        fill_values: None,
        least: Least { coverage: least_coverage(&params), depth: least_depth(&params) },
        seed: request.seed,
    };
    let provenance = provenance(request, &parts, &rows, &panel, &network, &run);
    let spec = assembly.spec(&matrix.obs_names, network, provenance)?;
    Ok(TrainedModel { spec, parts, panel, run })
}

/// Parameters of the run: defaults for its size and its values, then what was asked for.
fn training_params(
    request: &Request<'_>,
    n_genes: usize,
    n_classes: usize,
    n_train: usize,
) -> Result<TrainParams, TrainError> {
    let hidden = request.hidden.clone().unwrap_or_else(|| default_hidden(n_genes));
    let mut architecture = Architecture::mirrored(n_genes, hidden, request.code, n_classes);
    architecture.activation = request.activation;
    let mut params = TrainParams::for_rows(architecture, n_train);
    params.seed = request.seed;
    if request.kind == ValueKind::Log2Intensity {
        // No value of an array is ever lost.
        params.input_dropout = 0.0;
    }
    if let Some(epochs) = request.epochs {
        params.max_epochs = epochs;
    }
    for setting in request.settings {
        setting.apply(&mut params)?;
    }
    Ok(params)
}

/// Names of the classes that occur outside the test rows, sorted.
fn class_names(labels: &[Option<String>], assigned: &[Assigned]) -> Vec<String> {
    let known = labels
        .iter()
        .zip(assigned)
        .filter(|(_, assigned)| !matches!(assigned, Assigned::Test | Assigned::Excluded));
    let names: BTreeSet<&String> = known.filter_map(|(label, _)| label.as_ref()).collect();
    names.into_iter().cloned().collect()
}

/// The panel, without genes whose name another column of the file has first: when a file is typed,
/// the first column of a name is taken.
fn choose_panel(
    request: &Request<'_>,
    parts: &Parts,
    labels: &[u32],
    n_classes: usize,
) -> Result<PanelChoice, TrainError> {
    let mut panel = panel::choose(&PanelRequest {
        matrix: request.matrix,
        rows: &parts.fit,
        labels,
        n_classes,
        kind: request.kind,
        size: request.panel,
    });
    let mut first: HashMap<String, usize> = HashMap::new();
    for column in 0..request.matrix.n_vars() {
        first.entry(gene_key(request.matrix, column)).or_insert(column);
    }
    panel.genes.retain(|gene| {
        let column = gene.column as usize;
        first.get(&gene_key(request.matrix, column)) == Some(&column)
    });
    if panel.genes.is_empty() {
        return Err(TrainError::TooFewRows { needed: 2, found: parts.fit.len() });
    }
    Ok(panel)
}

/// See [`cic_data::Gene::key`].
fn gene_key(matrix: &ExpressionMatrix, column: usize) -> String {
    matrix.genes[column].key().to_owned()
}

/// Hidden layers for a panel: one, narrow enough for a microcontroller.
fn default_hidden(n_genes: usize) -> Vec<usize> {
    vec![128.min(n_genes.div_ceil(2)).max(8)]
}

fn provenance(
    request: &Request<'_>,
    parts: &Parts,
    rows: &[PartRow<'_>],
    panel: &PanelChoice,
    network: &Network,
    run: &Trained,
) -> BTreeMap<String, String> {
    let name = request.matrix.source.path.file_name();
    let name = name.map_or(String::new(), |name| name.to_string_lossy().into_owned());
    let mut facts = vec![
        ("data.digest", data_digest(request.matrix)),
        ("data.name", name),
        ("panel.library_share", format!("{:.4}", panel.library_share())),
        (
            "rows.calibrate.fitted",
            if parts.calibrate.len() < MIN_CALIBRATION_ROWS { "yes" } else { "no" }.to_string(),
        ),
        ("training.epochs", run.best_epoch.to_string()),
        ("training.seed", request.seed.to_string()),
        ("training.version", env!("CARGO_PKG_VERSION").to_string()),
    ];
    if !request.settings.is_empty() {
        // In an order that does not change the bytes.
        let mut settings: Vec<String> = request.settings.iter().map(ToString::to_string).collect();
        settings.sort();
        facts.push(("training.settings", settings.join(" ")));
    }
    facts.extend(facts_of_parts(parts, rows, network));
    facts.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
}

/// Facts about the widths of a network and the rows of each part.
pub(crate) fn facts_of_parts(
    parts: &Parts,
    rows: &[PartRow<'_>],
    network: &Network,
) -> Vec<(&'static str, String)> {
    let digests = parts.digests(rows);
    let widths = |layers: &[cic_model::DenseLayer]| {
        layers.iter().map(|layer| layer.activated_dim().to_string()).collect::<Vec<_>>().join("-")
    };
    let mut facts = vec![
        ("architecture.classifier", widths(&network.classifier)),
        ("architecture.decoder", widths(&network.decoder)),
        ("architecture.encoder", widths(&network.encoder)),
        ("rows.division", parts.division.to_string()),
    ];
    for (part, digest, key) in [
        (&parts.fit, digests.fit, ["rows.fit.n", "rows.fit.sha256"]),
        (&parts.early_stop, digests.early_stop, ["rows.early_stop.n", "rows.early_stop.sha256"]),
        (&parts.calibrate, digests.calibrate, ["rows.calibrate.n", "rows.calibrate.sha256"]),
        (&parts.test, digests.test, ["rows.test.n", "rows.test.sha256"]),
    ] {
        facts.push((key[0], part.len().to_string()));
        facts.push((key[1], hex(&digest)));
    }
    facts
}

/// SHA-256 of what was read: names of cells and genes, then positions and values. The same for
/// every file format that holds the same data under the same names.
pub fn data_digest(matrix: &ExpressionMatrix) -> String {
    let mut hasher = Sha256::new();
    let genes = matrix.genes.iter().map(|gene| gene.id.as_str());
    for name in matrix.obs_names.iter().map(String::as_str).chain(genes) {
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(name);
    }
    for row in 0..matrix.n_obs() {
        let (columns, values) = matrix.values.row(row);
        hasher.update((columns.len() as u64).to_le_bytes());
        for (column, value) in columns.iter().zip(values) {
            hasher.update(column.to_le_bytes());
            hasher.update(value.to_le_bytes());
        }
    }
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
