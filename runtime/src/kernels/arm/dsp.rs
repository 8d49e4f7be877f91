//! Cortex-M4, M7 and M33 with the DSP extension: two products of halfwords an instruction.
//!
//! Panels of four outputs. Levels are widened to halfwords once for all of them, a part of the inputs at a
//! time; a word of four weights is widened where it is multiplied:
//!
//! ```text
//! for every part of at most 64 inputs:
//!     widen its levels: (x0, x2) and (x1, x3) of every four
//!     for every panel of four outputs:
//!         load their sums
//!         for every four inputs:
//!             load 4 words of weights, one for each output, and the 2 words of levels
//!             for each output: its bytes 0 and 2, two products; bytes 1 and 3, two products
//!         store the sums
//! ```
//!
//! Listed inputs: for every eight outputs, over all inputs that are listed, a word of four weights at a time.
//! Their products are added singly, since the weights of two genes lie apart.
//!
//! The loops are functions in assembly of their own: no compiler allots these registers without storing
//! some in between. The assembler has to be told of the processor: what the compiler was told does not reach it.

use core::arch::naked_asm;

use super::super::{LevelRows, Listed, Panels, SCALAR, SumRows, Table, plain};
use super::columns::{self, Column};

pub(crate) static TABLE: Table = Table { sparse_s8, fours_s8, ..SCALAR };

/// Inputs whose levels are widened together, on the stack: two bytes each.
const PART: usize = 64;

unsafe fn fours_s8(
    panels: &Panels<'_>,
    first: usize,
    levels: &LevelRows<'_>,
    bias: Option<&[i32]>,
    sums: &mut SumRows<'_>,
) {
    // Four words of weights are loaded by one instruction, which takes whole words alone.
    if !panels.weights().as_ptr().addr().is_multiple_of(4) {
        return plain::fours_s8(panels, first, levels, bias, sums);
    }
    // Bytes from one panel to the next.
    let stride = panels.in_dim().div_ceil(4) * 16;
    for row in 0..levels.n_rows() {
        let sums = sums.row_mut(row);
        let Some(sums) = sums.get_mut(..4 * panels.out_dim().div_ceil(4)) else { return };
        for (sum, &bias) in sums.iter_mut().zip(bias.unwrap_or(&[])) {
            *sum = bias;
        }
        let mut weights = panels.weights().as_ptr().wrapping_add(4 * first);
        for levels in levels.row(row).chunks(PART) {
            // SAFETY: groups `first / 4 + n · PART / 4` of every panel and as many from there on as there are levels
            // lie in the panel, as the caller promises, and panels are `stride` bytes apart, one for every four
            // sums, which are there because the layer has outputs.
            unsafe { add_part(weights, stride, levels, sums) };
            weights = weights.wrapping_add(4 * PART);
        }
    }
}

/// Adds the products of at most [`PART`] levels.
///
/// # Safety
/// Every four levels, the last ones fewer, have a group of weights in each panel from `weights` on, which are
/// `stride` bytes apart; sums are there, four for each panel.
#[inline(never)]
unsafe fn add_part(weights: *const i8, stride: usize, levels: &[u8], sums: &mut [i32]) {
    let mut wide = [[0_u32; 2]; PART / 4];
    widen(levels, &mut wide);
    let n_groups = levels.len().div_ceil(4);
    let groups = |n| wide.as_ptr().wrapping_add(n);
    let sums = sums.as_mut_ptr_range();
    let mut task = PanelTask {
        sums: sums.start,
        levels: groups(0),
        fours: groups(n_groups & !3),
        end_of_sums: sums.end,
        end: groups(n_groups),
        skip: stride - 16 * n_groups,
    };
    // SAFETY: the caller's, and there are as many pairs of levels as groups.
    unsafe { add_panels(weights, &mut task) };
}

/// Bytes 0 and 2, and 1 and 3, of every four levels; zeros where they end.
#[inline]
fn widen(levels: &[u8], wide: &mut [[u32; 2]; PART / 4]) {
    let (fours, rest) = levels.as_chunks::<4>();
    let split = |four: [u8; 4]| {
        let word = u32::from_le_bytes(four);
        [word & 0x00ff_00ff, (word >> 8) & 0x00ff_00ff]
    };
    for (wide, &four) in wide.iter_mut().zip(fours) {
        *wide = split(four);
    }
    if let (Some(wide), false) = (wide.get_mut(fours.len()), rest.is_empty()) {
        let mut four = [0; 4];
        for (to, &from) in four.iter_mut().zip(rest) {
            *to = from;
        }
        *wide = split(four);
    }
}

/// What [`add_panels`] works on, in the order that it reads.
#[repr(C)]
struct PanelTask {
    /// Four for each panel, at least one. Moved on.
    sums: *mut i32,
    /// A pair of words for every group of four inputs, up to `end`; `fours` lies between these, a multiple of
    /// four groups from here.
    levels: *const [u32; 2],
    fours: *const [u32; 2],
    end_of_sums: *const i32,
    end: *const [u32; 2],
    /// Bytes from the end of these groups in one panel to their beginning in the next.
    skip: usize,
}

/// Adds the products of a part of the inputs to the sums of all panels. `weights` is where the part begins in
/// the first panel: four words, one for each output, for every group of inputs.
#[unsafe(naked)]
unsafe extern "C" fn add_panels(weights: *const i8, task: &mut PanelTask) {
    naked_asm!(
        ".cpu cortex-m4",
        ".macro output sum, weights",
        "    sxtb16 r3, \\weights",
        "    smlad \\sum, r3, r12, \\sum",
        "    sxtb16 \\weights, \\weights, ror #8",
        "    smlad \\sum, \\weights, lr, \\sum",
        ".endm",
        ".macro group",
        "    ldm r0!, {{r8-r11}}",
        "    ldrd r12, lr, [r1], #8",
        "    output r4, r8",
        "    output r5, r9",
        "    output r6, r10",
        "    output r7, r11",
        ".endm",
        "push {{r1, r4-r11, lr}}",
        "1:",
        "ldr r12, [sp]",
        "ldrd r3, r1, [r12]",
        "ldr r2, [r12, #8]",
        "ldm r3, {{r4-r7}}",
        "cmp r1, r2",
        "beq 3f",
        "2:",
        "group",
        "group",
        "group",
        "group",
        "cmp r1, r2",
        "bne 2b",
        "3:",
        "ldr r12, [sp]",
        "ldr r2, [r12, #16]",
        "cmp r1, r2",
        "beq 5f",
        "4:",
        "group",
        "cmp r1, r2",
        "bne 4b",
        "ldr r12, [sp]",
        "5:",
        "ldr r3, [r12]",
        "ldr r1, [r12, #20]",
        "ldr r2, [r12, #12]",
        "stm r3!, {{r4-r7}}",
        "str r3, [r12]",
        "add r0, r0, r1",
        "cmp r3, r2",
        "bne 1b",
        "pop {{r1, r4-r11, pc}}",
        ".purgem output",
        ".purgem group",
    )
}

unsafe fn sparse_s8(
    weights: &[i8],
    listed: &Listed<'_>,
    bias: Option<&[i32]>,
    sums: &mut [i32],
) -> bool {
    // SAFETY: columns and sums are what the function asks for; it reads words at any address.
    unsafe { columns::sparse_s8::<8>(weights, listed, bias, sums, add_columns) }
}

/// Adds the products of all columns, a multiple of two and at least these, to all sums, a multiple of eight and
/// at least these. Columns are moved on by as many weights.
#[unsafe(naked)]
unsafe extern "C" fn add_columns(
    sums: *mut i32,
    columns: *mut Column,
    end: *const Column,
    end_of_sums: *const i32,
) {
    naked_asm!(
        ".cpu cortex-m4",
        ".macro word a, b, c, d",
        "    ldr r12, [r2], #4",
        "    sxtb16 lr, r12",
        "    sxtb16 r12, r12, ror #8",
        "    smlabb \\a, lr, r3, \\a",
        "    smlabb \\b, r12, r3, \\b",
        "    smlatb \\c, lr, r3, \\c",
        "    smlatb \\d, r12, r3, \\d",
        ".endm",
        ".macro column",
        "    ldrd r2, r3, [r1]",
        "    word r4, r5, r6, r7",
        "    word r8, r9, r10, r11",
        "    str r2, [r1], #8",
        ".endm",
        "push {{r0-r11, lr}}",
        "sub sp, sp, #4",
        "1:",
        "ldm r0, {{r4-r11}}",
        "ldr r0, [sp, #12]",
        "2:",
        "column",
        "column",
        "cmp r1, r0",
        "bne 2b",
        "ldr r0, [sp, #4]",
        "ldr r1, [sp, #8]",
        "ldr r2, [sp, #16]",
        "stm r0!, {{r4-r11}}",
        "str r0, [sp, #4]",
        "cmp r0, r2",
        "bne 1b",
        "add sp, sp, #20",
        "pop {{r4-r11, pc}}",
        ".purgem word",
        ".purgem column",
    )
}
