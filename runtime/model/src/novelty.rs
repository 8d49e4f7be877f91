//! How unlike the training cells a cell is, from its code alone and in integers: the same on every processor.
//!
//! The code is moved to coordinates in which cells of one type vary by one in every direction (Mahalanobis distance with
//! the covariance within types, Lee et al. 2018, "A simple unified framework for detecting out-of-distribution samples",
//! section 2.1), turned so that the first coordinates span the means of the types and the rest is what no type differs in:
//!
//! ```text
//! place[r] = clamp(round(Σ_d weights[r, d] · code[d] / 2^shifts[r]) + offsets[r])     ‖ in sixteenths
//! type_distance(t) = Σ_{r < type_dims}  (place[r] − types[t, r])²
//! rest_distance    = Σ_{r >= type_dims}  place[r]²
//! ```
//!
//! Noise and mixtures of two cells have places of their own, which are simulated when the model is made. A cell that is
//! nearer to one of these than to any type is taken for one.

use crate::container::{Container, SectionKind};
use crate::error::ModelError;
use crate::rules::RejectReason;

/// Most coordinates, of types and rest together, and most dimensions of a code.
pub const MAX_PLACE_DIMS: usize = 128;

/// Fraction bits of a coordinate.
pub const PLACE_FRACTION_BITS: u32 = 4;

/// Largest coordinate, and minus the smallest: the sum of [`MAX_PLACE_DIMS`] squared differences fits 31 bits.
pub const PLACE_MAX: i32 = 2_047;

/// Steps of [`depth_step`].
pub const DEPTH_STEPS: usize = 64;

/// Units of one in the codes of f16 and f32 models.
pub const FLOAT_CODE_UNITS: f32 = 2_048.0;

const MAX_SHIFT: u8 = 30;
const MAX_OFFSET: i32 = 1 << 20;

/// View of what a model knows of the codes of its training cells.
#[derive(Clone, Copy, Debug)]
pub struct Novelty<'a> {
    pub(crate) code_dim: usize,
    pub(crate) type_dims: usize,
    /// `[place_dims × code_dim]`
    pub(crate) weights: &'a [i16],
    /// `[place_dims]`
    pub(crate) shifts: &'a [u8],
    /// `[place_dims]`
    pub(crate) offsets: &'a [i32],
    /// `[n_leaves × type_dims]`
    pub(crate) types: &'a [i16],
    /// `[n_noise × place_dims]`
    pub(crate) noise: &'a [i16],
    /// `[n_noise]`
    pub(crate) noise_limits: &'a [i32],
    /// `[n_pairs × place_dims]`
    pub(crate) pairs: &'a [i16],
    /// `[n_leaves]`
    pub(crate) type_limits: &'a [u32],
    /// `[n_leaves]`, Q16
    pub(crate) rest_scales: &'a [u32],
    /// `[DEPTH_STEPS]`
    pub(crate) rest_limits: &'a [u32],
    /// `[DEPTH_STEPS]`
    pub(crate) error_limits: &'a [f32],
    pub(crate) pair_limit: i32,
    pub(crate) least_share_q30: u32,
}

/// What is found of a cell. Distances are squares of sixteenths of a standard deviation within types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Likeness {
    /// The leaf whose training cells it is nearest to in what the types differ in.
    pub nearest: u32,
    /// Distance to them in what the types differ in.
    pub type_distance: u32,
    /// From which distance on a cell is unlike them, were the other distance 0.
    pub type_limit: u32,
    /// Distance from the mean of all cells in what the types do not differ in.
    pub rest_distance: u32,
    /// From which distance on a cell of its type and depth is unlike all, were the first distance 0.
    pub rest_limit: u32,
    /// By how much more it is nearer to some noise than to any type than the limit of that noise allows.
    pub noise_margin: i32,
    /// By how much it is nearer to a mixture of two types than to any type.
    pub pair_margin: i32,
}

impl Likeness {
    /// Both distances as shares of their limits, added: above one, the cell is unlike the training cells.
    pub fn score(&self) -> f32 {
        let share = |distance: u32, limit: u32| distance as f32 / limit.max(1) as f32;
        share(self.type_distance, self.type_limit) + share(self.rest_distance, self.rest_limit)
    }

    /// Whether that is above one, in integers.
    fn is_unlike(&self) -> bool {
        let Some(left) = self.type_limit.checked_sub(self.type_distance) else { return true };
        // t / T + r / R > 1 without a division; neither product exceeds 64 bits.
        u64::from(self.rest_distance) * u64::from(self.type_limit)
            > u64::from(left) * u64::from(self.rest_limit)
    }
}

impl<'a> Novelty<'a> {
    /// The section of a model that has one; models without cell types have none.
    pub(crate) fn parse(
        container: &Container<'a>,
        code_dim: usize,
        n_leaves: usize,
    ) -> Result<Option<Self>, ModelError> {
        if container.section(SectionKind::Novelty, 0).is_none() {
            return Ok(None);
        }
        let mut reader = container.require(SectionKind::Novelty, 0)?;
        let type_dims = reader.u32()? as usize;
        let place_dims = reader.u32()? as usize;
        let n_noise = reader.u32()? as usize;
        let n_pairs = reader.u32()? as usize;
        let has_types = (1..=place_dims).contains(&type_dims) && n_leaves > 0;
        if place_dims.max(code_dim) > MAX_PLACE_DIMS || !has_types {
            return Err(reader.bad("number of coordinates"));
        }
        let pair_limit = reader.u32()? as i32;
        let least_share_q30 = reader.u32()?;
        // The readers below check that so many are there.
        let times = |n: usize, dims: usize| n.saturating_mul(dims);
        let novelty = Self {
            code_dim,
            type_dims,
            pair_limit,
            least_share_q30,
            offsets: reader.array(place_dims)?,
            noise_limits: reader.array(n_noise)?,
            type_limits: reader.array(n_leaves)?,
            rest_scales: reader.array(n_leaves)?,
            rest_limits: reader.array(DEPTH_STEPS)?,
            error_limits: reader.array(DEPTH_STEPS)?,
            weights: reader.array(times(place_dims, code_dim))?,
            types: reader.array(times(n_leaves, type_dims))?,
            noise: reader.array(times(n_noise, place_dims))?,
            pairs: reader.array(times(n_pairs, place_dims))?,
            shifts: reader.array(place_dims)?,
        };
        if let Some(field) = novelty.fault() {
            return Err(reader.bad(field));
        }
        reader.finish()?;
        Ok(Some(novelty))
    }

    /// What is out of range, if anything: nothing that is in range can overflow.
    fn fault(&self) -> Option<&'static str> {
        let is_place = |&place: &i16| i32::from(place).abs() <= PLACE_MAX;
        let sum_fits = |row: &[i16]| {
            let sum: u64 = row.iter().map(|&weight| u64::from(weight.unsigned_abs())).sum();
            sum <= MAX_WEIGHT_SUM
        };
        if !self.rows().all(sum_fits) {
            Some("weights: their sum is too large")
        } else if self.shifts.iter().any(|&shift| shift > MAX_SHIFT) {
            Some("shift")
        } else if self.offsets.iter().any(|offset| offset.unsigned_abs() > MAX_OFFSET as u32) {
            Some("offset")
        } else if self.noise_limits.iter().any(|&limit| limit < 0) {
            Some("limit of noise")
        } else if ![self.types, self.noise, self.pairs].iter().all(|all| all.iter().all(is_place)) {
            Some("place")
        } else if self.error_limits.iter().any(|limit| !(limit.is_finite() && *limit >= 0.0)) {
            Some("error of reproduction")
        } else {
            None
        }
    }

    fn rows(&self) -> impl Iterator<Item = &'a [i16]> + use<'a> {
        self.weights.chunks_exact(self.code_dim.max(1))
    }

    /// Coordinates, of types and rest.
    pub fn place_dims(&self) -> usize {
        self.shifts.len()
    }

    /// Whether the limits hold for a file whose genes had that share of the library in training, Q30. With fewer genes, cells
    /// lie elsewhere.
    pub fn holds_for(&self, share_q30: u32) -> bool {
        share_q30 >= self.least_share_q30
    }

    /// That share.
    pub fn least_share_q30(&self) -> u32 {
        self.least_share_q30
    }

    /// Coordinates in which types differ.
    pub fn type_dims(&self) -> usize {
        self.type_dims
    }

    /// Places of noise.
    pub fn n_noise(&self) -> usize {
        self.noise.len() / self.place_dims().max(1)
    }

    /// Places of mixtures of two types.
    pub fn n_pairs(&self) -> usize {
        self.pairs.len() / self.place_dims().max(1)
    }

    /// Where a code, `[code_dim]`, lies. Those past [`Self::place_dims`] are zero.
    pub fn place(&self, code: &[i16]) -> [i16; MAX_PLACE_DIMS] {
        let mut place = [0; MAX_PLACE_DIMS];
        let rules = self.shifts.iter().zip(self.offsets);
        for ((row, (&shift, &offset)), to) in self.rows().zip(rules).zip(&mut place) {
            // Sums fit by the check of the weights, with room for the half that rounds.
            let products = row.iter().zip(code);
            let sum: i32 = products.map(|(&w, &c)| i32::from(w) * i32::from(c)).sum();
            let half = (1_i32 << shift) >> 1;
            let moved = (sum.wrapping_add(half) >> shift).wrapping_add(offset);
            *to = moved.clamp(-PLACE_MAX, PLACE_MAX) as i16;
        }
        place
    }

    /// What a code, `[code_dim]`, is like. `n_counts` is the depth of the cell, 0 where it has none.
    pub fn measure(&self, code: &[i16], n_counts: u64) -> Likeness {
        let place = self.place(code);
        self.likeness(place.get(..self.place_dims()).unwrap_or(&[]), n_counts)
    }

    /// What a place, `[place_dims]`, is like.
    pub fn likeness(&self, place: &[i16], n_counts: u64) -> Likeness {
        let (in_types, in_rest) = place.split_at_checked(self.type_dims).unwrap_or((place, &[]));
        let rest_distance = in_rest.iter().map(|&place| square(place, 0)).sum();

        // Not by their limits: types that are spread wide would take everything.
        let (mut nearest, mut type_distance, mut type_limit, mut rest_scale) = (0, u32::MAX, 1, 0);
        let types = nearby(self.types, in_types, self.type_dims);
        let rules = self.type_limits.iter().zip(self.rest_scales);
        for (leaf, (distance, (&limit, &scale))) in (0..).zip(types.zip(rules)) {
            if distance < type_distance {
                (nearest, type_distance, type_limit, rest_scale) = (leaf, distance, limit, scale);
            }
        }
        let step = self.rest_limits.get(depth_step(n_counts)).copied().unwrap_or(u32::MAX);
        let rest_limit = (u64::from(step) * u64::from(rest_scale)) >> 16;

        // Both sums of squares fit 31 bits, see `PLACE_MAX`.
        let to_type = type_distance.min(i32::MAX as u32).saturating_add(rest_distance) as i32;
        let nearer = |distance: u32| to_type.saturating_sub(distance as i32);
        let noise = nearby(self.noise, place, self.place_dims()).zip(self.noise_limits);
        let noise_margin = noise.map(|(distance, &limit)| nearer(distance).saturating_sub(limit));
        let pair = nearby(self.pairs, place, self.place_dims()).min();
        Likeness {
            nearest,
            type_distance,
            type_limit,
            rest_distance,
            rest_limit: u32::try_from(rest_limit).unwrap_or(u32::MAX),
            noise_margin: noise_margin.max().unwrap_or(i32::MIN),
            pair_margin: pair.map_or(i32::MIN, nearer),
        }
    }

    /// The mean squared error of reproduction, in network input units, that errors of cells of that depth are a share of, for
    /// `spec::thorough_score`; `None` where the model does not know. For hosts: it takes the decoder.
    pub fn error_limit(&self, n_counts: u64) -> Option<f32> {
        self.error_limits.get(depth_step(n_counts)).copied().filter(|&limit| limit > 0.0)
    }

    /// Why a cell of that likeness is not named.
    pub fn reject(&self, likeness: &Likeness) -> Option<RejectReason> {
        self.reason(likeness, likeness.is_unlike())
    }

    /// The same for who knows better whether it is unlike the training cells.
    pub fn reason(&self, likeness: &Likeness, is_unlike: bool) -> Option<RejectReason> {
        if likeness.noise_margin > 0 {
            Some(RejectReason::NoiseLike)
        } else if is_unlike {
            Some(RejectReason::UnlikeTraining)
        } else if likeness.pair_margin > self.pair_limit {
            Some(RejectReason::DoubletLike)
        } else {
            None
        }
    }
}

/// Largest sum of absolute weights of a row: times the largest code, and a half added, it fits 32 bits.
pub(crate) const MAX_WEIGHT_SUM: u64 = 49_151;

/// Squared distances from `place` to each of `places`.
fn nearby(places: &[i16], place: &[i16], dims: usize) -> impl Iterator<Item = u32> {
    places.chunks_exact(dims.max(1)).map(move |other| {
        let pairs = other.iter().zip(place);
        pairs.map(|(&other, &place)| square(place, other)).sum()
    })
}

/// Differences of coordinates are below 2¹², their squares below 2²⁴. Vectors of 16 bits hold twice as many of them.
fn square(a: i16, b: i16) -> u32 {
    let difference = i32::from(a.wrapping_sub(b));
    (difference * difference) as u32
}

/// Half octaves of a depth, 0 ..= 63: the limit of what types do not differ in falls with depth.
pub fn depth_step(n_counts: u64) -> usize {
    let n_counts = u32::try_from(n_counts).unwrap_or(u32::MAX);
    let octave = 31 - (n_counts | 1).leading_zeros();
    // The bit below the highest; of one itself there is none.
    let half = if octave == 0 { 0 } else { (n_counts >> (octave - 1)) & 1 };
    (2 * octave + half) as usize
}

/// The code of an f16 or f32 model, `[code_dim]`, in units of [`FLOAT_CODE_UNITS`]; zeros past its end. Models with more
/// dimensions know no places.
pub fn float_codes(code: &[f32]) -> [i16; MAX_PLACE_DIMS] {
    let mut codes = [0; MAX_PLACE_DIMS];
    codes.iter_mut().zip(code).for_each(|(to, &value)| *to = float_code(value));
    codes
}

/// One dimension of it.
fn float_code(value: f32) -> i16 {
    // Half away from zero; `as` saturates.
    let scaled = value * FLOAT_CODE_UNITS;
    (scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_octaves_ascend_and_end_at_the_last_step() {
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7, 8].map(depth_step), [0, 0, 2, 3, 4, 4, 5, 5, 6]);
        assert_eq!(depth_step(u64::MAX), DEPTH_STEPS - 1);
        let steps: std::vec::Vec<usize> = (0..100_000).map(depth_step).collect();
        assert!(steps.is_sorted());
    }

    #[test]
    fn float_codes_saturate_and_round() {
        assert_eq!(float_code(1.0), 2_048);
        assert_eq!(float_code(-1.0 / 2_048.0 * 1.5), -2);
        assert_eq!(float_code(1e9), i16::MAX);
        assert_eq!(float_code(f32::NAN), 0);
    }

    #[test]
    fn largest_places_do_not_overflow() {
        let (weights, types) = ([0_i16; MAX_PLACE_DIMS], [-PLACE_MAX as i16; MAX_PLACE_DIMS]);
        let novelty = Novelty {
            code_dim: 1,
            type_dims: MAX_PLACE_DIMS,
            weights: &weights,
            shifts: &[0; MAX_PLACE_DIMS],
            offsets: &[MAX_OFFSET; MAX_PLACE_DIMS],
            types: &types,
            noise: &types,
            pairs: &[],
            type_limits: &[5],
            rest_scales: &[1 << 16],
            rest_limits: &[7; DEPTH_STEPS],
            error_limits: &[0.0; DEPTH_STEPS],
            noise_limits: &[0],
            pair_limit: 0,
            least_share_q30: 0,
        };
        assert_eq!(novelty.fault(), None);
        let likeness = novelty.measure(&[i16::MIN], u64::MAX);
        assert_eq!(likeness.type_distance, 128 * 4_094 * 4_094);
        assert_eq!(likeness.noise_margin, 0);
        assert_eq!(likeness.pair_margin, i32::MIN);
        assert_eq!(novelty.reject(&likeness), Some(RejectReason::UnlikeTraining));
    }
}
