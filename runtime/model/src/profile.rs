//! Input profiles: what the values of a sample are and how they become network inputs.
//!
//! Preprocessing is fitted in the trainer and at quantisation, and applied only here. A float
//! network reads the value `x`; an int8 network reads the level of `x`, found by thresholds without
//! a logarithm:
//!
//! | value kind | `x` of a value `v` in a sample of library size `L` | thresholds compare |
//! |---|---|---|
//! | counts | `ln(1 + v · target_sum / L)` | `v · target_sum · 2^shift` with `T_k · L`, in integers |
//! | linear_normalised | the same, `L` being the sum of the values | `v · target_sum / L` with `t_k` |
//! | log1p | `v` | `v` with `t_k` |
//! | log2_intensity | `v` | `(v − offset_g) · gain_g` with `t_k` |
//!
//! `x ≈ scale · level + offset`; for log2_intensity that holds for what is compared, not for `x`.
//!
//! Where a profile has limits, a float network reads `min(x, limit_g)`, an int8 network
//! `min(level, level_limit_g)`.

use crate::container::{Container, SectionKind, SectionReader, is_ascending};
use crate::error::ModelError;
use crate::quant::{LEVEL_MAX, ONE_Q30};
use crate::vocabulary::ValueKind;

/// Which sum divides the values of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Library {
    /// None: the values are used as they are.
    None = 0,
    /// The sum over the genes of the panel that are present, divided by the share of the library
    /// that these genes had in training.
    Panel = 1,
    /// The sum over all measured genes, which the caller gives.
    AllMeasured = 2,
}

/// From values to network inputs in full precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaling {
    /// What the values are.
    pub kind: ValueKind,
    /// Which sum divides them.
    pub library: Library,
    /// What they are scaled to sum to; 0 without a library.
    pub target_sum: u32,
}

impl Scaling {
    /// `target_sum / L` of a sample; 1 without a library. `panel_sum` is the sum over
    /// the genes of the panel that are present, `share_q30` their share of the library, `total` the
    /// sum over all measured genes. `None` where `L` is zero or, for counts, does not fit 32 bits.
    pub fn factor(&self, panel_sum: f64, total: f64, share_q30: u32) -> Option<f32> {
        let library = match self.library {
            Library::None => return Some(1.0),
            Library::AllMeasured => total,
            // Integers up to 2⁵³, hence exact.
            Library::Panel if self.kind == ValueKind::Counts => {
                f64::from(library_size(panel_sum as u64, share_q30)?)
            }
            Library::Panel => panel_sum * f64::from(ONE_Q30) / f64::from(share_q30.max(1)),
        };
        let factor = (f64::from(self.target_sum) / library) as f32;
        Some(factor).filter(|factor| factor.is_finite() && library > 0.0)
    }

    /// Network input of a value. `factor` is `target_sum / L` where there is a library.
    #[inline]
    pub fn input(&self, value: f32, factor: f32) -> f32 {
        if is_scaled(self.kind) { libm::log1pf(value * factor) } else { value }
    }
}

/// How the values of one gene are compared where every gene has a range of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeneScale {
    /// Subtracted from the value.
    pub offset: f32,
    /// Multiplies the difference; above zero.
    pub gain: f32,
}

impl GeneScale {
    /// What is compared with the thresholds: one subtraction, one multiplication, each rounded.
    #[inline]
    pub fn apply(self, value: f32) -> f32 {
        (value - self.offset) * self.gain
    }
}

/// A network input of `gene`, or its limit where that is smaller. No limits, no change.
#[inline]
pub fn limited(limits: &[f32], gene: usize, input: f32) -> f32 {
    limits.get(gene).map_or(input, |&limit| input.min(limit))
}

/// Thresholds of an int8 input.
pub const N_THRESHOLDS: usize = LEVEL_MAX as usize;

/// Longest profile name, in bytes.
pub const MAX_NAME_LEN: usize = 32;

/// One way of giving samples to a model.
#[derive(Clone, Copy, Debug)]
pub struct Profile<'a> {
    name: &'a str,
    kind: ValueKind,
    library: Library,
    target_sum: u32,
    shift: u32,
    scale: f32,
    offset: f32,
    fill_values: &'a [f32],
    limits: &'a [f32],
    count_thresholds: &'a [u32],
    value_thresholds: &'a [f32],
    fill_levels: &'a [u8],
    level_limits: &'a [u8],
    gene_offsets: &'a [f32],
    gene_gains: &'a [f32],
}

impl<'a> Profile<'a> {
    pub(crate) fn parse(
        container: &Container<'a>,
        index: u32,
        n_genes: usize,
        is_quantised: bool,
    ) -> Result<Self, ModelError> {
        let mut reader = container.require(SectionKind::Profile, index)?;
        let kind = ValueKind::from_code(reader.u32()?).ok_or_else(|| reader.bad("value kind"))?;
        let library = match reader.u32()? {
            0 => Library::None,
            1 => Library::Panel,
            2 => Library::AllMeasured,
            _ => return Err(reader.bad("library")),
        };
        let target_sum = reader.u32()?;
        let shift = reader.u32()?;
        let scale = reader.f32()?;
        let offset = reader.f32()?;
        let n_thresholds = reader.u32()? as usize;
        let n_limits = reader.u32()? as usize;
        let name = parse_name(&mut reader)?;
        if n_limits != 0 && (n_limits != n_genes || kind == ValueKind::Log2Intensity) {
            return Err(reader.bad("number of limits"));
        }
        // No more than twice what lies in the file.
        let n_both = n_genes.saturating_add(n_limits);
        let values: &[f32] = reader.array(n_both)?;
        let (mut count_thresholds, mut value_thresholds, mut levels): (&[u32], &[f32], &[u8]) =
            (&[], &[], &[]);
        if n_thresholds != 0 {
            count_thresholds = reader.array(n_thresholds)?;
            value_thresholds = reader.array(n_thresholds)?;
            levels = reader.array(n_both)?;
        }
        let (mut gene_offsets, mut gene_gains): (&[f32], &[f32]) = (&[], &[]);
        if n_thresholds != 0 && has_gene_scales(kind) {
            gene_offsets = reader.array(n_genes)?;
            gene_gains = reader.array(n_genes)?;
        }
        let is_scaled = is_scaled(kind);
        if is_scaled == (library == Library::None) || is_scaled == (target_sum == 0) {
            return Err(reader.bad("library"));
        }
        let (fill_values, limits) = values.split_at_checked(n_genes).unwrap_or_default();
        let (fill_levels, level_limits) = levels.split_at_checked(n_genes).unwrap_or_default();
        // A zero stays one.
        let is_below_zero = |limit: &f32| limit.is_sign_negative();
        if values.iter().any(|value| !value.is_finite()) || limits.iter().any(is_below_zero) {
            return Err(reader.bad("fill value or limit"));
        }
        if n_thresholds != if is_quantised { N_THRESHOLDS } else { 0 } {
            return Err(reader.bad("number of thresholds"));
        }
        if is_quantised {
            let zero_has_level_0 = value_thresholds.first().is_some_and(|&lowest| lowest > 0.0);
            let is_sound = scale.is_finite()
                && scale > 0.0
                && offset.is_finite()
                && (kind == ValueKind::Log2Intensity || (offset == 0.0 && zero_has_level_0))
                && shift < 32
                && u64::from(target_sum) << shift <= u64::from(u32::MAX)
                && (kind != ValueKind::Counts || count_thresholds.iter().all(|&t| t >= 1))
                && is_ascending(count_thresholds)
                && value_thresholds.iter().all(|t| t.is_finite())
                && is_ascending(value_thresholds)
                && levels.iter().all(|&level| level <= LEVEL_MAX);
            if !is_sound {
                return Err(reader.bad("thresholds"));
            }
        }
        let is_gain = |gain: &f32| gain.is_finite() && *gain > 0.0;
        if gene_offsets.iter().any(|offset| !offset.is_finite()) || !gene_gains.iter().all(is_gain)
        {
            return Err(reader.bad("gene scales"));
        }
        reader.finish()?;
        Ok(Self {
            name,
            kind,
            library,
            target_sum,
            shift,
            scale,
            offset,
            fill_values,
            limits,
            count_thresholds,
            value_thresholds,
            fill_levels,
            level_limits,
            gene_offsets,
            gene_gains,
        })
    }

    /// Name, unique in its model.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// What the values of a sample must be.
    #[inline]
    pub fn kind(&self) -> ValueKind {
        self.kind
    }

    /// Which sum divides them.
    #[inline]
    pub fn library(&self) -> Library {
        self.library
    }

    /// What the values of a sample are scaled to sum to; 0 without a library.
    pub fn target_sum(&self) -> u32 {
        self.target_sum
    }

    /// Fraction bits of the count thresholds.
    pub fn shift(&self) -> u32 {
        self.shift
    }

    /// Units of one level, of the network input or, with [`Profile::gene_scales`], of what is
    /// compared; 0 in a float model.
    #[inline]
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// What level 0 stands for, in the same units.
    #[inline]
    pub fn offset(&self) -> f32 {
        self.offset
    }

    /// What stands for a missing gene, `[n_genes]`, in network input units.
    #[inline]
    pub fn fill_values(&self) -> &'a [f32] {
        self.fill_values
    }

    /// What stands for a missing gene in an int8 model, `[n_genes]`; empty in a float model.
    #[inline]
    pub fn fill_levels(&self) -> &'a [u8] {
        self.fill_levels
    }

    /// What the network input of each gene is at most, `[n_genes]`, not below zero, in its units; empty where
    /// nothing is limited. Fill values are not limited.
    #[inline]
    pub fn limits(&self) -> &'a [f32] {
        self.limits
    }

    /// What the level of each gene is at most, `[n_genes]`, 0 ..= 127; empty where nothing is limited and in a
    /// float model. From 1 to 126 it stands for the limit: see [`Profile::unit`].
    #[inline]
    pub fn level_limits(&self) -> &'a [u8] {
        self.level_limits
    }

    /// What one level of a gene is, of the network input: [`Profile::scale`], or with a level limit of 1 to 126
    /// what makes that level stand for the limit.
    pub fn unit(&self, gene: usize) -> f64 {
        let scale = f64::from(self.scale);
        match (self.limits.get(gene), self.level_limits.get(gene)) {
            (Some(&limit), Some(&level)) => limited_unit(scale, limit, level),
            _ => scale,
        }
    }

    /// `T_1 ..= T_127`; zeros unless the kind is counts, empty in a float model.
    pub fn count_thresholds(&self) -> &'a [u32] {
        self.count_thresholds
    }

    /// `t_1 ..= t_127`, empty in a float model.
    #[inline]
    pub fn value_thresholds(&self) -> &'a [f32] {
        self.value_thresholds
    }

    /// Offset and gain of every gene, `[n_genes]`; none unless an int8 model reads log2_intensity.
    pub fn gene_scales(&self) -> impl Iterator<Item = GeneScale> + use<'a> {
        let pairs = self.gene_offsets.iter().zip(self.gene_gains);
        pairs.map(|(&offset, &gain)| GeneScale { offset, gain })
    }

    /// Offsets and gains of all genes, `[n_genes]` each; empty where [`Profile::gene_scales`] is.
    #[inline]
    pub fn gene_scale_parts(&self) -> (&'a [f32], &'a [f32]) {
        (self.gene_offsets, self.gene_gains)
    }

    /// Whether a gene that a sample does not list has a meaning: zero. Where it has none, every
    /// gene that is present must be listed.
    #[inline]
    pub fn is_sparse(&self) -> bool {
        self.kind != ValueKind::Log2Intensity
    }

    /// How values are scaled.
    pub fn scaling(&self) -> Scaling {
        Scaling { kind: self.kind, library: self.library, target_sum: self.target_sum }
    }

    /// See [`Scaling::factor`].
    pub fn factor(&self, panel_sum: f64, total: f64, share_q30: u32) -> Option<f32> {
        self.scaling().factor(panel_sum, total, share_q30)
    }

    /// Network input of a value of `gene`, not above its limit; see [`Scaling::input`].
    #[inline]
    pub fn input(&self, gene: usize, value: f32, factor: f32) -> f32 {
        limited(self.limits, gene, self.scaling().input(value, factor))
    }

    /// Level of a value of `gene` that is not a count, not above its limit; `factor` as for [`Profile::input`].
    #[inline]
    pub fn value_level(&self, gene: usize, value: f32, factor: f32) -> u8 {
        let compared = match (self.gene_offsets.get(gene), self.gene_gains.get(gene)) {
            (Some(&offset), Some(&gain)) => GeneScale { offset, gain }.apply(value),
            _ if is_scaled(self.kind) => value * factor,
            _ => value,
        };
        let level = value_level(self.value_thresholds, compared);
        self.level_limits.get(gene).map_or(level, |&limit| level.min(limit))
    }
}

/// See [`Profile::unit`].
pub fn limited_unit(scale: f64, limit: f32, level_limit: u8) -> f64 {
    match level_limit {
        0 | LEVEL_MAX.. => scale,
        _ => f64::from(limit) / f64::from(level_limit),
    }
}

/// Levels of the counts of one sample: `level(count) = #{k : count · C ≥ T_k · L}` with
/// `C = target_sum · 2^shift`.
#[derive(Clone, Debug)]
pub struct CountLevels<'a> {
    thresholds: &'a [u32],
    scaled_target: u64,
    library: u64,
    /// Level + 1 of the counts seen so far: most counts of a cell are small and repeat.
    seen: [u8; 64],
}

impl<'a> CountLevels<'a> {
    /// For a sample of library size `library` (at least 1).
    pub fn new(profile: &Profile<'a>, library: u32) -> Self {
        let scaled_target = u64::from(profile.target_sum) << (profile.shift & 31);
        Self::with_thresholds(profile.count_thresholds, scaled_target, library)
    }

    /// For thresholds that are not in a model yet; `scaled_target` is `C`, below 2³².
    pub fn with_thresholds(thresholds: &'a [u32], scaled_target: u64, library: u32) -> Self {
        Self { thresholds, scaled_target, library: u64::from(library.max(1)), seen: [0; 64] }
    }

    /// Level of a count.
    #[inline]
    pub fn level(&mut self, count: u32) -> u8 {
        match self.seen.get(count as usize).copied() {
            None => self.find(count),
            Some(0) => {
                let level = self.find(count);
                if let Some(seen) = self.seen.get_mut(count as usize) {
                    *seen = level + 1;
                }
                level
            }
            Some(seen) => seen - 1,
        }
    }

    /// Levels of the counts from 0 to 15. They are searched side by side: one search after another would wait
    /// for every comparison.
    pub fn first_levels(&mut self) -> [u8; 16] {
        let Some((first, _)) = self.seen.split_first_chunk_mut::<16>() else { return [0; 16] };
        if first.contains(&0) {
            let mut found = [0_usize; 16];
            for step in [64, 32, 16, 8, 4, 2, 1] {
                for (count, found) in (0_u64..).zip(&mut found) {
                    let threshold = self.thresholds.get(*found + step - 1);
                    let is_reached = threshold.is_some_and(|&threshold| {
                        u64::from(threshold) * self.library <= count * self.scaled_target
                    });
                    *found += if is_reached { step } else { 0 };
                }
            }
            // At most 127.
            *first = found.map(|level| level as u8 + 1);
        }
        first.map(|seen| seen - 1)
    }

    fn find(&self, count: u32) -> u8 {
        let scaled = u64::from(count).wrapping_mul(self.scaled_target);
        // At most 127 thresholds.
        self.thresholds.partition_point(|&t| u64::from(t) * self.library <= scaled) as u8
    }
}

/// Level of a value on the scale of the thresholds: how many of them it reaches.
#[inline]
pub fn value_level(thresholds: &[f32], compared: f32) -> u8 {
    // At most 127 thresholds.
    thresholds.partition_point(|&threshold| threshold <= compared) as u8
}

/// Library size of a whole sample from the sum over the genes present and their share of the
/// library in training: `⌊sum · 2³⁰ / share⌋`. `None` where it does not fit 32 bits or is zero.
pub fn library_size(sum: u64, share_q30: u32) -> Option<u32> {
    if share_q30 == ONE_Q30 {
        return u32::try_from(sum).ok().filter(|&size| size > 0);
    }
    let scaled = sum.checked_mul(u64::from(ONE_Q30))?.checked_div(u64::from(share_q30))?;
    u32::try_from(scaled).ok().filter(|&size| size > 0)
}

/// Thresholds for counts: `(shift, T)` with `T_k = round(2^shift · (exp((k − ½) · scale) − 1))`,
/// at least 1, and the largest shift with which neither `T_127` nor `target_sum · 2^shift` exceeds
/// 32 bits. `None` where there is no such shift or a threshold would be lost (`scale` too large or
/// not positive, `target_sum` zero).
pub fn fit_count_thresholds(target_sum: u32, scale: f64) -> Option<(u32, [u32; N_THRESHOLDS])> {
    if target_sum == 0 || !scale.is_finite() || scale <= 0.0 {
        return None;
    }
    let linear = |k: usize| libm::expm1((k as f64 - 0.5) * scale);
    let limit = f64::from(u32::MAX);
    let shift = (0..32_u32).rev().find(|&shift| {
        let unit = f64::from(1_u32 << shift);
        linear(N_THRESHOLDS) * unit < limit && f64::from(target_sum) * unit <= limit
    })?;
    let mut thresholds = [0; N_THRESHOLDS];
    for (index, threshold) in thresholds.iter_mut().enumerate() {
        let exact = linear(index + 1) * f64::from(1_u32 << shift);
        // Below 2³² by the choice of the shift.
        *threshold = libm::round(exact).max(1.0) as u32;
    }
    Some((shift, thresholds))
}

/// Thresholds for values: `t_k = offset + (k − ½) · scale`, and `exp(…) − 1` of it for kinds that
/// are scaled to a library.
pub fn fit_value_thresholds(kind: ValueKind, scale: f64, offset: f64) -> [f32; N_THRESHOLDS] {
    let mut thresholds = [0.0; N_THRESHOLDS];
    for (index, threshold) in thresholds.iter_mut().enumerate() {
        let x = offset + (index as f64 + 0.5) * scale;
        *threshold = if is_scaled(kind) { libm::expm1(x) as f32 } else { x as f32 };
    }
    thresholds
}

/// Whether an int8 model has an offset and a gain for every gene: only where unlisted genes have no
/// meaning, because zero is level 0 elsewhere.
pub const fn has_gene_scales(kind: ValueKind) -> bool {
    matches!(kind, ValueKind::Log2Intensity)
}

/// Whether values of this kind are divided by a library size and then logarithmised.
pub const fn is_scaled(kind: ValueKind) -> bool {
    matches!(kind, ValueKind::Counts | ValueKind::LinearNormalised)
}

fn parse_name<'a>(reader: &mut SectionReader<'a>) -> Result<&'a str, ModelError> {
    let bytes = reader.bytes(MAX_NAME_LEN)?;
    let name = core::str::from_utf8(bytes).map_err(|_| reader.bad("name"))?;
    let name = name.trim_end_matches('\0');
    if name.is_empty() || name.contains('\0') {
        return Err(reader.bad("name"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_thresholds_reproduce_rounded_log1p() {
        let scale = 0.05;
        let (shift, thresholds) = fit_count_thresholds(10_000, scale).unwrap();
        let mut levels = CountLevels {
            thresholds: &thresholds,
            scaled_target: 10_000 << shift,
            library: 0,
            seen: [0; 64],
        };
        let mut differing = 0;
        for library in [1_u32, 7, 523, 2_000, 4_813, 65_536, 1_000_003, u32::MAX] {
            levels.library = u64::from(library);
            levels.seen = [0; 64];
            let mut first = levels.clone();
            // One of them asked for before.
            first.level(3);
            let one_by_one = (0..16).map(|count| levels.level(count));
            assert!(one_by_one.eq(first.first_levels()), "library {library}");
            levels.seen = [0; 64];
            for count in (0..2_000).chain([65_535, 1 << 20, u32::MAX]) {
                let x = (f64::from(count) * 1e4 / f64::from(library)).ln_1p() / scale;
                let expected = x.round().min(127.0);
                let level = f64::from(levels.level(count));
                let is_near_tie = (x - x.floor() - 0.5).abs() < 1e-3;
                assert!(level == expected || (is_near_tie && (level - expected).abs() <= 1.0));
                differing += u32::from(level != expected);
            }
        }
        assert!(differing < 5, "{differing}");
    }

    #[test]
    fn count_thresholds_never_overflow() {
        for target_sum in [1, 100, 10_000, 1_000_000, u32::MAX] {
            for scale in [1e-4, 0.01, 0.05, 0.1, 0.17] {
                let (shift, thresholds) = fit_count_thresholds(target_sum, scale).unwrap();
                assert!(u64::from(target_sum) << shift <= u64::from(u32::MAX));
                assert!(thresholds.is_sorted() && thresholds[0] >= 1);
            }
        }
        assert!(fit_count_thresholds(10_000, 0.2).is_none());
        assert!(fit_count_thresholds(0, 0.05).is_none());
        assert!(fit_count_thresholds(10_000, f64::NAN).is_none());
    }

    #[test]
    fn library_is_corrected_by_the_share_present() {
        assert_eq!(library_size(4_000, ONE_Q30), Some(4_000));
        assert_eq!(library_size(3_000, ONE_Q30 / 4 * 3), Some(4_000));
        assert_eq!(library_size(0, ONE_Q30), None);
        assert_eq!(library_size(10, 0), None);
        assert_eq!(library_size(1 << 32, ONE_Q30), None);
        assert_eq!(library_size(u64::MAX, ONE_Q30 / 2), None);
        assert_eq!(library_size(u64::from(u32::MAX), ONE_Q30), Some(u32::MAX));
    }
}
