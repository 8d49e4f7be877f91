//! Models of CellTypist.

use std::path::Path;

use cic_data::align;
use cic_model::profile::Library;
use cic_model::spec::{LayoutPlan, ModelSpec};
use cic_model::{AlignedBytes, Model, ValueKind};
use cic_quant::CellRunner;
use cic_quant::celltypist::{CELLTYPIST_SUM, CellTypistModel, read_celltypist};
use cic_runtime::Session;
use cic_trainer::adoption::{Adoption, OwnInputs, adopt};

use crate::adopted::{Difference, Imported, MOST_COMPARED, check_labels, difference, gene_columns};
use crate::dataset::{Annotations, Dataset};
use crate::failure::Failure;
use crate::promises::evenly;
use crate::same_scale::note_scale;

/// Whether a file is called as CellTypist calls its models.
pub(crate) fn is_celltypist(path: &Path) -> bool {
    let extension = path.extension();
    extension.is_some_and(|end| ["pkl", "pickle"].iter().any(|own| end.eq_ignore_ascii_case(own)))
}

/// Makes a full-precision model of a CellTypist model with the cells that it is to be calibrated with.
pub(crate) fn import(
    path: &Path,
    are_held_out: bool,
    dataset: &Dataset,
    annotations: &Annotations,
) -> Result<Imported, Failure> {
    let in_file =
        |message: String| Failure::Model(anyhow::anyhow!("{}: {message}", path.display()));
    let whole = read_celltypist(path).map_err(|error| in_file(error.to_string()))?;
    let (own, columns) = measured(&whole, path, dataset)?;
    let (library, target_sum) = scaling(dataset)?;
    let n_rows = dataset.matrix.n_obs();
    let samples = Samples::of(dataset, &columns);
    check_totals(&own, &columns, &samples, dataset)?;
    let labels: Vec<Option<String>> = (0..n_rows).map(|row| annotations.label(row)).collect();
    let unknown = check_labels(&labels, &own.classes, dataset)?;
    let divisor = divisor(&own, &samples);
    if divisor > MOST_DIVISOR {
        return Err(in_file(format!(
            "its decision values reach {:.0e}; no model has such, its scaler or its coefficients are damaged",
            divisor * LARGEST_SCORE
        )));
    }
    let limits: Vec<f32> = own.limits().iter().map(|&limit| limit as f32).collect();
    let fill_values: Vec<f32> = own.means.iter().map(|&mean| mean as f32).collect();
    let mut spec = adopt(&Adoption {
        network: own.network(divisor),
        matrix: &dataset.matrix,
        are_held_out,
        kind: dataset.kind,
        library,
        target_sum,
        columns: &columns,
        own_inputs: Some(OwnInputs {
            names: &own.genes,
            fill_values: &fill_values,
            limits: &limits,
        }),
        classes: &own.classes,
        labels: &labels,
        groups: &annotations.groups,
        assigned: &annotations.assigned(n_rows),
        seed: 1,
        facts: &facts(&whole, &own, divisor, path),
    })
    .map_err(|error| Failure::input(format!("{}: {error}", path.display())))?;
    note_scale(&mut spec, dataset);
    let mut notes = notes(&whole, &own, divisor, are_held_out);
    notes.extend(unknown);
    notes.push(compare(&own, divisor, &samples, &spec, dataset).map_err(in_file)?);
    let bytes = spec.to_bytes(LayoutPlan::default()).map_err(Failure::internal)?;
    Ok(Imported { bytes: AlignedBytes::new(&bytes), notes })
}

/// The model over the genes that DATA has, and their columns.
fn measured(
    model: &CellTypistModel,
    path: &Path,
    dataset: &Dataset,
) -> Result<(CellTypistModel, Vec<u32>), Failure> {
    let data = dataset.matrix.source.path.display();
    let places = gene_columns(&model.genes, dataset);
    let is_there: Vec<bool> = places.iter().map(Option::is_some).collect();
    let columns: Vec<u32> = places.iter().copied().flatten().collect();
    if 2 * columns.len() < model.genes.len() {
        let first = model.genes.iter().zip(&places).find(|(_, place)| place.is_none());
        return Err(Failure::input(format!(
            "{data}: lacks {} of the {} genes of {}, the first is {:?}; calibrate with cells that have most of \
             them, by the names that the model has",
            model.genes.len() - columns.len(),
            model.genes.len(),
            path.display(),
            first.map_or("", |(gene, _)| gene),
        )));
    }
    let own = model.restricted(&is_there);
    let mut sorted: Vec<(u32, &String)> = columns.iter().copied().zip(&own.genes).collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        None => Ok((own, columns)),
        Some(pair) => Err(Failure::input(format!(
            "{data}: {:?} and {:?}, which the model reads, are the same gene",
            pair[0].1, pair[1].1
        ))),
    }
}

/// Library and sum of the profile.
fn scaling(dataset: &Dataset) -> Result<(Library, u32), Failure> {
    let path = dataset.matrix.source.path.display();
    match dataset.kind {
        ValueKind::Counts | ValueKind::LinearNormalised => {
            Ok((Library::AllMeasured, CELLTYPIST_SUM))
        }
        ValueKind::Log1p => match dataset.log1p_sum {
            Some(sum) if (sum / f64::from(CELLTYPIST_SUM) - 1.0).abs() < 1e-3 => {
                Ok((Library::None, 0))
            }
            _ => Err(Failure::input(format!(
                "{path}: its values are log1p, and its cells do not all sum to {CELLTYPIST_SUM} before it, which \
                 CellTypist's do over all measured genes; give the counts, with all genes"
            ))),
        },
        kind => Err(Failure::input(format!(
            "{path}: its values are {}, and CellTypist reads counts or their log1p; give the counts",
            kind.name()
        ))),
    }
}

/// Some cells, as CellTypist reads them.
struct Samples {
    rows: Vec<usize>,
    /// `[rows.len() × n_genes]`: `ln(1 + value · 10,000 / total)`
    inputs: Vec<f32>,
    n_genes: usize,
}

impl Samples {
    fn of(dataset: &Dataset, columns: &[u32]) -> Self {
        let matrix = &dataset.matrix;
        let is_filled = |row: &usize| !matrix.values.row(*row).1.is_empty();
        let filled: Vec<usize> = (0..matrix.n_obs()).filter(is_filled).collect();
        let rows = evenly(&filled, MOST_COMPARED);
        let mut place = vec![None; matrix.genes.len()];
        for (gene, &column) in columns.iter().enumerate() {
            place[column as usize] = Some(gene);
        }
        let mut inputs = vec![0.0; rows.len() * columns.len()];
        for (&row, input) in rows.iter().zip(inputs.chunks_exact_mut(columns.len().max(1))) {
            let (found, values) = matrix.values.row(row);
            let total: f64 = values.iter().map(|&value| f64::from(value)).sum();
            for (&column, &value) in found.iter().zip(values) {
                if let Some(gene) = place[column as usize] {
                    input[gene] = match dataset.kind {
                        ValueKind::Log1p => value,
                        _ => (f64::from(value) * f64::from(CELLTYPIST_SUM) / total).ln_1p() as f32,
                    };
                }
            }
        }
        Self { rows, inputs, n_genes: columns.len() }
    }

    fn inputs(&self) -> impl Iterator<Item = &[f32]> {
        self.inputs.chunks_exact(self.n_genes.max(1))
    }
}

/// Refuses cells whose totals are sums over the genes of the model alone, where it was trained on cells that had more.
fn check_totals(
    model: &CellTypistModel,
    columns: &[u32],
    samples: &Samples,
    dataset: &Dataset,
) -> Result<(), Failure> {
    let (Some(trained), true) =
        (&model.training_means, columns.len() == dataset.matrix.genes.len())
    else {
        return Ok(());
    };
    let n = samples.rows.len().max(1) as f64;
    let mut means = vec![0.0; samples.n_genes];
    for input in samples.inputs() {
        means.iter_mut().zip(input).for_each(|(mean, &x)| *mean += f64::from(x) / n);
    }
    let linear = |means: &[f64]| means.iter().map(|mean| mean.exp_m1()).sum::<f64>();
    let (found, trained) = (linear(&means), linear(trained));
    if found <= MOST_RATIO * trained {
        return Ok(());
    }
    Err(Failure::input(format!(
        "{}: has no other genes than the model reads, and they are {:.1} times as high as in the cells that the \
         model was trained on: CellTypist divides by the total over all measured genes; give the file with all of them",
        dataset.matrix.source.path.display(),
        found / trained.max(f64::MIN_POSITIVE),
    )))
}

/// A power of two that the decision values are divided by, so that 32 bits hold them with room to spare: those of models
/// trained by stochastic gradients may be thousands.
fn divisor(model: &CellTypistModel, samples: &Samples) -> f64 {
    let values = samples.inputs().flat_map(|input| model.decision(input));
    let largest = values.fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let steps = (largest / LARGEST_SCORE).log2().ceil().clamp(0.0, 1000.0);
    steps.exp2()
}

fn facts(
    whole: &CellTypistModel,
    own: &CellTypistModel,
    divisor: f64,
    path: &Path,
) -> Vec<(&'static str, String)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut facts = vec![
        ("import.file", name),
        ("import.format", "celltypist".into()),
        ("import.genes", own.genes.len().to_string()),
        ("import.genes_left_out", (whole.genes.len() - own.genes.len()).to_string()),
        ("import.producer", whole.producer.clone()),
        ("import.score_divisor", divisor.to_string()),
    ];
    for (key, fact) in [
        ("date", "import.date"),
        ("details", "import.details"),
        ("source", "import.source"),
        ("url", "import.url"),
        ("version", "import.version"),
    ] {
        let said = whole.description.iter().find(|(own, _)| own == key);
        facts.extend(said.map(|(_, text)| (fact, text.clone())));
    }
    facts
}

fn notes(
    whole: &CellTypistModel,
    own: &CellTypistModel,
    divisor: f64,
    are_held_out: bool,
) -> Vec<String> {
    let mut notes = vec![format!(
        "{} cell types by {} genes; {}",
        own.classes.len(),
        whole.genes.len(),
        whole.producer
    )];
    let n_left_out = whole.genes.len() - own.genes.len();
    if n_left_out > 0 {
        notes.push(format!(
            "{n_left_out} genes that DATA lacks are left out, as CellTypist does for such a file; a file that has \
             them is read without them too"
        ));
    }
    if divisor > 1.0 {
        notes.push(format!("scores are CellTypist's decision values divided by {divisor}"));
    }
    notes.push(match are_held_out {
        true => "labels are CellTypist's; confidences are no sigmoids but a softmax of the decision values, with \
                 --labels calibrated on DATA"
            .into(),
        false => "labels are CellTypist's; confidences are no sigmoids but a softmax of the decision values, and no \
                  sets of labels are promised, as DATA may be what the model was trained on; --held-out says that \
                  it is not. Limits for what is no cell, with --labels, are DATA's too: of cells that the model was \
                  trained on they are too narrow, and cells to come are rejected"
            .into(),
    });
    notes
}

/// Runs the model on some cells beside CellTypist's own arithmetic in double precision. What differs by more than rounding
/// is refused.
fn compare(
    own: &CellTypistModel,
    divisor: f64,
    samples: &Samples,
    spec: &ModelSpec,
    dataset: &Dataset,
) -> Result<String, String> {
    let bytes = spec.to_bytes(LayoutPlan::default()).map_err(|error| error.to_string())?;
    let bytes = AlignedBytes::new(&bytes);
    let model = Model::open(&bytes).map_err(|error| error.to_string())?;
    let cells = align(&dataset.matrix, model.genes()).map_err(|error| error.to_string())?;
    let session = Session::new(&model, 0).map_err(|error| error.to_string())?;
    let mut runner = CellRunner::new(session, &cells.present).map_err(|error| error.to_string())?;
    let mut pairs = Vec::new();
    for (&row, input) in samples.rows.iter().zip(samples.inputs()) {
        let (genes, values) = cells.values.row(row);
        let outcome =
            runner.run(genes, values, cells.totals[row]).map_err(|error| error.to_string())?;
        let Some(numbers) = outcome.numbers else { continue };
        for (class, expected) in own.decision(input).into_iter().enumerate() {
            pairs.push((f64::from(numbers.logit(class)) * divisor, expected));
        }
    }
    let Difference { worst, largest } =
        difference("decision values", "CellTypist's", pairs.into_iter(), samples.rows.len())?;
    Ok(format!(
        "decision values are CellTypist's within {worst:.1e} (largest {largest:.1}), on {} cells",
        samples.rows.len()
    ))
}

/// Decision values that are not divided: 32 bits hold eight times as much.
const LARGEST_SCORE: f64 = 4096.0;
/// By what stochastic gradients without end would be divided: a billion times what they give.
const MOST_DIVISOR: f64 = (1u64 << 32) as f64;
/// By how much the values of all genes together may exceed those of the training cells: other tissues differ, but not so
/// much as a total over a panel from one over all genes.
const MOST_RATIO: f64 = 1.5;
