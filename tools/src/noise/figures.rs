//! What is measured of a method under one condition.

use cic_data::AlignedMatrix;
use cic_model::rules::Rules;
use cic_model::{Model, StageKind};
use cic_quant::{CellRunner, CodeCopy};
use cic_runtime::Session;
use cic_trainer::Pca;
use cic_trainer::baselines::{self, Contender, Fitted, Labelled, Prepared, Reproducer};
use cic_trainer::metrics::{Confusion, Reconstruction, ReconstructionScores};
use cic_trainer::noise::CodeShift;
use faer::Mat;

use crate::failure::Failure;

use super::spoil::{Inputs, Spoiled};

/// The figures of a method; NaN where it has none.
#[derive(Clone, Copy)]
pub(super) struct Figures([f64; N_FIGURES]);

pub(super) const N_FIGURES: usize = 9;
/// Names in the order of [`Figures::values`]; the first [`N_OF_TYPING`] are of calls and codes.
pub(super) const FIGURES: [&str; N_FIGURES] = [
    "accuracy",
    "macro_f1",
    "confidence",
    "refused",
    "code_shift",
    "r2_clean",
    "r2_spoiled",
    "spearman_clean",
    "spearman_spoiled",
];
pub(super) const N_OF_TYPING: usize = 5;

impl Figures {
    pub(super) const NONE: Self = Self([f64::NAN; N_FIGURES]);

    pub(super) fn values(&self) -> &[f64; N_FIGURES] {
        &self.0
    }
}

/// What every method is measured against under one condition.
pub(super) struct Bench<'a> {
    /// `[n]` class of each held sample, below `n_classes`.
    pub(super) truth: &'a [usize],
    pub(super) n_classes: usize,
    /// `[n × n_genes]`, in network input units.
    pub(super) clean: &'a [f32],
    pub(super) inputs: &'a Inputs,
    /// Genes that reproduction is measured on.
    pub(super) genes: &'a [usize],
    /// Those of them that were not lost.
    pub(super) kept: &'a [usize],
    /// `[n_genes]` over training samples.
    pub(super) mean: &'a [f32],
}

/// A model that takes part.
pub(super) struct Contestant<'a> {
    pub(super) name: String,
    pub(super) model: &'a Model<'a>,
    /// The same for what its network reads.
    pub(super) reader: &'a Model<'a>,
    /// Class of each leaf; one that no cell has is wrong for all of them.
    pub(super) classes: Vec<Option<usize>>,
    pub(super) shift: CodeShift,
}

impl Contestant<'_> {
    pub(super) fn figures(&self, spoiled: &Spoiled, bench: &Bench<'_>) -> Result<Figures, Failure> {
        let model = if spoiled.is_input { self.reader } else { self.model };
        let mut reproduction = Reproduction::new(bench);
        let typed = type_cells(model, &spoiled.cells, |at, profile| reproduction.add(at, profile))?;
        let n = bench.truth.len();
        let mut confusion = Confusion::new(bench.n_classes);
        for (call, &truth) in typed.calls.iter().zip(bench.truth) {
            confusion.add(truth, call.best.and_then(|leaf| self.classes[leaf]));
        }
        let with_code: Vec<usize> = (0..n).filter(|&at| typed.calls[at].has_code).collect();
        let confidence: f64 = with_code.iter().map(|&at| typed.calls[at].confidence).sum();
        let refused = match is_covered(self.model.rules(), &spoiled.cells) {
            true => typed.calls.iter().filter(|call| call.is_refused).count(),
            false => n,
        };
        let [r2_clean, r2_spoiled, spearman_clean, spearman_spoiled] = reproduction.scores();
        Ok(Figures([
            confusion.accuracy(),
            confusion.macro_f1(),
            confidence / with_code.len() as f64,
            refused as f64 / n as f64,
            self.shift.of(typed.codes.as_ref(), &with_code),
            r2_clean,
            r2_spoiled,
            spearman_clean,
            spearman_spoiled,
        ]))
    }
}

/// As many principal components as the code has dimensions.
pub(super) fn of_components(pca: &Pca, shift: &CodeShift, bench: &Bench<'_>) -> Figures {
    let profiles = baselines::matrix(&bench.inputs.values, bench.mean.len());
    let scores = baselines::pca_scores(pca, profiles.as_ref());
    let reproduced = pca.reproduce(profiles.as_ref());
    let mut reproduction = Reproduction::new(bench);
    for &at in &bench.inputs.rows {
        let profile: Vec<f32> = reproduced.row(at).iter().map(|&value| value as f32).collect();
        reproduction.add(at, &profile);
    }
    let mut figures = [f64::NAN; N_FIGURES];
    figures[N_OF_TYPING - 1] = shift.of(scores.as_ref(), &bench.inputs.rows);
    figures[N_OF_TYPING..].copy_from_slice(&reproduction.scores());
    Figures(figures)
}

/// A classifier of profiles.
pub(super) fn of_classifier(fitted: &Fitted<'_>, bench: &Bench<'_>) -> Figures {
    of_calls(&fitted.classify(&bench.inputs.values), bench)
}

/// A classifier that is fitted again on the genes that are left; without figures where it cannot be.
pub(super) fn of_refitted(
    rows: Labelled<'_>,
    present: &[bool],
    contender: Contender,
    bench: &Bench<'_>,
) -> Figures {
    let left: Vec<usize> = (0..present.len()).filter(|&gene| present[gene]).collect();
    let columns = |values: &[f32]| -> Vec<f32> {
        values.chunks_exact(rows.n_genes).flat_map(|row| pick(row, &left)).collect()
    };
    let values = columns(rows.values);
    let rows = Labelled { values: &values, n_genes: left.len(), ..rows };
    let prepared = Prepared::new(rows, 1.min(left.len()));
    let called =
        prepared.and_then(|prepared| prepared.classify(contender, &columns(&bench.inputs.values)));
    called.map_or(Figures::NONE, |called| of_calls(&called, bench))
}

fn of_calls(called: &[usize], bench: &Bench<'_>) -> Figures {
    let mut confusion = Confusion::new(bench.n_classes);
    for (at, (&truth, &called)) in bench.truth.iter().zip(called).enumerate() {
        let has_values = bench.inputs.rows.binary_search(&at).is_ok();
        confusion.add(truth, has_values.then_some(called));
    }
    let mut figures = [f64::NAN; N_FIGURES];
    figures[..2].copy_from_slice(&[confusion.accuracy(), confusion.macro_f1()]);
    Figures(figures)
}

/// How a model calls a cell.
#[derive(Clone, Copy)]
pub(super) struct Call {
    /// Leaf of highest probability, whatever the model's rules for refusals.
    best: Option<usize>,
    confidence: f64,
    is_refused: bool,
    has_code: bool,
}

/// What a model makes of cells.
pub(super) struct Typed {
    pub(super) calls: Vec<Call>,
    /// `[n × code_dim]`, zeros for cells without a code.
    pub(super) codes: Mat<f64>,
}

/// Types cells, though the model would refuse a file with so few of its genes, and hands what comes back from their codes to
/// `take`.
pub(super) fn type_cells(
    model: &Model<'_>,
    cells: &AlignedMatrix,
    mut take: impl FnMut(usize, &[f32]),
) -> Result<Typed, Failure> {
    let session = Session::new(model, 0).map_err(Failure::internal)?;
    let mut runner = CellRunner::new(session, &cells.present).map_err(Failure::internal)?;
    let n = cells.values.n_rows();
    let mut typed = Typed { calls: Vec::with_capacity(n), codes: Mat::zeros(n, model.code_dim()) };
    let has_decoder = !model.stage(StageKind::Decoder).is_empty();
    let mut reproduced = vec![0.0; model.n_genes()];
    for at in 0..n {
        let (genes, values) = cells.values.row(at);
        let outcome = runner.run(genes, values, cells.totals[at]).map_err(Failure::internal)?;
        let best = outcome.numbers.and_then(|numbers| numbers.best());
        let confidence = best.zip(outcome.numbers);
        typed.calls.push(Call {
            best,
            confidence: confidence
                .map_or(0.0, |(leaf, numbers)| f64::from(numbers.probability(leaf))),
            is_refused: outcome.reject.is_some(),
            has_code: outcome.numbers.is_some(),
        });
        let Some(numbers) = outcome.numbers else { continue };
        for dim in 0..model.code_dim() {
            typed.codes[(at, dim)] = f64::from(numbers.code(dim));
        }
        if has_decoder {
            let code = CodeCopy::new(&numbers);
            runner.reconstruct(&code, &mut reproduced).map_err(Failure::internal)?;
            take(at, &reproduced);
        }
    }
    Ok(typed)
}

fn is_covered(rules: &Rules, cells: &AlignedMatrix) -> bool {
    rules.is_covered(cells.overlap.n_present as usize, cells.present.len())
}

/// How near reproductions are to clean and to spoiled profiles.
struct Reproduction<'a> {
    bench: &'a Bench<'a>,
    clean: Reconstruction,
    spoiled: Reconstruction,
}

impl<'a> Reproduction<'a> {
    fn new(bench: &'a Bench<'a>) -> Self {
        let of = |genes: &[usize]| Reconstruction::new(pick(bench.mean, genes));
        Self { bench, clean: of(bench.genes), spoiled: of(bench.kept) }
    }

    fn add(&mut self, at: usize, reproduced: &[f32]) {
        let Bench { clean, inputs, genes, kept, mean, .. } = *self.bench;
        let row = at * mean.len()..(at + 1) * mean.len();
        self.clean.add(&pick(&clean[row.clone()], genes), &pick(reproduced, genes));
        self.spoiled.add(&pick(&inputs.values[row], kept), &pick(reproduced, kept));
    }

    /// R² and Spearman's correlation, each against the clean and the spoiled profile.
    fn scores(&self) -> [f64; 4] {
        let of = |scores: ReconstructionScores, genes: &[usize]| match scores.n_rows > 0
            && genes.len() > 1
        {
            true => (scores.r2, scores.spearman),
            false => (f64::NAN, f64::NAN),
        };
        let clean = of(self.clean.scores(), self.bench.genes);
        let spoiled = of(self.spoiled.scores(), self.bench.kept);
        [clean.0, spoiled.0, clean.1, spoiled.1]
    }
}

fn pick(profile: &[f32], genes: &[usize]) -> Vec<f32> {
    genes.iter().map(|&gene| profile[gene]).collect()
}
