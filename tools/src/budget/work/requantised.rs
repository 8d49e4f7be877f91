//! What follows the sums of all layers: their ratios, activations, the code.

use cic_model::Model;
use cic_model::layer::{Epilogue, Layer};

use super::Work;
use super::cell::CHUNK;
use crate::budget::costs::Core;

/// Encoder and classifier.
pub(super) fn add(model: &Model<'_>, stages: [&[Layer<'_>]; 2], core: &Core, work: &mut Work) {
    for (n, layers) in stages.into_iter().enumerate() {
        for (number, layer) in layers.iter().enumerate() {
            let Epilogue::S8(epilogue) = layer.epilogue() else { continue };
            let (_, shifts) = epilogue.ratio_parts();
            let (shifts, carried) = shifts.split_at(layer.activated_dim().min(shifts.len()));
            work.add("carried outputs", carried.len());
            work.add("chunks with a carry", carried.len().div_ceil(CHUNK));
            short_shifts("short shifts of words", carried, 1, work);
            let chunk = if n == 0 && number == 0 { layer.out_dim() } else { CHUNK };
            if number + 1 < layers.len() {
                activations(layer, shifts, chunk, core, work);
            } else {
                // Logits are words, for which no core has a loop of its own.
                let (name, lanes) = match n {
                    0 => ("short shifts of codes", core.lanes),
                    _ => ("short shifts of words", 1),
                };
                shifts.chunks(chunk).for_each(|chunk| short_shifts(name, chunk, lanes, work));
            }
        }
    }
    let Some(scales) = model.code_scales() else { return };
    let (.., shifts) = scales.level_parts();
    padding(shifts.len(), work);
    work.add("code dimensions", shifts.len().div_ceil(core.lanes));
    short_shifts("short shifts of levels", shifts, core.lanes, work);
}

/// Outputs that share an activation are requantised together, as far as they share a chunk.
fn activations(layer: &Layer<'_>, shifts: &[u8], chunk: usize, core: &Core, work: &mut Work) {
    padding(layer.activated_dim(), work);
    let mut begin = 0;
    for segment in layer.segments() {
        let end = begin + segment.len;
        while begin < end {
            let next = end.min((begin / chunk + 1) * chunk);
            work.add("segments of a chunk", 1);
            work.add("activations", (next - begin).div_ceil(core.lanes));
            let shifts = shifts.get(begin..next).unwrap_or(&[]);
            short_shifts("short shifts of levels", shifts, core.lanes, work);
            begin = next;
        }
    }
}

/// Sums that are shifted by a word or less take two words. Vectors have only one, so that all outputs among which
/// there is such a shift are requantised again.
fn short_shifts(name: &'static str, shifts: &[u8], lanes: usize, work: &mut Work) {
    let n_short = shifts.iter().filter(|&&shift| shift <= 32).count();
    work.add(name, n_short);
    if lanes > 1 && n_short > 0 {
        work.add("chunks requantised again", 1);
        work.add("outputs requantised again", shifts.len());
    }
}

/// Levels are padded to whole words.
fn padding(n_levels: usize, work: &mut Work) {
    work.add("padded levels", usize::from(!n_levels.is_multiple_of(4)));
}
