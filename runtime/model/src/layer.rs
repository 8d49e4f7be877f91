//! Layers: shapes, activations, weights in their layout, and what follows the accumulation.

use core::ops::Range;

use crate::container::{Container, SectionKind, read_u32};
use crate::error::ModelError;
use crate::quant::{LEVEL_MAX, MAX_INPUTS, Ratio, TABLE_LEN};
use crate::vocabulary::{Activation, Dtype};

/// Rows whose bounds are found together.
pub(crate) const BOUNDS: usize = 64;

/// Most segments of a layer.
pub const MAX_SEGMENTS: usize = 4;

/// How a weight matrix `[out_dim × in_dim]` is stored: panels of `panel` outputs, in each of them
/// blocks of `block` inputs, in each of these `panel` rows of `block` weights. Dimensions are
/// padded with zeros to multiples.
///
/// `block = 1, panel = out_dim` is gene-major; `block = in_dim, panel = 1` is plain rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Inputs of a block.
    pub block: u32,
    /// Outputs of a panel.
    pub panel: u32,
}

impl Layout {
    /// One row per output.
    pub const fn rows(in_dim: usize) -> Self {
        Self { block: in_dim as u32, panel: 1 }
    }

    /// One row per input.
    pub const fn gene_major(out_dim: usize) -> Self {
        Self { block: 1, panel: out_dim as u32 }
    }

    /// Four inputs by 16 to 64 outputs: what byte dot products of large processors read.
    #[inline]
    pub const fn panels(out_dim: usize) -> Self {
        let padded = out_dim.next_multiple_of(16);
        let panel = match padded {
            0 => 16,
            64.. => 64,
            _ => padded as u32,
        };
        Self { block: 4, panel }
    }

    /// Four inputs by four outputs: what small processors read.
    pub const FOURS: Self = Self { block: 4, panel: 4 };

    /// Stored weights, padding included; `None` if that does not fit.
    #[inline]
    pub fn stored_len(&self, in_dim: usize, out_dim: usize) -> Option<usize> {
        let columns = in_dim.checked_next_multiple_of(self.block as usize)?;
        out_dim.checked_next_multiple_of(self.panel as usize)?.checked_mul(columns)
    }

    /// Where the weight of an output row and an input column is stored.
    #[inline]
    pub fn index(&self, row: usize, column: usize, in_dim: usize) -> usize {
        let (block, panel) = (self.block.max(1) as usize, self.panel.max(1) as usize);
        let columns = in_dim.next_multiple_of(block);
        (row / panel) * panel * columns
            + (column / block) * block * panel
            + (row % panel) * block
            + column % block
    }

    fn is_valid(&self) -> bool {
        self.block >= 1 && self.panel >= 1
    }
}

/// Weights as stored.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Bits of half precision.
    F16(&'a [u16]),
    /// Signed bytes.
    S8(&'a [i8]),
}

/// What is applied to a row's sum.
#[derive(Clone, Copy, Debug)]
pub enum Epilogue<'a> {
    /// The bias is added.
    Float {
        /// `[out_dim]`
        bias: &'a [f32],
        /// `[out_dim]`, what sums of products with signed bytes are multiplied by before; empty for other weights.
        scales: &'a [f32],
    },
    /// The bias starts the accumulation; the sum is requantised.
    S8(S8Epilogue<'a>),
}

/// Bias and requantisation of an int8 layer, per output row. A carried row's ratio takes its sum
/// to the accumulator of the row that it is added to.
#[derive(Clone, Copy, Debug)]
pub struct S8Epilogue<'a> {
    /// `[out_dim]`
    pub bias: &'a [i32],
    multipliers: &'a [i32],
    shifts: &'a [u8],
}

impl<'a> S8Epilogue<'a> {
    /// Multipliers and shifts of all output rows.
    #[inline]
    pub fn ratio_parts(&self) -> (&'a [i32], &'a [u8]) {
        (self.multipliers, self.shifts)
    }

    /// Ratio of an output row; zero past the end.
    #[inline]
    pub fn ratio(&self, row: usize) -> Ratio {
        Ratio {
            multiplier: self.multipliers.get(row).copied().unwrap_or(0),
            shift: self.shifts.get(row).copied().unwrap_or(0),
        }
    }
}

/// Consecutive outputs of a layer that share an activation.
#[derive(Clone, Copy, Debug)]
pub struct SegmentView<'a> {
    /// Number of outputs.
    pub len: usize,
    /// The activation.
    pub activation: Activation,
    /// Int8 layers: `[256]`, from [`crate::quant::table_index`] to the level. Empty otherwise, and
    /// in the last layer of a stage, which has no activation.
    pub table: &'a [u8],
    /// Int8 layers: the activation is about `scale · level + offset`. For inspection only; both
    /// are folded into the next layer.
    pub scale: f32,
    /// See `scale`.
    pub offset: f32,
}

/// View of one layer. Small, as a model holds many: what is not needed for every cell stays in the file.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    in_dim: usize,
    activated_dim: usize,
    carry: usize,
    /// Length and activation of each segment, in its record.
    segments: &'a [[u32; 2]],
    /// What the activations are in levels, a row for each segment; empty where they are not.
    tables: &'a [[u8; TABLE_ROW]],
    layout: Layout,
    weights: Weights<'a>,
    epilogue: Epilogue<'a>,
}

impl<'a> Layer<'a> {
    pub(crate) fn parse(
        container: &Container<'a>,
        index: u32,
        record: &'a [u32; RECORD_WORDS],
        dtype: Dtype,
    ) -> Result<Self, ModelError> {
        let bad = |field| ModelError::BadField { kind: SectionKind::Graph, field };
        let shape = ModelError::ShapeMismatch { layer: index };
        let &[in_dim, out_dim, n_segments, carry, block, panel, ref own, ref b, ref rest @ ..] =
            record;
        let (in_dim, out_dim) = (in_dim as usize, out_dim as usize);
        let (n_segments, carry) = (n_segments as usize, carry as usize);
        if n_segments == 0 || n_segments > MAX_SEGMENTS || in_dim == 0 {
            return Err(shape);
        }
        if dtype == Dtype::S8 && in_dim > MAX_INPUTS {
            return Err(shape);
        }
        let unused = rest.iter().skip(2 * n_segments);
        // Only layers of mixed models say their own type, and all of them do.
        let is_mixed = dtype == Dtype::Mixed;
        let stored = if is_mixed { *own } else { dtype as u32 };
        let unsaid = if is_mixed { &0 } else { own };
        if [unsaid, b].into_iter().chain(unused).any(|&word| word != 0) {
            return Err(bad("reserved word: it is not zero"));
        }
        let (pairs, _) = rest.as_chunks::<2>();
        let segments = pairs.get(..n_segments).ok_or(shape)?;
        let mut total = carry;
        for &[len, activation] in segments {
            Activation::from_code(activation).ok_or(bad("activation"))?;
            if len == 0 {
                return Err(shape);
            }
            total = total.checked_add(len as usize).ok_or(shape)?;
        }
        if total != out_dim {
            return Err(shape);
        }
        let layout = Layout { block, panel };
        if !layout.is_valid() {
            return Err(bad("weight layout"));
        }
        let stored_len = layout.stored_len(in_dim, out_dim).ok_or(shape)?;
        let reader = container.require(SectionKind::Weights, index)?;
        let weights = match stored {
            F32 => Weights::F32(reader.rest()?),
            F16 => Weights::F16(reader.rest()?),
            S8 => Weights::S8(reader.rest()?),
            _ => return Err(bad("type of the layer's weights")),
        };
        if weights.len() != stored_len {
            return Err(ModelError::BadSectionLength { kind: SectionKind::Weights });
        }
        let has_scales = is_mixed && stored == S8;
        let epilogue = Epilogue::parse(container, index, out_dim, dtype, has_scales)?;
        let has_tables =
            dtype == Dtype::S8 && container.section(SectionKind::Tables, index).is_some();
        let tables = if has_tables { parse_tables(container, index, n_segments)? } else { &[][..] };
        let activated_dim = out_dim - carry;
        Ok(Self { in_dim, activated_dim, carry, segments, tables, layout, weights, epilogue })
    }

    /// Number of inputs.
    #[inline]
    pub fn in_dim(&self) -> usize {
        self.in_dim
    }

    /// Number of outputs, the carry included.
    #[inline]
    pub fn out_dim(&self) -> usize {
        self.activated_dim + self.carry
    }

    /// Number of outputs that the next layer reads.
    #[inline]
    pub fn activated_dim(&self) -> usize {
        self.activated_dim
    }

    /// Number of outputs that are added to the stage's last layer instead.
    #[inline]
    pub fn carry(&self) -> usize {
        self.carry
    }

    /// Activated outputs, in order.
    #[inline]
    pub fn segments(&self) -> impl Iterator<Item = SegmentView<'a>> + use<'a> {
        let tables = self.tables;
        self.segments.iter().enumerate().map(move |(n, &[len, activation])| SegmentView {
            len: len as usize,
            // Known, as `parse` found.
            activation: Activation::from_code(activation).unwrap_or(Activation::Identity),
            ..tables.get(n).map_or(SegmentView::NONE, SegmentView::of_table)
        })
    }

    /// Length and table of each segment: what an int8 layer needs for every cell.
    #[inline]
    pub fn segment_tables(&self) -> impl Iterator<Item = (usize, &'a [u8])> + use<'a> {
        let pairs = self.segments.iter().zip(self.tables);
        pairs.map(|(&[len, _], row)| (len as usize, row.get(TABLE_START..).unwrap_or(&[])))
    }

    /// How the weights lie.
    #[inline]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The weights in their layout.
    #[inline]
    pub fn weights(&self) -> Weights<'a> {
        self.weights
    }

    /// Bias and requantisation; for the first layer of the encoder, those of profile 0.
    #[inline]
    pub fn epilogue(&self) -> Epilogue<'a> {
        self.epilogue
    }

    /// What sums of products with signed bytes are multiplied by, `[out_dim]`; empty in int8 models, and for other weights.
    #[inline]
    pub fn scales(&self) -> &'a [f32] {
        match self.epilogue {
            Epilogue::Float { scales, .. } => scales,
            Epilogue::S8(_) => &[],
        }
    }

    /// Weight of an output row and an input column: what is stored, times the scale of its row where there is one.
    pub fn weight(&self, row: usize, column: usize) -> f32 {
        let stored = self.stored(row, column);
        self.scales().get(row).map_or(stored, |scale| stored * scale)
    }

    /// The stored number of an output row and an input column.
    pub fn stored(&self, row: usize, column: usize) -> f32 {
        let at = self.layout.index(row, column, self.in_dim);
        match self.weights {
            Weights::F32(weights) => weights.get(at).copied().unwrap_or(0.0),
            Weights::F16(weights) => {
                weights.get(at).map_or(0.0, |&bits| half::f16::from_bits(bits).to_f32())
            }
            Weights::S8(weights) => weights.get(at).map_or(0.0, |&weight| f32::from(weight)),
        }
    }

    /// Whether every segment has its table.
    pub(crate) fn has_tables(&self) -> bool {
        self.tables.len() == self.segments.len()
    }

    /// Whether every weight is in range (finite, or −127 ..= 127) and the padding is zero.
    pub(crate) fn has_sound_weights(&self) -> bool {
        let is_in_range = match self.weights {
            Weights::F32(weights) => weights.iter().all(|weight| weight.is_finite()),
            Weights::F16(weights) => {
                weights.iter().all(|&bits| half::f16::from_bits(bits).is_finite())
            }
            Weights::S8(weights) => !weights.contains(&i8::MIN),
        };
        let (in_dim, out_dim) = (self.in_dim, self.out_dim());
        let (block, panel) = (self.layout.block.max(1), self.layout.panel.max(1));
        let columns = in_dim.next_multiple_of(block as usize);
        let rows = out_dim.next_multiple_of(panel as usize);
        let is_padded = |mut rows: Range<usize>, columns: Range<usize>| {
            rows.all(|row| columns.clone().all(|column| self.stored(row, column) == 0.0))
        };
        is_in_range
            && is_padded(0..out_dim, in_dim..columns)
            && is_padded(out_dim..rows, 0..columns)
    }

    /// `127 · Σ|w| + |bias|` of the rows from `first` on, as many as there are places. Int8 only.
    pub(crate) fn row_bounds(
        &self,
        first: usize,
        epilogue: &S8Epilogue<'_>,
        bounds: &mut [i64; BOUNDS],
    ) {
        let mut sums = [0_u32; BOUNDS];
        if let Weights::S8(weights) = self.weights {
            self.add_magnitudes(weights, first, &mut sums);
        }
        for ((bound, &sum), row) in bounds.iter_mut().zip(&sums).zip(first..) {
            let bias = epilogue.bias.get(row).map_or(0, |&bias| i64::from(bias).abs());
            *bound = i64::from(LEVEL_MAX) * i64::from(sum) + bias;
        }
    }

    /// Adds |w| of all inputs, row by row; at most 128 · 131,071 each.
    fn add_magnitudes(&self, weights: &[i8], first: usize, sums: &mut [u32; BOUNDS]) {
        let (in_dim, out_dim) = (self.in_dim, self.out_dim());
        let n_rows = out_dim.saturating_sub(first).min(BOUNDS);
        let magnitude = |&weight: &i8| u32::from(weight.unsigned_abs());
        if self.layout == Layout::gene_major(out_dim) {
            // In the order of memory, all rows of a chunk at once.
            for column in weights.chunks_exact(out_dim.max(1)) {
                let column = column.get(first..first + n_rows).unwrap_or(&[]);
                sums.iter_mut().zip(column).for_each(|(sum, weight)| *sum += magnitude(weight));
            }
            return;
        }
        if self.layout == Layout::rows(in_dim) {
            let rows = weights.chunks_exact(in_dim.max(1)).skip(first);
            sums.iter_mut().zip(rows).for_each(|(sum, row)| *sum = row.iter().map(magnitude).sum());
            return;
        }
        for (sum, row) in sums.iter_mut().zip(first..out_dim) {
            let at = |column| self.layout.index(row, column, in_dim);
            *sum = (0..in_dim).filter_map(|column| weights.get(at(column))).map(magnitude).sum();
        }
    }
}

impl<'a> Epilogue<'a> {
    pub(crate) fn parse(
        container: &Container<'a>,
        index: u32,
        out_dim: usize,
        dtype: Dtype,
        has_scales: bool,
    ) -> Result<Self, ModelError> {
        let mut reader = container.require(SectionKind::Epilogue, index)?;
        let epilogue = if dtype == Dtype::S8 {
            let epilogue = S8Epilogue {
                bias: reader.array(out_dim)?,
                multipliers: reader.array(out_dim)?,
                shifts: reader.array(out_dim)?,
            };
            if (0..out_dim).any(|row| !epilogue.ratio(row).is_valid()) {
                return Err(reader.bad("ratio"));
            }
            Self::S8(epilogue)
        } else {
            // Scales lie behind the biases.
            let n_scales = if has_scales { out_dim } else { 0 };
            let numbers: &[f32] = reader.array(out_dim + n_scales)?;
            if numbers.iter().any(|number| !number.is_finite()) {
                return Err(reader.bad("bias or scale of a row"));
            }
            let (bias, scales) = numbers.split_at_checked(out_dim).unwrap_or((numbers, &[]));
            if scales.iter().any(|&scale| scale <= 0.0) {
                return Err(reader.bad("bias or scale of a row"));
            }
            Self::Float { bias, scales }
        };
        reader.finish()?;
        Ok(epilogue)
    }
}

impl Weights<'_> {
    /// Number of stored weights, padding included.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(weights) => weights.len(),
            Self::F16(weights) => weights.len(),
            Self::S8(weights) => weights.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> SegmentView<'a> {
    const NONE: Self =
        Self { len: 0, activation: Activation::Identity, table: &[], scale: 0.0, offset: 0.0 };

    #[inline]
    fn of_table(row: &'a [u8; TABLE_ROW]) -> Self {
        let [scale, offset] = [0, 4].map(|at| f32::from_bits(read_u32(row, at)));
        Self { table: row.get(TABLE_START..).unwrap_or(&[]), scale, offset, ..Self::NONE }
    }
}

/// Words of a layer's record in the graph section.
pub(crate) const RECORD_WORDS: usize = 8 + 2 * MAX_SEGMENTS;

const F32: u32 = Dtype::F32 as u32;
const F16: u32 = Dtype::F16 as u32;
const S8: u32 = Dtype::S8 as u32;

/// The word of a record that says how its weights are stored; 0 where the model's type says it.
#[cfg(feature = "alloc")]
pub(crate) const OWN_TYPE: usize = 6;

/// Bytes of a segment in the section of tables: scale, offset, table.
const TABLE_ROW: usize = TABLE_START + TABLE_LEN;

/// Where the table begins in its row.
const TABLE_START: usize = 8;

fn parse_tables<'a>(
    container: &Container<'a>,
    index: u32,
    n_segments: usize,
) -> Result<&'a [[u8; TABLE_ROW]], ModelError> {
    let mut reader = container.require(SectionKind::Tables, index)?;
    let (rows, _) = reader.bytes(n_segments * TABLE_ROW)?.as_chunks();
    let levels = rows.iter().flat_map(|row| row.get(TABLE_START..)).flatten();
    if levels.into_iter().any(|&level| level > LEVEL_MAX) {
        return Err(reader.bad("activation level"));
    }
    reader.finish()?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn layouts_store_every_weight_once() {
        for (in_dim, out_dim) in [(1, 1), (7, 3), (64, 64), (65, 130)] {
            for layout in [
                Layout::rows(in_dim),
                Layout::gene_major(out_dim),
                Layout { block: 4, panel: 64 },
                Layout { block: 16, panel: 4 },
            ] {
                let places: BTreeSet<usize> = (0..out_dim)
                    .flat_map(|row| (0..in_dim).map(move |column| (row, column)))
                    .map(|(row, column)| layout.index(row, column, in_dim))
                    .collect();
                assert_eq!(places.len(), in_dim * out_dim);
                assert!(*places.last().unwrap() < layout.stored_len(in_dim, out_dim).unwrap());
            }
        }
        assert_eq!(Layout::rows(5).index(2, 3, 5), 13);
        assert_eq!(Layout::gene_major(4).index(2, 3, 5), 14);
    }
}
