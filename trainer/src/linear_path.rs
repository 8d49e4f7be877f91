//! The linear path of a network alone: what it would be without its hidden units.

use cic_model::{DenseLayer, Network};
use faer::linalg::solvers::Solve;
use faer::{Mat, MatRef, Side};

use crate::algebra::on_calling_thread;
use crate::baselines::Reproducer;

/// The encoder without hidden units, and the linear decoder that suits it best.
pub struct LinearPath {
    /// `[n_genes × code_dim]`
    encode: Mat<f64>,
    /// `[code_dim × n_genes]`
    decode: Mat<f64>,
    /// `[n_genes]`
    offset: Vec<f64>,
}

impl LinearPath {
    /// That of a network whose encoder and decoder both have one, or are linear altogether. The decoder is fitted anew to
    /// the training rows `[n × n_genes]` by least squares: without hidden units beside it, other weights are best.
    pub fn of(network: &Network, rows: MatRef<'_, f64>) -> Option<Self> {
        on_calling_thread();
        path(&network.decoder)?;
        let encode = path(&network.encoder)?.transpose().to_owned();
        let n = rows.nrows().max(1) as f64;
        let mean: Vec<f64> = rows.col_iter().map(|gene| gene.iter().sum::<f64>() / n).collect();
        let centred =
            Mat::from_fn(rows.nrows(), rows.ncols(), |row, gene| rows[(row, gene)] - mean[gene]);
        let codes = &centred * &encode;
        let mut gram = codes.transpose() * &codes;
        let trace = (0..gram.ncols()).map(|at| gram[(at, at)]).sum::<f64>();
        (0..gram.ncols()).for_each(|at| gram[(at, at)] += 1e-9 * trace);
        let decode = gram.llt(Side::Lower).ok()?.solve(codes.transpose() * &centred);
        let of_mean = Mat::from_fn(1, mean.len(), |_, gene| mean[gene]) * &encode * &decode;
        let offset = mean.iter().zip(of_mean.row(0).iter()).map(|(mean, of)| mean - of).collect();
        Some(Self { encode, decode, offset })
    }
}

/// `[outputs × inputs]` of the carry, or of the only layer.
fn path(layers: &[DenseLayer]) -> Option<Mat<f64>> {
    let first = layers.first()?;
    let rows = match layers.len() {
        1 => 0..first.bias.len(),
        _ if first.carry > 0 => first.bias.len() - first.carry..first.bias.len(),
        _ => return None,
    };
    let weight = |row: usize, input: usize| f64::from(first.weights[row * first.in_dim + input]);
    Some(Mat::from_fn(rows.len(), first.in_dim, |row, input| weight(rows.start + row, input)))
}

impl Reproducer for LinearPath {
    fn reproduce(&self, profiles: MatRef<'_, f64>) -> Mat<f64> {
        let mut reproduced = profiles * &self.encode * &self.decode;
        for (gene, offset) in self.offset.iter().enumerate() {
            reproduced.col_mut(gene).iter_mut().for_each(|value| *value += offset);
        }
        reproduced
    }
}
