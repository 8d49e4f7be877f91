//! Where the codes of training cells lie, and from where on a cell is none of them: fits what
//! [`cic_model::novelty`] applies.

mod geometry;
mod no_cells;

use cic_data::CsrMatrix;
use cic_model::novelty::{DEPTH_STEPS, FLOAT_CODE_UNITS, MAX_PLACE_DIMS, float_codes};
use cic_model::quant::ONE_Q30;
use cic_model::spec::{FalseRejects, NoveltySpec, Placed, sixteenths};
use rayon::prelude::*;

use crate::codes::{Coded, Coder};
use crate::error::TrainError;
use crate::input_rule::InputRule;

use geometry::Geometry;
use no_cells::{NoCells, Panel};

/// Cells of the training data, as the panel reads them.
pub(crate) struct Cells<'a> {
    /// One row per cell, one column per gene of the panel.
    pub(crate) raw: &'a CsrMatrix,
    /// Sums over all measured genes.
    pub(crate) totals: &'a [f64],
    pub(crate) rule: InputRule<'a>,
    pub(crate) labels: &'a [u32],
    pub(crate) n_classes: usize,
    /// Of every row.
    pub(crate) coded: &'a [Coded],
    /// Whether values are counts, which have a depth and can be drawn.
    pub(crate) are_counts: bool,
}

/// Fits to labelled `seen` rows, whose codes the weights were fitted to, and sets limits with them and `held` rows, which no
/// weight was fitted to. `None` with fewer than two types.
pub(crate) fn fit_novelty(
    cells: &Cells<'_>,
    coder: &Coder<'_>,
    seen: &[usize],
    held: &[usize],
    seed: u64,
) -> Result<Option<NoveltySpec>, TrainError> {
    let is_labelled = |row: &usize| (cells.labels[*row] as usize) < cells.n_classes;
    let labelled: Vec<usize> = seen.iter().copied().filter(is_labelled).collect();
    let code_dim = cells.coded.first().map_or(0, |coded| coded.code.len());
    let type_dims = cells.n_classes.saturating_sub(1).min(code_dim);
    if type_dims == 0 || code_dim > MAX_PLACE_DIMS || labelled.len() < 2 {
        return Ok(None);
    }
    let codes: Vec<&[f64]> = labelled.iter().map(|&row| &cells.coded[row].code[..]).collect();
    let classes: Vec<usize> = labelled.iter().map(|&row| cells.labels[row] as usize).collect();
    let geometry = Geometry::fit(&codes, &classes, cells.n_classes, type_dims)?;

    let depth = |row: usize| if cells.are_counts { sum(cells.raw.row(row).1) } else { 0.0 };
    let depths: Vec<f64> = labelled.iter().map(|&row| depth(row)).collect();
    let spread = geometry.spread(&codes, &classes, &depths);

    let panel = Panel::new(cells, seen, seed);
    let no_cells = NoCells::draw(&panel, &classes, &labelled);
    let places = |rows: &[Vec<(u32, f32)>]| -> Vec<Vec<f64>> {
        let code = |row: &Vec<(u32, f32)>| {
            let (genes, inputs) = panel.inputs(row);
            geometry.place(&coder.code(&genes, &inputs).code)
        };
        rows.par_iter().map(code).collect()
    };
    let noise: Vec<Vec<Vec<f64>>> = no_cells.noise.iter().map(|rows| places(rows)).collect();
    let pairs: Vec<Vec<Vec<f64>>> = no_cells.pairs.iter().map(|rows| places(rows)).collect();
    let mean_places = |kinds: &[Vec<Vec<f64>>]| -> Vec<i16> {
        kinds.iter().flat_map(|places| sixteenths(&geometry::mean(places))).collect()
    };

    let units = vec![1.0 / f64::from(FLOAT_CODE_UNITS); code_dim];
    let mut spec = NoveltySpec {
        code_dim,
        type_dims,
        weights: Vec::new(),
        shifts: Vec::new(),
        offsets: Vec::new(),
        types: sixteenths(&geometry.types),
        noise: mean_places(&noise),
        pairs: mean_places(&pairs),
        type_limits: spread.types.iter().map(|&scale| squared_sixteenths(scale)).collect(),
        rest_scales: spread.rest.iter().map(|scale| (scale * 65_536.0).ceil() as u32).collect(),
        rest_limits: (0..DEPTH_STEPS)
            .map(|step| squared_sixteenths(spread.at_step(step)))
            .collect(),
        error_limits: vec![0.0; DEPTH_STEPS],
        noise_limits: Vec::new(),
        pair_limit: 0,
        least_share_q30: ONE_Q30,
    };
    spec.set_rows(&geometry.rows, &geometry.offsets, &units);
    spec.noise_limits = noise_limits(&spec, &noise);

    let place = |rows: &[usize]| -> Vec<Placed> {
        let of = |&row: &usize| {
            let code: Vec<f32> = cells.coded[row].code.iter().map(|&value| value as f32).collect();
            let place = spec.view().place(&float_codes(&code))[..spec.shifts.len()].to_vec();
            // Counts of a cell are far below 2⁵³.
            Placed { place, n_counts: depth(row) as u64 }
        };
        rows.iter().filter(|row| !cells.raw.row(**row).1.is_empty()).map(of).collect()
    };
    let held: Vec<usize> = held.iter().copied().filter(is_labelled).collect();
    let (seen, held) = (place(&labelled), place(&held));
    spec.set_limits(&seen, &held, FalseRejects::default());
    Ok(Some(spec))
}

/// For each kind of noise, the margin by which all but a thousandth of what was drawn is nearer to its own place than to a
/// type; 0 where less is.
fn noise_limits(spec: &NoveltySpec, noise: &[Vec<Vec<f64>>]) -> Vec<i32> {
    let rows = spec.noise.chunks(spec.shifts.len().max(1));
    let limit = |(own, drawn): (&[i16], &Vec<Vec<f64>>)| {
        let alone = spec.with_noise(own);
        let margin = |place: &Vec<f64>| alone.likeness(&sixteenths(place), 0).noise_margin;
        let mut margins: Vec<i32> = drawn.iter().map(margin).collect();
        margins.sort_unstable();
        margins.get(margins.len() / 1_000).copied().unwrap_or(0).max(0)
    };
    rows.zip(noise).map(limit).collect()
}

fn squared_sixteenths(distance: f64) -> u32 {
    // Saturates.
    (distance * 256.0).ceil().max(1.0) as u32
}

fn sum(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value)).sum()
}
