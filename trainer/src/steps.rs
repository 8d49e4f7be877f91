//! Training steps to be timed beside other programs, `bench/training.py`.

use std::time::{Duration, Instant};

use crate::TrainError;
use crate::engine::batch::{Batch, BatchValues, ClassTargets};
use crate::engine::layer::add_to;
use crate::engine::rng::{Purpose, Rng};
use crate::engine::standardiser::Standardiser;
use crate::engine::training_data::TrainingData;
use crate::stage::Stage;
use crate::train_params::TrainParams;

/// The steps of whole epochs.
pub struct Steps<'a>(Stage<'a>);

impl<'a> Steps<'a> {
    /// Starts from the components of all rows.
    ///
    /// # Errors
    /// Parameters and data that [`fit`](crate::fit()) would refuse too.
    pub fn new(params: &'a TrainParams, data: &'a TrainingData<'a>) -> Result<Self, TrainError> {
        params.check()?;
        data.check()?;
        Ok(Self(Stage::new(params, data, (0..data.n_rows()).collect())?))
    }

    /// Gathers, goes forward and backward and updates, for all rows.
    ///
    /// # Errors
    /// A loss that is not finite.
    pub fn epoch(&mut self) -> Result<Duration, TrainError> {
        let started = Instant::now();
        self.0.train_epoch()?;
        Ok(started.elapsed())
    }
}

/// The first layer on compressed rows, alone.
pub struct SparseLayer<'a> {
    data: &'a TrainingData<'a>,
    standardiser: Standardiser,
    batch: Batch,
    weights: Vec<f32>,
    gradient: Vec<f32>,
    bias: Vec<f32>,
    sums: Vec<f32>,
    /// Outputs, and gradient of the loss by them.
    out: Vec<f32>,
    d: Vec<f32>,
    rows: Vec<usize>,
}

impl<'a> SparseLayer<'a> {
    /// A layer with `cols` outputs, on all rows.
    pub fn new(data: &'a TrainingData<'a>, cols: usize) -> Self {
        let rows: Vec<usize> = (0..data.n_rows()).collect();
        let mut rng = Rng::stream(1, Purpose::Initialise, 0, 0);
        let mut random = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.normal()).collect() };
        Self {
            data,
            standardiser: Standardiser::fit(data, &rows),
            batch: Batch::sparse(data.n_genes),
            weights: random(data.n_genes * cols),
            gradient: vec![0.0; data.n_genes * cols],
            bias: random(cols),
            sums: Vec::new(),
            out: vec![0.0; rows.len() * cols],
            d: random(rows.len() * cols),
            rows,
        }
    }

    /// Times gathering, the product, and the gradients of weights and bias, to which the order by gene belongs.
    pub fn step(&mut self) -> [Duration; 3] {
        let started = Instant::now();
        let classes = ClassTargets { n_classes: 0, weights: Vec::new(), smoothing: 0.0 };
        let (rows, standardiser) = (&self.rows[..], &self.standardiser);
        self.batch.gather(self.data, standardiser, &classes, rows, None);
        let BatchValues::Sparse(batch) = &mut self.batch.values else { return Default::default() };
        let gathered = started.elapsed();
        let (cols, zero) = (self.bias.len(), &standardiser.zero);
        batch.multiply(&mut self.out, cols, &self.weights, &self.bias, zero, &mut self.sums);
        let forward = started.elapsed();
        batch.order_by_gene();
        let mut bias_gradient = vec![0.0; cols];
        self.d.chunks_exact(cols).for_each(|row| add_to(&mut bias_gradient, row));
        batch.weight_gradient(&mut self.gradient, &self.d, cols, zero, &bias_gradient);
        [gathered, forward - gathered, started.elapsed() - forward]
    }
}
