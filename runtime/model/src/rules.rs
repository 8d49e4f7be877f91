//! When a cell gets a label and when it does not.

use core::fmt;

use crate::container::{Container, SectionKind};
use crate::error::ModelError;
use crate::quant::ONE_Q16;

/// Decision rules of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Smallest sum over the panel's genes, in counts; 0 for kinds that are not counts.
    pub min_counts: u32,
    /// Smallest number of panel genes above zero.
    pub min_genes: u32,
    /// Smallest share of the panel that a file must have, Q16.
    pub min_coverage_q16: u32,
    /// Smallest probability of the best leaf, Q16.
    pub min_confidence_q16: u32,
    /// Reciprocal of the softmax temperature, Q16.
    pub inv_temperature_q16: u32,
}

impl Rules {
    pub(crate) fn parse(container: &Container<'_>) -> Result<Self, ModelError> {
        let mut reader = container.require(SectionKind::Rules, 0)?;
        let rules = Self {
            min_counts: reader.u32()?,
            min_genes: reader.u32()?,
            min_coverage_q16: reader.u32()?,
            min_confidence_q16: reader.u32()?,
            inv_temperature_q16: reader.u32()?,
        };
        if rules.inv_temperature_q16 == 0 {
            return Err(reader.bad("temperature"));
        }
        if reader.bytes(12)?.iter().any(|&byte| byte != 0) {
            return Err(reader.bad("reserved word: it is not zero"));
        }
        reader.finish()?;
        Ok(rules)
    }

    /// Whether a file that has so many of the panel's genes can be typed: at least one, and the share that
    /// the model asks for.
    pub fn is_covered(&self, n_present: usize, n_genes: usize) -> bool {
        // Both are below 2³², as the number of genes of a panel is, and shares are Q16.
        let present_q16 = n_present as u64 * u64::from(ONE_Q16);
        n_present > 0 && present_q16 >= u64::from(self.min_coverage_q16) * n_genes as u64
    }

    /// Whether a sample has enough in it to be typed.
    pub fn check_depth(&self, n_counts: u64, n_genes: u32) -> Option<RejectReason> {
        if n_genes == 0 {
            Some(RejectReason::Empty)
        } else if n_counts < u64::from(self.min_counts) {
            Some(RejectReason::TooShallow)
        } else if n_genes < self.min_genes {
            Some(RejectReason::TooFewGenes)
        } else {
            None
        }
    }
}

/// Why a cell is not named. The codes are shared by Rust, C and tables and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum RejectReason {
    /// Not one gene of the panel is above zero.
    Empty = 1,
    /// Fewer counts than the model accepts.
    TooShallow = 2,
    /// Fewer genes above zero than the model accepts.
    TooFewGenes = 3,
    /// The best label is less probable than the model accepts.
    LowConfidence = 4,
    /// What its counts are divided by, their sum or the given total, is zero or does not fit 32 bits.
    LibraryTooLarge = 5,
    /// Nearer to noise than to any type: to a mixture of all cells, or to values at random genes.
    NoiseLike = 6,
    /// Unlike the training cells of every type.
    UnlikeTraining = 7,
    /// Nearer to a mixture of two types than to any one.
    DoubletLike = 8,
}

impl RejectReason {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Empty,
        Self::TooShallow,
        Self::TooFewGenes,
        Self::LowConfidence,
        Self::LibraryTooLarge,
        Self::NoiseLike,
        Self::UnlikeTraining,
        Self::DoubletLike,
    ];

    /// The code, above 0.
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The reason of a code.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// The name used in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::TooShallow => "too_shallow",
            Self::TooFewGenes => "too_few_genes",
            Self::LowConfidence => "low_confidence",
            Self::LibraryTooLarge => "library_too_large",
            Self::NoiseLike => "noise_like",
            Self::UnlikeTraining => "unlike_training",
            Self::DoubletLike => "doublet_like",
        }
    }
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
