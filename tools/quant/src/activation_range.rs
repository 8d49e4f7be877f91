//! Ranges of hidden outputs: from pre-activations on the calibration cells to an index grid, a
//! table and a scale.

use cic_model::quant::{LEVEL_MAX, TABLE_LEN};
use cic_model::{Activation, Segment};

use crate::range_method::{Begin, RangeMethod};

/// How one segment is quantised.
pub(crate) struct SegmentRange {
    /// Per unit: pre-activation at table entry 0 and the step between entries.
    pub(crate) grid: Vec<(f64, f64)>,
    /// `[256]`
    pub(crate) table: Vec<u8>,
    /// Per unit: activation is `scale · level + offset`.
    pub(crate) scales: Vec<(f64, f64)>,
}

/// Share of the range seen by which pre-activations may exceed it before clipping begins: the fewer
/// cells were seen, the more. Clipping costs more than coarse steps do.
fn margin(n_cells: usize) -> f64 {
    0.5 + 10.0 / n_cells.max(10) as f64
}

/// Chooses the ranges of a segment. `columns[unit]` lists the unit's pre-activations.
pub(crate) fn fit(segment: &Segment, columns: &[Vec<f32>], method: RangeMethod) -> SegmentRange {
    match segment.activation {
        Activation::Relu | Activation::Identity => fit_units(segment, columns, method),
        _ => fit_shared(segment, columns, method),
    }
}

/// ReLU and identity commute with a scale, so every unit has its own; table entry and level are
/// the same number.
fn fit_units(segment: &Segment, columns: &[Vec<f32>], method: RangeMethod) -> SegmentRange {
    let is_relu = segment.activation == Activation::Relu;
    let begin = if is_relu { Begin::Zero } else { Begin::Free };
    let bounds: Vec<(f64, f64)> =
        columns.iter().map(|column| method.bounds(column, begin)).collect();
    let mut widths: Vec<f64> =
        bounds.iter().map(|&(lo, hi)| if is_relu { hi.max(0.0) } else { hi - lo }).collect();
    widths.sort_unstable_by(f64::total_cmp);
    // A unit that is silent on every calibration cell still gets a range.
    let typical = widths.get(widths.len() / 2).copied().filter(|&w| w > 0.0).unwrap_or(1.0);
    let margin = method.margin(margin(columns.first().map_or(0, Vec::len)));
    let scales: Vec<(f64, f64)> = bounds
        .iter()
        .map(|&(lo, hi)| {
            let (lo, hi) = if is_relu { (0.0, hi) } else { (lo, hi) };
            let width = (hi - lo).max(0.05 * typical);
            let margin = margin * width;
            let begin = if is_relu { 0.0 } else { lo - margin };
            ((lo + width + margin - begin) / f64::from(LEVEL_MAX), begin)
        })
        .collect();
    let table = (0..TABLE_LEN).map(|entry| entry.min(usize::from(LEVEL_MAX)) as u8).collect();
    let grid = scales.iter().map(|&(scale, begin)| (begin, scale)).collect();
    SegmentRange { grid, table, scales }
}

/// Curved activations share one grid over all units of the segment.
fn fit_shared(segment: &Segment, columns: &[Vec<f32>], method: RangeMethod) -> SegmentRange {
    let (lo, hi) = method.bounds(&columns.concat(), Begin::Free);
    let (lo, hi) = if lo < hi { (lo, hi) } else { (-1.0, 1.0) };
    // A tenth of it: bounds over all units are wide already for most of them.
    let margin = 0.1 * method.margin(margin(columns.first().map_or(0, Vec::len))) * (hi - lo);
    // Beyond ±9 a sigmoid moves less than a level.
    let (lo, hi) = match segment.activation {
        Activation::Sigmoid | Activation::Tanh => ((lo - margin).max(-9.0), (hi + margin).min(9.0)),
        _ => (lo - margin, hi + margin),
    };
    let (lo, hi) = if lo < hi { (lo, hi) } else { (-1.0, 1.0) };
    let step = (hi - lo) / (TABLE_LEN - 1) as f64;
    let values: Vec<f64> = (0..TABLE_LEN)
        .map(|entry| f64::from(segment.activation.apply((lo + entry as f64 * step) as f32)))
        .collect();
    let begin = values.iter().copied().fold(f64::INFINITY, f64::min);
    let end = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let scale = ((end - begin) / f64::from(LEVEL_MAX)).max(1e-9);
    // In 0..=127 by the choice of the scale.
    let table = values.iter().map(|value| ((value - begin) / scale).round() as u8).collect();
    SegmentRange {
        grid: vec![(lo, step); segment.len],
        table,
        scales: vec![(scale, begin); segment.len],
    }
}
