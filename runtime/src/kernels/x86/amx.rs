//! AMX: tiles of 16 rows of 64 bytes. A tile of weights is 16 groups of four inputs for 16 outputs, which
//! is how panels lie in memory; a tile of levels is 64 inputs of 16 cells; `tdpbusd` adds the
//! 16 · 16 · 64 products of the two to a tile of sums.
//!
//! ```text
//! for the whole multiples of 64 inputs, then for what is left:
//!     for every 32 outputs:
//!         for every 32 cells:
//!             load four tiles of sums, or the bias to all their rows
//!             for every 64 inputs: two tiles of levels, two of weights, four products
//!             store the sums
//!     for the last 16 cells, if more are not left: the same with 64 outputs
//! ```
//!
//! Four tiles of sums, because a sum waits for the one before as long as four products take. Weights that
//! do not stay near are asked for one panel ahead. Fewer cells than [`FEWEST_ROWS`] fill too little of a tile; these, and everything but panels, are
//! those of AVX-512. The tile registers are the compiler's by name only: it never uses them, so they
//! keep their contents from one `asm!` to the next.

use core::arch::asm;
use core::arch::x86_64::*;

use super::super::crossover::LARGE;
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
fn panels_s8(
    panels: &Panels<'_>,
    first: usize,
    levels: &LevelRows<'_>,
    bias: Option<&[i32]>,
    sums: &mut SumRows<'_>,
) {
    if levels.n_rows() < FEWEST_ROWS || levels.width() == 0 {
        return avx512vnni::panels_s8(panels, first, levels, bias, sums);
    }
    let (n_groups, sum_stride) = (levels.width().div_ceil(4), sums.stride());
    let to = sums.data().as_mut_ptr();
    let steps = n_groups / TILE_ROWS;
    let whole = steps * TILE_ROWS;
    let mut start = match bias {
        Some(bias) => (bias.as_ptr(), 0),
        None => (to.cast_const(), sum_stride),
    };
    for (first_group, steps, groups) in [(0, steps, TILE_ROWS), (whole, 1, n_groups - whole)] {
        if steps * groups == 0 {
            continue;
        }
        let work = Work {
            panels,
            first_group: first / 4 + first_group,
            levels: levels.data().as_ptr().wrapping_add(first_group * 4),
            level_stride: levels.stride(),
            start: start.0,
            start_stride: start.1,
            to,
            sum_stride,
            n_rows: levels.n_rows(),
            steps,
            groups,
        };
        // SAFETY: the part covers groups that exist, rows lie in levels and sums, and sums and bias
        // are long enough for whole columns, by the contract of `Table`.
        unsafe { work.run() };
        start = (to.cast_const(), sum_stride);
    }
    // SAFETY: only makes the tile registers empty.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// `steps` times `groups` groups of four inputs for all rows and outputs.
struct Work<'a> {
    panels: &'a Panels<'a>,
    first_group: usize,
    levels: *const u8,
    level_stride: usize,
    start: *const i32,
    /// From the start of one row's sums to the next: none where it is the bias of all.
    start_stride: usize,
    to: *mut i32,
    sum_stride: usize,
    n_rows: usize,
    steps: usize,
    groups: usize,
}

/// Sums of some rows and columns: where their levels, weights and starts are, and where they go.
struct Place {
    column: usize,
    levels: *const u8,
    start: *const i32,
    to: *mut i32,
    ahead: Ahead,
}

/// Weights to ask for, a few lines at every step.
struct Ahead {
    at: *const u8,
    lines: usize,
}

impl Ahead {
    #[inline(always)]
    fn ask(&mut self) {
        for _ in 0..self.lines {
            // SAFETY: every x86-64 processor has the instruction, and any address will do.
            #[allow(unused_unsafe)]
            unsafe {
                _mm_prefetch::<_MM_HINT_T1>(self.at.cast())
            };
            self.at = self.at.wrapping_add(64);
        }
    }
}

impl Work<'_> {
    /// # Safety
    /// The processor has AMX. Groups, rows, starts and sums are there.
    unsafe fn run(&self) {
        let n_columns = self.panels.out_dim().div_ceil(COLUMN);
        let n_pairs = self.n_rows / (2 * TILE_ROWS);
        let (paired, left) = (n_pairs * 2 * TILE_ROWS, self.n_rows % (2 * TILE_ROWS));
        // SAFETY: rows `row .. row + low + high` and columns below `n_columns` are there.
        unsafe {
            if n_pairs > 0 {
                configure(&Shapes::two_by_two(TILE_ROWS, TILE_ROWS, self.groups));
                for column in (0..n_columns).step_by(2) {
                    for n in 0..n_pairs {
                        self.two_rows(column, n * 2 * TILE_ROWS, n, n_pairs);
                    }
                }
            }
            if left > TILE_ROWS {
                configure(&Shapes::two_by_two(TILE_ROWS, left - TILE_ROWS, self.groups));
                for column in (0..n_columns).step_by(2) {
                    self.two_rows(column, paired, 0, 1);
                }
            } else if left > 0 {
                configure(&Shapes::one_by_four(left, self.groups));
                let mut column = 0;
                while column + 4 <= n_columns {
                    let per_panel = (self.panel() / 4).max(1);
                    self.one_by_four(self.place(column, paired, column / 4 % per_panel, per_panel));
                    column += 4;
                }
                while column < n_columns {
                    self.one_by_one(&self.place(column, paired, 0, 1));
                    column += 1;
                }
            }
        }
    }

    /// Columns of a panel.
    fn panel(&self) -> usize {
        self.panels.panel() / COLUMN
    }

    /// Bytes of a group of four inputs.
    fn width(&self) -> usize {
        self.panels.panel() * 4
    }

    /// Weights of a column of outputs at the first group.
    fn weights(&self, column: usize) -> *const u8 {
        let groups = self.panels.in_dim().div_ceil(4);
        let panel = (column / self.panel()) * groups * self.width();
        let at = panel + self.first_group * self.width() + (column % self.panel()) * 4 * COLUMN;
        self.panels.weights().as_ptr().cast::<u8>().wrapping_add(at)
    }

    /// The place of a column and rows, which are number `turn` of the `n_turns` that a panel has.
    fn place(&self, column: usize, row: usize, turn: usize, n_turns: usize) -> Place {
        let at = column * COLUMN;
        Place {
            column,
            levels: self.levels.wrapping_add(row * self.level_stride),
            start: self.start.wrapping_add(row * self.start_stride + at),
            to: self.to.wrapping_add(row * self.sum_stride + at),
            ahead: self.ahead(column, turn, n_turns),
        }
    }

    /// The part of the next panel's weights, or of the first one's next inputs, that a turn asks for.
    fn ahead(&self, column: usize, turn: usize, n_turns: usize) -> Ahead {
        if self.panels.weights().len() < LARGE {
            return Ahead { at: self.levels, lines: 0 };
        }
        let len = self.steps * self.groups * self.width();
        let next = (column / self.panel() + 1) * self.panel();
        let next = match next * COLUMN < self.panels.out_dim() {
            true => self.weights(next),
            false => self.weights(0).wrapping_add(len),
        };
        let lines = len.div_ceil(64 * self.steps * n_turns);
        Ahead { at: next.wrapping_add(turn * self.steps * lines * 64), lines }
    }

    /// Two columns, or the last one, of rows that number `n` of `n_pairs` begins.
    ///
    /// # Safety
    /// As [`Work::run`]; 17 to 32 rows, configured.
    unsafe fn two_rows(&self, column: usize, row: usize, n: usize, n_pairs: usize) {
        let per_panel = self.panel().div_ceil(2);
        let turn = column % self.panel() / 2 * n_pairs + n;
        let place = self.place(column, row, turn, per_panel * n_pairs);
        // SAFETY: the caller's.
        unsafe {
            match (column + 1) * COLUMN < self.panels.out_dim() {
                true => self.two_by_two(place),
                false => self.two_by_one(&place),
            }
        }
    }

    /// # Safety
    /// As [`Work::two_rows`], with two columns.
    unsafe fn two_by_two(&self, mut place: Place) {
        let below = place.levels.wrapping_add(TILE_ROWS * self.level_stride);
        let start_below = place.start.wrapping_add(TILE_ROWS * self.start_stride);
        let to_below = place.to.wrapping_add(TILE_ROWS * self.sum_stride);
        let (left, right) = (self.weights(place.column), self.weights(place.column + 1));
        // SAFETY: the caller's.
        unsafe {
            asm!(
                "tileloadd tmm0, [{s} + {stride}*1]",
                "tileloadd tmm1, [{s} + {stride}*1 + 64]",
                "tileloadd tmm2, [{b} + {stride}*1]",
                "tileloadd tmm3, [{b} + {stride}*1 + 64]",
                s = in(reg) place.start,
                b = in(reg) start_below,
                stride = in(reg) 4 * self.start_stride,
                options(nostack, readonly),
            );
            for step in 0..self.steps {
                let (inputs, groups) = (step * TILE_INPUTS, step * TILE_ROWS * self.width());
                asm!(
                    "tileloadd tmm4, [{a} + {a_stride}*1]",
                    "tileloadd tmm6, [{l} + {w_stride}*1]",
                    "tdpbusd tmm0, tmm4, tmm6",
                    "tileloadd tmm7, [{r} + {w_stride}*1]",
                    "tdpbusd tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{b} + {a_stride}*1]",
                    "tdpbusd tmm2, tmm5, tmm6",
                    "tdpbusd tmm3, tmm5, tmm7",
                    a = in(reg) place.levels.wrapping_add(inputs),
                    b = in(reg) below.wrapping_add(inputs),
                    l = in(reg) left.wrapping_add(groups),
                    r = in(reg) right.wrapping_add(groups),
                    a_stride = in(reg) self.level_stride,
                    w_stride = in(reg) self.width(),
                    options(nostack, readonly),
                );
                place.ahead.ask();
            }
            asm!(
                "tilestored [{s} + {stride}*1], tmm0",
                "tilestored [{s} + {stride}*1 + 64], tmm1",
                "tilestored [{b} + {stride}*1], tmm2",
                "tilestored [{b} + {stride}*1 + 64], tmm3",
                s = in(reg) place.to,
                b = in(reg) to_below,
                stride = in(reg) 4 * self.sum_stride,
                options(nostack),
            );
        }
    }

    /// # Safety
    /// As [`Work::two_rows`], with one column.
    unsafe fn two_by_one(&self, place: &Place) {
        let below = place.levels.wrapping_add(TILE_ROWS * self.level_stride);
        let start_below = place.start.wrapping_add(TILE_ROWS * self.start_stride);
        let to_below = place.to.wrapping_add(TILE_ROWS * self.sum_stride);
        let weights = self.weights(place.column);
        // SAFETY: the caller's.
        unsafe {
            asm!(
                "tileloadd tmm0, [{s} + {stride}*1]",
                "tileloadd tmm2, [{b} + {stride}*1]",
                s = in(reg) place.start,
                b = in(reg) start_below,
                stride = in(reg) 4 * self.start_stride,
                options(nostack, readonly),
            );
            for step in 0..self.steps {
                let (inputs, groups) = (step * TILE_INPUTS, step * TILE_ROWS * self.width());
                asm!(
                    "tileloadd tmm4, [{a} + {a_stride}*1]",
                    "tileloadd tmm6, [{w} + {w_stride}*1]",
                    "tdpbusd tmm0, tmm4, tmm6",
                    "tileloadd tmm5, [{b} + {a_stride}*1]",
                    "tdpbusd tmm2, tmm5, tmm6",
                    a = in(reg) place.levels.wrapping_add(inputs),
                    b = in(reg) below.wrapping_add(inputs),
                    w = in(reg) weights.wrapping_add(groups),
                    a_stride = in(reg) self.level_stride,
                    w_stride = in(reg) self.width(),
                    options(nostack, readonly),
                );
            }
            asm!(
                "tilestored [{s} + {stride}*1], tmm0",
                "tilestored [{b} + {stride}*1], tmm2",
                s = in(reg) place.to,
                b = in(reg) to_below,
                stride = in(reg) 4 * self.sum_stride,
                options(nostack),
            );
        }
    }

    /// # Safety
    /// As [`Work::run`]; up to 16 rows and four columns, configured.
    unsafe fn one_by_four(&self, mut place: Place) {
        let [a, b, c, d] = [0, 1, 2, 3].map(|n| self.weights(place.column + n));
        // SAFETY: the caller's.
        unsafe {
            asm!(
                "tileloadd tmm0, [{s} + {stride}*1]",
                "tileloadd tmm1, [{s} + {stride}*1 + 64]",
                "tileloadd tmm2, [{s} + {stride}*1 + 128]",
                "tileloadd tmm3, [{s} + {stride}*1 + 192]",
                s = in(reg) place.start,
                stride = in(reg) 4 * self.start_stride,
                options(nostack, readonly),
            );
            for step in 0..self.steps {
                let (inputs, groups) = (step * TILE_INPUTS, step * TILE_ROWS * self.width());
                asm!(
                    "tileloadd tmm4, [{levels} + {l_stride}*1]",
                    "tileloadd tmm5, [{a} + {w_stride}*1]",
                    "tileloadd tmm6, [{b} + {w_stride}*1]",
                    "tdpbusd tmm0, tmm4, tmm5",
                    "tileloadd tmm7, [{c} + {w_stride}*1]",
                    "tdpbusd tmm1, tmm4, tmm6",
                    "tileloadd tmm5, [{d} + {w_stride}*1]",
                    "tdpbusd tmm2, tmm4, tmm7",
                    "tdpbusd tmm3, tmm4, tmm5",
                    levels = in(reg) place.levels.wrapping_add(inputs),
                    a = in(reg) a.wrapping_add(groups),
                    b = in(reg) b.wrapping_add(groups),
                    c = in(reg) c.wrapping_add(groups),
                    d = in(reg) d.wrapping_add(groups),
                    l_stride = in(reg) self.level_stride,
                    w_stride = in(reg) self.width(),
                    options(nostack, readonly),
                );
                place.ahead.ask();
            }
            asm!(
                "tilestored [{s} + {stride}*1], tmm0",
                "tilestored [{s} + {stride}*1 + 64], tmm1",
                "tilestored [{s} + {stride}*1 + 128], tmm2",
                "tilestored [{s} + {stride}*1 + 192], tmm3",
                s = in(reg) place.to,
                stride = in(reg) 4 * self.sum_stride,
                options(nostack),
            );
        }
    }

    /// # Safety
    /// As [`Work::run`]; up to 16 rows and one column, configured.
    unsafe fn one_by_one(&self, place: &Place) {
        let weights = self.weights(place.column);
        // SAFETY: the caller's.
        unsafe {
            asm!(
                "tileloadd tmm0, [{s} + {stride}*1]",
                s = in(reg) place.start,
                stride = in(reg) 4 * self.start_stride,
                options(nostack, readonly),
            );
            for step in 0..self.steps {
                let (inputs, groups) = (step * TILE_INPUTS, step * TILE_ROWS * self.width());
                asm!(
                    "tileloadd tmm4, [{levels} + {l_stride}*1]",
                    "tileloadd tmm5, [{w} + {w_stride}*1]",
                    "tdpbusd tmm0, tmm4, tmm5",
                    levels = in(reg) place.levels.wrapping_add(inputs),
                    w = in(reg) weights.wrapping_add(groups),
                    l_stride = in(reg) self.level_stride,
                    w_stride = in(reg) self.width(),
                    options(nostack, readonly),
                );
            }
            asm!(
                "tilestored [{s} + {stride}*1], tmm0",
                s = in(reg) place.to,
                stride = in(reg) 4 * self.sum_stride,
                options(nostack),
            );
        }
    }
}

/// Rows and bytes per row of the eight tiles.
struct Shapes {
    rows: [usize; 8],
    row_bytes: [usize; 8],
}

impl Shapes {
    /// Sums 0, 1 and levels 4 of `low` rows, sums 2, 3 and levels 5 of `high`, weights 6 and 7.
    fn two_by_two(low: usize, high: usize, groups: usize) -> Self {
        let width = 4 * groups;
        Self {
            rows: [low, low, high, high, low, high, groups, groups],
            row_bytes: [64, 64, 64, 64, width, width, 64, 64],
        }
    }

    /// Sums 0 to 3 and levels 4 of the same rows, weights 5 to 7.
    fn one_by_four(rows: usize, groups: usize) -> Self {
        Self {
            rows: [rows, rows, rows, rows, rows, groups, groups, groups],
            row_bytes: [64, 64, 64, 64, 4 * groups, 64, 64, 64],
        }
    }
}

/// # Safety
/// The processor has AMX; rows are 1 ..= 16, and rows have 4 ..= 64 bytes.
unsafe fn configure(shapes: &Shapes) {
    #[repr(C, align(64))]
    struct Config {
        palette: u8,
        start: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }
    let mut config =
        Config { palette: 1, start: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    // All at most 64.
    for (to, from) in config.row_bytes.iter_mut().zip(shapes.row_bytes) {
        *to = from as u16;
    }
    for (to, from) in config.rows.iter_mut().zip(shapes.rows) {
        *to = from as u8;
    }
    // SAFETY: reads the 64 bytes of the configuration.
    unsafe { asm!("ldtilecfg [{c}]", c = in(reg) &raw const config, options(nostack, readonly)) };
}
