//! Cortex-M0, M0+, M23 and whatever has no more than they: sums in the high registers, which can be added to and
//! little else, and one weight at a time beside them.
//!
//! The loops are functions in assembly of their own: no compiler allots these registers without storing
//! some in between.

use core::arch::naked_asm;

use super::super::{LevelRows, Listed, Panels, SCALAR, SumRows, Table, plain};
use super::columns::{self, Column};

pub(crate) static TABLE: Table = Table { fours_s8, sparse_s8, ..SCALAR };

unsafe fn fours_s8(
    panels: &Panels<'_>,
    first: usize,
    levels: &LevelRows<'_>,
    bias: Option<&[i32]>,
    sums: &mut SumRows<'_>,
) {
    // Weights are loaded a word at a time.
    if !panels.weights().as_ptr().addr().is_multiple_of(4) || levels.width() == 0 {
        return plain::fours_s8(panels, first, levels, bias, sums);
    }
    let n_groups = levels.width().div_ceil(4);
    for row in 0..levels.n_rows() {
        let sums = sums.row_mut(row);
        let Some(sums) = sums.get_mut(..4 * panels.out_dim().div_ceil(4)) else { return };
        for (sum, &bias) in sums.iter_mut().zip(bias.unwrap_or(&[])) {
            *sum = bias;
        }
        let sums = sums.as_mut_ptr_range();
        let levels = levels.data().as_ptr().wrapping_add(row * levels.stride());
        let mut task = PanelTask {
            sums: sums.start,
            levels,
            end_of_levels: levels.wrapping_add(4 * n_groups),
            end_of_sums: sums.end,
            skip: 16 * (panels.in_dim().div_ceil(4) - n_groups),
        };
        let weights = panels.weights().as_ptr().wrapping_add(4 * first);
        // SAFETY: groups `first / 4` and `n_groups` from there on, at least one, lie in every panel, as the
        // caller promises, levels are padded to whole groups, and there is a panel for every four sums.
        unsafe { add_panels(weights, &mut task) };
    }
}

/// What [`add_panels`] works on, in the order that it reads.
#[repr(C)]
struct PanelTask {
    /// Four for each panel, at least one. Moved on.
    sums: *mut i32,
    /// Four for every group of inputs, at least one.
    levels: *const u8,
    end_of_levels: *const u8,
    end_of_sums: *const i32,
    /// Bytes from the end of these groups in one panel to their beginning in the next.
    skip: usize,
}

/// Adds the products of a part of the inputs to the sums of all panels. `weights` is where the part begins in
/// the first panel: four words, one for each output, for every group of inputs.
#[unsafe(naked)]
unsafe extern "C" fn add_panels(weights: *const i8, task: &mut PanelTask) {
    naked_asm!(
        ".macro output sum",
        "    ldm r0!, {{r2}}",
        "    sxtb r7, r2",
        "    muls r7, r3, r7",
        "    add \\sum, r7",
        "    asrs r2, r2, #8",
        "    sxtb r7, r2",
        "    muls r7, r4, r7",
        "    add \\sum, r7",
        "    asrs r2, r2, #8",
        "    sxtb r7, r2",
        "    muls r7, r5, r7",
        "    add \\sum, r7",
        "    asrs r2, r2, #8",
        "    muls r2, r6, r2",
        "    add \\sum, r2",
        ".endm",
        "push {{r4-r7, lr}}",
        "mov r4, r8",
        "mov r5, r9",
        "mov r6, r10",
        "mov r7, r11",
        "push {{r4-r7}}",
        "mov r12, r1",
        "1:",
        "mov r1, r12",
        "ldr r2, [r1]",
        "ldm r2!, {{r4-r7}}",
        "mov r8, r4",
        "mov r9, r5",
        "mov r10, r6",
        "mov r11, r7",
        "ldr r3, [r1, #8]",
        "mov lr, r3",
        "ldr r1, [r1, #4]",
        "2:",
        "ldrb r3, [r1]",
        "ldrb r4, [r1, #1]",
        "ldrb r5, [r1, #2]",
        "ldrb r6, [r1, #3]",
        "output r8",
        "output r9",
        "output r10",
        "output r11",
        "adds r1, #4",
        "cmp r1, lr",
        "bne 2b",
        "mov r4, r8",
        "mov r5, r9",
        "mov r6, r10",
        "mov r7, r11",
        "mov r1, r12",
        "ldr r2, [r1]",
        "stm r2!, {{r4-r7}}",
        "str r2, [r1]",
        "ldr r3, [r1, #12]",
        "ldr r4, [r1, #16]",
        "adds r0, r0, r4",
        "cmp r2, r3",
        "bne 1b",
        "pop {{r4-r7}}",
        "mov r8, r4",
        "mov r9, r5",
        "mov r10, r6",
        "mov r11, r7",
        "pop {{r4-r7, pc}}",
        ".purgem output",
    )
}

unsafe fn sparse_s8(
    weights: &[i8],
    listed: &Listed<'_>,
    bias: Option<&[i32]>,
    sums: &mut [i32],
) -> bool {
    // Weights are loaded a word at a time.
    if !sums.len().is_multiple_of(4) || !weights.as_ptr().addr().is_multiple_of(4) {
        return plain::sparse_s8(weights, listed, bias, sums);
    }
    // SAFETY: columns and sums are what the function asks for, all columns at multiples of four bytes.
    unsafe { columns::sparse_s8::<4>(weights, listed, bias, sums, add_columns) }
}

/// See [`columns::Add`]; four sums, columns at multiples of four bytes.
#[unsafe(naked)]
unsafe extern "C" fn add_columns(
    sums: *mut i32,
    columns: *mut Column,
    end: *const Column,
    end_of_sums: *const i32,
) {
    naked_asm!(
        ".macro column",
        "    ldm r1!, {{r2, r3}}",
        "    ldr r2, [r2, r4]",
        "    sxtb r5, r2",
        "    muls r5, r3, r5",
        "    add r8, r5",
        "    asrs r2, r2, #8",
        "    sxtb r5, r2",
        "    muls r5, r3, r5",
        "    add r9, r5",
        "    asrs r2, r2, #8",
        "    sxtb r5, r2",
        "    muls r5, r3, r5",
        "    adds r6, r6, r5",
        "    asrs r2, r2, #8",
        "    muls r2, r3, r2",
        "    adds r7, r7, r2",
        ".endm",
        "push {{r4-r7, lr}}",
        "mov r4, r8",
        "mov r5, r9",
        "mov r6, r10",
        "push {{r1, r3-r6}}",
        "mov lr, r2",
        "movs r4, #0",
        "1:",
        "ldr r1, [sp]",
        "ldm r0!, {{r2, r3, r6, r7}}",
        "mov r8, r2",
        "mov r9, r3",
        "2:",
        "column",
        "column",
        "cmp r1, lr",
        "bne 2b",
        "mov r2, r8",
        "mov r3, r9",
        "subs r0, #16",
        "stm r0!, {{r2, r3, r6, r7}}",
        "adds r4, #4",
        "ldr r1, [sp, #4]",
        "cmp r0, r1",
        "bne 1b",
        "pop {{r1, r3-r6}}",
        "mov r8, r4",
        "mov r9, r5",
        "mov r10, r6",
        "pop {{r4-r7, pc}}",
        ".purgem column",
    )
}
