//! From the values of a sample to the sums of the first layer.

use core::ops::Range;

use cic_model::layer::{Layer, Weights};
use cic_model::profile::{CountLevels, GeneScale, Profile};

use crate::error::RunError;
use crate::kernels::{Extent, Kernels, Line, Listed, ValueLevels};
use crate::sample::{CheckedSample, HAS_FLOATS, Sample};

/// Inputs that become levels, on the stack, before their products are added. Firmware has little
/// stack and no registers to fill.
const BLOCK: usize = if cfg!(target_os = "none") { 16 } else { 128 };

/// How one sample's values become levels.
pub(super) enum Rule<'a> {
    Counts(CountLevels<'a>),
    Values(ValueRule<'a>),
}

/// How values become levels, and what is done to them before where genes have ranges of their own.
pub(super) struct ValueRule<'a> {
    levels: ValueLevels<'a>,
    offsets: &'a [f32],
    gains: &'a [f32],
}

impl<'a> ValueRule<'a> {
    fn new(profile: &Profile<'a>, line: Option<Line>, factor: f32) -> Self {
        let (offsets, gains) = profile.gene_scale_parts();
        Self { levels: ValueLevels::new(profile, line, factor), offsets, gains }
    }

    /// Levels of the values of at most [`BLOCK`] listed genes.
    fn listed(
        &self,
        kernels: &Kernels,
        genes: &[u32],
        values: &[f32],
        levels: &mut [u8],
    ) -> Extent {
        if self.offsets.is_empty() {
            return kernels.read_values(&self.levels, values, &[], levels);
        }
        let mut compared = [0.0; BLOCK];
        for ((compared, &gene), &value) in compared.iter_mut().zip(genes).zip(values) {
            let (offset, gain) = (self.offsets.get(gene as usize), self.gains.get(gene as usize));
            if let (Some(&offset), Some(&gain)) = (offset, gain) {
                *compared = GeneScale { offset, gain }.apply(value);
            }
        }
        let compared = compared.get(..values.len()).unwrap_or(&[]);
        kernels.read_values(&self.levels, compared, &[], levels);
        kernels.measure_values(values)
    }

    /// Levels of the values of consecutive genes from `first` on.
    fn range(
        &self,
        kernels: &Kernels,
        first: usize,
        values: &[f32],
        next: &[f32],
        levels: &mut [u8],
    ) -> Extent {
        if self.offsets.is_empty() {
            return kernels.read_values(&self.levels, values, next, levels);
        }
        let scales = |part: &'a [f32]| part.get(first..).unwrap_or(&[]);
        let mut scales = scales(self.offsets).iter().zip(scales(self.gains));
        for (values, levels) in values.chunks(BLOCK).zip(levels.chunks_mut(BLOCK)) {
            let mut compared = [0.0; BLOCK];
            for ((compared, value), (&offset, &gain)) in
                compared.iter_mut().zip(values).zip(&mut scales)
            {
                *compared = GeneScale { offset, gain }.apply(*value);
            }
            let compared = compared.get(..values.len()).unwrap_or(&[]);
            kernels.read_values(&self.levels, compared, &[], levels);
        }
        kernels.measure_values(values)
    }
}

/// What the rule of a sample is made from besides its profile: library size, or bits of the factor.
/// `None` where the sample has no library to divide by.
pub(super) fn scaling(sample: &CheckedSample<'_>) -> Result<Option<u32>, RunError> {
    Ok(match sample.sample().is_counts() {
        true => sample.count_library()?,
        false => sample.factor()?.map(f32::to_bits),
    })
}

impl<'a> Rule<'a> {
    /// The rule of a sample, from its [`scaling`].
    pub(super) fn of(
        sample: &Sample<'_>,
        profile: &Profile<'a>,
        line: Option<Line>,
        scaling: u32,
    ) -> Self {
        match sample.is_counts() || !HAS_FLOATS {
            true => Self::Counts(CountLevels::new(profile, scaling)),
            false => Self::Values(ValueRule::new(profile, line, f32::from_bits(scaling))),
        }
    }
}

/// The inputs of a sample in a part of the genes, which is after those that were cut before. `n_cut` counts
/// the listed ones of these.
#[inline(never)]
pub(super) fn cut<'a>(sample: &Sample<'a>, part: Range<usize>, n_cut: &mut u32) -> Sample<'a> {
    match *sample {
        Sample::Counts { genes, counts, total } => {
            let listed = listed_in(genes, part.end, n_cut);
            let genes = genes.get(listed.clone()).unwrap_or(&[]);
            Sample::Counts { genes, counts: counts.get(listed).unwrap_or(&[]), total }
        }
        Sample::Counts16 { genes, counts, total } => {
            let listed = listed_in(genes, part.end, n_cut);
            let genes = genes.get(listed.clone()).unwrap_or(&[]);
            Sample::Counts16 { genes, counts: counts.get(listed).unwrap_or(&[]), total }
        }
        Sample::Values { genes, values, total } => {
            let listed = listed_in(genes, part.end, n_cut);
            let genes = genes.get(listed.clone()).unwrap_or(&[]);
            Sample::Values { genes, values: values.get(listed).unwrap_or(&[]), total }
        }
        Sample::DenseCounts { counts, total } => {
            Sample::DenseCounts { counts: counts.get(part).unwrap_or(&[]), total }
        }
        Sample::DenseCounts16 { counts, total } => {
            Sample::DenseCounts16 { counts: counts.get(part).unwrap_or(&[]), total }
        }
        Sample::DenseValues { values, total } => {
            Sample::DenseValues { values: values.get(part).unwrap_or(&[]), total }
        }
    }
}

/// The listed genes of a sample below `end`, after the first `n_cut`.
pub(super) fn listed<'a>(sample: &Sample<'a>, end: usize, mut n_cut: u32) -> &'a [u32] {
    let genes = sample.genes();
    genes.get(listed_in(genes, end, &mut n_cut)).unwrap_or(&[])
}

/// Positions of the listed genes below `end`, after the first `n_cut`. Genes increase.
fn listed_in(genes: &[u32], end: usize, n_cut: &mut u32) -> Range<usize> {
    let begin = *n_cut as usize;
    let rest = genes.get(begin..).unwrap_or(&[]);
    let is_inside = |gene: &u32| (*gene as usize) < end;
    // Where the last one is inside, all are; else a few at a time, as it is a few that are.
    let n = match rest.last().is_none_or(is_inside) {
        true => rest.len(),
        false => {
            let (eights, _) = rest.as_chunks::<8>();
            let whole = 8 * eights.iter().take_while(|[.., last]| is_inside(last)).count();
            let rest = rest.get(whole..).unwrap_or(&[]);
            whole + rest.iter().take_while(|&gene| is_inside(gene)).count()
        }
    };
    // As many genes as a panel has, below 2³².
    *n_cut = (begin + n) as u32;
    begin..begin + n
}

/// The sums of a cell in a gene-major layer, or in one whose layout no kernel knows.
pub(super) struct Sums<'a> {
    pub(super) layer: &'a Layer<'a>,
    /// What the sums start from where nothing was added yet.
    pub(super) bias: Option<&'a [i32]>,
    pub(super) sums: &'a mut [i32],
    /// Genes whose products are added after these, maybe to other sums.
    pub(super) next: &'a [u32],
    /// What the level of each gene is at most; empty where levels are as they are given.
    pub(super) limits: &'a [u8],
}

impl Sums<'_> {
    /// Starts the sums of a cell to which nothing was added.
    pub(super) fn finish(self) {
        for (sum, &bias) in self.sums.iter_mut().zip(self.bias.unwrap_or(&[])) {
            *sum = bias;
        }
    }
}

/// Adds the products of a sample, cut from gene `first` on. Tells the extent of values.
#[inline(never)]
pub(super) fn add_products(
    kernels: &Kernels,
    cut: &Sample<'_>,
    first: usize,
    rule: &mut Rule<'_>,
    sums: &mut Sums<'_>,
) -> Extent {
    let mut levels = [0; BLOCK];
    let mut extent = Extent::default();
    match (cut, rule) {
        (Sample::Counts { genes, counts, .. }, Rule::Counts(rule)) => {
            for (n, (block, counts)) in genes.chunks(BLOCK).zip(counts.chunks(BLOCK)).enumerate() {
                let levels = levels.get_mut(..block.len()).unwrap_or(&mut []);
                kernels.read_counts(rule, counts, levels);
                add_block(kernels, block, levels, after(genes, n, sums.next), sums);
            }
        }
        (Sample::Values { genes, values, .. }, Rule::Values(rule)) if HAS_FLOATS => {
            for (n, (block, values)) in genes.chunks(BLOCK).zip(values.chunks(BLOCK)).enumerate() {
                let levels = levels.get_mut(..block.len()).unwrap_or(&mut []);
                extent = extent.and(rule.listed(kernels, block, values, levels));
                add_block(kernels, block, levels, after(genes, n, sums.next), sums);
            }
        }
        (Sample::DenseCounts { counts, .. }, Rule::Counts(rule)) => {
            for (n, counts) in counts.chunks(BLOCK).enumerate() {
                let levels = levels.get_mut(..counts.len()).unwrap_or(&mut []);
                kernels.read_counts(rule, counts, levels);
                add_range(kernels, first + n * BLOCK, levels, sums);
            }
        }
        (Sample::Counts16 { genes, counts, .. }, Rule::Counts(rule)) => {
            for (n, (block, counts)) in genes.chunks(BLOCK).zip(counts.chunks(BLOCK)).enumerate() {
                let levels = levels.get_mut(..block.len()).unwrap_or(&mut []);
                read_counts16(kernels, rule, counts, levels);
                add_block(kernels, block, levels, after(genes, n, sums.next), sums);
            }
        }
        (Sample::DenseCounts16 { counts, .. }, Rule::Counts(rule)) => {
            for (n, counts) in counts.chunks(BLOCK).enumerate() {
                let levels = levels.get_mut(..counts.len()).unwrap_or(&mut []);
                read_counts16(kernels, rule, counts, levels);
                add_range(kernels, first + n * BLOCK, levels, sums);
            }
        }
        (Sample::DenseValues { values, .. }, Rule::Values(rule)) if HAS_FLOATS => {
            for (n, values) in values.chunks(BLOCK).enumerate() {
                let levels = levels.get_mut(..values.len()).unwrap_or(&mut []);
                let first = first + n * BLOCK;
                extent = extent.and(rule.range(kernels, first, values, &[], levels));
                add_range(kernels, first, levels, sums);
            }
        }
        _ => {}
    }
    extent
}

/// Lays the levels of a sample, cut from gene `first` on, out, and zeros after them. Tells the extent of
/// values. `next` are the values that are read after these.
#[inline(never)]
pub(super) fn lay_out(
    kernels: &Kernels,
    cut: &Sample<'_>,
    first: usize,
    rule: &mut Rule<'_>,
    next: &[f32],
    inputs: &mut [u8],
) -> Extent {
    match (cut, rule) {
        (Sample::DenseCounts { counts, .. }, Rule::Counts(rule)) => {
            let (inputs, padding) = inputs.split_at_mut_checked(counts.len()).unwrap_or_default();
            kernels.read_counts(rule, counts, inputs);
            padding.fill(0);
            Extent::default()
        }
        (Sample::DenseCounts16 { counts, .. }, Rule::Counts(rule)) => {
            let (inputs, padding) = inputs.split_at_mut_checked(counts.len()).unwrap_or_default();
            for (counts, levels) in counts.chunks(BLOCK).zip(inputs.chunks_mut(BLOCK)) {
                read_counts16(kernels, rule, counts, levels);
            }
            padding.fill(0);
            Extent::default()
        }
        (Sample::DenseValues { values, .. }, Rule::Values(rule)) if HAS_FLOATS => {
            let (inputs, padding) = inputs.split_at_mut_checked(values.len()).unwrap_or_default();
            padding.fill(0);
            rule.range(kernels, first, values, next, inputs)
        }
        (Sample::Counts { genes, counts, .. }, Rule::Counts(rule)) => {
            inputs.fill(0);
            for (&gene, &count) in genes.iter().zip(counts.iter()) {
                if let Some(level) = inputs.get_mut((gene as usize).wrapping_sub(first)) {
                    *level = if count == 0 { 0 } else { rule.level(count) };
                }
            }
            Extent::default()
        }
        (Sample::Counts16 { genes, counts, .. }, Rule::Counts(rule)) => {
            inputs.fill(0);
            for (&gene, &count) in genes.iter().zip(counts.iter()) {
                if let Some(level) = inputs.get_mut((gene as usize).wrapping_sub(first)) {
                    *level = if count == 0 { 0 } else { rule.level(u32::from(count)) };
                }
            }
            Extent::default()
        }
        (Sample::Values { genes, values, .. }, Rule::Values(rule)) if HAS_FLOATS => {
            inputs.fill(0);
            let mut levels = [0; BLOCK];
            let blocks = genes.chunks(BLOCK).zip(values.chunks(BLOCK));
            blocks.fold(Extent::default(), |extent, (genes, values)| {
                let levels = levels.get_mut(..genes.len()).unwrap_or(&mut []);
                let more = rule.listed(kernels, genes, values, levels);
                for (&gene, &level) in genes.iter().zip(levels.iter()) {
                    if let Some(place) = inputs.get_mut((gene as usize).wrapping_sub(first)) {
                        *place = level;
                    }
                }
                extent.and(more)
            })
        }
        _ => Extent::default(),
    }
}

/// Levels of at most [`BLOCK`] counts of 16 bits.
fn read_counts16(kernels: &Kernels, rule: &mut CountLevels<'_>, counts: &[u16], levels: &mut [u8]) {
    let mut wide = [0; BLOCK];
    for (wide, &count) in wide.iter_mut().zip(counts) {
        *wide = u32::from(count);
    }
    kernels.read_counts(rule, wide.get(..counts.len()).unwrap_or(&[]), levels);
}

/// The genes after block `n` of a list, as many as a block has; of the next list where there are none.
fn after<'a>(genes: &'a [u32], n: usize, next: &'a [u32]) -> &'a [u32] {
    let rest = match genes.get((n + 1) * BLOCK..) {
        Some(rest) if !rest.is_empty() => rest,
        _ => next,
    };
    rest.get(..BLOCK).unwrap_or(rest)
}

/// Adds the products of the levels of all inputs.
pub(super) fn add_levels(kernels: &Kernels, levels: &[u8], sums: &mut Sums<'_>) {
    for (n, levels) in levels.chunks(BLOCK).enumerate() {
        add_range(kernels, n * BLOCK, levels, sums);
    }
}

/// Adds the products of consecutive inputs from `first` on.
fn add_range(kernels: &Kernels, first: usize, levels: &[u8], sums: &mut Sums<'_>) {
    let mut genes = [0; BLOCK];
    let n_set = levels.iter().filter(|&&level| level != 0).count();
    if 4 * n_set >= 3 * levels.len() {
        // Below 2³², as the number of genes is.
        for (gene, n) in genes.iter_mut().zip(first as u32..) {
            *gene = n;
        }
        let genes = genes.get(..levels.len()).unwrap_or(&[]);
        return add_block(kernels, genes, levels, &[], sums);
    }
    let mut set = [0; BLOCK];
    let mut found = 0;
    for (n, eight) in levels.chunks(8).enumerate() {
        if eight.iter().all(|&level| level == 0) {
            continue;
        }
        for (at, &level) in eight.iter().enumerate().filter(|&(_, &level)| level != 0) {
            if let (Some(gene), Some(place)) = (genes.get_mut(found), set.get_mut(found)) {
                *gene = (first + 8 * n + at) as u32;
                *place = level;
                found += 1;
            }
        }
    }
    let (Some(genes), Some(set)) = (genes.get(..found), set.get(..found)) else { return };
    add_block(kernels, genes, set, &[], sums);
}

/// Levels of consecutive genes from `first` on, none above its limit.
#[inline(never)]
pub(super) fn limit(limits: &[u8], first: usize, levels: &mut [u8]) {
    for (level, &limit) in levels.iter_mut().zip(limits.get(first..).unwrap_or(&[])) {
        *level = (*level).min(limit);
    }
}

/// The same for at most [`BLOCK`] listed genes, in a place of their own.
#[inline(never)]
fn limit_listed<'l>(
    limits: &[u8],
    genes: &[u32],
    levels: &[u8],
    lowered: &'l mut [u8; BLOCK],
) -> &'l [u8] {
    for ((lowered, &gene), &level) in lowered.iter_mut().zip(genes).zip(levels) {
        *lowered = limits.get(gene as usize).map_or(level, |&limit| level.min(limit));
    }
    lowered.get(..levels.len()).unwrap_or(&[])
}

/// Adds the products of at most [`BLOCK`] listed inputs.
fn add_block(kernels: &Kernels, genes: &[u32], levels: &[u8], next: &[u32], to: &mut Sums<'_>) {
    let mut lowered = [0; BLOCK];
    let levels = match to.limits.is_empty() {
        true => levels,
        false => limit_listed(to.limits, genes, levels, &mut lowered),
    };
    let Sums { layer, bias, sums, .. } = to;
    let Weights::S8(weights) = layer.weights() else { return };
    let bias = bias.take();
    let layout = layer.layout();
    if layout.block == 1 && layout.panel as usize == sums.len() {
        let listed = Listed { genes, levels, next };
        return kernels.sparse_s8(weights, &listed, bias, sums);
    }
    Sums { layer, bias, sums, next: &[], limits: &[] }.finish();
    for (&gene, &level) in genes.iter().zip(levels) {
        for (row, sum) in sums.iter_mut().enumerate() {
            let at = layout.index(row, gene as usize, layer.in_dim());
            let weight = weights.get(at).copied().unwrap_or(0);
            *sum = sum.wrapping_add(i32::from(level) * i32::from(weight));
        }
    }
}

/// Adds the products of one input, for fill levels.
pub(super) fn add_product(
    kernels: &Kernels,
    layer: &Layer<'_>,
    gene: usize,
    level: u8,
    sums: &mut [i32],
) {
    // Below 2³², as the number of genes is.
    let mut to = Sums { layer, bias: None, sums, next: &[], limits: &[] };
    add_block(kernels, &[gene as u32], &[level], &[], &mut to);
}
