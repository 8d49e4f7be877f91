//! What kernels read and write, checked once so that inner loops need no bounds.

use core::ops::Range;

use cic_model::layer::{Layout, S8Epilogue};
use cic_model::profile::{Profile, is_scaled, value_level};
use cic_model::quant::Ratio;

/// Int8 weights of a layer in blocks of 4 inputs and panels of 16, 32, 48 or 64 outputs: the layout
/// `B4·P` of `docs/format.md`, which every byte dot product reads without rearranging. Or in panels of 4, for
/// processors that have no registers for more.
#[derive(Clone, Copy, Debug)]
pub struct Panels<'a> {
    weights: &'a [i8],
    in_dim: usize,
    out_dim: usize,
    panel: usize,
}

impl<'a> Panels<'a> {
    /// `None` where the panel has another width or the number of weights does not fit.
    #[inline]
    pub fn new_checked(
        weights: &'a [i8],
        in_dim: usize,
        out_dim: usize,
        panel: usize,
    ) -> Option<Self> {
        let is_width = matches!(panel, NARROW | 16 | 32 | 48 | 64);
        let fits = is_width && stored_len(in_dim, out_dim, panel) == Some(weights.len());
        fits.then_some(Self { weights, in_dim, out_dim, panel })
    }

    /// Whole panels of it, those of some outputs, as a layer of its own; `None` where these are not.
    #[inline]
    pub fn outputs(&self, outputs: &Range<usize>) -> Option<Self> {
        // Most layers are a few panels that all pass together: nothing is to be divided.
        if outputs.start == 0 && outputs.end == self.out_dim {
            return Some(*self);
        }
        let is_whole = outputs.start.is_multiple_of(self.panel)
            && (outputs.end == self.out_dim || outputs.end.is_multiple_of(self.panel));
        // Bytes for one output.
        let len = self.in_dim.next_multiple_of(4);
        let end = outputs.end.checked_next_multiple_of(self.panel)? * len;
        let weights = self.weights.get(outputs.start * len..end).filter(|_| is_whole)?;
        Some(Self { weights, out_dim: outputs.len(), ..*self })
    }

    /// Whether they are panels of 4.
    #[inline]
    pub fn is_narrow(&self) -> bool {
        self.panel == NARROW
    }

    /// The weights, `[⌈out_dim / panel⌉ × ⌈in_dim / 4⌉ × panel × 4]`.
    #[inline]
    pub fn weights(&self) -> &'a [i8] {
        self.weights
    }

    /// Number of inputs.
    #[inline]
    pub fn in_dim(&self) -> usize {
        self.in_dim
    }

    /// Number of outputs.
    #[inline]
    pub fn out_dim(&self) -> usize {
        self.out_dim
    }

    /// Outputs of a panel.
    #[inline]
    pub fn panel(&self) -> usize {
        self.panel
    }
}

/// The panel width for a layer of so many outputs: 16 to 64.
#[inline]
pub fn panel_of(out_dim: usize) -> usize {
    Layout::panels(out_dim).panel as usize
}

/// Bytes of a layer in panels.
#[inline]
pub fn stored_len(in_dim: usize, out_dim: usize, panel: usize) -> Option<usize> {
    // Without a division for a single panel.
    let padded = match (1..=panel).contains(&out_dim) {
        true => panel,
        false => out_dim.checked_next_multiple_of(panel)?,
    };
    in_dim.checked_next_multiple_of(4)?.checked_mul(padded)
}

/// Length of a row of sums that kernels may write, for so many outputs.
#[inline]
pub fn sum_stride(out_dim: usize) -> usize {
    out_dim.next_multiple_of(COLUMN)
}

/// Outputs whose weights for 4 inputs fill 64 bytes: the unit of panels and of rows of sums.
pub(super) const COLUMN: usize = 16;

/// Outputs of the panels of small processors.
const NARROW: usize = 4;

/// Inputs of a cell that are not zero.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// Which they are.
    pub genes: &'a [u32],
    /// As many levels.
    pub levels: &'a [u8],
    /// Those that are listed after these: their weights may be asked for. Any genes will do.
    pub next: &'a [u32],
}

/// Rows of levels, one per cell, padded with zeros to a multiple of 4.
#[derive(Clone, Copy, Debug)]
pub struct LevelRows<'a> {
    data: &'a [u8],
    stride: usize,
    width: usize,
    n_rows: usize,
}

impl<'a> LevelRows<'a> {
    /// `n_rows` rows of `width` levels, `stride` bytes from one to the next. `None` where they do
    /// not fit or the padding of a row, up to a multiple of 4, is not zero.
    #[inline]
    pub fn new_checked(data: &'a [u8], stride: usize, width: usize, n_rows: usize) -> Option<Self> {
        let padded = width.checked_next_multiple_of(4)?;
        let last = n_rows.checked_sub(1)?.checked_mul(stride)?;
        let fits = stride >= padded && last.checked_add(padded)? <= data.len();
        let rows = Self { data, stride, width, n_rows };
        let is_padded = || {
            (0..n_rows).all(|row| {
                let padding = data.get(row * stride + width..row * stride + padded);
                padding.is_some_and(|padding| padding.iter().all(|&level| level == 0))
            })
        };
        (fits && (width == padded || is_padded())).then_some(rows)
    }

    /// A single row.
    pub fn single(data: &'a [u8], width: usize) -> Option<Self> {
        Self::new_checked(data, data.len(), width, 1)
    }

    /// All bytes.
    #[inline]
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Bytes from one row to the next.
    #[inline]
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Levels of a row.
    #[inline]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    #[inline]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The levels of a row, without padding.
    #[inline]
    pub fn row(&self, row: usize) -> &'a [u8] {
        self.data.get(row * self.stride..row * self.stride + self.width).unwrap_or(&[])
    }
}

/// Rows of sums, one per cell.
#[derive(Debug)]
pub struct SumRows<'a> {
    data: &'a mut [i32],
    stride: usize,
    n_rows: usize,
}

impl<'a> SumRows<'a> {
    /// `n_rows` rows of `stride` sums. `None` where they do not fit.
    #[inline]
    pub fn new_checked(data: &'a mut [i32], stride: usize, n_rows: usize) -> Option<Self> {
        let fits = n_rows.checked_mul(stride)? <= data.len();
        fits.then_some(Self { data, stride, n_rows })
    }

    /// All sums.
    #[inline]
    pub fn data(&mut self) -> &mut [i32] {
        self.data
    }

    /// Sums from one row to the next.
    #[inline]
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Number of rows.
    #[inline]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The sums of a row.
    #[inline]
    pub fn row_mut(&mut self, row: usize) -> &mut [i32] {
        self.data.get_mut(row * self.stride..(row + 1) * self.stride).unwrap_or(&mut [])
    }
}

/// A part of the columns of rows, one row per cell.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a, T> {
    data: &'a [T],
    stride: usize,
    width: usize,
    n_rows: usize,
}

impl<'a, T> Part<'a, T> {
    /// `n_rows` rows of `width` entries, `stride` from one to the next. `None` where they do not fit.
    #[inline]
    pub fn new_checked(data: &'a [T], stride: usize, width: usize, n_rows: usize) -> Option<Self> {
        fits(data.len(), stride, width, n_rows).then_some(Self { data, stride, width, n_rows })
    }

    /// Some of the columns; none of those past the end.
    #[inline]
    #[must_use]
    pub fn columns(&self, columns: Range<usize>) -> Self {
        let end = columns.end.min(self.width);
        let start = columns.start.min(end);
        Self { data: self.data.get(start..).unwrap_or(&[]), width: end - start, ..*self }
    }

    /// Entries of a row.
    #[inline]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    #[inline]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// A row.
    #[inline]
    pub fn row(&self, row: usize) -> &'a [T] {
        self.data.get(row * self.stride..row * self.stride + self.width).unwrap_or(&[])
    }
}

/// A part of the columns of rows, to be written.
#[derive(Debug)]
pub struct PartMut<'a, T> {
    data: &'a mut [T],
    stride: usize,
    width: usize,
    n_rows: usize,
}

impl<'a, T> PartMut<'a, T> {
    /// See [`Part::new_checked`].
    #[inline]
    pub fn new_checked(
        data: &'a mut [T],
        stride: usize,
        width: usize,
        n_rows: usize,
    ) -> Option<Self> {
        fits(data.len(), stride, width, n_rows).then_some(Self { data, stride, width, n_rows })
    }

    /// See [`Part::columns`].
    #[inline]
    pub fn columns_mut(&mut self, columns: Range<usize>) -> PartMut<'_, T> {
        let end = columns.end.min(self.width);
        let start = columns.start.min(end);
        let data = self.data.get_mut(start..).unwrap_or(&mut []);
        PartMut { data, stride: self.stride, width: end - start, n_rows: self.n_rows }
    }

    /// Entries of a row.
    #[inline]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    #[inline]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// A row.
    #[inline]
    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        self.data.get_mut(row * self.stride..row * self.stride + self.width).unwrap_or(&mut [])
    }
}

#[inline]
fn fits(len: usize, stride: usize, width: usize, n_rows: usize) -> bool {
    let end = |last: usize| last.checked_mul(stride)?.checked_add(width);
    width <= stride
        && n_rows.checked_sub(1).is_none_or(|last| end(last).is_some_and(|end| end <= len))
}

/// Ratios of consecutive rows of an epilogue.
#[derive(Clone, Copy, Debug)]
pub struct Ratios<'a> {
    multipliers: &'a [i32],
    shifts: &'a [u8],
}

impl<'a> Ratios<'a> {
    /// The ratios of `len` rows from `first` on; fewer where the epilogue ends.
    #[inline]
    pub fn of(epilogue: &S8Epilogue<'a>, first: usize, len: usize) -> Self {
        let (multipliers, shifts) = epilogue.ratio_parts();
        let end = (first + len).min(multipliers.len()).min(shifts.len());
        let range = first.min(end)..end;
        Self {
            multipliers: multipliers.get(range.clone()).unwrap_or(&[]),
            shifts: shifts.get(range).unwrap_or(&[]),
        }
    }

    /// From parts of the same length; the shorter counts.
    #[inline]
    pub fn new(multipliers: &'a [i32], shifts: &'a [u8]) -> Self {
        let len = multipliers.len().min(shifts.len());
        Self {
            multipliers: multipliers.get(..len).unwrap_or(&[]),
            shifts: shifts.get(..len).unwrap_or(&[]),
        }
    }

    /// Number of rows.
    #[inline]
    pub fn len(&self) -> usize {
        self.multipliers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `2³⁰ ..= 2³¹ − 1`, or 0.
    #[inline]
    pub fn multipliers(&self) -> &'a [i32] {
        self.multipliers
    }

    /// `0 ..= 62`
    #[inline]
    pub fn shifts(&self) -> &'a [u8] {
        self.shifts
    }

    /// Those of the rows from `first` on.
    #[inline]
    pub fn from(self, first: usize) -> Self {
        Self {
            multipliers: self.multipliers.get(first..).unwrap_or(&[]),
            shifts: self.shifts.get(first..).unwrap_or(&[]),
        }
    }

    /// The ratio of a row; zero past the end.
    pub fn get(&self, row: usize) -> Ratio {
        Ratio {
            multiplier: self.multipliers.get(row).copied().unwrap_or(0),
            shift: self.shifts.get(row).copied().unwrap_or(0),
        }
    }

    /// The ratios.
    pub fn iter(self) -> impl Iterator<Item = Ratio> + 'a {
        self.multipliers
            .iter()
            .zip(self.shifts)
            .map(|(&multiplier, &shift)| Ratio { multiplier, shift })
    }
}

/// What must be known of values before they may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The largest bits. Floats that are not negative are in the order of their bits; negative and
    /// infinite ones and NaN are from those of infinity on.
    pub largest_bits: u32,
    /// How many are not zero.
    pub n_set: u32,
}

impl Extent {
    /// Of both together.
    #[inline]
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            largest_bits: self.largest_bits.max(other.largest_bits),
            n_set: self.n_set + other.n_set,
        }
    }
}

/// How the values of one sample become levels: thresholds, and a straight line near them that vector
/// code starts from.
#[derive(Clone, Copy, Debug)]
pub struct ValueLevels<'a> {
    thresholds: &'a [f32],
    factor: f32,
    line: Option<Line>,
}

/// A straight line whose position lies in `k .. k + near` where the value is at threshold `k`. A position
/// that lies in no such range, rounded down, is the level of its value, because products and sums of
/// floats never decrease when a factor or term increases. It does not matter whether the product is rounded
/// before the sum.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Levels per unit of the value; 65,536 times as much is still finite.
    pub(super) slope: f32,
    /// Position of value 0.
    pub(super) intercept: f32,
    near: f32,
}

impl Line {
    /// Values that are looked up all the same, as a share of all. Thresholds that need more are not on a
    /// line.
    pub const MOST: f32 = 1.0 / 2048.0;

    /// The line of a profile, where its thresholds lie on one. Scaled kinds do not: theirs grow
    /// exponentially.
    pub fn of(profile: &Profile<'_>) -> Option<Self> {
        if is_scaled(profile.kind()) {
            return None;
        }
        Self::through(profile.value_thresholds(), profile.scale(), profile.offset())
    }

    /// The line of thresholds `offset + (k − ½) · scale`; `None` where one of them is elsewhere.
    pub fn through(thresholds: &[f32], scale: f32, offset: f32) -> Option<Self> {
        let slope = 1.0 / scale;
        let distances = |line: Self| {
            let distance = move |(k, &threshold)| line.position(threshold) - (k as f32 + 1.0);
            thresholds.iter().enumerate().map(distance)
        };
        let middle = 0.5 - offset * slope;
        let exact = Self { slope, intercept: middle, near: 0.0 };
        let largest = distances(exact).fold(0.0, |largest: f32, at| largest.max(at.abs()));
        // Twice what rounding the product adds, which is at most as large as this.
        let rounding = (128.0 + middle.abs()) / 8_388_608.0;
        let mut near = 1.0 / 16_384.0;
        while near < 4.0 * (largest + rounding) && near <= Self::MOST {
            near *= 2.0;
        }
        let line = Self { slope, intercept: middle + near / 2.0, near };
        let is_usable = scale > 0.0 && (65_536.0 * slope).is_finite() && near <= Self::MOST;
        (is_usable && distances(line).all(|at| (0.0..near).contains(&at))).then_some(line)
    }

    /// How far above a whole number a position may lie for its threshold to be asked: a power of two, 2⁻¹⁴ to
    /// [`Line::MOST`].
    #[inline]
    pub fn near(&self) -> f32 {
        self.near
    }

    /// Where a value lies.
    #[inline]
    pub fn position(&self, value: f32) -> f32 {
        value * self.slope + self.intercept
    }
}

impl<'a> ValueLevels<'a> {
    /// For the samples of a profile; `factor` is `target_sum / library` where values are scaled.
    #[inline]
    pub fn new(profile: &Profile<'a>, line: Option<Line>, factor: f32) -> Self {
        let factor = if is_scaled(profile.kind()) { factor } else { 1.0 };
        Self { thresholds: profile.value_thresholds(), factor, line }
    }

    /// With 127 thresholds in ascending order, and the line near them.
    pub fn with_thresholds(thresholds: &'a [f32], line: Option<Line>) -> Self {
        Self { thresholds, factor: 1.0, line }
    }

    /// The straight line, where there is one; then the factor is 1.
    pub fn line(&self) -> Option<Line> {
        self.line
    }

    /// Level of one value.
    #[inline]
    pub fn level(&self, value: f32) -> u8 {
        value_level(self.thresholds, value * self.factor)
    }
}
