//! What `infer` prints: cells of a known shape, whose instructions are compared between boards.

use core::fmt::Write;

use cic_model::Model;
use cic_runtime::{S8Session, Sample};

use crate::profiles;
use crate::report::{Memory, Meter, ReportError, write_outcome};

/// Genes above zero in the sparse cell: of 1,024, 93 % are zero.
const N_LISTED: usize = 72;

/// Runs a dense cell, every gene above zero, a sparse one, and the network alone, each in a region of its own.
///
/// # Errors
/// See [`ReportError`].
pub fn run(
    model: &Model<'_>,
    memory: Memory<'_>,
    meter: &mut impl Meter,
    console: &mut impl Write,
) -> Result<(), ReportError> {
    let session = S8Session::new(model, 0)?;
    let Memory { scratch, sample } = memory;
    let scratch_len = session.scratch_len();
    let n_genes = model.n_genes();
    if scratch_len > 4 * scratch.len() || sample.len() < n_genes + N_LISTED {
        return Err(ReportError::TooLittleMemory { scratch: scratch_len, sample: 8 * n_genes });
    }
    let mut cell = |number, name, sample: &Sample<'_>| -> Result<(), ReportError> {
        let outcome = meter.around(name, || session.run(sample, None, scratch))?;
        Ok(write_outcome(console, number, &outcome)?)
    };
    cell(0, "dense", &profiles::full(n_genes, sample))?;
    cell(1, "sparse", &profiles::even(n_genes, N_LISTED, sample))?;
    // The network alone.
    let words = sample.get_mut(..n_genes.div_ceil(4)).unwrap_or_default();
    let levels: &mut [u8] = bytemuck::must_cast_slice_mut(words);
    levels.fill(0);
    for (level, gene) in levels.iter_mut().take(n_genes).zip(0_u32..) {
        // Below 128.
        *level = (gene * 29 % 128) as u8;
    }
    let numbers = meter.around("levels", || session.run_levels(levels, scratch))?;
    write!(console, "levels logits")?;
    for logit in numbers.logits {
        write!(console, " {logit}")?;
    }
    writeln!(console, "\nscratch {scratch_len}")?;
    Ok(())
}
