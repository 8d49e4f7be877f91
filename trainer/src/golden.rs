//! Golden cells: made up from class means, so that no cell of the training data travels.

use cic_data::CsrMatrix;
use cic_model::profile::Library;
use cic_model::quant::ONE_Q30;
use cic_model::spec::{GoldenCellSpec, GoldenSpec};
use cic_model::{Network, ValueKind};

use crate::engine::rng::{Purpose, Rng};
use crate::forward::forward;
use crate::input_rule::InputRule;

/// Golden cells drawn from class means.
const N_DRAWN: usize = 6;

/// Six cells drawn around the mean profiles of classes spread over the list, one with a single
/// gene, and one with every gene at the same value. Codes and logits are those of the double
/// precision reference.
pub(crate) fn golden_cells(
    raw: &CsrMatrix,
    rows: &[usize],
    labels: &[u32],
    n_classes: usize,
    rule: InputRule<'_>,
    network: &Network,
    seed: u64,
) -> GoldenSpec {
    let scaling = rule.scaling;
    let is_integer = scaling.kind == ValueKind::Counts;
    let mut profiles: Vec<Vec<f32>> = (0..N_DRAWN)
        .map(|number| {
            let class = (number * n_classes / N_DRAWN) as u32;
            let members: Vec<usize> = rows
                .iter()
                .copied()
                .filter(|&row| n_classes == 0 || labels[row] == class)
                .collect();
            let members = if members.is_empty() { rows.to_vec() } else { members };
            draw(
                &means(raw, &members),
                is_integer,
                &mut Rng::stream(seed, Purpose::Golden, number as u64, 0),
            )
        })
        .collect();
    let mut single = vec![0.0; raw.n_cols];
    if scaling.kind == ValueKind::Log2Intensity {
        // Every gene of an array has a value.
        single.fill(1.0);
    }
    single[0] = if is_integer { 1_000.0 } else { 10.0 };
    profiles.push(single);
    profiles.push(vec![1.0; raw.n_cols]);
    let cells = profiles.iter().map(|profile| cell(profile, is_integer, rule, network));
    GoldenSpec { profile: 0, is_integer, cells: cells.collect() }
}

fn cell(
    profile: &[f32],
    is_integer: bool,
    rule: InputRule<'_>,
    network: &Network,
) -> GoldenCellSpec {
    let scaling = rule.scaling;
    let sum: f64 = profile.iter().map(|&value| f64::from(value)).sum();
    // As if half of what was measured were in the panel, where that matters.
    let total = if scaling.library == Library::AllMeasured { (2.0 * sum).ceil() } else { 0.0 };
    let factor = scaling.factor(sum, total, ONE_Q30).unwrap_or(0.0);
    let input: Vec<f32> = (profile.iter().enumerate())
        .map(|(gene, &value)| rule.input(gene, value, factor))
        .collect();
    let outputs = forward(network, &input);
    let bits = |values: &[f64]| values.iter().map(|&value| (value as f32).to_bits()).collect();
    let listed = || {
        let is_dense = scaling.kind == ValueKind::Log2Intensity;
        (0_u32..).zip(profile).filter(move |(_, value)| is_dense || **value != 0.0)
    };
    GoldenCellSpec {
        genes: listed().map(|(gene, _)| gene).collect(),
        values: listed()
            .map(|(_, &value)| if is_integer { value as u32 } else { value.to_bits() })
            .collect(),
        // Whole, and below 2³² for made-up counts.
        total: if is_integer { total as u32 } else { (total as f32).to_bits() },
        code: bits(&outputs.code),
        logits: bits(&outputs.logits),
    }
}

fn means(raw: &CsrMatrix, rows: &[usize]) -> Vec<f64> {
    let mut means = vec![0.0; raw.n_cols];
    for &row in rows {
        let (columns, values) = raw.row(row);
        for (&column, &value) in columns.iter().zip(values) {
            means[column as usize] += f64::from(value) / rows.len() as f64;
        }
    }
    means
}

/// Poisson counts around the means, or the means with a tenth of noise.
fn draw(means: &[f64], is_integer: bool, rng: &mut Rng) -> Vec<f32> {
    means
        .iter()
        .map(|&mean| {
            if is_integer {
                poisson(mean, rng)
            } else {
                (mean * (1.0 + 0.1 * f64::from(rng.normal()))).max(0.0) as f32
            }
        })
        .collect()
}

/// Knuth's product of uniforms for small means, a rounded normal for large ones.
fn poisson(mean: f64, rng: &mut Rng) -> f32 {
    if mean > 30.0 {
        return (mean + mean.sqrt() * f64::from(rng.normal())).round().max(0.0) as f32;
    }
    let limit = libm::exp(-mean);
    let mut product = f64::from(rng.unit());
    let mut count = 0.0;
    while product > limit {
        product *= f64::from(rng.unit());
        count += 1.0;
    }
    count
}
