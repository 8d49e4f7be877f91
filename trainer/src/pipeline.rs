//! From a file of expression profiles to a model: parts, panel, preprocessing, training,
//! calibration of the confidence, golden cells.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cic_data::{CsrMatrix, ExpressionMatrix, rank_rows};
use cic_model::genes::{DuplicatePolicy, is_ensembl};
use cic_model::profile::{Library, Scaling, is_scaled};
use cic_model::quant::{ONE_Q16, ONE_Q30};
use cic_model::rules::Rules;
use cic_model::spec::{
    GeneSpec, LabelsSpec, ModelSpec, NetworkSpec, PanelSpec, ProfileSpec, library_shares_q30,
};
use cic_model::{Activation, IdKind, Network, ValueKind};
use sha2::{Digest, Sha256};

use crate::codes::Coder;
use crate::error::TrainError;
use crate::fit::{FitControl, Trained, fit};
use crate::golden::golden_cells;
use crate::novelty::{Cells, fit_novelty};
use crate::panel::{self, PanelChoice, PanelRequest, PanelSize};
use crate::parts::{Assigned, PartRow, Parts, row_digest};
use crate::settings::Setting;
use crate::temperature::{fit_temperature, inverse_q16};
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
    let panel_spec = panel_spec(request, &panel, &raw, &seen);
    if params.ranks {
        rank_rows(&mut raw, n_genes);
    }
    let totals: Vec<f64> =
        (0..matrix.n_obs()).map(|row| sum_of(matrix.values.row(row).1)).collect();
    let inputs = network_inputs(&raw, &totals, scaling);
    let libraries = match scaling.library {
        Library::Panel => (0..matrix.n_obs()).map(|row| sum_of(raw.row(row).1)).collect(),
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

    let fill_values = column_means(&inputs, &seen);
    let coder = Coder::new(&network);
    let coded = coder.code_rows(&inputs);
    let temperature = fit_temperature(
        parts
            .calibrate
            .iter()
            .filter(|&&row| labels[row] != UNLABELLED)
            .map(|&row| (coded[row].logits.clone(), labels[row] as usize)),
    )
    .unwrap_or(1.0);
    let cells = Cells {
        raw: &raw,
        totals: &totals,
        scaling,
        labels: &labels,
        n_classes: classes.len(),
        coded: &coded,
        are_counts: kind == ValueKind::Counts,
    };
    // Those that the weights were not fitted to.
    let held =
        if parts.calibrate.len() < MIN_CALIBRATION_ROWS { &[] } else { &parts.calibrate[..] };
    let novelty = fit_novelty(&cells, &coder, &seen, held, request.seed)?;
    let golden = golden_cells(&raw, &seen, &labels, classes.len(), scaling, &network, request.seed);
    let spec = ModelSpec {
        panel: panel_spec,
        profiles: vec![ProfileSpec {
            name: kind.name().into(),
            kind,
            library: scaling.library,
            target_sum: scaling.target_sum,
            fill_values,
            levels: None,
        }],
        labels: LabelsSpec::flat(&classes),
        rules: rules(kind, &raw, &seen, temperature, &params),
        confidence: None,
        novelty,
        provenance: provenance(request, &parts, &rows, &panel, &network, &run),
        rows: [&parts.fit, &parts.early_stop, &parts.calibrate, &parts.test]
            .map(|part| part.iter().map(|&row| row_digest(&matrix.obs_names[row])).collect()),
        network: NetworkSpec::F32(network),
        golden,
    };
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

/// Raw values of the panel's columns, in panel order.
fn panel_values(values: &CsrMatrix, columns: &[u32]) -> CsrMatrix {
    let mut place = vec![None; values.n_cols];
    for (gene, &column) in (0_u32..).zip(columns) {
        place[column as usize] = Some(gene);
    }
    let mut panel =
        CsrMatrix { n_cols: columns.len(), indptr: vec![0], indices: Vec::new(), data: Vec::new() };
    let mut entries: Vec<(u32, f32)> = Vec::new();
    for row in 0..values.n_rows() {
        let (columns, data) = values.row(row);
        entries.clear();
        entries.extend(
            columns.iter().zip(data).filter_map(|(&c, &v)| place[c as usize].map(|g| (g, v))),
        );
        entries.sort_unstable_by_key(|&(gene, _)| gene);
        panel.indices.extend(entries.iter().map(|&(gene, _)| gene));
        panel.data.extend(entries.iter().map(|&(_, value)| value));
        panel.indptr.push(panel.data.len());
    }
    panel
}

/// What the network reads. Rows that are empty over the panel stay empty. `totals` are sums over all
/// measured genes.
fn network_inputs(raw: &CsrMatrix, totals: &[f64], scaling: Scaling) -> CsrMatrix {
    let mut inputs = raw.clone();
    for (row, &total) in totals.iter().enumerate() {
        let factor = scaling.factor(sum_of(raw.row(row).1), total, ONE_Q30).unwrap_or(0.0);
        for value in &mut inputs.data[raw.indptr[row]..raw.indptr[row + 1]] {
            *value = scaling.input(*value, factor);
        }
    }
    inputs
}

fn sum_of(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum()
}

fn column_means(values: &CsrMatrix, rows: &[usize]) -> Vec<f32> {
    column_sums(values, rows).iter().map(|sum| (sum / rows.len().max(1) as f64) as f32).collect()
}

fn column_sums(values: &CsrMatrix, rows: &[usize]) -> Vec<f64> {
    let mut sums = vec![0.0; values.n_cols];
    for &row in rows {
        let (columns, data) = values.row(row);
        for (&column, &value) in columns.iter().zip(data) {
            sums[column as usize] += f64::from(value);
        }
    }
    sums
}

fn panel_spec(
    request: &Request<'_>,
    panel: &PanelChoice,
    raw: &CsrMatrix,
    seen: &[usize],
) -> PanelSpec {
    let shares = library_shares_q30(&column_sums(raw, seen));
    let genes: Vec<GeneSpec> = panel
        .genes
        .iter()
        .zip(shares)
        .map(|(gene, library_share_q30)| {
            let column = gene.column as usize;
            GeneSpec {
                id: gene_key(request.matrix, column),
                symbol: request.matrix.genes[column].symbol.clone().unwrap_or_default(),
                aliases: Vec::new(),
                library_share_q30,
            }
        })
        .collect();
    let n_ensembl = genes.iter().filter(|gene| is_ensembl(&gene.id)).count();
    let id_kind = if 2 * n_ensembl > genes.len() { IdKind::Ensembl } else { IdKind::Symbol };
    PanelSpec { id_kind, duplicates: DuplicatePolicy::KeepFirst, genes }
}

/// A cell is too shallow below a share, see [`least_depth`], of what 99 % of the training cells have.
fn rules(
    kind: ValueKind,
    raw: &CsrMatrix,
    seen: &[usize],
    temperature: f64,
    params: &TrainParams,
) -> Rules {
    let (least_coverage, least_depth) = (least_coverage(params), least_depth(params));
    let low = |mut values: Vec<f64>| {
        values.sort_unstable_by(f64::total_cmp);
        let at = values.get(values.len() / 100).copied().unwrap_or(0.0);
        // Far below 2³²: counts of one cell.
        (at * least_depth).max(1.0) as u32
    };
    let sum = |row: &usize| sum_of(raw.row(*row).1);
    let detected = |row: &usize| raw.row(*row).1.len() as f64;
    Rules {
        min_counts: if kind == ValueKind::Counts { low(seen.iter().map(sum).collect()) } else { 0 },
        min_genes: low(seen.iter().map(detected).collect()),
        min_coverage_q16: (f64::from(ONE_Q16) * least_coverage) as u32,
        min_confidence_q16: 0,
        inv_temperature_q16: inverse_q16(temperature),
    }
}

fn provenance(
    request: &Request<'_>,
    parts: &Parts,
    rows: &[PartRow<'_>],
    panel: &PanelChoice,
    network: &Network,
    run: &Trained,
) -> BTreeMap<String, String> {
    let digests = parts.digests(rows);
    let widths = |layers: &[cic_model::DenseLayer]| {
        layers.iter().map(|layer| layer.activated_dim().to_string()).collect::<Vec<_>>().join("-")
    };
    let name = request.matrix.source.path.file_name();
    let name = name.map_or(String::new(), |name| name.to_string_lossy().into_owned());
    let mut facts = vec![
        ("architecture.classifier", widths(&network.classifier)),
        ("architecture.decoder", widths(&network.decoder)),
        ("architecture.encoder", widths(&network.encoder)),
        ("data.digest", data_digest(request.matrix)),
        ("data.name", name),
        ("panel.library_share", format!("{:.4}", panel.library_share())),
        (
            "rows.calibrate.fitted",
            if parts.calibrate.len() < MIN_CALIBRATION_ROWS { "yes" } else { "no" }.to_string(),
        ),
        ("rows.division", parts.division.to_string()),
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
    for (part, digest, key) in [
        (&parts.fit, digests.fit, ["rows.fit.n", "rows.fit.sha256"]),
        (&parts.early_stop, digests.early_stop, ["rows.early_stop.n", "rows.early_stop.sha256"]),
        (&parts.calibrate, digests.calibrate, ["rows.calibrate.n", "rows.calibrate.sha256"]),
        (&parts.test, digests.test, ["rows.test.n", "rows.test.sha256"]),
    ] {
        facts.push((key[0], part.len().to_string()));
        facts.push((key[1], hex(&digest)));
    }
    facts.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
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
