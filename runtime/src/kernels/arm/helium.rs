//! Cortex-M55 and M85: vectors of 16 bytes.
//!
//! Plain rows, six at a time: the products of 16 levels and 16 weights are added to one core register by one
//! instruction, and six such registers, six addresses, that of the levels and the loop's counter are all there are.
//!
//! ```text
//! for every six rows:
//!     load their sums
//!     for every 32 inputs, then for the 16 or fewer at a time that are left:
//!         load 16 levels; for each row: load 16 weights, add the 16 products
//!     store the sums
//! ```
//!
//! Listed inputs: for every 16 outputs, over all inputs that are listed, four weights widened to words and
//! multiplied with the level at a time.
//!
//! The loops are functions in assembly of their own: Rust names no vector registers of this family. They use
//! those that a function may change, and store the others. The assembler has to be told of the processor: what
//! the compiler was told does not reach it.

use core::arch::naked_asm;

use super::super::{Listed, SCALAR, Table};
use super::columns::{self, Column};
use super::helium_requantize::{activate_s8, code_levels, requantize_i16s};

pub(crate) static TABLE: Table =
    Table { sparse_s8, rows_s8, activate_s8, requantize_i16s, code_levels, ..SCALAR };

/// Rows that pass together.
const ROWS: usize = 6;

unsafe fn rows_s8(weights: &[i8], levels: &[u8], sums: &mut [i32]) {
    let width = levels.len();
    let (sixes, rest) = sums.split_at_mut(sums.len() - sums.len() % ROWS);
    let done = sixes.len() * width;
    let mut task = RowTask {
        weights: weights.as_ptr(),
        levels: levels.as_ptr(),
        width,
        n_pairs: width / 32,
        n_left: width % 32,
        sums: sixes.as_mut_ptr(),
        end_of_sums: sixes.as_mut_ptr_range().end,
    };
    // SAFETY: there is a row of `width` weights for every sum, and at least one row and one weight by the
    // caller's promise.
    unsafe {
        if !sixes.is_empty() {
            add_six_rows(&mut task);
        }
        for (n, sum) in rest.iter_mut().enumerate() {
            let row = weights.as_ptr().wrapping_add(done + n * width);
            *sum = add_row(*sum, row, levels.as_ptr(), width);
        }
    }
}

/// What [`add_six_rows`] works on, in the order that it reads.
#[repr(C)]
struct RowTask {
    /// Moved on, as `sums`.
    weights: *const i8,
    levels: *const u8,
    /// Weights of a row, and how often 32 of them, and how many are left then.
    width: usize,
    n_pairs: usize,
    n_left: usize,
    /// A multiple of six, at least these.
    sums: *mut i32,
    end_of_sums: *const i32,
}

/// Adds the products of whole rows to their sums.
#[unsafe(naked)]
unsafe extern "C" fn add_six_rows(task: &mut RowTask) {
    naked_asm!(
        ".cpu cortex-m55",
        ".macro row sum, weights",
        "    vldrb.u8 q1, [\\weights], #16",
        "    vmladava.s8 \\sum, q1, q0",
        ".endm",
        ".macro sixteen",
        "    vldrb.u8 q0, [r12], #16",
        "    row r0, r1",
        "    row r2, r3",
        "    row r4, r5",
        "    row r6, r7",
        "    row r8, r9",
        "    row r10, r11",
        ".endm",
        "push {{r0, r4-r11, lr}}",
        "1:",
        "ldr r12, [sp]",
        "ldrd r1, r4, [r12]",
        "ldrd r2, lr, [r12, #8]",
        "ldr r0, [r12, #20]",
        "adds r3, r1, r2",
        "add r5, r3, r2",
        "add r7, r5, r2",
        "add r9, r7, r2",
        "add r11, r9, r2",
        "add r2, r11, r2",
        "str r2, [r12]",
        "mov r12, r4",
        "ldm r0, {{r0, r2, r4, r6, r8, r10}}",
        "wls lr, lr, 3f",
        "2:",
        "sixteen",
        "sixteen",
        "le lr, 2b",
        "3:",
        "ldr lr, [sp]",
        "ldr lr, [lr, #16]",
        "wlstp.8 lr, lr, 5f",
        "4:",
        "sixteen",
        "letp lr, 4b",
        "5:",
        "ldr r12, [sp]",
        "ldrd r1, r3, [r12, #20]",
        "stm r1!, {{r0, r2, r4, r6, r8, r10}}",
        "str r1, [r12, #20]",
        "cmp r1, r3",
        "bne 1b",
        "pop {{r0, r4-r11, pc}}",
        ".purgem row",
        ".purgem sixteen",
    )
}

/// `sum` with the products of one row of `width` weights.
#[unsafe(naked)]
unsafe extern "C" fn add_row(sum: i32, weights: *const i8, levels: *const u8, width: usize) -> i32 {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r7, lr}}",
        "wlstp.8 lr, r3, 2f",
        "1:",
        "vldrb.u8 q0, [r2], #16",
        "vldrb.u8 q1, [r1], #16",
        "vmladava.s8 r0, q1, q0",
        "letp lr, 1b",
        "2:",
        "pop {{r7, pc}}",
    )
}

unsafe fn sparse_s8(
    weights: &[i8],
    listed: &Listed<'_>,
    bias: Option<&[i32]>,
    sums: &mut [i32],
) -> bool {
    // SAFETY: columns and sums are what the function asks for.
    unsafe { columns::sparse_s8::<16>(weights, listed, bias, sums, add_columns) }
}

/// See [`columns::Add`]; 16 sums.
#[unsafe(naked)]
unsafe extern "C" fn add_columns(
    sums: *mut i32,
    columns: *mut Column,
    end: *const Column,
    end_of_sums: *const i32,
) {
    naked_asm!(
        ".cpu cortex-m55",
        ".macro column",
        "    ldrd r4, r5, [r1]",
        "    vldrb.s32 q0, [r4]",
        "    vldrb.s32 q1, [r4, #4]",
        "    vldrb.s32 q2, [r4, #8]",
        "    vldrb.s32 q3, [r4, #12]",
        "    vmla.s32 q4, q0, r5",
        "    vmla.s32 q5, q1, r5",
        "    vmla.s32 q6, q2, r5",
        "    vmla.s32 q7, q3, r5",
        "    adds r4, #16",
        "    str r4, [r1], #8",
        ".endm",
        "push {{r4-r6, lr}}",
        "vpush {{d8-d15}}",
        "mov r6, r1",
        "1:",
        "mov r1, r6",
        "vldrw.u32 q4, [r0]",
        "vldrw.u32 q5, [r0, #16]",
        "vldrw.u32 q6, [r0, #32]",
        "vldrw.u32 q7, [r0, #48]",
        "2:",
        "column",
        "column",
        "cmp r1, r2",
        "bne 2b",
        "vstrw.32 q4, [r0], #16",
        "vstrw.32 q5, [r0], #16",
        "vstrw.32 q6, [r0], #16",
        "vstrw.32 q7, [r0], #16",
        "cmp r0, r3",
        "bne 1b",
        "vpop {{d8-d15}}",
        "pop {{r4-r6, pc}}",
        ".purgem column",
    )
}
