//! Compares the kernels of this core with their definition, on random layers of many shapes. Weights are random
//! bytes of the flash.
#![no_std]
#![no_main]

use cic_runtime::kernels::{
    Kernels, LevelRows, Listed, Panels, Part, PartMut, Ratios, SumRows, reference, sum_stride,
};
use firmware_examples::{Ending, count::region, entry, exit, println};

/// Most inputs and outputs of a layer.
const MOST_IN: usize = 1024;
const MOST_OUT: usize = 128;

/// Layers of random shape for each operator.
const LAYERS: u32 = 2000;

static WEIGHTS: Aligned<[i8; MOST_IN * MOST_OUT]> = Aligned(random_weights());

#[repr(C, align(4))]
struct Aligned<T>(T);

#[entry]
fn main() -> ! {
    let kernels = Kernels::best();
    println!("# kernels {}", kernels.isa().name());
    let mut bench = Bench {
        random: Random(2_463_534_242),
        levels: Aligned([0; MOST_IN]),
        genes: [0; MOST_IN],
        bias: [0; MOST_OUT],
        found: [0; MOST_OUT],
        expected: [0; MOST_OUT],
    };
    let mut differing = 0;
    for _ in 0..LAYERS {
        differing += u32::from(!bench.panels(&kernels));
    }
    println!("panels: {} layers, {} differ", LAYERS, differing);
    let mut of_lists = 0;
    for _ in 0..LAYERS {
        of_lists += u32::from(!bench.sparse(&kernels));
    }
    println!("lists: {} layers, {} differ", LAYERS, of_lists);
    let mut of_rows = 0;
    for _ in 0..LAYERS {
        of_rows += u32::from(!bench.rows(&kernels));
    }
    println!("rows: {} layers, {} differ", LAYERS, of_rows);
    let mut of_sums = 0;
    for _ in 0..LAYERS {
        of_sums += u32::from(!bench.sums(&kernels));
    }
    println!("sums: {} layers, {} differ", LAYERS, of_sums);
    bench.count(&kernels);
    exit(if differing + of_lists + of_rows + of_sums == 0 {
        Ending::Passed
    } else {
        Ending::Failed
    })
}

struct Bench {
    random: Random,
    levels: Aligned<[u8; MOST_IN]>,
    genes: [u32; MOST_IN],
    bias: [i32; MOST_OUT],
    found: [i32; MOST_OUT],
    expected: [i32; MOST_OUT],
}

impl Bench {
    /// A layer in panels of four, a part of its inputs, with and without a bias.
    fn panels(&mut self, kernels: &Kernels) -> bool {
        let most = if self.random.below(8) == 0 { MOST_IN } else { 80 };
        let in_dim = 1 + self.random.below(most);
        let out_dim = 1 + self.random.below(MOST_OUT - 3);
        let first = 4 * self.random.below(in_dim.div_ceil(4));
        let width = 1 + self.random.below(in_dim - first);
        self.fill(width);
        let len = in_dim.next_multiple_of(4) * out_dim.next_multiple_of(4);
        let start = 4 * self.random.below((WEIGHTS.0.len() - len) / 4 + 1);
        let weights = WEIGHTS.0.get(start..start + len).unwrap_or(&[]);
        let bias = (self.random.below(2) == 0).then_some(&self.bias[..]);
        let stride = sum_stride(out_dim);
        let (Some(panels), Some(levels)) = (
            Panels::new_checked(weights, in_dim, out_dim, 4),
            LevelRows::new_checked(&self.levels.0, MOST_IN, width, 1),
        ) else {
            return false;
        };
        let rows = |data| SumRows::new_checked(data, stride, 1);
        let (Some(mut found), Some(mut expected)) =
            (rows(&mut self.found), rows(&mut self.expected))
        else {
            return false;
        };
        kernels.panels_s8(&panels, first, &levels, bias, &mut found);
        reference::panels_s8(&panels, first, &levels, bias, &mut expected);
        self.found[..out_dim] == self.expected[..out_dim]
    }

    /// A layer in rows.
    fn rows(&mut self, kernels: &Kernels) -> bool {
        let most = if self.random.below(8) == 0 { MOST_IN } else { 80 };
        let in_dim = 1 + self.random.below(most);
        let out_dim = 1 + self.random.below(MOST_OUT);
        self.fill(in_dim);
        let start = self.random.below(WEIGHTS.0.len() - in_dim * out_dim + 1);
        let weights = &WEIGHTS.0[start..start + in_dim * out_dim];
        kernels.rows_s8(weights, &self.levels.0[..in_dim], &mut self.found[..out_dim]);
        reference::rows_s8(weights, &self.levels.0[..in_dim], &mut self.expected[..out_dim]);
        self.found[..out_dim] == self.expected[..out_dim]
    }

    /// Levels and codes of sums of all magnitudes, by ratios of all magnitudes or of those that a layer has.
    fn sums(&mut self, kernels: &Kernels) -> bool {
        let width = 1 + self.random.below(MOST_OUT);
        let is_wild = self.random.below(2) == 0;
        let (mut sums, mut multipliers) = ([0; MOST_OUT], [0; MOST_OUT]);
        let (mut shifts, mut table) = ([0; MOST_OUT], [0; 256]);
        for ((sum, multiplier), shift) in sums.iter_mut().zip(&mut multipliers).zip(&mut shifts) {
            *sum = self.random.next().cast_signed() >> self.random.below(32);
            *multiplier = (1 << 30 | self.random.next() >> 2).cast_signed();
            *shift = if is_wild { self.random.below(63) } else { 33 + self.random.below(30) } as u8;
        }
        table.iter_mut().for_each(|level| *level = self.random.below(128) as u8);
        let mut offsets = [0; MOST_OUT];
        for offset in &mut offsets {
            *offset = self.random.next().cast_signed() >> if is_wild { 0 } else { 14 };
        }
        let ratios = Ratios::new(&multipliers[..width], &shifts[..width]);
        let requantised = |kernels: &Kernels| {
            let mut codes = [0; MOST_OUT];
            let mut levels = [[0; MOST_OUT]; 2];
            let [of_sums, of_codes] = &mut levels;
            let of_sums = &mut PartMut::new_checked(of_sums, MOST_OUT, width, 1)?;
            let sums = Part::new_checked(&sums, MOST_OUT, width, 1)?;
            kernels.activate_s8(&sums, &ratios, &table, of_sums);
            let to_codes = &mut PartMut::new_checked(&mut codes, MOST_OUT, width, 1)?;
            kernels.requantize_i16s(&sums, &ratios, to_codes);
            let from_codes = Part::new_checked(&codes, MOST_OUT, width, 1)?;
            let of_codes = &mut PartMut::new_checked(of_codes, MOST_OUT, width, 1)?;
            kernels.code_levels(&from_codes, &offsets[..width], &ratios, of_codes);
            Some((codes, levels))
        };
        let found = requantised(kernels);
        found.is_some() && found == requantised(&Kernels::SCALAR)
    }

    /// A gene-major layer, some of its inputs.
    fn sparse(&mut self, kernels: &Kernels) -> bool {
        let out_dim = match self.random.below(4) {
            0 => 1 + self.random.below(MOST_OUT),
            _ => 8 * (1 + self.random.below(MOST_OUT / 8)),
        };
        let n_genes = 1 + self.random.below((WEIGHTS.0.len() / out_dim).min(2 * MOST_IN));
        let mut n_listed = 0;
        for gene in 0..n_genes as u32 {
            if self.random.below(12) == 0 && n_listed < MOST_IN {
                self.genes[n_listed] = gene;
                n_listed += 1;
            }
        }
        self.fill(n_listed);
        let listed = Listed {
            genes: &self.genes[..n_listed],
            levels: &self.levels.0[..n_listed],
            next: &[],
        };
        let bias = (self.random.below(2) == 0).then_some(&self.bias[..out_dim]);
        let weights = &WEIGHTS.0[..n_genes * out_dim];
        kernels.sparse_s8(weights, &listed, bias, &mut self.found[..out_dim]);
        reference::sparse_s8(weights, &listed, bias, &mut self.expected[..out_dim]);
        self.found[..out_dim] == self.expected[..out_dim]
    }

    /// Random levels, the extremes among them, and zeros after them; sums that were there before.
    fn fill(&mut self, width: usize) {
        self.levels.0.fill(0);
        for level in self.levels.0.iter_mut().take(width) {
            *level = match self.random.below(4) {
                0 => 127,
                1 => 0,
                _ => self.random.below(128) as u8,
            };
        }
        for ((bias, found), expected) in
            self.bias.iter_mut().zip(&mut self.found).zip(&mut self.expected)
        {
            *bias = self.random.next().cast_signed();
            *found = self.random.next().cast_signed();
            *expected = *found;
        }
    }

    /// Counts 1,024 inputs by 128 outputs, in both layouts and listed, 72 of them.
    fn count(&mut self, kernels: &Kernels) {
        self.fill(MOST_IN);
        let (Some(panels), Some(levels), Some(mut sums)) = (
            Panels::new_checked(&WEIGHTS.0, MOST_IN, MOST_OUT, 4),
            LevelRows::new_checked(&self.levels.0, MOST_IN, MOST_IN, 1),
            SumRows::new_checked(&mut self.found, MOST_OUT, 1),
        ) else {
            return;
        };
        region("fours", || kernels.panels_s8(&panels, 0, &levels, Some(&self.bias), &mut sums));
        region("rows", || kernels.rows_s8(&WEIGHTS.0, &self.levels.0, &mut self.found));
        for (gene, at) in self.genes.iter_mut().zip(0..) {
            *gene = 14 * at;
        }
        let listed = Listed { genes: &self.genes[..72], levels: &self.levels.0[..72], next: &[] };
        region("list", || {
            kernels.sparse_s8(&WEIGHTS.0, &listed, Some(&self.bias), &mut self.found);
        });
    }
}

/// Marsaglia's xorshift with 32 bits of state.
struct Random(u32);

impl Random {
    const fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }
}

/// −127 ..= 127, every eighth of them an extreme.
const fn random_weights() -> [i8; MOST_IN * MOST_OUT] {
    let mut weights = [0; MOST_IN * MOST_OUT];
    let mut random = Random(1);
    let mut n = 0;
    while n < weights.len() {
        let bits = random.next();
        weights[n] = match bits & 15 {
            0 => -127,
            1 => 127,
            _ => ((bits >> 8) % 255) as i8,
        };
        if weights[n] == -128 {
            weights[n] = 0;
        }
        n += 1;
    }
    weights
}
