//! What becomes of calls and codes when the profiles are worse: fewer counts, or noise on values.

use cic_data::{AlignedMatrix, CsrMatrix};
use cic_model::{Model, ValueKind};
use cic_trainer::noise::{Disturbance, disturb, thin};

use crate::failure::Failure;
use crate::results::Calls;

/// Calls of the same cells under more and more noise.
pub(super) struct NoiseCurves {
    pub(super) noise: Noise,
    pub(super) curves: Vec<NoiseCurve>,
}

/// What was done to the profiles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Noise {
    /// Each count was kept with the probability that the level says.
    FewerCounts,
    /// Normal noise was added, of so many standard deviations of each gene as the level says.
    OnValues,
}

/// One model's.
pub(super) struct NoiseCurve {
    /// Its number format.
    pub(super) name: &'static str,
    pub(super) points: Vec<NoisePoint>,
}

/// At one level of noise.
pub(super) struct NoisePoint {
    pub(super) level: f64,
    /// Labelled cells.
    pub(super) n: u64,
    /// Those that were called right; a refused cell is wrong.
    pub(super) n_right: u64,
    /// Labelled cells that the model refused.
    pub(super) n_refused: u64,
    /// Root mean square of how far codes moved from those without noise, in standard deviations between cells.
    pub(super) code_shift: f64,
}

impl Noise {
    /// The first is as measured.
    fn levels(self) -> [f64; 4] {
        match self {
            Self::FewerCounts => [1.0, 0.5, 0.25, 0.1],
            Self::OnValues => [0.0, 0.25, 0.5, 1.0],
        }
    }
}

const SEED: u64 = 1;

/// Types `cells`, whose labels are given in the same order, with every model at every level.
pub(super) fn noise_curves(
    models: &[&Model<'_>],
    cells: &AlignedMatrix,
    kind: ValueKind,
    labels: &[Option<String>],
) -> Result<NoiseCurves, Failure> {
    let noise = match kind {
        ValueKind::Counts => Noise::FewerCounts,
        _ => Noise::OnValues,
    };
    let deviations = deviations(&cells.values);
    let mut curves: Vec<NoiseCurve> = (models.iter())
        .map(|model| NoiseCurve { name: model.dtype().name(), points: Vec::new() })
        .collect();
    let mut unchanged: Vec<Calls> = Vec::new();
    for (n, level) in noise.levels().into_iter().enumerate() {
        let worse = match n {
            0 => cells.clone(),
            _ => worsen(cells, noise, level, &deviations)?,
        };
        for (at, model) in models.iter().enumerate() {
            let calls = Calls::run(model, &worse)?;
            let point = point(model, level, &calls, unchanged.get(at).unwrap_or(&calls), labels);
            curves[at].points.push(point);
            if n == 0 {
                unchanged.push(calls);
            }
        }
    }
    Ok(NoiseCurves { noise, curves })
}

fn worsen(
    cells: &AlignedMatrix,
    noise: Noise,
    level: f64,
    deviations: &[f32],
) -> Result<AlignedMatrix, Failure> {
    let n_genes = cells.values.n_cols;
    let mut values = CsrMatrix { n_cols: n_genes, indptr: vec![0], ..CsrMatrix::default() };
    let mut totals = Vec::with_capacity(cells.totals.len());
    let mut dense = vec![0.0; n_genes];
    for row in 0..cells.values.n_rows() {
        let (genes, counts) = cells.values.row(row);
        let mut push = |gene: u32, value: f32| {
            if value > 0.0 {
                values.indices.push(gene);
                values.data.push(value);
            }
        };
        match noise {
            Noise::FewerCounts => {
                let thinned = thin(counts, cells.totals[row], level, SEED, row);
                genes.iter().zip(&thinned.counts).for_each(|(&gene, &count)| push(gene, count));
                totals.push(thinned.total);
            }
            Noise::OnValues => {
                dense.fill(0.0);
                genes.iter().zip(counts).for_each(|(&gene, &value)| dense[gene as usize] = value);
                disturb(&mut dense, deviations, Disturbance { level, least: 0.0 }, SEED, row);
                (0..).zip(&dense).for_each(|(gene, &value)| push(gene, value));
                totals.push(cells.totals[row]);
            }
        }
        values.indptr.push(values.indices.len());
    }
    Ok(AlignedMatrix { values, totals, present: cells.present.clone(), overlap: cells.overlap })
}

/// `[n_genes]`: of every gene between the cells; zero for genes that the file lacks, which stay so.
fn deviations(values: &CsrMatrix) -> Vec<f32> {
    let mut moments = vec![(0.0_f64, 0.0_f64); values.n_cols];
    for row in 0..values.n_rows() {
        let (genes, values) = values.row(row);
        for (&gene, &value) in genes.iter().zip(values) {
            let (sum, squares) = &mut moments[gene as usize];
            *sum += f64::from(value);
            *squares += f64::from(value).powi(2);
        }
    }
    let n = values.n_rows().max(1) as f64;
    let deviation = |(sum, squares): (f64, f64)| (squares / n - (sum / n).powi(2)).max(0.0).sqrt();
    moments.into_iter().map(|moments| deviation(moments) as f32).collect()
}

fn point(
    model: &Model<'_>,
    level: f64,
    calls: &Calls,
    unchanged: &Calls,
    labels: &[Option<String>],
) -> NoisePoint {
    let labelled = || calls.calls.iter().zip(labels).filter(|(_, label)| label.is_some());
    let is_right = |label: &Option<String>, called: &str| label.as_deref() == Some(called);
    let right = labelled()
        .filter(|(call, label)| call.reject.is_none() && is_right(label, call.label(model)));
    NoisePoint {
        level,
        n: labelled().count() as u64,
        n_right: right.count() as u64,
        n_refused: labelled().filter(|(call, _)| call.reject.is_some()).count() as u64,
        code_shift: code_shift(&calls.codes, &unchanged.codes, model.code_dim()),
    }
}

/// Root mean square over cells and dimensions, in standard deviations of each dimension between cells; dimensions that
/// are the same for all cells do not count.
fn code_shift(codes: &[f32], unchanged: &[f32], code_dim: usize) -> f64 {
    let n = (codes.len() / code_dim.max(1)).max(1) as f64;
    let (mut sum, mut n_dims) = (0.0, 0);
    for dim in 0..code_dim {
        let of = |codes: &'_ [f32]| -> Vec<f64> {
            codes.iter().skip(dim).step_by(code_dim).map(|&code| f64::from(code)).collect()
        };
        let (moved, fixed) = (of(codes), of(unchanged));
        let mean = fixed.iter().sum::<f64>() / n;
        let variance = fixed.iter().map(|code| (code - mean).powi(2)).sum::<f64>() / n;
        if variance > 0.0 {
            let squares = moved.iter().zip(&fixed).map(|(a, b)| (a - b).powi(2));
            sum += squares.sum::<f64>() / n / variance;
            n_dims += 1;
        }
    }
    (sum / f64::from(n_dims.max(1))).sqrt()
}
