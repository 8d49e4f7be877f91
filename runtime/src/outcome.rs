//! What a session gives back.

use cic_model::novelty::{Likeness, MAX_PLACE_DIMS, Novelty, float_codes};
use cic_model::quant::LOGIT_FRACTION_BITS;
use cic_model::rules::RejectReason;

/// How much of a cell lies in the panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Depth {
    /// Sum of the counts; 0 for samples that are not counts.
    pub n_counts: u64,
    /// Genes that are not zero.
    pub n_genes: u32,
}

/// Result of one cell.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<N> {
    /// How much of the cell lies in the panel.
    pub depth: Depth,
    /// Why the cell is not named; `None` for a cell that is.
    pub reject: Option<RejectReason>,
    /// Code, logits and probabilities. Absent only where nothing could be computed: an empty cell.
    pub numbers: Option<N>,
}

impl<N> Outcome<N> {
    /// The same outcome with its numbers in another form.
    pub fn map<M>(self, convert: impl FnOnce(N) -> M) -> Outcome<M> {
        Outcome { depth: self.depth, reject: self.reject, numbers: self.numbers.map(convert) }
    }
}

/// A leaf label and its probability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Candidate {
    /// Index of the leaf.
    pub leaf: u32,
    /// Its probability, Q16.
    pub probability_q16: u32,
}

/// Numbers of an int8 model, in the session's scratch.
#[derive(Clone, Copy, Debug)]
pub struct S8Numbers<'s> {
    /// `[code_dim]`; dimension `d` stands for `code_scales[d] · code[d]`.
    pub code: &'s [i16],
    /// `[code_dim]`: the 7-bit copy that classifier and decoder read.
    pub code_levels: &'s [u8],
    /// `[code_dim]`
    pub code_scales: &'s [f32],
    /// `[n_leaves]`, Q16.
    pub logits: &'s [i32],
    /// `[n_leaves]`, Q16.
    pub probabilities: &'s [u32],
}

impl S8Numbers<'_> {
    /// The leaf with the largest logit, the first among equals; `None` without a classifier.
    pub fn best(&self) -> Option<Candidate> {
        let mut best: Option<(usize, i32)> = None;
        for (leaf, &logit) in self.logits.iter().enumerate() {
            if best.is_none_or(|(_, largest)| logit > largest) {
                best = Some((leaf, logit));
            }
        }
        best.map(|(leaf, _)| self.candidate(leaf))
    }

    /// Fills `top` with the leaves of largest logit, in descending order (first first among
    /// equals), and returns how many there are.
    pub fn top_k(&self, top: &mut [Candidate]) -> usize {
        let mut found = 0;
        for leaf in 0..self.logits.len() {
            let logit = |candidate: &Candidate| self.logits.get(candidate.leaf as usize);
            let new = self.candidate(leaf);
            let ranked = top.get(..found).unwrap_or(&[]);
            let rank = ranked.partition_point(|other| logit(other) >= logit(&new));
            if rank < top.len() {
                found = (found + 1).min(top.len());
                // The others move back by one, and the last of them out.
                let mut moved = new;
                for place in top.get_mut(rank..found).unwrap_or(&mut []) {
                    core::mem::swap(place, &mut moved);
                }
            }
        }
        found
    }

    fn candidate(&self, leaf: usize) -> Candidate {
        let probability_q16 = self.probabilities.get(leaf).copied().unwrap_or(0);
        Candidate { leaf: leaf as u32, probability_q16 }
    }
}

/// Numbers of an f16 or f32 model, in the session's scratch.
#[derive(Clone, Copy, Debug)]
pub struct FloatNumbers<'s> {
    /// `[code_dim]`
    pub code: &'s [f32],
    /// `[n_leaves]`
    pub logits: &'s [f32],
    /// `[n_leaves]`
    pub probabilities: &'s [f32],
}

/// Numbers of any model.
#[derive(Clone, Copy, Debug)]
pub enum Numbers<'s> {
    /// Of an int8 model.
    S8(S8Numbers<'s>),
    /// Of an f16 or f32 model.
    Float(FloatNumbers<'s>),
}

impl Numbers<'_> {
    /// Dimensions of the code.
    pub fn code_dim(&self) -> usize {
        match self {
            Self::S8(numbers) => numbers.code.len(),
            Self::Float(numbers) => numbers.code.len(),
        }
    }

    /// One dimension of the code; 0 past the end.
    pub fn code(&self, dim: usize) -> f32 {
        match self {
            Self::S8(numbers) => {
                let scale = numbers.code_scales.get(dim).copied().unwrap_or(0.0);
                scale * numbers.code.get(dim).map_or(0.0, |&code| f32::from(code))
            }
            Self::Float(numbers) => numbers.code.get(dim).copied().unwrap_or(0.0),
        }
    }

    /// Where the code lies; zeros past [`Novelty::place_dims`].
    pub fn place(&self, novelty: &Novelty<'_>) -> [i16; MAX_PLACE_DIMS] {
        match self {
            Self::S8(numbers) => novelty.place(numbers.code),
            Self::Float(numbers) => novelty.place(&float_codes(numbers.code)),
        }
    }

    /// How unlike the training cells the code is. `n_counts` is the depth of the cell.
    pub fn likeness(&self, novelty: &Novelty<'_>, n_counts: u64) -> Likeness {
        let place = self.place(novelty);
        novelty.likeness(place.get(..novelty.place_dims()).unwrap_or(&[]), n_counts)
    }

    /// Number of leaves.
    pub fn n_leaves(&self) -> usize {
        match self {
            Self::S8(numbers) => numbers.logits.len(),
            Self::Float(numbers) => numbers.logits.len(),
        }
    }

    /// Logit of a leaf; 0 past the end.
    pub fn logit(&self, leaf: usize) -> f32 {
        match self {
            Self::S8(numbers) => {
                let one = (1_u32 << LOGIT_FRACTION_BITS) as f32;
                numbers.logits.get(leaf).map_or(0.0, |&logit| logit as f32 / one)
            }
            Self::Float(numbers) => numbers.logits.get(leaf).copied().unwrap_or(0.0),
        }
    }

    /// Probability of a leaf, 0 ..= 1; 0 past the end.
    pub fn probability(&self, leaf: usize) -> f32 {
        match self {
            Self::S8(numbers) => {
                numbers.probabilities.get(leaf).map_or(0.0, |&p| p as f32 / 65_536.0)
            }
            Self::Float(numbers) => numbers.probabilities.get(leaf).copied().unwrap_or(0.0),
        }
    }

    /// The leaf with the largest logit, the first among equals; `None` without a classifier.
    pub fn best(&self) -> Option<usize> {
        match self {
            Self::S8(numbers) => numbers.best().map(|best| best.leaf as usize),
            Self::Float(numbers) => {
                let mut best: Option<(usize, f32)> = None;
                for (leaf, &logit) in numbers.logits.iter().enumerate() {
                    if best.is_none_or(|(_, largest)| logit > largest) {
                        best = Some((leaf, logit));
                    }
                }
                best.map(|(leaf, _)| leaf)
            }
        }
    }
}
