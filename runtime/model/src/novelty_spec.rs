//! An owned [`Novelty`]: what the trainer fits, the quantiser converts, and a file is written from.

use alloc::vec;
use alloc::vec::Vec;

use crate::novelty::{
    DEPTH_STEPS, Likeness, MAX_WEIGHT_SUM, Novelty, PLACE_FRACTION_BITS, PLACE_MAX,
};

/// The places of types, noise and mixtures, and the limits. Shapes are those of [`Novelty`].
#[derive(Clone, Debug, PartialEq)]
pub struct NoveltySpec {
    /// Dimensions of the code.
    pub code_dim: usize,
    /// Coordinates in which types differ, at least 1.
    pub type_dims: usize,
    /// `[place_dims × code_dim]`
    pub weights: Vec<i16>,
    /// `[place_dims]`
    pub shifts: Vec<u8>,
    /// `[place_dims]`, sixteenths.
    pub offsets: Vec<i32>,
    /// `[n_leaves × type_dims]`, sixteenths.
    pub types: Vec<i16>,
    /// `[n_noise × place_dims]`, sixteenths.
    pub noise: Vec<i16>,
    /// `[n_pairs × place_dims]`, sixteenths.
    pub pairs: Vec<i16>,
    /// `[n_leaves]`
    pub type_limits: Vec<u32>,
    /// `[n_leaves]`, Q16.
    pub rest_scales: Vec<u32>,
    /// `[DEPTH_STEPS]`
    pub rest_limits: Vec<u32>,
    /// `[DEPTH_STEPS]`, mean squared errors in network input units; zeros where nothing is known.
    pub error_limits: Vec<f32>,
    /// `[n_noise]`: a cell nearer to that noise by more than this is taken for it; not below zero.
    pub noise_limits: Vec<i32>,
    /// A cell nearer to a mixture by more than this is taken for it.
    pub pair_limit: i32,
    /// The limits hold where the present genes had at least this share of the library in training, Q30.
    pub least_share_q30: u32,
}

/// Where the code of a cell lies.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// `[place_dims]`, as [`Novelty::place`] gives it.
    pub place: Vec<i16>,
    /// Depth of the cell, 0 where it has none.
    pub n_counts: u64,
}

/// How well a cell is reproduced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reproduced {
    /// Depth of the cell, 0 where it has none.
    pub n_counts: u64,
    /// Mean squared error, in network input units.
    pub error: f64,
    /// [`Likeness::score`] of its code.
    pub score: f64,
}

/// The mean of what the code says, [`Likeness::score`], and the error of reproduction as a share of its limit
/// ([`Novelty::error_limit`]): above one, a cell is unlike those of training.
pub fn thorough_score(score: f64, error_share: f64) -> f64 {
    (score + error_share) / 2.0
}

/// Which share of cells like those of training may be rejected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FalseRejects {
    /// As unlike the training cells.
    pub unlike: f64,
    /// As mixtures of two cells.
    pub doublet: f64,
    /// As noise.
    pub noise: f64,
}

impl FalseRejects {
    /// Of all cells like those of training.
    pub const DEFAULT_SHARE: f64 = 0.016;

    /// A share of all cells, most of them as unlike the others: noise is far from cells, and few doublets are told from cells
    /// without rejecting many.
    pub fn of(share: f64) -> Self {
        Self { unlike: share * 10.0 / 16.0, doublet: share * 5.0 / 16.0, noise: share / 16.0 }
    }
}

impl Default for FalseRejects {
    fn default() -> Self {
        Self::of(Self::DEFAULT_SHARE)
    }
}

impl NoveltySpec {
    /// The places that `rows` of reals, `[place_dims × code_dim]`, and `offsets` give for codes whose unit is
    /// `code_units[dim]`; in standard deviations.
    pub fn set_rows(&mut self, rows: &[f64], offsets: &[f64], code_units: &[f64]) {
        let one = f64::from(1_u32 << PLACE_FRACTION_BITS);
        (self.weights, self.shifts, self.offsets) = (Vec::new(), Vec::new(), Vec::new());
        for (row, offset) in rows.chunks(self.code_dim.max(1)).zip(offsets) {
            let exact: Vec<f64> =
                row.iter().zip(code_units).map(|(weight, unit)| one * weight * unit).collect();
            let sum: f64 = exact.iter().map(|weight| libm::fabs(*weight)).sum();
            // Rounding adds up to half a unit a weight.
            let room = MAX_WEIGHT_SUM as f64 - exact.len() as f64;
            let largest =
                exact.iter().fold(0.0, |largest, weight| libm::fmax(largest, libm::fabs(*weight)));
            let fits = |shift: &u8| {
                let factor = f64::from(1_u32 << shift);
                sum * factor <= room && largest * factor <= f64::from(i16::MAX) - 1.0
            };
            let shift = (0..=MAX_SHIFT).rev().find(fits).unwrap_or(0);
            let factor = f64::from(1_u32 << shift);
            // `as` saturates where no shift was found.
            self.weights.extend(exact.iter().map(|weight| libm::round(weight * factor) as i16));
            self.shifts.push(shift);
            self.offsets.push(libm::round(one * offset) as i32);
        }
    }

    /// The same for codes in other units.
    pub fn rescaled(&self, from_units: &[f64], to_units: &[f64]) -> Self {
        let one = f64::from(1_u32 << PLACE_FRACTION_BITS);
        let factor = |shift: u8| one * f64::from(1_u32 << shift);
        let rows = self.weights.chunks(self.code_dim.max(1)).zip(&self.shifts);
        let rows: Vec<f64> = rows
            .flat_map(|(row, &shift)| {
                let real =
                    move |(&weight, unit): (&i16, &f64)| f64::from(weight) / factor(shift) / unit;
                row.iter().zip(from_units).map(real)
            })
            .collect();
        let offsets: Vec<f64> =
            self.offsets.iter().map(|&offset| f64::from(offset) / one).collect();
        let mut other = self.clone();
        other.set_rows(&rows, &offsets, to_units);
        other
    }

    /// Moves the limits so that of cells like those of training about the given shares are rejected. The tails are taken from
    /// all `seen` cells of training; since the weights know some of these too well, distances of `held` cells that no weight
    /// was fitted to say by how much all are larger.
    pub fn set_limits(&mut self, seen: &[Placed], held: &[Placed], rates: FalseRejects) {
        if seen.is_empty() {
            return;
        }
        let held = if held.is_empty() { seen } else { held };
        // What is nearer to noise is noise, unless cells are. All noise together rejects no more than is stated.
        let n_noise = self.noise_limits.len();
        let rows = self.noise.chunks(self.shifts.len().max(1));
        let limits: Vec<i32> = rows
            .map(|noise| {
                let alone = self.with_noise(noise);
                let margins = |cells| measure(&alone, cells);
                let rate = rates.noise / n_noise as f64;
                limit(&margins(seen), &margins(held), &|cell| cell.noise_margin, rate)
            })
            .collect();
        for (own, limit) in self.noise_limits.iter_mut().zip(limits) {
            *own = limit.max(*own);
        }
        let (seen, held) = (&measure(&self.view(), seen), &measure(&self.view(), held));
        self.pair_limit = limit(seen, held, &|cell| cell.pair_margin, rates.doublet);
        let ratio =
            |distance: u32, limit: u32| f64::from(distance.max(1)) / f64::from(limit.max(1));
        let in_types = |cell: &Likeness| ratio(cell.type_distance, cell.type_limit);
        let in_rest = |cell: &Likeness| ratio(cell.rest_distance, cell.rest_limit);
        let tail =
            |value: &dyn Fn(&Likeness) -> f64| quantile(seen.iter().map(value), 1.0 - rates.unlike);
        let (type_scale, rest_scale) = (tail(&in_types), tail(&in_rest));
        // Both are of the same weight, and their sum has the tail that counts.
        let sum = |cell: &Likeness| in_types(cell) / type_scale + in_rest(cell) / rest_scale;
        let middle = |cells: &[Likeness]| quantile(cells.iter().map(sum), 0.5);
        let both = tail(&sum) * (middle(held) / middle(seen)).max(1.0);
        // Saturates; limits of nothing are none.
        let times = |limit: &mut u32, factor: f64| {
            *limit = libm::ceil(f64::from(*limit) * factor).max(1.0) as u32;
        };
        self.type_limits.iter_mut().for_each(|limit| times(limit, type_scale * both));
        self.rest_limits.iter_mut().for_each(|limit| times(limit, rest_scale * both));
    }

    /// Sets the limits of errors of reproduction so that of cells like those of training about `rate` have a
    /// [`thorough_score`] above one; `seen` and `held` as in [`Self::set_limits`], by whose limits they are scored. Errors follow
    /// a power of the depth.
    pub fn set_error_limits(&mut self, seen: &[Reproduced], held: &[Reproduced], rate: f64) {
        self.error_limits = vec![0.0; DEPTH_STEPS];
        let log = |cell: &Reproduced| {
            (libm::log(cell.n_counts.max(1) as f64), libm::log(cell.error.max(1e-12)))
        };
        let points: Vec<(f64, f64)> = seen.iter().map(log).collect();
        if points.is_empty() {
            return;
        }
        let held = if held.is_empty() { seen } else { held };
        let (intercept, slope) = line(&points);
        let above = |cell: &Reproduced| {
            let (depth, error) = log(cell);
            libm::exp(error - intercept - slope * depth)
        };
        let by = |value: &dyn Fn(&Reproduced) -> f64| {
            let middle = |cells: &[Reproduced]| quantile(cells.iter().map(value), 0.5);
            (middle(held) / middle(seen)).max(1.0)
        };
        let (code, own) = (by(&|cell| cell.score), by(&above));
        let exceeds = |factor: f64| {
            let score =
                |cell: &Reproduced| thorough_score(code * cell.score, own * above(cell) / factor);
            quantile(seen.iter().map(score), 1.0 - rate) > 1.0
        };
        // Scores fall with the factor: its logarithm is halved in.
        let (mut low, mut high) = (-10.0, 10.0);
        for _ in 0..40 {
            let middle = (low + high) / 2.0;
            if exceeds(libm::exp(middle)) { low = middle } else { high = middle }
        }
        let depths = || points.iter().map(|point| point.0);
        let (least, most) = (quantile(depths(), 0.01), quantile(depths(), 0.99));
        for (step, limit) in self.error_limits.iter_mut().enumerate() {
            // Depths beyond those of the cells are not extrapolated to.
            let depth = libm::log(step_depth(step)).clamp(least, most);
            *limit = libm::exp(intercept + slope * depth + high) as f32;
        }
    }

    /// What is run.
    pub fn view(&self) -> Novelty<'_> {
        Novelty {
            code_dim: self.code_dim,
            type_dims: self.type_dims,
            weights: &self.weights,
            shifts: &self.shifts,
            offsets: &self.offsets,
            types: &self.types,
            noise: &self.noise,
            pairs: &self.pairs,
            type_limits: &self.type_limits,
            rest_scales: &self.rest_scales,
            rest_limits: &self.rest_limits,
            error_limits: &self.error_limits,
            noise_limits: &self.noise_limits,
            pair_limit: self.pair_limit,
            least_share_q30: self.least_share_q30,
        }
    }

    /// The same with one kind of noise, without a limit.
    pub fn with_noise<'a>(&'a self, noise: &'a [i16]) -> Novelty<'a> {
        Novelty { noise, noise_limits: &[0], ..self.view() }
    }

    pub(crate) fn of(view: &Novelty<'_>) -> Self {
        Self {
            code_dim: view.code_dim,
            type_dims: view.type_dims,
            weights: view.weights.to_vec(),
            shifts: view.shifts.to_vec(),
            offsets: view.offsets.to_vec(),
            types: view.types.to_vec(),
            noise: view.noise.to_vec(),
            pairs: view.pairs.to_vec(),
            type_limits: view.type_limits.to_vec(),
            rest_scales: view.rest_scales.to_vec(),
            rest_limits: view.rest_limits.to_vec(),
            error_limits: view.error_limits.to_vec(),
            noise_limits: view.noise_limits.to_vec(),
            pair_limit: view.pair_limit,
            least_share_q30: view.least_share_q30,
        }
    }
}

/// Coordinates in sixteenths, from standard deviations.
pub fn sixteenths(places: &[f64]) -> Vec<i16> {
    let one = f64::from(1_u32 << PLACE_FRACTION_BITS);
    let limit = f64::from(PLACE_MAX);
    places.iter().map(|place| libm::round(place * one).clamp(-limit, limit) as i16).collect()
}

/// The middle of a step of [`crate::novelty::depth_step`].
pub fn step_depth(step: usize) -> f64 {
    let within = if step.is_multiple_of(2) { 1.25 } else { 1.75 };
    libm::ldexp(within, (step / 2).min(DEPTH_STEPS / 2) as i32)
}

/// Intercept and slope of the line of least squares; slope 0 where `x` does not vary.
pub fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len().max(1) as f64;
    let mean = |value: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / n;
    let (mean_x, mean_y) = (mean(&|p| p.0), mean(&|p| p.1));
    let spread = mean(&|p| (p.0 - mean_x) * (p.0 - mean_x));
    let both = mean(&|p| (p.0 - mean_x) * (p.1 - mean_y));
    let slope = if spread > 1e-9 { both / spread } else { 0.0 };
    (mean_y - slope * mean_x, slope)
}

fn measure(novelty: &Novelty<'_>, cells: &[Placed]) -> Vec<Likeness> {
    cells.iter().map(|cell| novelty.likeness(&cell.place, cell.n_counts)).collect()
}

/// The margin that about `rate` of cells like those of training exceed, and not below zero.
fn limit(
    seen: &[Likeness],
    held: &[Likeness],
    margin: &dyn Fn(&Likeness) -> i32,
    rate: f64,
) -> i32 {
    let of = |cells: &[Likeness], share| {
        quantile(cells.iter().map(|cell| f64::from(margin(cell))), share)
    };
    let shift = (of(held, 0.5) - of(seen, 0.5)).max(0.0);
    libm::ceil(of(seen, 1.0 - rate) + shift).max(0.0) as i32
}

/// A value that a share of all does not exceed.
fn quantile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let at = libm::ceil(share * values.len() as f64) as usize;
    values.get(at.saturating_sub(1).min(values.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

/// Larger shifts would only add zeros.
const MAX_SHIFT: u8 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    /// Two types at −3 and 3 of the first of two coordinates.
    fn spec() -> NoveltySpec {
        let mut spec = NoveltySpec {
            code_dim: 2,
            type_dims: 1,
            weights: vec![],
            shifts: vec![],
            offsets: vec![],
            types: sixteenths(&[-3.0, 3.0]),
            noise: sixteenths(&[0.0, 5.0]),
            pairs: sixteenths(&[0.0, 0.0]),
            type_limits: vec![256; 2],
            rest_scales: vec![1 << 16; 2],
            rest_limits: vec![256; DEPTH_STEPS],
            error_limits: vec![0.0; DEPTH_STEPS],
            noise_limits: vec![0],
            pair_limit: 0,
            least_share_q30: 0,
        };
        spec.set_rows(&[1.0, 0.0, 0.0, 2.0], &[0.0, -1.0], &[0.001, 0.002]);
        spec
    }

    #[test]
    fn places_are_what_reals_give() {
        let spec = spec();
        assert_eq!(spec.view().place(&[3_000, 500])[..3], [48, 16, 0]);
        let other = spec.rescaled(&[0.001, 0.002], &[0.0005, 0.001]);
        assert_eq!(other.view().place(&[6_000, 1_000])[..3], [48, 16, 0]);
    }

    #[test]
    fn limits_reject_the_stated_share() {
        let mut spec = spec();
        // First coordinate 3 to 4, the second −1 to 1, each as often.
        let cells: Vec<[i16; 2]> = (0..1_000).map(|i| [3_000 + i, i * 7 % 500]).collect();
        let placed = |cell: &[i16; 2]| Placed {
            place: spec.view().place(cell)[..2].to_vec(),
            n_counts: 100,
        };
        let seen: Vec<Placed> = cells.iter().map(placed).collect();
        let rates = FalseRejects { unlike: 0.1, doublet: 0.0, noise: 0.0 };
        spec.set_limits(&seen, &[], rates);
        let rejected = measure(&spec.view(), &seen);
        let rejected = rejected.iter().filter(|l| spec.view().reject(l).is_some()).count();
        // Sixteenths: 62 or 63 cells have the same place.
        assert!((40..=100).contains(&rejected), "{rejected}");
    }
}
