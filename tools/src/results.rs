//! Calls: what a model says of cells. The tables that they become are in `outputs`.

use cic_data::{AlignedMatrix, CsrMatrix};
use cic_model::Model;
use cic_model::confidence::LEVELS;
use cic_model::labels::UNASSIGNED;
use cic_model::novelty::{Likeness, Novelty};
use cic_model::quant::ONE_Q16;
use cic_model::rules::RejectReason;
use cic_model::spec::thorough_score;
use cic_quant::{CellRunner, TileRunner};
use cic_runtime::{Numbers, Outcome, Pages, Session};

use crate::coverage::library_share_q30;
use crate::failure::Failure;
use crate::reproducer::Reproducer;

/// Result of one cell.
#[derive(Clone)]
pub(crate) struct Call {
    best: Option<u32>,
    pub(crate) confidence: f32,
    /// Best less second best probability.
    pub(crate) margin: f32,
    pub(crate) reject: Option<RejectReason>,
    /// How unlike the training cells it is: above 1 it is rejected for it. Not a number where the model does not know.
    pub(crate) novelty: f32,
    pub(crate) n_genes: u32,
    pub(crate) n_counts: u64,
    /// Sets of labels by level, where one of them is another than the best leaf alone.
    sets: Option<Box<[Vec<u32>; LEVELS.len()]>>,
}

/// Results of the cells of a file or a part of it, in its order.
#[derive(Default)]
pub(crate) struct Calls {
    pub(crate) calls: Vec<Call>,
    /// `[n_obs × code_dim]`, zeros for cells that could not be run.
    pub(crate) codes: Vec<f32>,
    /// `[n_obs × n_leaves]`
    pub(crate) probabilities: Vec<f32>,
}

impl Calls {
    /// Types every cell of a file, and asks whether it can be reproduced if that `is_thorough`.
    pub(crate) fn run(
        model: &Model<'_>,
        cells: &AlignedMatrix,
        is_thorough: bool,
    ) -> Result<Self, Failure> {
        let mut all = Self::default();
        let mut memory = None;
        let prepared = Prepared::new(model, &mut memory, &cells.present)?;
        all.append(model, &mut prepared.runner(is_thorough)?, &cells.values, &cells.totals)?;
        Ok(all)
    }

    /// Types some cells and adds their calls: the one place where cells go through a model. Rows
    /// hold the genes of the panel, `totals` the sums over all measured genes.
    pub(crate) fn append(
        &mut self,
        model: &Model<'_>,
        runner: &mut Runner<'_>,
        cells: &CsrMatrix,
        totals: &[f64],
    ) -> Result<(), Failure> {
        let (code_dim, n_leaves) = (model.code_dim(), model.n_leaves());
        self.calls.reserve(cells.n_rows());
        self.codes.reserve(cells.n_rows() * code_dim);
        self.probabilities.reserve(cells.n_rows() * n_leaves);
        let Runner { work, novelty } = runner;
        let take = |outcome: Outcome<Numbers<'_>>| {
            self.push(outcome, model, *novelty);
        };
        match work {
            Work::Tiles(runner) => runner.run(cells, totals, take).map_err(Failure::internal),
            Work::Cells(runner) => runner.run_all(cells, totals, take).map_err(Failure::internal),
            Work::Thorough(reproducer) => {
                self.append_thorough(model, reproducer, *novelty, cells, totals)
            }
        }
    }

    /// The same, by what the reproduction of a cell says too.
    fn append_thorough(
        &mut self,
        model: &Model<'_>,
        reproducer: &mut Reproducer<'_>,
        novelty: Option<&Novelty<'_>>,
        cells: &CsrMatrix,
        totals: &[f64],
    ) -> Result<(), Failure> {
        let least = model.rules().min_confidence_q16 as f32 / ONE_Q16 as f32;
        for (row, &total) in totals.iter().enumerate() {
            let (genes, values) = cells.row(row);
            let take = |outcome: Outcome<Numbers<'_>>| self.push(outcome, model, novelty);
            let cell = reproducer.run(genes, values, total, take)?;
            let Some(novelty) = novelty else { continue };
            let (Some(call), Some(error), Some(likeness)) =
                (self.calls.last_mut(), cell.error, cell.taken)
            else {
                continue;
            };
            let Some(limit) = novelty.error_limit(call.n_counts) else { continue };
            let score = thorough_score(likeness.score().into(), error / f64::from(limit));
            call.novelty = score as f32;
            if decided_after_depth(call.reject) {
                let reason = novelty.reason(&likeness, score > 1.0);
                let is_unsure = call.confidence < least;
                call.reject = reason.or(is_unsure.then_some(RejectReason::LowConfidence));
            }
        }
        Ok(())
    }

    /// Adds a call, and returns what the code is like.
    fn push(
        &mut self,
        outcome: Outcome<Numbers<'_>>,
        model: &Model<'_>,
        novelty: Option<&Novelty<'_>>,
    ) -> Option<Likeness> {
        let (code_dim, n_leaves) = (model.code_dim(), model.n_leaves());
        let numbers = outcome.numbers;
        let likeness = numbers
            .zip(novelty)
            .map(|(numbers, novelty)| numbers.likeness(novelty, outcome.depth.n_counts));
        let code = |dim| numbers.map_or(0.0, |numbers| numbers.code(dim));
        let probability = |leaf| numbers.map_or(0.0, |numbers| numbers.probability(leaf));
        self.codes.extend((0..code_dim).map(code));
        self.probabilities.extend((0..n_leaves).map(probability));
        let best = numbers.and_then(|numbers| numbers.best());
        let confidence = best.map_or(0.0, probability);
        let others = (0..n_leaves).filter(|&leaf| Some(leaf) != best);
        let second = others.map(probability).fold(0.0, f32::max);
        self.calls.push(Call {
            // Leaves of a model are few.
            best: best.map(|leaf| leaf as u32),
            confidence,
            margin: confidence - second,
            reject: outcome.reject,
            novelty: likeness.map_or(f32::NAN, |likeness| likeness.score()),
            n_genes: outcome.depth.n_genes,
            n_counts: outcome.depth.n_counts,
            sets: numbers.and_then(|numbers| label_sets(&numbers, model)),
        });
        likeness
    }

    pub(crate) fn n_rejected(&self) -> usize {
        self.calls.iter().filter(|call| call.reject.is_some()).count()
    }
}

/// Whether what a verdict was about is the code and what it says, not how much was measured.
fn decided_after_depth(reject: Option<RejectReason>) -> bool {
    use RejectReason::{DoubletLike, LowConfidence, NoiseLike, UnlikeTraining};
    matches!(reject, None | Some(NoiseLike | UnlikeTraining | DoubletLike | LowConfidence))
}

/// A model ready for the cells of a file, shared by all who type them.
pub(crate) struct Prepared<'a> {
    session: Session<'a>,
    present: &'a [bool],
    /// Empty where no gene is missing.
    correction: Vec<u32>,
    /// `None` also where too many genes are missing for its limits.
    novelty: Option<&'a Novelty<'a>>,
}

/// Types cells, with memory of its own.
pub(crate) struct Runner<'a> {
    work: Work<'a>,
    novelty: Option<&'a Novelty<'a>>,
}

enum Work<'a> {
    Tiles(TileRunner<'a>),
    Cells(CellRunner<'a>),
    Thorough(Box<Reproducer<'a>>),
}

impl<'a> Prepared<'a> {
    /// For a file that has the genes of `present`. `memory` holds the weights in a second layout, for
    /// many cells at a time.
    pub(crate) fn new(
        model: &'a Model<'a>,
        memory: &'a mut Option<Pages>,
        present: &'a [bool],
    ) -> Result<Self, Failure> {
        let session = match Session::new(model, 0).map_err(Failure::internal)? {
            Session::S8(session) => {
                let pages = Pages::zeroed(session.packed_len()).map_err(Failure::memory)?;
                let weights = memory.insert(pages).as_weights_mut();
                Session::S8(session.with_packed(weights).map_err(Failure::internal)?)
            }
            session => session,
        };
        let mut correction = Vec::new();
        if present.iter().any(|&is_present| !is_present) {
            correction.resize(session.correction_len(), 0);
            session.presence(present, &mut correction).map_err(Failure::internal)?;
        }
        let share_q30 = library_share_q30(model, present);
        let novelty = model.novelty().filter(|novelty| novelty.holds_for(share_q30));
        Ok(Self { session, present, correction, novelty })
    }

    /// One that also asks whether cells can be reproduced, if it `is_thorough`.
    pub(crate) fn runner(&self, is_thorough: bool) -> Result<Runner<'_>, Failure> {
        Ok(Runner { work: self.work(is_thorough)?, novelty: self.novelty })
    }

    fn work(&self, is_thorough: bool) -> Result<Work<'_>, Failure> {
        if is_thorough {
            let model = self.session.model();
            return Ok(Work::Thorough(Box::new(Reproducer::new(model, self.present)?)));
        }
        if let Session::S8(session) = self.session {
            let missing =
                (!self.correction.is_empty()).then_some((self.present, &self.correction[..]));
            if let Some(runner) = TileRunner::new(session, missing) {
                return Ok(Work::Tiles(runner));
            }
        }
        let runner = CellRunner::new(self.session, self.present).map_err(Failure::internal)?;
        Ok(Work::Cells(runner))
    }
}

/// The sets of labels of a cell, where one of them is another than the best leaf alone. Without promises there are none.
fn label_sets(numbers: &Numbers<'_>, model: &Model<'_>) -> Option<Box<[Vec<u32>; LEVELS.len()]>> {
    let confidence = model.confidence()?;
    let best = numbers.best()?;
    let leaves = || 0..numbers.n_leaves();
    let others = |leaf| leaves().filter(move |&other| other != leaf);
    let largest = numbers.logit(best);
    let second = others(best).map(|leaf| numbers.logit(leaf)).fold(f32::NEG_INFINITY, f32::max);
    let mut sets: [Vec<u32>; LEVELS.len()] = Default::default();
    for (level, set) in sets.iter_mut().enumerate() {
        let margin = confidence.margin_q16(level)? as f32 / ONE_Q16 as f32;
        let rival = |leaf| if leaf == best { second } else { largest };
        let is_in = |&leaf: &usize| rival(leaf) - numbers.logit(leaf) <= margin;
        // Leaves of a model are few.
        set.extend(leaves().filter(is_in).map(|leaf| leaf as u32));
    }
    let is_usual = sets.iter().all(|set| set[..] == [best as u32]);
    (!is_usual).then(|| Box::new(sets))
}

impl Call {
    /// The leaves of its set of labels at a level of [`LEVELS`], if the model promises any.
    pub(crate) fn label_set(&self, level: usize) -> &[u32] {
        match &self.sets {
            Some(sets) => sets.get(level).map_or(&[], |set| set),
            None => self.best.as_slice(),
        }
    }

    /// Their names, with `|` between them.
    pub(crate) fn label_names(&self, model: &Model<'_>, level: usize) -> String {
        let leaves = self.label_set(level).iter();
        let names = leaves.map(|&leaf| model.labels().leaf_name(leaf as usize));
        names.collect::<Vec<_>>().join("|")
    }

    /// The leaf with the highest probability, also of a rejected cell.
    pub(crate) fn best(&self) -> Option<usize> {
        self.best.map(|leaf| leaf as usize)
    }

    /// The label that is printed.
    pub(crate) fn label<'m>(&self, model: &Model<'m>) -> &'m str {
        match (self.reject, self.best()) {
            (None, Some(best)) => model.labels().leaf_name(best),
            _ => UNASSIGNED,
        }
    }

    /// The name of [`Self::best`], empty where the cell could not be run.
    pub(crate) fn best_guess<'m>(&self, model: &Model<'m>) -> &'m str {
        self.best().map_or("", |best| model.labels().leaf_name(best))
    }

    /// Ontology id of the label, empty where there is none.
    pub(crate) fn ontology_id<'m>(&self, model: &Model<'m>) -> &'m str {
        let node = self.best().filter(|_| self.reject.is_none());
        let node = node.and_then(|leaf| model.labels().node(leaf));
        node.map_or("", |node| model.labels().ontology_id(node))
    }

    /// Whether the cell has a label.
    pub(crate) fn is_named(&self) -> bool {
        self.reject.is_none() && self.best.is_some()
    }

    /// Whether the cell is sound: it has a label, or lacks one only because no label is probable enough.
    pub(crate) fn is_named_or_in_doubt(&self) -> bool {
        matches!(self.reject, None | Some(RejectReason::LowConfidence))
    }

    /// Why there is no label, empty where there is one.
    pub(crate) fn reason(&self) -> &'static str {
        self.reject.map_or("", RejectReason::name)
    }
}

/// Where the network inputs of a cell come from, for reconstruction: the panel's values as the
/// float network reads them.
pub(crate) fn network_input(
    model: &Model<'_>,
    cells: &AlignedMatrix,
    row: usize,
    input: &mut [f32],
) -> bool {
    let Some(profile) = model.profiles().first() else { return false };
    let (genes, values) = cells.values.row(row);
    let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
    let factor = profile.factor(sum, cells.totals[row], cells.overlap.share_q30);
    let Some(factor) = factor else { return false };
    // A zero is below every limit.
    input.fill(profile.input(0, 0.0, factor));
    for (&gene, &value) in genes.iter().zip(values) {
        input[gene as usize] = profile.input(gene as usize, value, factor);
    }
    true
}
