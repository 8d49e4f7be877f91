//! Rounding that looks at outputs: each weight to the integer with which the layer's outputs on the calibration cells, all
//! other weights as they are, are nearest to those of the unrounded weights. Coordinate descent on the least squares that GPTQ solves
//! in one greedy pass (E. Frantar et al., GPTQ, ICLR 2023; K. Behdin et al., QuantEase, 2023), from the nearest integers on.

use core::array::from_fn;
use std::thread;

use cic_model::quant::WEIGHT_MAX;

use crate::matrix::{TILE, n_threads};
use crate::rounding::Rounded;

/// Moves the weights of `rounded`, which was made of `weights` `[out_dim × in_dim]` (per level), with inputs `levels`
/// `[n × in_dim]`. Means are left to the bias.
pub(crate) fn refine(rounded: &mut Rounded, weights: &[f64], in_dim: usize, levels: &[u8]) {
    let in_dim = in_dim.max(1);
    let inputs = Columns::new(levels, in_dim);
    let n_tiles = rounded.scales.len().div_ceil(TILE);
    let rows = n_tiles.div_ceil(n_threads()).max(1) * TILE;
    thread::scope(|scope| {
        let parts = rounded.weights.chunks_mut(rows * in_dim);
        let scales = rounded.scales.chunks(rows);
        for ((integers, scales), weights) in parts.zip(scales).zip(weights.chunks(rows * in_dim)) {
            let inputs = &inputs;
            scope.spawn(move || {
                let tiles = integers.chunks_mut(TILE * in_dim).zip(scales.chunks(TILE));
                for ((integers, scales), weights) in tiles.zip(weights.chunks(TILE * in_dim)) {
                    Tile::new(integers, scales, weights, inputs).descend();
                }
            });
        }
    });
}

/// Levels that are not zero, input by input.
struct Columns {
    n_cells: usize,
    columns: Vec<Column>,
}

struct Column {
    /// Cells and levels.
    cells: Vec<(u32, f32)>,
    mean: f64,
    /// Sum of squares about the mean.
    squares: f64,
}

impl Columns {
    fn new(levels: &[u8], in_dim: usize) -> Self {
        let n_cells = levels.len() / in_dim;
        let column = |input: usize| {
            let levels = levels.iter().skip(input).step_by(in_dim).enumerate();
            let active = levels.filter(|&(_, &level)| level > 0);
            // At most `MAX_CALIBRATION_ROWS` cells.
            let cells: Vec<(u32, f32)> =
                active.map(|(cell, &level)| (cell as u32, f32::from(level))).collect();
            let sum: f64 = cells.iter().map(|&(_, level)| f64::from(level)).sum();
            let all: f64 = cells.iter().map(|&(_, level)| f64::from(level).powi(2)).sum();
            let mean = sum / n_cells.max(1) as f64;
            Column { cells, mean, squares: all - sum * mean }
        };
        Self { n_cells, columns: (0..in_dim).map(column).collect() }
    }
}

/// Some rows of a layer, whose errors lie side by side.
struct Tile<'a> {
    integers: &'a mut [i8],
    scales: &'a [f64],
    weights: &'a [f64],
    inputs: &'a Columns,
    /// What the integers lack in each output, `[n_cells]`.
    errors: Vec<[f32; TILE]>,
    /// Their sums over the cells.
    sums: [f64; TILE],
}

impl<'a> Tile<'a> {
    fn new(
        integers: &'a mut [i8],
        scales: &'a [f64],
        weights: &'a [f64],
        inputs: &'a Columns,
    ) -> Self {
        let errors = vec![[0.0; TILE]; inputs.n_cells];
        let mut tile = Self { integers, scales, weights, inputs, errors, sums: [0.0; TILE] };
        for input in 0..inputs.columns.len() {
            let lacks = from_fn(|row| tile.lack(row, input));
            tile.add(input, lacks);
        }
        tile
    }

    /// What a rounded weight lacks; 0 beyond the last row.
    fn lack(&self, row: usize, input: usize) -> f64 {
        let at = row * self.inputs.columns.len() + input;
        match (self.scales.get(row), self.weights.get(at), self.integers.get(at)) {
            (Some(scale), Some(weight), Some(&integer)) => weight - scale * f64::from(integer),
            _ => 0.0,
        }
    }

    /// Adds `lacks` times an input to the errors.
    fn add(&mut self, input: usize, lacks: [f64; TILE]) {
        let column = &self.inputs.columns[input];
        let factors = lacks.map(|lack| lack as f32);
        for &(cell, level) in &column.cells {
            for (error, factor) in self.errors[cell as usize].iter_mut().zip(factors) {
                *error += factor * level;
            }
        }
        let sum = column.mean * self.inputs.n_cells as f64;
        for (total, lack) in self.sums.iter_mut().zip(lacks) {
            *total += lack * sum;
        }
    }

    fn descend(&mut self) {
        for _ in 0..MOST_PASSES {
            let moved: usize = (0..self.inputs.columns.len()).map(|input| self.step(input)).sum();
            if moved == 0 {
                return;
            }
        }
    }

    /// Moves the weights of an input; returns how many of them.
    fn step(&mut self, input: usize) -> usize {
        let column = &self.inputs.columns[input];
        if column.squares <= 0.0 {
            // Any integer is as good; the nearest one is for cells that are not among these.
            return 0;
        }
        let mut dots = [0.0_f32; TILE];
        for &(cell, level) in &column.cells {
            for (dot, error) in dots.iter_mut().zip(&self.errors[cell as usize]) {
                *dot += error * level;
            }
        }
        let mut changes = [0.0; TILE];
        let mut n_moved = 0;
        for (row, &scale) in self.scales.iter().enumerate() {
            let covariance = f64::from(dots[row]) - column.mean * self.sums[row];
            let lack = self.lack(row, input);
            let gradient = (1.0 - SHRINKAGE) * covariance + SHRINKAGE * column.squares * lack;
            let steps = (gradient / (column.squares * scale)).round();
            let place = &mut self.integers[row * self.inputs.columns.len() + input];
            let most = f64::from(WEIGHT_MAX);
            // In −127..=127 after the clamp.
            let integer = (f64::from(*place) + steps).clamp(-most, most) as i8;
            if integer != *place {
                changes[row] = scale * (f64::from(*place) - f64::from(integer));
                *place = integer;
                n_moved += 1;
            }
        }
        if n_moved > 0 {
            self.add(input, changes);
        }
        n_moved
    }
}

/// Share of the covariance of inputs that is taken for chance: a few hundred cells know it badly.
const SHRINKAGE: f64 = 0.3;
const MOST_PASSES: usize = 4;
