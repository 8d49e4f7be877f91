//! Which genes of the panel a file has, and what stands for the others.

use cic_model::Model;
use cic_model::novelty::Novelty;
use cic_model::quant::ONE_Q30;

/// Presence of the panel's genes in one file, made once by a session's `presence` and used for all
/// of its cells. The sums that the fill values of the missing genes contribute to the first layer
/// are kept in the caller's memory.
#[derive(Clone, Copy, Debug)]
pub struct Presence<'p> {
    pub(crate) mask: &'p [bool],
    pub(crate) correction: &'p [u32],
    pub(crate) share_q30: u32,
    pub(crate) n_present: usize,
}

impl Presence<'_> {
    /// Whether the file has a gene.
    pub fn has(&self, gene: usize) -> bool {
        self.mask.get(gene).copied().unwrap_or(false)
    }

    /// The first gene that the file lacks.
    pub(crate) fn first_missing(&self) -> Option<usize> {
        match self.n_present == self.mask.len() {
            true => None,
            false => self.mask.iter().position(|&is_present| !is_present),
        }
    }

    /// Genes of the panel that the file has.
    pub fn n_present(&self) -> usize {
        self.n_present
    }

    /// Share of the library that they had in training, Q30.
    pub fn share_q30(&self) -> u32 {
        self.share_q30
    }
}

/// Genes present and their share of the library.
pub(crate) fn measure(mask: &[bool], library_share_q30: &[u32]) -> (usize, u32) {
    let present = mask.iter().zip(library_share_q30).filter(|&(&is_present, _)| is_present);
    // The shares of all genes sum to 2³⁰.
    present.fold((0, 0), |(n, share), (_, &q30)| (n + 1, share + q30))
}

/// Reciprocal of the softmax temperature for cells of that presence, Q16: fewer genes, less sure.
pub(crate) fn inv_temperature_q16(model: &Model<'_>, presence: Option<&Presence<'_>>) -> u32 {
    let lacking = presence.filter(|presence| presence.n_present < presence.mask.len());
    match (lacking, model.confidence()) {
        (Some(presence), Some(confidence)) => confidence.inv_temperature_q16(presence.share_q30),
        _ => model.rules().inv_temperature_q16,
    }
}

/// What the model knows of codes, if it holds for cells of that presence.
pub(crate) fn novelty_for<'m>(
    model: &'m Model<'m>,
    presence: Option<&Presence<'_>>,
) -> Option<&'m Novelty<'m>> {
    let share_q30 = presence.map_or(ONE_Q30, |presence| presence.share_q30);
    model.novelty().filter(|novelty| novelty.holds_for(share_q30))
}
