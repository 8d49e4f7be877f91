//! What a model promises of its calls, renewed on the cells that it keeps for that: temperature, sets of labels, and from
//! where on a cell is unlike those of training. Everything is measured with the model itself, as it is typed with.

use cic_data::{AlignedMatrix, CsrMatrix, rank_rows};
use cic_model::confidence::COVERAGE_STEPS;
use cic_model::provenance::{Part, RowDigest, row_digest};
use cic_model::quant::ONE_Q30;
use cic_model::rules::RejectReason;
use cic_model::spec::{FalseRejects, LayoutPlan, ModelSpec, NoveltySpec, Placed, Reproduced};
use cic_model::{AlignedBytes, Model, StageKind, ValueKind};
use cic_quant::{CellRunner, fitted_parts, rows_of};
use cic_runtime::{Numbers, Outcome, Session};
use cic_trainer::calibration::{Judged, calibrate, halves};
use cic_trainer::noise::shuffled;

use clap::Args;

use crate::failure::Failure;
use crate::reproducer::Reproducer;

/// How often a cell may be rejected wrongly.
#[derive(Args, Clone, Copy, Debug)]
pub struct FalseRejectArgs {
    /// Share of cells like those of training that may be
    /// rejected as noise, unlike training or doublets; 0
    /// to reject none for it [default: 0.016]
    #[arg(long, value_name = "SHARE", value_parser = parse_share, verbatim_doc_comment)]
    rejects: Option<f64>,
}

impl FalseRejectArgs {
    /// Whether a share is stated for which limits have to be set.
    pub(crate) fn asks_for_limits(self) -> bool {
        self.rejects.is_some_and(|share| share > 0.0)
    }

    pub(crate) fn rates(self) -> FalseRejects {
        FalseRejects::of(self.rejects.unwrap_or(FalseRejects::DEFAULT_SHARE))
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..0.5).contains(share));
    share.ok_or_else(|| "expected a share from 0 up to, not including, 0.5".into())
}

/// The cells that promises are made with.
pub(crate) struct PromiseCells<'a> {
    /// The full-precision model, which knows what its rows were used for.
    pub(crate) source: &'a Model<'a>,
    pub(crate) names: &'a [String],
    /// Of the names, in the panel's order.
    pub(crate) cells: &'a AlignedMatrix,
    /// The leaf that each cell is, where that is known; `None` where no labels were given.
    pub(crate) leaves: Option<Vec<Option<usize>>>,
    pub(crate) false_rejects: FalseRejects,
}

/// The leaves that labels stand for.
pub(crate) fn leaves_of(
    model: &Model<'_>,
    n_rows: usize,
    label: impl Fn(usize) -> Option<String>,
) -> Vec<Option<usize>> {
    let names = model.labels();
    let leaf = |label: String| (0..names.n_leaves()).find(|&leaf| names.leaf_name(leaf) == label);
    (0..n_rows).map(|row| label(row).and_then(leaf)).collect()
}

impl PromiseCells<'_> {
    /// The bytes of a model with its promises renewed.
    pub(crate) fn renew_bytes(
        &self,
        bytes: &[u8],
        layouts: LayoutPlan,
    ) -> Result<Vec<u8>, Failure> {
        let bytes = AlignedBytes::new(bytes);
        let model = Model::open(&bytes).map_err(Failure::internal)?;
        self.renew(&model)?.to_bytes(layouts).map_err(Failure::internal)
    }

    /// The description of `model` with its promises renewed. Sets of labels, and the temperature, need labels: without them no
    /// sets are promised. Nothing is promised by cells that the weights were fitted to.
    pub(crate) fn renew(&self, model: &Model<'_>) -> Result<ModelSpec, Failure> {
        let mut spec = ModelSpec::from_model(model);
        let fitted = fitted_parts(self.source);
        let is_held = !fitted.contains(&Part::Calibrate);
        let held = match is_held {
            true => rows_of(self.source, self.names, &[Part::Calibrate]),
            false => Vec::new(),
        };
        // Cells without a label may be what the model is to reject, so without labels limits stay as they are.
        if self.false_rejects.unlike <= 0.0 {
            spec.novelty = None;
        }
        let novelty = spec.novelty.take();
        if let (Some(mut novelty), Some(leaves)) = (novelty.clone(), &self.leaves) {
            let known = |rows: Vec<usize>| -> Vec<usize> {
                rows.into_iter().filter(|&row| leaves[row].is_some()).collect()
            };
            let seen = evenly(&known(rows_of(self.source, self.names, fitted)), MOST_SEEN);
            self.set_limits(model, &mut novelty, &seen, &known(held.clone()))?;
            spec.novelty = Some(novelty);
            let least = self.least_share(&spec, &seen)?;
            spec.novelty.iter_mut().for_each(|novelty| novelty.least_share_q30 = least);
        } else {
            spec.novelty = novelty;
        }
        let Some(leaves) = self.leaves.as_deref().filter(|_| is_held) else {
            if let Some(confidence) = &mut spec.confidence {
                (confidence.n_cells, confidence.margins_q16) = (0, Default::default());
            }
            return Ok(spec);
        };
        let known = held.into_iter().filter(|&row| leaves[row].is_some());
        let digested: Vec<(RowDigest, usize)> =
            known.map(|row| (row_digest(&self.names[row]), row)).collect();
        let rows = halves(digested);
        let [first, second] =
            [&rows[0], &rows[1]].map(|rows| judge(model, self.cells, None, rows, leaves));
        let mut lacking = Vec::with_capacity(COVERAGE_STEPS);
        let few = evenly(&rows[0], MOST_LACKING);
        for step in 0..COVERAGE_STEPS {
            let mut judged = Vec::new();
            for draw in 0..N_DRAWS {
                let mask = some_genes(model, step, draw);
                judged.extend(judge(model, self.cells, Some(&mask), &few, leaves)?);
            }
            lacking.push(judged);
        }
        let present = model.rules().inv_temperature_q16;
        let calibrated = calibrate(&[first?, second?], &lacking, present);
        if let Some(inverse) = calibrated.inv_temperature_q16 {
            spec.rules.inv_temperature_q16 = inverse;
        }
        spec.confidence = Some(calibrated.confidence);
        Ok(spec)
    }

    fn set_limits(
        &self,
        model: &Model<'_>,
        novelty: &mut NoveltySpec,
        seen: &[usize],
        held: &[usize],
    ) -> Result<(), Failure> {
        let Some(view) = model.novelty() else { return Ok(()) };
        let placed = |rows: &[usize]| -> Result<Vec<Placed>, Failure> {
            let mut found = Vec::with_capacity(rows.len());
            run(model, self.cells, None, rows, |_, outcome| {
                let n_counts = outcome.depth.n_counts;
                let place =
                    |numbers: Numbers<'_>| numbers.place(view)[..view.place_dims()].to_vec();
                found.extend(
                    outcome.numbers.map(|numbers| Placed { place: place(numbers), n_counts }),
                );
            })?;
            Ok(found)
        };
        novelty.set_limits(&placed(seen)?, &placed(held)?, self.false_rejects);
        let limited = novelty.clone();
        let reproduced = |rows: &[usize]| -> Result<Vec<Reproduced>, Failure> {
            let mut reproducer = Reproducer::new(model, &self.cells.present)?;
            let mut found = Vec::with_capacity(rows.len());
            for &row in rows {
                let (genes, values) = self.cells.values.row(row);
                let cell = reproducer.run(genes, values, self.cells.totals[row], |outcome| {
                    let n_counts = outcome.depth.n_counts;
                    let likeness =
                        |numbers: Numbers<'_>| numbers.likeness(&limited.view(), n_counts);
                    outcome.numbers.map(|numbers| (n_counts, likeness(numbers).score()))
                })?;
                found.extend(cell.taken.zip(cell.error).map(|((n_counts, score), error)| {
                    Reproduced { n_counts, error, score: score.into() }
                }));
            }
            Ok(found)
        };
        // Errors say more of the depth of a cell than of what it is like; only counts tell the depth.
        let are_counts = model.profiles().iter().all(|profile| profile.kind() == ValueKind::Counts);
        if are_counts && !model.stage(StageKind::Decoder).is_empty() {
            let rate = self.false_rejects.unlike;
            novelty.set_error_limits(&reproduced(seen)?, &reproduced(held)?, rate);
        }
        Ok(())
    }

    /// The smallest share of the library that leaves about as many cells as are stated: at every larger one at most
    /// [`MOST_FALSE`] of training cells are rejected.
    fn least_share(&self, spec: &ModelSpec, seen: &[usize]) -> Result<u32, Failure> {
        let mut open = spec.clone();
        open.novelty.iter_mut().for_each(|novelty| novelty.least_share_q30 = 0);
        let bytes = open.to_bytes(LayoutPlan::default()).map_err(Failure::internal)?;
        let bytes = AlignedBytes::new(&bytes);
        let model = Model::open(&bytes).map_err(Failure::internal)?;
        let few = evenly(seen, MOST_LACKING);
        let mut least = ONE_Q30;
        for step in (0..COVERAGE_STEPS).rev() {
            let (mut n, mut n_rejected) = (0, 0);
            for draw in 0..N_DRAWS {
                let mask = some_genes(&model, step, draw);
                run(&model, self.cells, Some(&mask), &few, |_, outcome| {
                    n += 1;
                    n_rejected += usize::from(outcome.reject.is_some_and(is_by_code));
                })?;
            }
            if n_rejected as f64 > MOST_FALSE * n as f64 {
                break;
            }
            least = ONE_Q30 / COVERAGE_STEPS as u32 * step as u32;
        }
        Ok(least)
    }
}

/// The logits of rows whose leaf is known and that have any, as of a file that has the genes of `mask`, or those of `cells`.
pub(crate) fn judge(
    model: &Model<'_>,
    cells: &AlignedMatrix,
    mask: Option<&[bool]>,
    rows: &[usize],
    leaves: &[Option<usize>],
) -> Result<Vec<Judged>, Failure> {
    let mut judged = Vec::with_capacity(rows.len());
    run(model, cells, mask, rows, |row, outcome| {
        if let (Some(numbers), Some(leaf)) = (outcome.numbers, leaves[row]) {
            let logits = (0..numbers.n_leaves()).map(|leaf| f64::from(numbers.logit(leaf)));
            judged.push(Judged { logits: logits.collect(), leaf });
        }
    })?;
    Ok(judged)
}

/// Runs rows, as of a file that has the genes of `mask`, or those of `cells`.
fn run(
    model: &Model<'_>,
    cells: &AlignedMatrix,
    mask: Option<&[bool]>,
    rows: &[usize],
    mut take: impl FnMut(usize, Outcome<Numbers<'_>>),
) -> Result<(), Failure> {
    let session = Session::new(model, 0).map_err(Failure::internal)?;
    let mut runner =
        CellRunner::new(session, mask.unwrap_or(&cells.present)).map_err(Failure::internal)?;
    let mut values = cells.values.select_rows(rows);
    if let Some(mask) = mask {
        keep_genes(&mut values, mask);
        if session.profile().kind() == ValueKind::Ranks {
            let n_present = mask.iter().filter(|&&is_present| is_present).count();
            rank_rows(&mut values, n_present);
        }
    }
    for (at, &row) in rows.iter().enumerate() {
        let (genes, row_values) = values.row(at);
        let total = cells.totals[row];
        take(row, runner.run(genes, row_values, total).map_err(Failure::internal)?);
    }
    Ok(())
}

fn is_by_code(reason: RejectReason) -> bool {
    matches!(
        reason,
        RejectReason::NoiseLike | RejectReason::UnlikeTraining | RejectReason::DoubletLike
    )
}

/// Genes by chance whose share of the library is that of a step.
fn some_genes(model: &Model<'_>, step: usize, draw: u64) -> Vec<bool> {
    let shares = model.genes().library_share_q30();
    let middle = (2 * step as u64 + 1) * u64::from(ONE_Q30) / (2 * COVERAGE_STEPS as u64);
    let mut mask = vec![false; shares.len()];
    let mut share = 0;
    for gene in shuffled(shares.len(), SEED, step as u64 * N_DRAWS + draw) {
        if share >= middle {
            break;
        }
        mask[gene] = true;
        share += u64::from(shares[gene]);
    }
    mask
}

fn keep_genes(values: &mut CsrMatrix, mask: &[bool]) {
    let mut kept =
        CsrMatrix { n_cols: values.n_cols, indptr: vec![0], indices: vec![], data: vec![] };
    for row in 0..values.n_rows() {
        let (genes, row_values) = values.row(row);
        let present = genes.iter().zip(row_values).filter(|(gene, _)| mask[**gene as usize]);
        for (&gene, &value) in present {
            kept.indices.push(gene);
            kept.data.push(value);
        }
        kept.indptr.push(kept.data.len());
    }
    *values = kept;
}

pub(crate) fn evenly(rows: &[usize], most: usize) -> Vec<usize> {
    let n = rows.len().min(most);
    (0..n).map(|number| rows[number * rows.len() / n]).collect()
}

/// Training cells that limits are taken from.
const MOST_SEEN: usize = 20_000;

/// With more cells of training rejected than this, limits do not hold for what genes are left.
const MOST_FALSE: f64 = 0.05;

/// Cells that are typed again with some of their genes.
const MOST_LACKING: usize = 400;

/// Choices of genes of each share.
const N_DRAWS: u64 = 3;

const SEED: u64 = 1;
