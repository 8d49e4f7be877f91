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
            short_shifts("short shifts of words", carried, work);
            let chunk = if n == 0 && number == 0 { layer.out_dim() } else { CHUNK };
            if number + 1 < layers.len() {
                activations(layer, shifts, chunk, core, work);
            } else {
                // Logits are words, for which no core has a loop of its own.
                if n > 0 {
                    short_shifts("short shifts of words", shifts, work);
                    continue;
                }
                for shifts in shifts.chunks(chunk) {
                    short_shifts("short shifts of codes", shifts, work);
                    again("codes requantised again", shifts, core, work);
                }
            }
        }
    }
    let Some(scales) = model.code_scales() else { return };
    let (.., shifts) = scales.level_parts();
    padding(shifts.len(), work);
    work.add("code dimensions", shifts.len().div_ceil(core.lanes));
    short_shifts("short shifts of levels", shifts, work);
    again("levels requantised again", shifts, core, work);
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
            short_shifts("short shifts of levels", shifts, work);
            again("activations requantised again", shifts, core, work);
            begin = next;
        }
    }
}

/// Sums that are shifted by a word or less take two words.
fn short_shifts(name: &'static str, shifts: &[u8], work: &mut Work) {
    work.add(name, n_short(shifts));
}

/// Vectors have only one word, so that all outputs among which there is a short shift are requantised again, each kind by
/// a loop of its own.
fn again(name: &'static str, shifts: &[u8], core: &Core, work: &mut Work) {
    if core.lanes > 1 && n_short(shifts) > 0 {
        work.add("chunks requantised again", 1);
        work.add(name, shifts.len());
    }
}

fn n_short(shifts: &[u8]) -> usize {
    shifts.iter().filter(|&&shift| shift <= 32).count()
}

/// Levels are padded to whole words.
fn padding(n_levels: usize, work: &mut Work) {
    work.add("padded levels", usize::from(!n_levels.is_multiple_of(4)));
}
