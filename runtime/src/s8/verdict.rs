//! What is known of a cell while its tile is run, and what became of it: words in the scratch.

use cic_model::novelty::Novelty;
use cic_model::rules::RejectReason;

use crate::kernels::Extent;
use crate::outcome::Depth;

/// Words of a cell: of its counts the low and the high half, its genes, its flags; library size or bits of
/// the factor; listed inputs of the parts so far.
///
/// While values are read, the low half is the largest bits so far.
pub(super) type Words = [u32; 6];

/// Flag of a cell that has numbers; the reason to refuse it is below.
const HAS_NUMBERS: u32 = 1 << 8;

/// The depth, and why the cell is refused and whether it has numbers all the same.
pub(super) fn set(words: &mut Words, depth: Depth, reject: Option<RejectReason>, is_scaled: bool) {
    let [low, high, n_genes, flags, ..] = words;
    *low = depth.n_counts as u32;
    *high = (depth.n_counts >> 32) as u32;
    *n_genes = depth.n_genes;
    // What holds nothing has no code, also where nothing has to be divided by.
    let has_numbers = is_scaled && depth.n_genes > 0;
    let reject = match reject {
        None if depth.n_genes == 0 => Some(RejectReason::Empty),
        None if !is_scaled => Some(RejectReason::LibraryTooLarge),
        reject => reject,
    };
    *flags = reject.map_or(0, RejectReason::code) | u32::from(has_numbers) << 8;
}

/// What [`set`] wrote.
pub(super) fn get(words: &Words) -> (Depth, Option<RejectReason>, bool) {
    let [low, high, n_genes, flags, ..] = *words;
    let depth = Depth { n_counts: u64::from(high) << 32 | u64::from(low), n_genes };
    (depth, RejectReason::from_code(flags & 0xff), flags & HAS_NUMBERS != 0)
}

/// Refuses a cell whose code is unlike those of training, unless there is another reason.
pub(super) fn reject_unlike(words: &mut Words, novelty: &Novelty<'_>, code: &[i16]) {
    let (depth, reject, has_numbers) = get(words);
    if reject.is_none() && has_numbers {
        let reason = novelty.reject(&novelty.measure(code, depth.n_counts));
        let [.., flags, _, _] = words;
        *flags |= reason.map_or(0, RejectReason::code);
    }
}

/// Refuses a cell for its confidence, unless there is another reason.
pub(super) fn reject_unsure(words: &mut Words) {
    let [.., flags, _, _] = words;
    if *flags == HAS_NUMBERS {
        *flags |= RejectReason::LowConfidence.code();
    }
}

/// The extent of the values that were read so far.
pub(super) fn extent(words: &Words) -> Extent {
    let [largest_bits, _, n_set, ..] = *words;
    Extent { largest_bits, n_set }
}

/// Adds to the extent.
pub(super) fn add_extent(words: &mut Words, more: Extent) {
    let sum = extent(words).and(more);
    let [largest_bits, _, n_set, ..] = words;
    (*largest_bits, *n_set) = (sum.largest_bits, sum.n_set);
}

/// Library size or bits of the factor.
pub(super) fn scaling(words: &mut Words) -> &mut u32 {
    let [.., scaling, _] = words;
    scaling
}

/// Listed inputs of the parts so far.
pub(super) fn n_cut(words: &mut Words) -> &mut u32 {
    let [.., n_cut] = words;
    n_cut
}
