//! `kernel-bench [ROUNDS [FILTER]]`: nanoseconds per call of every operator on every instruction set of
//! this processor, for the layers of a small network and the first layer of a large one. `FILTER` keeps
//! the lines that contain it. Rounds go through all of them in turn, so that a slow moment of the machine
//! meets all alike; medians are printed, with weights read and operations done per nanosecond.

use std::hint::black_box;
use std::time::Instant;

use cic_conformance::Random;
use cic_runtime::kernels::float::{Columns, FloatSumRows, InputRows};
use cic_runtime::kernels::{
    Isa, Kernels, LevelRows, Panels, SumRows, panel_of, stored_len, sum_stride,
};

/// Inputs, outputs, name.
const FIRST_LAYERS: [(usize, usize, &str); 2] = [(1024, 256, "R1"), (18_000, 512, "R2")];
const HIDDEN_LAYERS: [(usize, usize); 3] = [(256, 30), (30, 64), (64, 16)];
/// Cells of the dense lines with many.
const N_CELLS: usize = 48;
/// Different cells that the sparse lines take in turn.
const N_SPARSE: usize = 8;
/// Of a hundred inputs.
const NON_ZERO: usize = 7;
/// Nanoseconds that one line takes in one round, if a single call does not take longer.
const NS_PER_ROUND: f64 = 3e5;

struct Line<'a> {
    operator: String,
    isa: Isa,
    /// Of weights, per call.
    bytes: f64,
    /// Multiplications and additions, per call.
    operations: f64,
    call: Box<dyn FnMut() + 'a>,
    n_calls: usize,
    ns: Vec<f64>,
}

fn main() {
    let mut words = std::env::args().skip(1);
    let n_rounds = words.next().and_then(|word| word.parse().ok()).unwrap_or(31_usize).max(1);
    let filter = words.next().unwrap_or_default();
    println!("| operator | instruction set | ns | GB/s | GFLOP/s | times scalar |");
    println!("|---|---|---|---|---|---|");
    for (in_dim, out_dim, name) in FIRST_LAYERS {
        let data = Data::new(in_dim, out_dim);
        let mut lines = Vec::new();
        for kernels in all_kernels() {
            data.sparse(kernels, name, &mut lines);
            data.dense(kernels, name, 1, &mut lines);
            data.dense(kernels, name, N_CELLS, &mut lines);
        }
        report(lines, n_rounds, &filter);
    }
    for (in_dim, out_dim) in HIDDEN_LAYERS {
        let data = Data::new(in_dim, out_dim);
        let mut lines = Vec::new();
        for kernels in all_kernels() {
            data.rows(kernels, &mut lines);
        }
        report(lines, n_rounds, &filter);
    }
}

fn all_kernels() -> impl Iterator<Item = Kernels> {
    Isa::ALL.into_iter().filter_map(Kernels::of)
}

fn report(mut lines: Vec<Line<'_>>, n_rounds: usize, filter: &str) {
    lines.retain(|line| format!("{} {}", line.operator, line.isa.name()).contains(filter));
    for line in &mut lines {
        let start = Instant::now();
        (line.call)();
        let ns = start.elapsed().as_nanos().max(1) as f64;
        line.n_calls = (NS_PER_ROUND / ns).clamp(1.0, 1e5) as usize;
    }
    for _ in 0..n_rounds {
        for line in &mut lines {
            let start = Instant::now();
            for _ in 0..line.n_calls {
                (line.call)();
            }
            line.ns.push(start.elapsed().as_nanos() as f64 / line.n_calls as f64);
        }
    }
    lines.sort_by(|a, b| a.operator.cmp(&b.operator).then(a.isa.cmp(&b.isa)));
    let mut scalar = f64::NAN;
    for line in &mut lines {
        line.ns.sort_by(f64::total_cmp);
        let ns = line.ns[line.ns.len() / 2];
        if line.isa == Isa::Scalar {
            scalar = ns;
        }
        println!(
            "| {} | {} | {ns:.0} | {:.1} | {:.1} | {:.1} |",
            line.operator,
            line.isa.name(),
            line.bytes / ns,
            line.operations / ns,
            scalar / ns
        );
    }
}

/// A layer in every form, and inputs for it.
struct Data {
    in_dim: usize,
    out_dim: usize,
    f32: Vec<f32>,
    f16: Vec<u16>,
    s8: Vec<i8>,
    panels: Vec<i8>,
    cells: Vec<Cell>,
    /// `[N_CELLS × in_dim]`
    inputs: Vec<f32>,
    /// `[N_CELLS × in_dim, padded to a multiple of 4]`
    levels: Vec<u8>,
}

struct Cell {
    genes: Vec<u32>,
    values: Vec<f32>,
    levels: Vec<u8>,
}

impl Data {
    fn new(in_dim: usize, out_dim: usize) -> Self {
        let mut random = Random::new(1);
        let n = in_dim * out_dim;
        let stored = stored_len(in_dim, out_dim, panel_of(out_dim)).expect("small");
        let mut number = || (random.next_u64() >> 40) as f32 / 8_388_608.0 - 1.0;
        let f32 = (0..n).map(|_| number()).collect();
        let inputs = (0..N_CELLS * in_dim).map(|_| number()).collect();
        let mut byte = || random.next_u64() as u8;
        // Normal numbers below 1.
        let f16 = (0..n).map(|_| u16::from(byte() & 0x37) << 8 | u16::from(byte())).collect();
        let s8 = (0..n).map(|_| (byte() as i8).max(-127)).collect();
        let panels = (0..stored).map(|_| (byte() as i8).max(-127)).collect();
        let stride = in_dim.next_multiple_of(4);
        let padded = |at: usize| at % stride >= in_dim;
        let levels =
            (0..N_CELLS * stride).map(|at| if padded(at) { 0 } else { byte() & 127 }).collect();
        let cells = (0..N_SPARSE).map(|_| {
            let is_listed = |_: &u32| random.below(100) < NON_ZERO;
            let genes: Vec<u32> = (0..in_dim as u32).filter(is_listed).collect();
            let values = genes.iter().map(|&gene| 0.5 + gene as f32 / in_dim as f32).collect();
            let levels = genes.iter().map(|&gene| 1 + gene as u8 % 100).collect();
            Cell { genes, values, levels }
        });
        Self { in_dim, out_dim, f32, f16, s8, panels, cells: cells.collect(), inputs, levels }
    }

    fn sparse<'a>(&'a self, kernels: Kernels, name: &str, lines: &mut Vec<Line<'a>>) {
        let float = kernels.float();
        let n_listed: usize = self.cells.iter().map(|cell| cell.genes.len()).sum();
        let n_products = (n_listed * self.out_dim) as f64 / N_SPARSE as f64;
        let mut push = |operator: &str, width: f64, call: Box<dyn FnMut() + 'a>| {
            lines.push(Line {
                operator: format!("{name} {operator}"),
                isa: kernels.isa(),
                bytes: n_products * width,
                // What a logarithm takes is not counted.
                operations: if width > 0.0 { 2.0 * n_products } else { 0.0 },
                call,
                n_calls: 1,
                ns: Vec::new(),
            });
        };
        let mut cells = self.cells.iter().cycle();
        let mut sums = vec![0; self.out_dim];
        push(
            "sparse_s8",
            1.0,
            Box::new(move || {
                let Some(cell) = cells.next() else { return };
                kernels.sparse_s8(&self.s8, &cell.genes, &cell.levels, black_box(&mut sums));
            }),
        );
        let mut cells = self.cells.iter().cycle();
        let mut sums = vec![0.0; self.out_dim];
        push(
            "sparse_f32",
            4.0,
            Box::new(move || {
                let Some(cell) = cells.next() else { return };
                float.sparse_f32(&self.f32, &cell.genes, &cell.values, black_box(&mut sums));
            }),
        );
        let mut cells = self.cells.iter().cycle();
        let mut sums = vec![0.0; self.out_dim];
        push(
            "sparse_f16",
            2.0,
            Box::new(move || {
                let Some(cell) = cells.next() else { return };
                float.sparse_f16(&self.f16, &cell.genes, &cell.values, black_box(&mut sums));
            }),
        );
        let mut cells = self.cells.iter().cycle();
        let mut values = Vec::new();
        push(
            "log1p_f32",
            0.0,
            Box::new(move || {
                let Some(cell) = cells.next() else { return };
                values.clear();
                values.extend_from_slice(&cell.values);
                float.log1p_f32(3.0, black_box(&mut values));
            }),
        );
    }

    fn dense<'a>(&'a self, kernels: Kernels, name: &str, n: usize, lines: &mut Vec<Line<'a>>) {
        let float = kernels.float();
        let n_weights = (self.in_dim * self.out_dim) as f64;
        let mut push = |operator: &str, width: f64, call: Box<dyn FnMut() + 'a>| {
            lines.push(Line {
                operator: format!("{name} {operator} × {n}"),
                isa: kernels.isa(),
                bytes: n_weights * width,
                operations: 2.0 * n_weights * n as f64,
                call,
                n_calls: 1,
                ns: Vec::new(),
            });
        };
        let (in_dim, out_dim) = (self.in_dim, self.out_dim);
        let mut sums = vec![0; n * sum_stride(out_dim)];
        push(
            "panels_s8",
            1.0,
            Box::new(move || {
                let panel = panel_of(out_dim);
                let panels = Panels::new_checked(&self.panels, in_dim, out_dim, panel);
                let stride = in_dim.next_multiple_of(4);
                let levels = LevelRows::new_checked(&self.levels, stride, in_dim, n);
                let sums = SumRows::new_checked(black_box(&mut sums), sum_stride(out_dim), n);
                let (Some(panels), Some(levels), Some(mut sums)) = (panels, levels, sums) else {
                    return;
                };
                kernels.panels_s8(&panels, 0, levels, None, &mut sums);
            }),
        );
        let mut sums = vec![0.0; n * out_dim];
        push(
            "columns_f32",
            4.0,
            Box::new(move || {
                let columns = Columns::new_checked(&self.f32, in_dim, out_dim);
                let inputs = InputRows::new_checked(&self.inputs, in_dim, in_dim, n);
                let sums = FloatSumRows::new_checked(black_box(&mut sums), out_dim, n);
                let (Some(columns), Some(inputs), Some(mut sums)) = (columns, inputs, sums) else {
                    return;
                };
                float.columns_f32(&columns, 0, inputs, &mut sums);
            }),
        );
        let mut sums = vec![0.0; n * out_dim];
        push(
            "columns_f16",
            2.0,
            Box::new(move || {
                let columns = Columns::new_checked(&self.f16, in_dim, out_dim);
                let inputs = InputRows::new_checked(&self.inputs, in_dim, in_dim, n);
                let sums = FloatSumRows::new_checked(black_box(&mut sums), out_dim, n);
                let (Some(columns), Some(inputs), Some(mut sums)) = (columns, inputs, sums) else {
                    return;
                };
                float.columns_f16(&columns, 0, inputs, &mut sums);
            }),
        );
    }

    fn rows<'a>(&'a self, kernels: Kernels, lines: &mut Vec<Line<'a>>) {
        let float = kernels.float();
        let n_weights = (self.in_dim * self.out_dim) as f64;
        let mut push = |operator: &str, width: f64, call: Box<dyn FnMut() + 'a>| {
            lines.push(Line {
                operator: format!("{} → {} {operator}", self.in_dim, self.out_dim),
                isa: kernels.isa(),
                bytes: n_weights * width,
                operations: 2.0 * n_weights,
                call,
                n_calls: 1,
                ns: Vec::new(),
            });
        };
        let inputs = &self.inputs[..self.in_dim];
        let mut sums = vec![0; self.out_dim];
        let levels = &self.levels[..self.in_dim];
        push(
            "rows_s8",
            1.0,
            Box::new(move || kernels.rows_s8(&self.s8, levels, black_box(&mut sums))),
        );
        let mut sums = vec![0.0; self.out_dim];
        push(
            "rows_f32",
            4.0,
            Box::new(move || float.rows_f32(&self.f32, inputs, black_box(&mut sums))),
        );
        let mut sums = vec![0.0; self.out_dim];
        push(
            "rows_f16",
            2.0,
            Box::new(move || float.rows_f16(&self.f16, inputs, black_box(&mut sums))),
        );
    }
}
