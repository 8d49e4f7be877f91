//! A random layer with its inputs, in every form that kernels take.

use cic_model::ValueKind;
use cic_model::profile::{N_THRESHOLDS, fit_value_thresholds};
use cic_model::quant::LEVEL_MAX;
use cic_runtime::kernels::{panel_of, stored_len, sum_stride};

use crate::random::Random;

/// Lengths around the widths of registers, and some that are no multiple of anything.
pub const LENGTHS: [usize; 22] =
    [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 30, 31, 32, 33, 47, 48, 63, 64, 65, 100, 129];

/// Shapes from here on count as large.
pub const LARGE: (usize, usize) = (256, 64);

/// Weights, levels, sums and ratios. Everything begins at any address.
#[derive(Debug)]
pub struct Layer {
    /// Inputs.
    pub in_dim: usize,
    /// Outputs.
    pub out_dim: usize,
    /// Cells.
    pub n_rows: usize,
    /// `[in_dim × out_dim]`
    pub gene_major: Shifted<i8>,
    /// `[out_dim × in_dim]`
    pub rows: Shifted<i8>,
    /// In panels of [`panel_of`] outputs.
    pub panels: Shifted<i8>,
    /// Width of the panels.
    pub panel: usize,
    /// `[n_rows × level_stride]`, padded with zeros.
    pub levels: Shifted<u8>,
    /// Bytes from one row of levels to the next.
    pub level_stride: usize,
    /// Listed inputs.
    pub genes: Vec<u32>,
    /// A level for each.
    pub gene_levels: Shifted<u8>,
    /// `[n_rows × sum_stride]`
    pub sums: Vec<i32>,
    /// Sums from one row to the next.
    pub sum_stride: usize,
    /// `[sums.len()]`
    pub multipliers: Vec<i32>,
    /// `[sums.len()]`
    pub shifts: Vec<u8>,
    /// `[256]`
    pub table: [u8; 256],
    /// Step from one threshold of values to the next.
    pub scale: f32,
    /// Value of level 0.
    pub offset: f32,
    /// Values, many of them at a threshold or beside it.
    pub values: Shifted<f32>,
}

/// A slice that begins a few elements into its memory.
#[derive(Debug, Default)]
pub struct Shifted<T> {
    memory: Vec<T>,
    start: usize,
}

impl<T: Copy + Default> Shifted<T> {
    /// As long as asked for, from a place that many elements into the memory.
    pub(crate) fn resize(&mut self, len: usize, start: usize) -> &mut [T] {
        self.start = start;
        self.memory.clear();
        self.memory.resize(start + len, T::default());
        // No spare room: a checker of memory accesses sees a read past the end.
        self.memory.shrink_to_fit();
        &mut self.memory[start..]
    }

    /// The slice.
    pub fn get(&self) -> &[T] {
        &self.memory[self.start..]
    }
}

impl Layer {
    /// The layer of a seed.
    pub fn new(random: &mut Random, is_large: bool) -> Self {
        let (in_dim, out_dim) = if is_large {
            (LARGE.0 + random.below(1200), LARGE.1 + random.below(500))
        } else {
            (random.choose(&LENGTHS), random.choose(&LENGTHS))
        };
        let n_rows = if random.below(8) == 0 { 1 + random.below(40) } else { 1 + random.below(3) };
        let panel =
            if random.below(2) == 0 { panel_of(out_dim) } else { 16 * (1 + random.below(4)) };
        let mut layer = Self {
            in_dim,
            out_dim,
            n_rows,
            gene_major: Shifted::default(),
            rows: Shifted::default(),
            panels: Shifted::default(),
            panel,
            levels: Shifted::default(),
            level_stride: in_dim.next_multiple_of(4) + random.below(9),
            genes: Vec::new(),
            gene_levels: Shifted::default(),
            sums: Vec::new(),
            sum_stride: sum_stride(out_dim) + random.below(3),
            multipliers: Vec::new(),
            shifts: Vec::new(),
            table: [0; 256],
            scale: 0.0,
            offset: 0.0,
            values: Shifted::default(),
        };
        layer.fill_weights(random);
        layer.fill_inputs(random);
        layer.fill_epilogue(random);
        layer.fill_values(random);
        layer
    }

    /// Thresholds of the values, as the quantiser sets them.
    pub fn thresholds(&self) -> [f32; N_THRESHOLDS] {
        fit_value_thresholds(ValueKind::Log2Intensity, self.scale.into(), self.offset.into())
    }

    fn fill_weights(&mut self, random: &mut Random) {
        let (in_dim, out_dim, panel) = (self.in_dim, self.out_dim, self.panel);
        let rows = self.rows.resize(in_dim * out_dim, random.below(64));
        match random.below(8) {
            0 => rows.fill(127),
            1 => rows.fill(-127),
            2 => rows.iter_mut().enumerate().for_each(|(i, w)| *w = [127, -127][i % 2]),
            // No verified model holds it, no kernel may stumble over it.
            3 => rows.fill(-128),
            _ => {
                let mut bytes = vec![0; rows.len()];
                random.fill(&mut bytes);
                rows.iter_mut().zip(bytes).for_each(|(w, byte)| *w = byte as i8);
            }
        }
        let gene_major = self.gene_major.resize(in_dim * out_dim, random.below(64));
        let stored = stored_len(in_dim, out_dim, panel).expect("small");
        let panels = self.panels.resize(stored, random.below(64));
        let rows = self.rows.get();
        let columns = in_dim.next_multiple_of(4);
        for row in 0..out_dim {
            for column in 0..in_dim {
                let weight = rows[row * in_dim + column];
                gene_major[column * out_dim + row] = weight;
                // The formula of docs/format.md with block 4.
                let at = (row / panel) * panel * columns
                    + (column / 4) * 4 * panel
                    + (row % panel) * 4
                    + column % 4;
                panels[at] = weight;
            }
        }
    }

    fn fill_inputs(&mut self, random: &mut Random) {
        let (in_dim, stride) = (self.in_dim, self.level_stride);
        let len = (self.n_rows - 1) * stride + in_dim.next_multiple_of(4);
        let levels = self.levels.resize(len, random.below(64));
        let zeros = random.choose(&[0, 50, 95]);
        let is_extreme = random.below(4) == 0;
        let level = |random: &mut Random| match random.next_u64() {
            bits if (bits >> 32) % 100 < zeros => 0,
            _ if is_extreme => LEVEL_MAX,
            bits => bits as u8 & LEVEL_MAX,
        };
        for row in levels.chunks_mut(stride.max(1)) {
            let len = row.len().min(in_dim);
            row[..len].iter_mut().for_each(|l| *l = level(random));
        }
        let percent = random.choose(&[2, 10, 100]);
        self.genes.extend((0..in_dim as u32).filter(|_| random.below(100) < percent));
        if random.below(8) == 0 {
            self.genes.reverse();
        }
        let gene_levels = self.gene_levels.resize(self.genes.len(), random.below(64));
        gene_levels.iter_mut().for_each(|l| *l = level(random));
    }

    fn fill_epilogue(&mut self, random: &mut Random) {
        let n_sums = self.n_rows * self.sum_stride;
        let range = random.choose(&[100, 100_000, 1 << 31]);
        self.sums.extend((0..n_sums).map(|_| match random.below(16) {
            0 => i32::MAX,
            1 => i32::MIN,
            _ => (random.next_u64() as i64 % range) as i32,
        }));
        for _ in 0..n_sums {
            let is_zero = random.below(32) == 0;
            let multiplier = (1 << 30) | (random.next_u64() as i32 & ((1 << 30) - 1));
            self.multipliers.push(if is_zero { 0 } else { multiplier });
            let shift = [random.below(63), 30 + random.below(16)][random.below(2)] as u8;
            self.shifts.push(if is_zero { 0 } else { shift });
        }
        random.fill(&mut self.table);
        self.table.iter_mut().for_each(|level| *level &= LEVEL_MAX);
    }

    fn fill_values(&mut self, random: &mut Random) {
        let unit = |random: &mut Random| (random.next_u64() >> 40) as f32 / (1 << 24) as f32;
        self.scale = (0.01 + unit(random)) * random.choose(&[0.01, 1.0, 100.0]);
        // Also beyond where thresholds are on a straight line in single precision.
        let far = random.choose(&[20.0, 20.0, 20_000.0]);
        self.offset = random.choose(&[0.0, 1.0, -1.0]) * far * self.scale * unit(random);
        let thresholds = self.thresholds();
        let values = self.values.resize(self.in_dim, random.below(64));
        for value in values {
            let threshold = random.choose(&thresholds);
            *value = match random.below(8) {
                0 => threshold,
                1 => threshold.next_up(),
                2 => threshold.next_down(),
                3 => random.choose(&[0.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE]),
                _ => self.offset + self.scale * (140.0 * unit(random) - 5.0),
            };
        }
    }
}
