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
    /// `[n_leaves]` of the reference: cells that it calls so.
    pub n_called: Vec<usize>,
    /// Cells whose best label differs.
    pub flips: Vec<Flip>,
    /// Cells that the reference rejects, and the other model.
    pub n_rejected: [usize; 2],
    /// Cells that one of them rejects, or both for different reasons.
    pub n_rejects_differ: usize,
    /// `[code_dim]`: root mean square of the code's difference, divided by the standard deviation
    /// of the reference's code between these cells.
    pub code_error: Vec<f64>,
    /// The same over all dimensions: root of the mean square of `code_error`.
    pub pooled_code_error: f64,
    /// Mean share of a cell's [`N_NEIGHBOURS`] nearest cells by code that are so by both codes, among at most
    /// [`MOST_NEIGHBOURED`] cells evenly spaced; `None` where there are too few.
    pub neighbour_overlap: Option<f64>,
}

/// A cell whose best label differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Flip {
    /// Row of the cell.
    pub row: usize,
    /// Best leaf of the reference, and its probability.
    pub reference_leaf: usize,
    /// What the reference gives it.
    pub reference_probability: f64,
    /// Best leaf of the other model.
    pub leaf: usize,
    /// What the other model gives it.
    pub probability: f64,
    /// The reference's probability of its best leaf less that of the other model's: near zero for
    /// a near-tie.
    pub margin: f64,
}

/// A model, and cells in the order of its panel.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The model.
    pub model: &'a Model<'a>,
    /// The same cells for either side.
    pub cells: &'a AlignedMatrix,
}

impl<'a> Side<'a> {
    fn runner(&self) -> Result<CellRunner<'a>, RunError> {
        CellRunner::new(Session::new(self.model, 0)?, &self.cells.present)
    }
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
    compare_sides(Side { model: reference, cells }, Side { model, cells }, rows)
}

/// The same for models that may have other panels and name other leaves, which are matched by name. Codes are compared in the
/// dimensions that both have.
///
/// # Errors
/// Those of [`compare`].
pub fn compare_sides(
    reference: Side<'_>,
    other: Side<'_>,
    rows: &[usize],
) -> Result<Comparison, RunError> {
    let mut of_reference = reference.runner()?;
    let mut of_other = other.runner()?;
    let code_dim = reference.model.code_dim().min(other.model.code_dim());
    let [names, other_names] = [reference.model.labels(), other.model.labels()];
    let of_name = |name: &str| (0..names.n_leaves()).find(|&leaf| names.leaf_name(leaf) == name);
    let same_leaf: Vec<Option<usize>> =
        (0..other_names.n_leaves()).map(|leaf| of_name(other_names.leaf_name(leaf))).collect();
    let mut codes = Moments::new(code_dim);
    let mut squares = vec![0.0; code_dim];
    let mut flips = Vec::new();
    let mut n_called = vec![0; names.n_leaves()];
    let (mut n_rejected, mut n_rejects_differ) = ([0, 0], 0);
    let kept = rows.len().div_ceil(MOST_NEIGHBOURED).max(1);
    let (mut a_codes, mut b_codes) = (Vec::new(), Vec::new());
    for (at, &row) in rows.iter().enumerate() {
        let (genes, values) = reference.cells.values.row(row);
        let total = reference.cells.totals.get(row).copied().unwrap_or(0.0);
        let a = of_reference.run(genes, values, total)?;
        let (genes, values) = other.cells.values.row(row);
        let total = other.cells.totals.get(row).copied().unwrap_or(0.0);
        let b = of_other.run(genes, values, total)?;
        n_rejected[0] += usize::from(a.reject.is_some());
        n_rejected[1] += usize::from(b.reject.is_some());
        n_rejects_differ += usize::from(a.reject != b.reject);
        let (Some(a), Some(b)) = (a.numbers, b.numbers) else { continue };
        for (dim, square) in squares.iter_mut().enumerate() {
            *square += f64::from(a.code(dim) - b.code(dim)).powi(2);
        }
        codes.add(|dim| f64::from(a.code(dim)));
        if at % kept == 0 {
            a_codes.extend((0..code_dim).map(|dim| a.code(dim)));
            b_codes.extend((0..code_dim).map(|dim| b.code(dim)));
        }
        let (Some(reference_leaf), Some(leaf)) = (a.best(), b.best()) else { continue };
        n_called[reference_leaf] += 1;
        if same_leaf[leaf] != Some(reference_leaf) {
            let of_a = |leaf: usize| f64::from(a.probability(leaf));
            flips.push(Flip {
                row,
                reference_leaf,
                reference_probability: of_a(reference_leaf),
                leaf,
                probability: f64::from(b.probability(leaf)),
                margin: of_a(reference_leaf) - same_leaf[leaf].map_or(0.0, of_a),
            });
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
    Ok(Comparison {
        n_cells: codes.n,
        n_called,
        flips,
        n_rejected,
        n_rejects_differ,
        code_error,
        pooled_code_error: mean_square.sqrt(),
        neighbour_overlap: overlap(&a_codes, &b_codes, code_dim),
    })
}

/// Mean share of nearest neighbours that two sets of points `[n × dim]` have in common.
fn overlap(a: &[f32], b: &[f32], dim: usize) -> Option<f64> {
    let n = a.len() / dim.max(1);
    if n <= N_NEIGHBOURS {
        return None;
    }
    let mut shared = 0;
    for point in 0..n {
        let [of_a, of_b] = [a, b].map(|points| neighbours(points, dim, point));
        shared += of_a.iter().filter(|neighbour| of_b.contains(neighbour)).count();
    }
    Some(shared as f64 / (n * N_NEIGHBOURS) as f64)
}

/// The nearest points by distance, without the point itself; the first among equals.
fn neighbours(points: &[f32], dim: usize, point: usize) -> Vec<usize> {
    let own = &points[point * dim..][..dim];
    let distance =
        |other: &[f32]| -> f32 { other.iter().zip(own).map(|(x, y)| (x - y) * (x - y)).sum() };
    let all = points.chunks_exact(dim).map(distance).enumerate();
    let mut others: Vec<(usize, f32)> = all.filter(|&(other, _)| other != point).collect();
    others.select_nth_unstable_by(N_NEIGHBOURS - 1, |a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    others[..N_NEIGHBOURS].iter().map(|&(other, _)| other).collect()
}

/// Neighbours of a cell that are compared.
pub const N_NEIGHBOURS: usize = 15;
/// Cells that neighbours are looked for among.
pub const MOST_NEIGHBOURED: usize = 2_000;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_shared_by_what_lies_alike() {
        // Forty points on a line; mirrored they have the same neighbours, shuffled few of them.
        let line: Vec<f32> = (0..40).map(|at| at as f32 + 0.01 * (at * at) as f32).collect();
        let mirrored: Vec<f32> = line.iter().map(|x| -x).collect();
        assert_eq!(overlap(&line, &mirrored, 1), Some(1.0));
        let shuffled: Vec<f32> = (0..40).map(|at| line[at * 17 % 40]).collect();
        let shared = overlap(&line, &shuffled, 1).unwrap();
        // By chance 15 of 39.
        assert!((0.2..0.6).contains(&shared), "{shared}");
        assert_eq!(overlap(&line[..15], &line[..15], 1), None);
    }
}
