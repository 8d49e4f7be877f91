//! Cells run one by one together with the error of their reproduction.

use cic_model::profile::Profile;
use cic_model::{Model, StageKind};
use cic_quant::{CellRunner, CodeCopy};
use cic_runtime::{Numbers, Outcome, Session};

use crate::coverage::library_share_q30;
use crate::failure::Failure;

/// Runs cells of one file.
pub(crate) struct Reproducer<'a> {
    runner: CellRunner<'a>,
    profile: Profile<'a>,
    has_decoder: bool,
    share_q30: u32,
    present: Vec<bool>,
    input: Vec<f32>,
    reproduced: Vec<f32>,
}

/// What became of a cell.
pub(crate) struct Reproduced<T> {
    /// What was taken of its outcome.
    pub(crate) taken: T,
    /// Mean squared error over the genes that the file has, in network input units; `None` where there is no reproduction.
    pub(crate) error: Option<f64>,
}

impl<'a> Reproducer<'a> {
    /// For a file that has the genes of `present`.
    pub(crate) fn new(model: &'a Model<'a>, present: &[bool]) -> Result<Self, Failure> {
        let session = Session::new(model, 0).map_err(Failure::internal)?;
        Ok(Self {
            profile: *session.profile(),
            runner: CellRunner::new(session, present).map_err(Failure::internal)?,
            has_decoder: !model.stage(StageKind::Decoder).is_empty(),
            share_q30: library_share_q30(model, present),
            present: present.to_vec(),
            input: vec![0.0; model.n_genes()],
            reproduced: vec![0.0; model.n_genes()],
        })
    }

    /// Runs a cell and reproduces it. `total` is the sum over all measured genes.
    pub(crate) fn run<T>(
        &mut self,
        genes: &[u32],
        values: &[f32],
        total: f64,
        take: impl FnOnce(Outcome<Numbers<'_>>) -> T,
    ) -> Result<Reproduced<T>, Failure> {
        let outcome = self.runner.run(genes, values, total).map_err(Failure::internal)?;
        let code = outcome.numbers.as_ref().filter(|_| self.has_decoder).map(CodeCopy::new);
        let taken = take(outcome);
        let sum: f64 = values.iter().map(|&value| f64::from(value)).sum();
        let factor = self.profile.factor(sum, total, self.share_q30);
        let (Some(code), Some(factor)) = (code, factor) else {
            return Ok(Reproduced { taken, error: None });
        };
        // A zero is below every limit.
        self.input.fill(self.profile.input(0, 0.0, factor));
        for (&gene, &value) in genes.iter().zip(values) {
            self.input[gene as usize] = self.profile.input(gene as usize, value, factor);
        }
        self.runner.reconstruct(&code, &mut self.reproduced).map_err(Failure::internal)?;
        let pairs = self.input.iter().zip(&self.reproduced).zip(&self.present);
        let present = pairs.filter(|(_, is_present)| **is_present);
        let (sum, n) = present
            .fold((0.0, 0_usize), |(sum, n), ((a, b), _)| (sum + f64::from(a - b).powi(2), n + 1));
        Ok(Reproduced { taken, error: Some(sum / n.max(1) as f64) })
    }
}
