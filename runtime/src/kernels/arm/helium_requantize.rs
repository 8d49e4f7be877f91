//! Requantising with vectors of four sums.
//!
//! Where a shift is above 32, the upper words of the products are all that counts (see
//! `cic_model::quant::requantize`), and one instruction gives those of four. Whether all shifts were is told at the
//! end; where one was not, the row is done again by the definition.

use core::arch::naked_asm;

use super::super::{Part, PartMut, Ratios, reference};

pub(super) unsafe fn activate_s8(
    sums: &Part<'_, i32>,
    ratios: &Ratios<'_>,
    table: &[u8],
    levels: &mut PartMut<'_, u8>,
) {
    for row in 0..sums.n_rows() {
        let (sums, levels) = (sums.row(row), levels.row_mut(row));
        let task = Task::of(sums.as_ptr(), ratios, table.as_ptr(), levels.as_mut_ptr());
        // SAFETY: as many ratios and levels as sums, and 256 entries of the table, by the caller's promise.
        if unsafe { activate(&task) } >= 0 {
            reference::activate_row(sums, ratios, table, levels);
        }
    }
}

pub(super) unsafe fn requantize_i16s(
    sums: &Part<'_, i32>,
    ratios: &Ratios<'_>,
    out: &mut PartMut<'_, i16>,
) {
    for row in 0..sums.n_rows() {
        let (sums, out) = (sums.row(row), out.row_mut(row));
        let task = Task::of(sums.as_ptr(), ratios, core::ptr::null(), out.as_mut_ptr().cast());
        // SAFETY: as many ratios and outputs as sums, by the caller's promise.
        if unsafe { requantize(&task) } >= 0 {
            reference::requantize_row_i16(sums, ratios, out);
        }
    }
}

pub(super) unsafe fn code_levels(
    codes: &Part<'_, i16>,
    offsets: &[i32],
    ratios: &Ratios<'_>,
    levels: &mut PartMut<'_, u8>,
) {
    for row in 0..codes.n_rows() {
        let (codes, levels) = (codes.row(row), levels.row_mut(row));
        let task = Task::of(codes.as_ptr(), ratios, offsets.as_ptr(), levels.as_mut_ptr());
        // SAFETY: as many ratios, offsets and levels as codes, by the caller's promise.
        if unsafe { levels_of_codes(&task) } >= 0 {
            reference::code_levels_row(codes, offsets, ratios, levels);
        }
    }
}

/// What the loops work on, in the order that they read.
#[repr(C)]
struct Task<T, U> {
    from: *const T,
    multipliers: *const i32,
    shifts: *const u8,
    /// Table or offsets.
    beside: *const U,
    out: *mut u8,
    n: usize,
}

impl<T, U> Task<T, U> {
    fn of(from: *const T, ratios: &Ratios<'_>, beside: *const U, out: *mut u8) -> Self {
        let (multipliers, shifts) = (ratios.multipliers().as_ptr(), ratios.shifts().as_ptr());
        Self { from, multipliers, shifts, beside, out, n: ratios.len() }
    }
}

/// A loop over a task, four numbers at a time. `requantised` takes those in q0, uses q1, and keeps in the sign bits of q5
/// whether all shifts were above 32. r4 leads to what is beside the numbers, r1 to these and r5 to the output; r6, q2, q3
/// and q4 are the loop's own.
macro_rules! requantising {
    (before: $($before:literal)*; each: $($each:literal)*) => {
        naked_asm!(
            ".cpu cortex-m55",
            ".macro requantised",
            "    vldrw.u32 q1, [r2], #16",
            "    vmulh.s32 q0, q0, q1",
            // The shift to the left that is 32 less the shift: its complement and 33.
            "    vldrb.u32 q1, [r3], #4",
            "    vmvn q1, q1",
            "    vadd.i32 q1, q1, r12",
            "    vand q5, q5, q1",
            "    vrshl.s32 q0, q0, q1",
            ".endm",
            "push {{r4-r6, lr}}",
            "vpush {{d8-d11}}",
            "ldrd r1, r2, [r0]",
            "ldrd r3, r4, [r0, #8]",
            "ldrd r5, lr, [r0, #16]",
            "mov r12, #33",
            "vmov.i8 q5, #255",
            "mov r0, #0x80000000",
            $($before,)*
            "wlstp.32 lr, lr, 2f",
            "1:",
            $($each,)*
            "letp lr, 1b",
            "2:",
            "vmaxv.s32 r0, q5",
            "vpop {{d8-d11}}",
            "pop {{r4-r6, pc}}",
            ".purgem requantised",
        )
    };
}

/// Levels of sums. Negative where every shift was above 32; else the levels are others.
#[unsafe(naked)]
unsafe extern "C" fn activate(task: &Task<i32, u8>) -> i32 {
    requantising!(
        before:
        "mov r6, #128"
        "vmov.i32 q3, #255"
        "vmov.i32 q4, #0";
        each:
        "vldrw.u32 q0, [r1], #16"
        "requantised"
        "vadd.i32 q0, q0, r6"
        "vmax.s32 q0, q0, q4"
        "vmin.s32 q0, q0, q3"
        "vldrb.u32 q1, [r4, q0]"
        "vstrb.32 q1, [r5], #4"
    )
}

/// Halfwords of sums. Negative where every shift was above 32; else they are others.
#[unsafe(naked)]
unsafe extern "C" fn requantize(task: &Task<i32, u8>) -> i32 {
    requantising!(
        before:;
        each:
        "vldrw.u32 q0, [r1], #16"
        "requantised"
        // The lower half of each word, at the most or the least that it can be.
        "vqmovnb.s32 q0, q0"
        "vstrh.32 q0, [r5], #8"
    )
}

/// Levels of codes. Negative where every shift was above 32, and every offset small enough that a code could be added
/// in 32 bits; else they are others.
#[unsafe(naked)]
unsafe extern "C" fn levels_of_codes(task: &Task<i16, i32>) -> i32 {
    requantising!(
        before:
        "vmov.i32 q3, #127"
        "vmov.i32 q4, #0";
        each:
        "vldrh.s32 q0, [r1], #8"
        "vldrw.u32 q1, [r4], #16"
        "vadd.i32 q0, q0, q1"
        // The two upper bits of an offset below 2^30 are the same.
        "vshl.i32 q2, q1, #1"
        "veor q1, q1, q2"
        "vbic q5, q5, q1"
        "requantised"
        "vmax.s32 q0, q0, q4"
        "vmin.s32 q0, q0, q3"
        "vstrb.32 q0, [r5], #4"
    )
}
