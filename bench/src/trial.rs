//! A network with random weights and cells for it, on which the runtime alone is timed and counted.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use cic_model::AlignedBytes;
use cic_runtime::{S8Session, Sample};

use crate::{Chain, Random};

/// An int8 model and cells, in two forms.
#[derive(Debug)]
pub struct Trial {
    /// The model.
    pub model: AlignedBytes,
    n_genes: usize,
    /// Genes and values of each sparse cell.
    listed: Vec<(Vec<u32>, Vec<f32>)>,
    /// `[n_cells × n_genes]`, without zeros.
    dense: Vec<f32>,
}

impl Trial {
    /// The network of these dimensions; the share `zeros` of the values of a sparse cell is zero.
    pub fn new(
        dims: &[usize],
        code_at: usize,
        zeros: f64,
        n_cells: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let mut random = Random::new(7);
        let parameters = (0..Chain::n_parameters(dims)).map(|_| random.uniform() - 0.5).collect();
        let chain = Chain { dims: dims.to_vec(), code_at, parameters };
        let n_genes = dims[0];
        let mut rows = |zeros: f64| -> Vec<f32> {
            let mut value = || match f64::from(random.uniform()) < zeros {
                true => 0.0,
                false => 0.2 + 4.0 * random.uniform(),
            };
            (0..n_cells * n_genes).map(|_| value()).collect()
        };
        let (sparse, dense) = (rows(zeros), rows(0.0));
        let model = chain.quantize(&sparse[..n_cells.min(N_CALIBRATION) * n_genes])?;
        let list = |row: &[f32]| {
            let set = || row.iter().enumerate().filter(|(_, value)| **value != 0.0);
            (set().map(|(gene, _)| gene as u32).collect(), set().map(|(_, &v)| v).collect())
        };
        let listed = sparse.chunks(n_genes).map(list).collect();
        Ok(Self { model, n_genes, listed, dense })
    }

    /// Cells that list what is not zero.
    pub fn sparse(&self) -> Vec<Sample<'_>> {
        let sample = |(genes, values)| Sample::Values { genes, values, total: None };
        self.listed.iter().map(|(genes, values)| sample((genes, values))).collect()
    }

    /// Cells with a value for every gene, none of them zero.
    pub fn dense(&self) -> Vec<Sample<'_>> {
        let rows = self.dense.chunks(self.n_genes);
        rows.map(|values| Sample::DenseValues { values, total: None }).collect()
    }
}

/// Seconds per cell, the best of several rounds through the samples in tiles.
///
/// # Panics
///
/// Where a sample does not fit the session.
pub fn best_time(session: &S8Session<'_>, samples: &[Sample<'_>], tile: usize) -> f64 {
    let mut scratch = vec![0; session.tile_scratch_len(tile) / 4];
    let mut best = f64::MAX;
    let mut rounds = 0;
    let begin = Instant::now();
    while rounds < 3 || begin.elapsed().as_secs_f64() < 0.15 {
        let start = Instant::now();
        for samples in samples.chunks_exact(tile) {
            let tile = session.run_tile(samples, None, &mut scratch).expect("samples that fit");
            black_box(tile.outcome(0).numbers.and_then(|n| n.best()));
        }
        best = best.min(start.elapsed().as_secs_f64() / samples.len() as f64);
        rounds += 1;
    }
    best
}

/// Cells that the quantiser is calibrated on.
const N_CALIBRATION: usize = 64;
