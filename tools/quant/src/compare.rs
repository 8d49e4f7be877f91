//! What quantisation did: two models on the same cells.

use cic_data::AlignedMatrix;
use cic_model::Model;
use cic_runtime::{RunError, Session};

use crate::runner::CellRunner;

/// Differences between a model and a reference model, cell by cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Cells that both models could run.
    pub n_cells: usize,
    /// Cells whose best label differs.
    pub flips: Vec<Flip>,
    /// `[code_dim]`: root mean square of the code's difference, divided by the standard deviation
    /// of the reference's code between these cells.
    pub code_error: Vec<f64>,
    /// The same over all dimensions: root of the mean square of `code_error`.
    pub pooled_code_error: f64,
}

/// A cell whose best label differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Flip {
    /// Row of the cell.
    pub row: usize,
    /// Best leaf of the reference.
    pub reference_leaf: usize,
    /// Best leaf of the other model.
    pub leaf: usize,
    /// The reference's probability of its best leaf less that of the other model's: near zero for
    /// a near-tie.
    pub margin: f64,
}

impl Comparison {
    /// Share of cells with the same best label; 1 where there are none.
    pub fn agreement(&self) -> f64 {
        1.0 - self.flips.len() as f64 / self.n_cells.max(1) as f64
    }
}

/// Runs `rows` of an aligned file through both models. Both must have the panel that the file was
/// aligned to; cells that one of them cannot run (empty ones) are left out.
///
/// # Errors
/// What a session says of a cell that does not fit its model.
pub fn compare(
    reference: &Model<'_>,
    model: &Model<'_>,
    cells: &AlignedMatrix,
    rows: &[usize],
) -> Result<Comparison, RunError> {
    let mut of_reference = CellRunner::new(Session::new(reference, 0)?, &cells.present)?;
    let mut of_model = CellRunner::new(Session::new(model, 0)?, &cells.present)?;
    let code_dim = reference.code_dim();
    let mut codes = Moments::new(code_dim);
    let mut squares = vec![0.0; code_dim];
    let mut flips = Vec::new();
    for &row in rows {
        let (genes, values) = cells.values.row(row);
        let total = cells.totals.get(row).copied().unwrap_or(0.0);
        let a = of_reference.run(genes, values, total)?.numbers;
        let b = of_model.run(genes, values, total)?.numbers;
        let (Some(a), Some(b)) = (a, b) else { continue };
        for (dim, square) in squares.iter_mut().enumerate() {
            *square += f64::from(a.code(dim) - b.code(dim)).powi(2);
        }
        codes.add(|dim| f64::from(a.code(dim)));
        if let (Some(reference_leaf), Some(leaf)) = (a.best(), b.best())
            && reference_leaf != leaf
        {
            let margin = f64::from(a.probability(reference_leaf) - a.probability(leaf));
            flips.push(Flip { row, reference_leaf, leaf, margin });
        }
    }
    let n = codes.n.max(1) as f64;
    let code_error: Vec<f64> = squares
        .iter()
        .enumerate()
        .map(|(dim, square)| (square / n).sqrt() / codes.deviation(dim).max(1e-12))
        .collect();
    let mean_square =
        code_error.iter().map(|error| error * error).sum::<f64>() / code_dim.max(1) as f64;
    Ok(Comparison { n_cells: codes.n, flips, code_error, pooled_code_error: mean_square.sqrt() })
}

/// Means and deviations per dimension, by Welford's recurrence.
struct Moments {
    n: usize,
    means: Vec<f64>,
    squares: Vec<f64>,
}

impl Moments {
    fn new(dims: usize) -> Self {
        Self { n: 0, means: vec![0.0; dims], squares: vec![0.0; dims] }
    }

    fn add(&mut self, value: impl Fn(usize) -> f64) {
        self.n += 1;
        for (dim, (mean, square)) in self.means.iter_mut().zip(&mut self.squares).enumerate() {
            let difference = value(dim) - *mean;
            *mean += difference / self.n as f64;
            *square += difference * (value(dim) - *mean);
        }
    }

    fn deviation(&self, dim: usize) -> f64 {
        (self.squares.get(dim).copied().unwrap_or(0.0) / self.n.max(1) as f64).sqrt()
    }
}
