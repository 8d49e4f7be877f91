//! Gathers the rows of one step: standardised input (corrupted where asked), clean target, class
//! targets. Buffers are allocated once.

use faer::Mat;
use rayon::prelude::*;

use super::rng::{Purpose, Rng};
use super::simd::vectorised;
use super::sparse::{SparseBatch, stored};
use super::standardiser::Standardiser;
use super::thinning::thin_row;
use super::training_data::{FromCounts, Row, TrainingData};

/// Rows of a step.
pub(crate) struct Batch {
    pub(crate) n_rows: usize,
    pub(crate) values: BatchValues,
    /// `[n_rows × n_classes]` weighted class targets; a row's sum is its weight.
    pub(crate) class_targets: Vec<f32>,
}

/// The values in the form they are multiplied in.
pub(crate) enum BatchValues {
    /// `[n_rows × n_genes]`; the target is left empty where it is the input.
    Dense {
        input: Vec<f32>,
        target: Vec<f32>,
    },
    Sparse(SparseBatch),
}

/// What is done to the inputs while training.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Corruption {
    /// Probability that a value is lost.
    pub(crate) drop: f32,
    /// What a lost value becomes.
    pub(crate) lost: Lost,
    /// Standard deviation of noise, in standard deviations of the gene.
    pub(crate) noise: f32,
    /// Largest share of a second row.
    pub(crate) mixup: f32,
    /// Largest share of a row's genes that are missing, as from another panel: dense rows only.
    pub(crate) missing: f32,
    /// Largest share of a row's counts that are lost, as where less was sequenced.
    pub(crate) thin: f32,
}

impl Corruption {
    /// What another instrument or panel would do; what only holds the network back is left out.
    pub(crate) fn of_measurement(&self) -> Option<Self> {
        let Self { noise, missing, thin, .. } = *self;
        let any = noise > 0.0 || missing > 0.0 || thin > 0.0;
        any.then_some(Self { noise, missing, thin, ..Self::default() })
    }
}

/// What a lost value becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Lost {
    /// Zero, as an undetected gene of a single cell.
    #[default]
    Zero,
    /// The gene's mean, where a zero never occurs.
    Mean,
}

/// What a class target is made of.
pub(crate) struct ClassTargets {
    pub(crate) n_classes: usize,
    /// `[n_classes]`, mean 1 over the fitted rows.
    pub(crate) weights: Vec<f32>,
    pub(crate) smoothing: f32,
}

/// Where in the training a batch stands: the key of its random streams. `None` is inference.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) seed: u64,
    pub(crate) epoch: u64,
    /// Position of the batch's first row in the epoch's order.
    pub(crate) first_row: u64,
}

impl Moment {
    /// The stream of one row of the batch.
    pub(crate) fn row(&self, purpose: Purpose, row: usize) -> Rng {
        Rng::stream(self.seed, purpose, self.epoch, self.first_row + row as u64)
    }
}

impl Batch {
    pub(crate) fn dense(max_rows: usize, n_genes: usize, separate_target: bool) -> Self {
        let target = if separate_target { vec![0.0; max_rows * n_genes] } else { Vec::new() };
        let input = vec![0.0; max_rows * n_genes];
        Self { n_rows: 0, values: BatchValues::Dense { input, target }, class_targets: Vec::new() }
    }

    pub(crate) fn sparse(n_genes: usize) -> Self {
        let values = BatchValues::Sparse(SparseBatch::new(n_genes));
        Self { n_rows: 0, values, class_targets: Vec::new() }
    }

    /// Fills the batch with `rows`; a `moment` corrupts the input and mixes rows with others of
    /// `pool`, without one the values are those of the data.
    pub(crate) fn gather(
        &mut self,
        data: &TrainingData<'_>,
        standardiser: &Standardiser,
        classes: &ClassTargets,
        rows: &[usize],
        training: Option<(&Moment, &Corruption, &[usize])>,
    ) {
        self.n_rows = rows.len();
        let partner = |i: usize| -> Option<(usize, f32)> {
            let (moment, corruption, pool) = training?;
            if corruption.mixup == 0.0 {
                return None;
            }
            let mut rng = moment.row(Purpose::Mixup, i);
            Some((pool[rng.below(pool.len())], rng.unit() * corruption.mixup))
        };
        self.fill_class_targets(data, classes, rows, partner);
        match &mut self.values {
            BatchValues::Dense { input, target } => {
                let n_genes = data.n_genes;
                input[..rows.len() * n_genes]
                    .par_chunks_mut(n_genes)
                    .enumerate()
                    .for_each(|(i, z)| standardise(data, standardiser, rows[i], partner(i), z));
                if target.is_empty() {
                    return;
                }
                target[..rows.len() * n_genes].copy_from_slice(&input[..rows.len() * n_genes]);
                let Some((moment, corruption, _)) = training else { return };
                input[..rows.len() * n_genes].par_chunks_mut(n_genes).enumerate().for_each(
                    |(i, z)| {
                        thin_dense(data, standardiser, rows[i], (corruption, moment, i), z);
                        corrupt(z, standardiser, corruption, moment, i);
                    },
                );
            }
            BatchValues::Sparse(batch) => {
                batch.clear();
                for (i, &row) in rows.iter().enumerate() {
                    batch.push(data, standardiser, row, partner(i));
                    let Some((moment, corruption, _)) = training else { continue };
                    thin_sparse(data, standardiser, row, (corruption, moment, i), batch);
                    if corruption.drop > 0.0 {
                        let mut rng = moment.row(Purpose::DropInputs, i);
                        drop_values(batch.last_row(), corruption.drop, &mut rng);
                    }
                }
                if training.is_some() {
                    batch.order_by_gene();
                }
            }
        }
    }

    /// What is to be reproduced, `[n_rows × n_genes]`, standardised.
    pub(crate) fn targets(&self, standardiser: &Standardiser) -> Mat<f64> {
        let (n, n_genes) = (self.n_rows, standardiser.zero.len());
        match &self.values {
            BatchValues::Sparse(sparse) => {
                let mut targets =
                    Mat::from_fn(n, n_genes, |_, gene| -f64::from(standardiser.zero[gene]));
                for row in 0..n {
                    sparse.for_each_target(row, 0..n_genes, |gene, value| {
                        targets[(row, gene)] += f64::from(value);
                    });
                }
                targets
            }
            BatchValues::Dense { input, target } => {
                let values = if target.is_empty() { input } else { target };
                Mat::from_fn(n, n_genes, |row, gene| f64::from(values[row * n_genes + gene]))
            }
        }
    }

    fn fill_class_targets(
        &mut self,
        data: &TrainingData<'_>,
        classes: &ClassTargets,
        rows: &[usize],
        partner: impl Fn(usize) -> Option<(usize, f32)>,
    ) {
        let n_classes = classes.n_classes;
        self.class_targets.clear();
        self.class_targets.resize(rows.len() * n_classes, 0.0);
        if n_classes == 0 {
            return;
        }
        for (i, target) in self.class_targets.chunks_exact_mut(n_classes).enumerate() {
            let mut add = |row: usize, share: f32| {
                let Some(label) = data.label(row) else { return };
                let weight = share * classes.weights[label];
                let spread = weight * classes.smoothing / n_classes as f32;
                target.iter_mut().for_each(|target| *target += spread);
                target[label] += weight * (1.0 - classes.smoothing);
            };
            let (other, share) = partner(i).unwrap_or((rows[i], 0.0));
            add(rows[i], 1.0 - share);
            if share > 0.0 {
                add(other, share);
            }
        }
    }
}

impl BatchValues {
    /// Input and target as rows of z, where dense.
    pub(crate) fn dense_parts(&self) -> Option<(&[f32], &[f32])> {
        match self {
            Self::Dense { input, target } if target.is_empty() => Some((input, input)),
            Self::Dense { input, target } => Some((input, target)),
            Self::Sparse(_) => None,
        }
    }
}

fn standardise(
    data: &TrainingData<'_>,
    standardiser: &Standardiser,
    row: usize,
    partner: Option<(usize, f32)>,
    z: &mut [f32],
) {
    let Standardiser { inverse, zero, .. } = standardiser;
    if let (Row::Dense(values), None) = (data.row(row), partner) {
        return vectorised(
            #[inline(always)]
            || {
                for (((z, &x), &inverse), &zero) in z.iter_mut().zip(values).zip(inverse).zip(zero)
                {
                    *z = x * inverse - zero;
                }
            },
        );
    }
    z.fill(0.0);
    let other = partner.map_or(0.0, |(_, share)| share);
    for (row, share) in [(row, 1.0 - other), (partner.map_or(row, |(row, _)| row), other)] {
        if share == 0.0 {
            continue;
        }
        match data.row(row) {
            Row::Sparse(genes, values) => {
                for (&gene, &value) in genes.iter().zip(values) {
                    z[gene as usize] += share * value;
                }
            }
            Row::Dense(values) => vectorised(
                #[inline(always)]
                || {
                    for (z, &value) in z.iter_mut().zip(values) {
                        *z += share * value;
                    }
                },
            ),
        }
    }
    vectorised(
        #[inline(always)]
        || {
            for ((z, &inverse), &zero) in z.iter_mut().zip(inverse).zip(zero) {
                *z = *z * inverse - zero;
            }
        },
    );
}

fn corrupt(
    z: &mut [f32],
    standardiser: &Standardiser,
    corruption: &Corruption,
    moment: &Moment,
    row: usize,
) {
    if corruption.drop > 0.0 {
        let mut rng = moment.row(Purpose::DropInputs, row);
        let keep = 1.0 / (1.0 - corruption.drop);
        for (z, &zero) in z.iter_mut().zip(&standardiser.zero) {
            // About `origin` the expectation of what remains is the value itself.
            let origin = if corruption.lost == Lost::Zero { -zero } else { 0.0 };
            let kept = if rng.unit() < corruption.drop { 0.0 } else { keep };
            *z = origin + (*z - origin) * kept;
        }
    }
    if corruption.noise > 0.0 {
        let mut rng = moment.row(Purpose::InputNoise, row);
        z.iter_mut().for_each(|z| *z += corruption.noise * rng.normal());
    }
    if corruption.missing > 0.0 {
        let mut rng = moment.row(Purpose::DropGenes, row);
        let share = corruption.missing * rng.unit();
        // A gene that a file does not have is read as its mean.
        z.iter_mut().filter(|_| rng.unit() < share).for_each(|z| *z = 0.0);
    }
}

/// How a row of a batch is thinned: the share of its counts that is left, and what draws them.
fn thinning<'a>(
    data: &TrainingData<'a>,
    (corruption, moment, i): (&Corruption, &Moment, usize),
) -> Option<(FromCounts<'a>, f64, Rng)> {
    let counts = data.counts.filter(|_| corruption.thin > 0.0)?;
    let mut rng = moment.row(Purpose::ThinInputs, i);
    let share = 1.0 - f64::from(corruption.thin * rng.unit());
    Some((counts, share, rng))
}

/// `z` is the standardised row, and becomes that of the thinned one.
fn thin_dense(
    data: &TrainingData<'_>,
    standardiser: &Standardiser,
    row: usize,
    how: (&Corruption, &Moment, usize),
    z: &mut [f32],
) {
    let Some((counts, share, mut rng)) = thinning(data, how) else { return };
    let values = data.row(row);
    let values: Vec<(u32, f32)> = stored(values).collect();
    let mut kept = vec![0.0; values.len()];
    let of = values.iter().map(|&(_, value)| value);
    thin_row(counts, row, of, share, &mut rng, &mut kept);
    for (&(gene, _), kept) in values.iter().zip(kept) {
        let gene = gene as usize;
        z[gene] = kept * standardiser.inverse[gene] - standardiser.zero[gene];
    }
}

/// The same of the row that a sparse batch was given last.
fn thin_sparse(
    data: &TrainingData<'_>,
    standardiser: &Standardiser,
    row: usize,
    how: (&Corruption, &Moment, usize),
    batch: &mut SparseBatch,
) {
    let Some((counts, share, mut rng)) = thinning(data, how) else { return };
    let values = stored(data.row(row)).map(|(_, value)| value);
    let kept = batch.last_row();
    thin_row(counts, row, values, share, &mut rng, kept);
    for (kept, (gene, _)) in kept.iter_mut().zip(stored(data.row(row))) {
        *kept *= standardiser.inverse[gene as usize];
    }
}

fn drop_values(values: &mut [f32], drop: f32, rng: &mut Rng) {
    let keep = 1.0 / (1.0 - drop);
    for value in values {
        *value *= if rng.unit() < drop { 0.0 } else { keep };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::training_data::Expression;

    const VALUES: [f32; 12] = [0.0, 2.0, 0.0, 1.0, 3.0, 0.0, 0.0, 1.0, 0.0, 4.0, 0.5, 2.0];

    fn data(expression: Expression<'_>) -> TrainingData<'_> {
        TrainingData {
            expression,
            n_genes: 4,
            labels: Some(&[0, 1, 1]),
            n_classes: 2,
            counts: None,
        }
    }

    fn targets() -> ClassTargets {
        ClassTargets { n_classes: 2, weights: vec![1.5, 0.75], smoothing: 0.2 }
    }

    #[test]
    fn sparse_and_dense_batches_hold_the_same_values() {
        let (indptr, indices) = ([0, 2, 4, 7], [1, 3, 0, 3, 1, 2, 3]);
        let values = [2.0, 1.0, 3.0, 1.0, 4.0, 0.5, 2.0];
        let csr = Expression::Csr { indptr: &indptr, indices: &indices, values: &values };
        let dense_data = data(Expression::Dense(&VALUES));
        let standardiser = Standardiser::fit(&dense_data, &[0, 1, 2]);
        let moment = Moment { seed: 3, epoch: 1, first_row: 0 };
        let corruption = Corruption { mixup: 0.4, ..Corruption::default() };
        let rows = [2, 0, 1];
        let training = Some((&moment, &corruption, &rows[..]));
        let mut dense = Batch::dense(3, 4, false);
        dense.gather(&dense_data, &standardiser, &targets(), &rows, training);
        let mut sparse = Batch::sparse(4);
        sparse.gather(&data(csr), &standardiser, &targets(), &rows, training);
        let BatchValues::Sparse(batch) = &sparse.values else { panic!() };
        let (input, _) = dense.values.dense_parts().unwrap();
        for row in 0..3 {
            let mut z: Vec<f32> = standardiser.zero.iter().map(|zero| -zero).collect();
            let (genes, values) = batch.row(row);
            for (&gene, &value) in genes.iter().zip(values) {
                z[gene as usize] += value;
            }
            for gene in 0..4 {
                assert!((z[gene] - input[row * 4 + gene]).abs() < 1e-6);
            }
        }
        assert_eq!(dense.class_targets, sparse.class_targets);
    }

    #[test]
    fn rows_are_thinned_alike_in_both_forms_and_targets_stay() {
        let counts = VALUES.map(|value| value * 40.0);
        let totals: Vec<f64> =
            counts.chunks(4).map(|row| f64::from(row.iter().sum::<f32>())).collect();
        let from = FromCounts { scale: 100.0, totals: &totals };
        let values: Vec<f32> =
            (0..12).map(|at| libm::log1pf(counts[at] * (100.0 / totals[at / 4]) as f32)).collect();
        let stored: Vec<(u32, f32)> = (0..12).map(|at| (at % 4, values[at as usize])).collect();
        let stored: Vec<(u32, f32)> = stored.into_iter().filter(|entry| entry.1 > 0.0).collect();
        let (indices, kept): (Vec<u32>, Vec<f32>) = stored.into_iter().unzip();
        let csr = Expression::Csr { indptr: &[0, 2, 4, 7], indices: &indices, values: &kept };
        let [dense_data, sparse_data] = [Expression::Dense(&values), csr]
            .map(|form| TrainingData { counts: Some(from), ..data(form) });
        let standardiser = Standardiser::fit(&dense_data, &[0, 1, 2]);
        let moment = Moment { seed: 3, epoch: 1, first_row: 0 };
        let corruption = Corruption { thin: 0.9, ..Corruption::default() };
        let rows = [2, 0, 1];
        let training = Some((&moment, &corruption, &rows[..]));
        let mut dense = Batch::dense(3, 4, true);
        dense.gather(&dense_data, &standardiser, &targets(), &rows, training);
        let mut sparse = Batch::sparse(4);
        sparse.gather(&sparse_data, &standardiser, &targets(), &rows, training);
        let BatchValues::Sparse(batch) = &sparse.values else { panic!() };
        let (input, target) = dense.values.dense_parts().unwrap();
        assert!(input != target);
        for (row, &of) in rows.iter().enumerate() {
            let mut z: Vec<f32> = standardiser.zero.iter().map(|zero| -zero).collect();
            let (genes, values) = batch.row(row);
            genes.iter().zip(values).for_each(|(&gene, &value)| z[gene as usize] += value);
            let clean = dense_data.row(of);
            let Row::Dense(clean) = clean else { panic!() };
            for gene in 0..4 {
                assert!((z[gene] - input[row * 4 + gene]).abs() < 1e-5);
                let expected = clean[gene] * standardiser.inverse[gene] - standardiser.zero[gene];
                assert!((target[row * 4 + gene] - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn class_targets_are_smoothed_and_sum_to_the_class_weight() {
        let data = data(Expression::Dense(&VALUES));
        let standardiser = Standardiser::fit(&data, &[0, 1, 2]);
        let mut batch = Batch::dense(3, 4, false);
        batch.gather(&data, &standardiser, &targets(), &[0, 1], None);
        let expected = [1.5 * 0.9, 1.5 * 0.1, 0.75 * 0.1, 0.75 * 0.9];
        assert!(batch.class_targets.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn lost_values_become_zero_and_the_expectation_stays() {
        let n_genes = 20_000;
        let values: Vec<f32> = (0..2 * n_genes).map(|i| (i / n_genes) as f32).collect();
        let expression = Expression::Dense(&values);
        let data = TrainingData { expression, n_genes, labels: None, n_classes: 0, counts: None };
        let standardiser = Standardiser::fit(&data, &[0, 1]);
        let moment = Moment { seed: 3, epoch: 1, first_row: 0 };
        let corruption = Corruption { drop: 0.3, ..Corruption::default() };
        let none = ClassTargets { n_classes: 0, weights: Vec::new(), smoothing: 0.0 };
        let mut batch = Batch::dense(1, n_genes, true);
        let training = Some((&moment, &corruption, &[1_usize][..]));
        batch.gather(&data, &standardiser, &none, &[1], training);
        let (input, target) = batch.values.dense_parts().unwrap();
        let zero = -standardiser.zero[0];
        let lost = input.iter().filter(|z| (**z - zero).abs() < 1e-6).count();
        assert!((lost as f32 / n_genes as f32 - 0.3).abs() < 0.02, "{lost}");
        let mean = input.iter().sum::<f32>() / n_genes as f32;
        assert!((mean - target[0]).abs() < 0.03, "{mean} {}", target[0]);
    }
}
