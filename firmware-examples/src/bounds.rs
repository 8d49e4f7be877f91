//! What `bounds` prints: a digest of many cells whose executed instructions are counted, each for itself.
//!
//! In a layout for dense cells these are levels of all inputs, and every cell must take as many. In a layout
//! for sparse ones they list as many genes, and none may take more than is stated.

use core::fmt::Write;

use cic_model::{Model, StageKind};
use cic_runtime::{S8Session, Sample};

use crate::profiles::{Random, chosen};
use crate::report::{Memory, Meter, ReportError};
use crate::tally::Digest;

/// Cells of a run.
pub const N_CELLS: u32 = 10_000;

/// Genes that every listed cell lists.
const N_LISTED: usize = 24;

/// Runs all cells. Says whether they were levels.
///
/// # Errors
/// See [`ReportError`].
pub fn run(
    model: &Model<'_>,
    memory: Memory<'_>,
    meter: &mut impl Meter,
    console: &mut impl Write,
) -> Result<bool, ReportError> {
    let session = S8Session::new(model, 0)?;
    let Memory { scratch, sample } = memory;
    let (scratch_len, n_genes) = (session.scratch_len(), model.n_genes());
    if scratch_len > 4 * scratch.len() || 2 * n_genes > sample.len() || n_genes < N_LISTED {
        return Err(ReportError::TooLittleMemory { scratch: scratch_len, sample: 8 * n_genes });
    }
    let first = model.stage(StageKind::Encoder).first();
    let are_levels = first.is_some_and(|layer| layer.layout().block != 1);
    let mut random = Random::new();
    let mut logits = Digest::new();
    for number in 0..N_CELLS {
        match are_levels {
            true => {
                let words = sample.get_mut(..n_genes.div_ceil(4)).unwrap_or_default();
                let levels = bytemuck::must_cast_slice_mut(words);
                fill(number, n_genes, &mut random, levels);
                let numbers = meter.among(|| session.run_levels(levels, scratch))?;
                logits.numbers(numbers.logits);
            }
            false => {
                let sample = list(n_genes, &mut random, sample);
                let outcome = meter.among(|| session.run(&sample, None, scratch))?;
                outcome.numbers.iter().for_each(|numbers| logits.numbers(numbers.logits));
            }
        }
    }
    let what = if are_levels { "all levels" } else { "a list of counts" };
    writeln!(console, "cells {N_CELLS} of {what}, logits {:016x}", logits.0)?;
    Ok(are_levels)
}

/// Counts of all magnitudes, so that every threshold is crossed by some cell.
fn list<'m>(n_genes: usize, random: &mut Random, memory: &'m mut [u32]) -> Sample<'m> {
    let (genes, counts) = memory.split_at_mut(n_genes.min(memory.len()));
    let genes = genes.get_mut(..N_LISTED).unwrap_or_default();
    chosen(n_genes, random, genes);
    let counts = counts.get_mut(..N_LISTED).unwrap_or_default();
    for count in &mut *counts {
        *count = 1 + (random.next() >> (random.next() % 24 + 8));
    }
    Sample::Counts { genes, counts, total: None }
}

/// All zero, all as large as can be, then random ones.
fn fill(number: u32, n_genes: usize, random: &mut Random, levels: &mut [u8]) {
    levels.fill(0);
    for level in levels.iter_mut().take(n_genes) {
        *level = match number {
            0 => 0,
            1 => 127,
            _ => (random.next() >> 25) as u8,
        };
    }
}
