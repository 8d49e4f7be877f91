//! The linear path of a network alone: what it would be without its hidden units.

use cic_model::{DenseLayer, Network};
use faer::{Mat, MatRef};

use crate::baselines::Reproducer;

/// Encoder and decoder without hidden units, their offset fitted anew.
pub struct LinearPath {
    /// `[n_genes × code_dim]`
    encode: Mat<f64>,
    /// `[code_dim × n_genes]`
    decode: Mat<f64>,
    /// `[n_genes]`
    offset: Vec<f64>,
}

impl LinearPath {
    /// That of a network whose encoder and decoder both have one, or are linear altogether. The offset is such that the
    /// training rows `[n × n_genes]` are reproduced without bias.
    pub fn of(network: &Network, rows: MatRef<'_, f64>) -> Option<Self> {
        let encode = path(&network.encoder)?.transpose().to_owned();
        let decode = path(&network.decoder)?.transpose().to_owned();
        let n = rows.nrows().max(1) as f64;
        let mean: Vec<f64> = rows.col_iter().map(|gene| gene.iter().sum::<f64>() / n).collect();
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
