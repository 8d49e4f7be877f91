//! Profiles as the network reads them, and what a model makes of them.

use cic_data::AlignedMatrix;
use cic_model::Model;
use cic_quant::{CellRunner, CodeCopy};
use cic_runtime::Session;
use cic_trainer::baselines;
use cic_trainer::metrics::{Reconstruction, ReconstructionScores};
use faer::Mat;

use crate::failure::Failure;
use crate::results::network_input;

/// Genes that count in reproduction: of largest variance over the training rows.
pub(crate) const N_GENES: usize = 1000;

/// Profiles as the network reads them.
pub(crate) struct Profiles {
    /// Rows of the file.
    pub(crate) rows: Vec<usize>,
    pub(crate) n_genes: usize,
    /// `[n × n_genes]`
    pub(crate) values: Vec<f32>,
}

impl Profiles {
    /// Those of the rows that have any value.
    pub(crate) fn read(model: &Model<'_>, cells: &AlignedMatrix, rows: Vec<usize>) -> Self {
        let n_genes = model.n_genes();
        let mut read = Self { rows: Vec::new(), n_genes, values: Vec::new() };
        let mut input = vec![0.0; n_genes];
        for row in rows {
            if network_input(model, cells, row, &mut input) {
                read.rows.push(row);
                read.values.extend(&input);
            }
        }
        read
    }

    pub(crate) fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.n_genes..(at + 1) * self.n_genes]
    }

    pub(crate) fn mean(&self) -> Vec<f32> {
        let mut sum = vec![0.0_f64; self.n_genes];
        for row in self.values.chunks_exact(self.n_genes) {
            sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        sum.iter().map(|sum| (sum / self.rows.len() as f64) as f32).collect()
    }

    /// `[n_genes]` over the rows.
    pub(crate) fn variance(&self) -> Vec<f64> {
        let mean = self.mean();
        let mut squares = vec![0.0_f64; self.n_genes];
        for row in self.values.chunks_exact(self.n_genes) {
            for ((square, &value), &mean) in squares.iter_mut().zip(row).zip(&mean) {
                *square += f64::from(value - mean).powi(2);
            }
        }
        squares.iter().map(|square| square / self.rows.len() as f64).collect()
    }

    /// The genes of largest variance, in increasing order.
    pub(crate) fn most_variable(&self, n: usize) -> Vec<usize> {
        let variance = self.variance();
        let mut genes: Vec<usize> = (0..self.n_genes).collect();
        genes.sort_by(|&a, &b| variance[b].total_cmp(&variance[a]));
        genes.truncate(n);
        genes.sort_unstable();
        genes
    }

    /// Every so many of the rows, at most `most`.
    pub(crate) fn evenly(&self, most: usize) -> Mat<f64> {
        let step = self.rows.len().div_ceil(most.max(1)).max(1);
        let chosen: Vec<usize> = (0..self.rows.len()).step_by(step).collect();
        Mat::from_fn(chosen.len(), self.n_genes, |at, gene| f64::from(self.row(chosen[at])[gene]))
    }

    pub(crate) fn matrix(&self) -> Mat<f64> {
        baselines::matrix(&self.values, self.n_genes)
    }
}

/// Some cells of an aligned file.
pub(crate) fn select_cells(cells: &AlignedMatrix, rows: &[usize]) -> AlignedMatrix {
    AlignedMatrix {
        values: cells.values.select_rows(rows),
        present: cells.present.clone(),
        overlap: cells.overlap,
        totals: rows.iter().map(|&row| cells.totals[row]).collect(),
    }
}

/// Some genes of profiles `[n × n_genes]`.
pub(crate) fn genes_of(profiles: &Mat<f64>, genes: &[usize]) -> Mat<f64> {
    Mat::from_fn(profiles.nrows(), genes.len(), |row, at| profiles[(row, genes[at])])
}

/// What a model makes of profiles.
pub(crate) struct ModelOutputs {
    /// `[n × code_dim]`, in units of the code.
    pub(crate) codes: Mat<f64>,
    /// `[n × n_genes]`, in network input units.
    pub(crate) reproduced: Mat<f64>,
    /// `[n]` leaf of highest probability, whatever the model's rules for refusals.
    pub(crate) leaves: Vec<usize>,
}

/// Runs a model with a decoder on the cells of these profiles.
pub(crate) fn run_model(
    model: &Model<'_>,
    cells: &AlignedMatrix,
    profiles: &Profiles,
) -> Result<ModelOutputs, Failure> {
    let session = Session::new(model, 0).map_err(Failure::internal)?;
    let mut runner = CellRunner::new(session, &cells.present).map_err(Failure::internal)?;
    let (n, n_genes) = (profiles.rows.len(), model.n_genes());
    let mut codes = Mat::zeros(n, model.code_dim());
    let mut reproduced = Mat::zeros(n, n_genes);
    let mut leaves = vec![0; n];
    let mut one = vec![0.0; n_genes];
    for (at, &row) in profiles.rows.iter().enumerate() {
        let (genes, values) = cells.values.row(row);
        let outcome = runner.run(genes, values, cells.totals[row]).map_err(Failure::internal)?;
        // A row with values has a code.
        let Some(numbers) = outcome.numbers.as_ref() else { continue };
        let code = CodeCopy::new(numbers);
        leaves[at] = numbers.best().unwrap_or(0);
        for dim in 0..model.code_dim() {
            codes[(at, dim)] = f64::from(numbers.code(dim));
        }
        runner.reconstruct(&code, &mut one).map_err(Failure::internal)?;
        for (gene, &value) in one.iter().enumerate() {
            reproduced[(at, gene)] = f64::from(value);
        }
    }
    Ok(ModelOutputs { codes, reproduced, leaves })
}

/// How well some rows are reproduced, against the mean training profile.
pub(crate) fn scores(
    profiles: &Mat<f64>,
    reproduced: &Mat<f64>,
    mean: &[f32],
    rows: &[usize],
) -> ReconstructionScores {
    let mut scores = Reconstruction::new(mean.to_vec());
    let row = |of: &Mat<f64>, at: usize| -> Vec<f32> {
        of.row(at).iter().map(|&value| value as f32).collect()
    };
    for &at in rows {
        scores.add(&row(profiles, at), &row(reproduced, at));
    }
    scores.scores()
}
