//! AMX: tiles of 16 rows of 64 bytes. A tile of weights is 16 groups of four inputs for 16 outputs, which
//! is how panels lie in memory; a tile of levels is 64 inputs of 16 cells; `tdpbusd` adds the
//! 16 · 16 · 64 products of the two to a tile of sums.
//!
//! ```text
//! for the whole multiples of 64 inputs, then for what is left:
//!     for every 32 cells:
//!         for every 32 outputs:
//!             load four tiles of sums
//!             for every 64 inputs: two tiles of levels, two of weights, four products
//!             store the sums
//! ```
//!
//! Fewer cells than [`FEWEST_ROWS`] fill too little of a tile; these, and everything but panels, are
//! those of AVX-512. The tile registers are the compiler's by name only: it never uses them, so they
//! keep their contents from one `asm!` to the next.

use core::arch::asm;
use core::arch::x86_64::*;

use super::super::operands::COLUMN;
use super::super::{LevelRows, Panels, SumRows, Table};
use super::avx512vnni;

pub(crate) static TABLE: Table = Table { panels_s8, ..avx512vnni::TABLE_VBMI };

/// Cells below which rows of a tile would mostly be empty.
const FEWEST_ROWS: usize = 5;

/// Inputs of a tile.
const TILE_INPUTS: usize = 64;

/// Rows of a tile.
const TILE_ROWS: usize = 16;

/// Whether processor and operating system have byte tiles, and let this process use them.
pub(super) fn is_usable() -> bool {
    if !has!("avx512vbmi") || !cfg!(all(feature = "std", target_os = "linux")) {
        return false;
    }
    // Some versions of the standard library declare it unsafe.
    // SAFETY: every x86-64 processor has the instruction; leaf 7 is there if AVX-512 is.
    #[allow(unused_unsafe)]
    let features = unsafe { __cpuid_count(7, 0) }.edx;
    const TILE_AND_INT8: u32 = 1 << 24 | 1 << 25;
    features & TILE_AND_INT8 == TILE_AND_INT8 && permission()
}

/// Asks Linux for the tile registers of this process; asking again changes nothing.
fn permission() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const REQUEST_PERMISSION: u64 = 0x1023;
    const TILE_DATA: u64 = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: the system call reads and writes no memory; it clobbers rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inout("rax") result,
            in("rdi") REQUEST_PERMISSION,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn panels_s8(panels: &Panels<'_>, first: usize, levels: LevelRows<'_>, sums: &mut SumRows<'_>) {
    if levels.n_rows() < FEWEST_ROWS {
        return avx512vnni::panels_s8(panels, first, levels, sums);
    }
    let width = panels.panel() * 4;
    let n_groups = levels.width().div_ceil(4);
    let whole = n_groups / TILE_ROWS;
    let work = |first_group: usize, steps: usize, groups: usize| Work {
        panels,
        first_group: first / 4 + first_group,
        width,
        levels: levels.data().as_ptr().wrapping_add(first_group * 4),
        level_stride: levels.stride(),
        sum_stride: sums.stride(),
        n_rows: levels.n_rows(),
        steps,
        groups,
    };
    let (main, tail) =
        (work(0, whole, TILE_ROWS), work(whole * TILE_ROWS, 1, n_groups - whole * TILE_ROWS));
    let to = sums.data().as_mut_ptr();
    for part in [main, tail] {
        if part.steps * part.groups > 0 {
            // SAFETY: the part covers groups that exist, rows lie in levels and sums, and sums are
            // long enough for whole columns, by the contract of `Table`.
            unsafe { part.run(to) };
        }
    }
    // SAFETY: only makes the tile registers empty.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// `steps` times `groups` groups of four inputs for all rows and outputs.
struct Work<'a> {
    panels: &'a Panels<'a>,
    first_group: usize,
    width: usize,
    levels: *const u8,
    level_stride: usize,
    sum_stride: usize,
    n_rows: usize,
    steps: usize,
    groups: usize,
}

impl Work<'_> {
    /// # Safety
    /// The processor has AMX. Groups, rows and sums are there.
    unsafe fn run(&self, to: *mut i32) {
        let n_columns = self.panels.out_dim().div_ceil(COLUMN);
        let mut row = 0;
        while row < self.n_rows {
            let low = (self.n_rows - row).min(TILE_ROWS);
            let high = (self.n_rows - row - low).min(TILE_ROWS);
            let levels = self.levels.wrapping_add(row * self.level_stride);
            let to = to.wrapping_add(row * self.sum_stride);
            // SAFETY: rows `row .. row + low + high` and columns below `n_columns` are there.
            unsafe {
                configure(low, high.max(1), self.groups);
                let mut column = 0;
                while column < n_columns {
                    let is_pair = column + 1 < n_columns;
                    let sums = to.wrapping_add(column * COLUMN);
                    match (high > 0, is_pair) {
                        (true, true) => self.two_by_two(column, levels, sums),
                        (false, true) => self.one_by_two(column, levels, sums),
                        (true, false) => {
                            self.one_by_one(column, levels, sums);
                            configure(high, 1, self.groups);
                            let below = levels.wrapping_add(TILE_ROWS * self.level_stride);
                            let sums = sums.wrapping_add(TILE_ROWS * self.sum_stride);
                            self.one_by_one(column, below, sums);
                        }
                        (false, false) => self.one_by_one(column, levels, sums),
                    }
                    column += 2;
                }
            }
            row += low + high;
        }
    }

    /// Weights of a column of outputs at the first group.
    fn weights(&self, column: usize) -> *const u8 {
        let per_panel = self.panels.panel() / COLUMN;
        let groups = self.panels.in_dim().div_ceil(4);
        let panel = (column / per_panel) * groups * self.width;
        let at = panel + self.first_group * self.width + (column % per_panel) * 4 * COLUMN;
        self.panels.weights().as_ptr().cast::<u8>().wrapping_add(at)
    }

    /// # Safety
    /// As [`Work::run`]; 17 to 32 rows and two columns, configured.
    unsafe fn two_by_two(&self, column: usize, levels: *const u8, sums: *mut i32) {
        let below = levels.wrapping_add(TILE_ROWS * self.level_stride);
        let sums_below = sums.wrapping_add(TILE_ROWS * self.sum_stride);
        let (left, right) = (self.weights(column), self.weights(column + 1));
        let stride = 4 * self.sum_stride;
        // SAFETY: the caller's.
        unsafe {
            asm!(
                "tileloadd tmm0, [{s} + {stride}*1]",
                "tileloadd tmm1, [{s} + {stride}*1 + 64]",
                "tileloadd tmm2, [{b} + {stride}*1]",
                "tileloadd tmm3, [{b} + {stride}*1 + 64]",
                s = in(reg) sums,
                b = in(reg) sums_below,
                stride = in(reg) stride,
                options(nostack, readonly),
            );
            for step in 0..self.steps {
                let (inputs, groups) = (step * TILE_INPUTS, step * TILE_ROWS * self.width);
                asm!(
                    "tileloadd tmm4, [{a} + {a_stride}*1]",
                    "tileloadd tmm6, [{l} + {w_stride}*1]",
                    "tileloadd tmm7, [{r} + {w_stride}*1]",
                    "tdpbusd tmm0, tmm4, tmm6",
                    "tileloadd tmm5, [{b} + {a_stride}*1]",
                    "tdpbusd tmm1, tmm4, tmm7",
                    "tdpbusd tmm2, tmm5, tmm6",
                    "tdpbusd tmm3, tmm5, tmm7",
                    a = in(reg) levels.wrapping_add(inputs),
                    b = in(reg) below.wrapping_add(inputs),
                    l = in(reg) left.wrapping_add(groups),
                    r = in(reg) right.wrapping_add(groups),
                    a_stride = in(reg) self.level_stride,
                    w_stride = in(reg) self.width,
                    options(nostack, readonly),
                );
            }
            asm!(
                "tilestored [{s} + {stride}*1], tmm0",
                "tilestored [{s} + {stride}*1 + 64], tmm1",
                "tilestored [{b} + {stride}*1], tmm2",
                "tilestored [{b} + {stride}*1 + 64], tmm3",
                s = in(reg) sums,
                b = in(reg) sums_below,
                stride = in(reg) stride,
                options(nostack),
            );
        }
    }

    /// # Safety
    /// As [`Work::run`]; up to 16 rows and two columns, configured.
    unsafe fn one_by_two(&self, column: usize, levels: *const u8, sums: *mut i32) {
        let (left, right) = (self.weights(column), self.weights(column + 1));
        let stride = 4 * self.sum_stride;
        // SAFETY: the caller's.
        unsafe {
            asm!(
                "tileloadd tmm0, [{s} + {stride}*1]",
                "tileloadd tmm1, [{s} + {stride}*1 + 64]",
                s = in(reg) sums,
                stride = in(reg) stride,
                options(nostack, readonly),
            );
            for step in 0..self.steps {
                let (inputs, groups) = (step * TILE_INPUTS, step * TILE_ROWS * self.width);
                asm!(
                    "tileloadd tmm4, [{a} + {a_stride}*1]",
                    "tileloadd tmm6, [{l} + {w_stride}*1]",
                    "tileloadd tmm7, [{r} + {w_stride}*1]",
                    "tdpbusd tmm0, tmm4, tmm6",
                    "tdpbusd tmm1, tmm4, tmm7",
                    a = in(reg) levels.wrapping_add(inputs),
                    l = in(reg) left.wrapping_add(groups),
                    r = in(reg) right.wrapping_add(groups),
                    a_stride = in(reg) self.level_stride,
                    w_stride = in(reg) self.width,
                    options(nostack, readonly),
                );
            }
            asm!(
                "tilestored [{s} + {stride}*1], tmm0",
                "tilestored [{s} + {stride}*1 + 64], tmm1",
                s = in(reg) sums,
                stride = in(reg) stride,
                options(nostack),
            );
        }
    }

    /// # Safety
    /// As [`Work::run`]; up to 16 rows and one column, configured.
    unsafe fn one_by_one(&self, column: usize, levels: *const u8, sums: *mut i32) {
        let weights = self.weights(column);
        let stride = 4 * self.sum_stride;
        // SAFETY: the caller's.
        unsafe {
            asm!(
                "tileloadd tmm0, [{s} + {stride}*1]",
                s = in(reg) sums,
                stride = in(reg) stride,
                options(nostack, readonly),
            );
            for step in 0..self.steps {
                let (inputs, groups) = (step * TILE_INPUTS, step * TILE_ROWS * self.width);
                asm!(
                    "tileloadd tmm4, [{a} + {a_stride}*1]",
                    "tileloadd tmm6, [{l} + {w_stride}*1]",
                    "tdpbusd tmm0, tmm4, tmm6",
                    a = in(reg) levels.wrapping_add(inputs),
                    l = in(reg) weights.wrapping_add(groups),
                    a_stride = in(reg) self.level_stride,
                    w_stride = in(reg) self.width,
                    options(nostack, readonly),
                );
            }
            asm!(
                "tilestored [{s} + {stride}*1], tmm0",
                s = in(reg) sums,
                stride = in(reg) stride,
                options(nostack),
            );
        }
    }
}

/// Shapes of the tiles: sums 0, 1 and levels 4 have `low` rows, sums 2, 3 and levels 5 `high`; weights 6
/// and 7 have `groups` rows, and levels four bytes for each of these.
///
/// # Safety
/// The processor has AMX; all three are 1 ..= 16.
unsafe fn configure(low: usize, high: usize, groups: usize) {
    #[repr(C, align(64))]
    struct Config {
        palette: u8,
        start: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }
    // All at most 64.
    let (low, high, groups) = (low as u8, high as u8, groups as u8);
    let mut config =
        Config { palette: 1, start: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    let row_bytes = [64, 64, 64, 64, 4 * u16::from(groups), 4 * u16::from(groups), 64, 64];
    config.row_bytes[..8].copy_from_slice(&row_bytes);
    config.rows[..8].copy_from_slice(&[low, low, high, high, low, high, groups, groups]);
    // SAFETY: reads the 64 bytes of the configuration.
    unsafe { asm!("ldtilecfg [{c}]", c = in(reg) &raw const config, options(nostack, readonly)) };
}
