//! One cell as it is given to a session.

use core::ops::Range;

use cic_model::ValueKind;
use cic_model::profile::{Library, Profile, library_size};
use cic_model::quant::ONE_Q30;

use crate::error::RunError;
use crate::kernels::{Extent, Kernels};
use crate::outcome::Depth;
use crate::presence::Presence;

/// Whether samples of values are read. Where they are not, no session is made for a profile that takes them, and
/// the optimiser leaves all of their code out.
pub(crate) const HAS_FLOATS: bool = cfg!(feature = "floats");

/// Counts or values of one cell over the genes of the panel.
///
/// Sparse samples list panel indices, strictly increasing; genes that are present and not listed
/// are zero (for `log2_intensity`, where zero means nothing, all of them must be listed). Dense
/// samples hold `[n_genes]` and need every gene of the panel to be present.
#[derive(Clone, Copy, Debug)]
pub enum Sample<'a> {
    /// Sparse counts.
    Counts {
        /// Panel indices.
        genes: &'a [u32],
        /// As many counts.
        counts: &'a [u32],
        /// Sum over all measured genes, for profiles that divide by it.
        total: Option<u32>,
    },
    /// Dense counts.
    DenseCounts {
        /// `[n_genes]`
        counts: &'a [u32],
        /// Sum over all measured genes, for profiles that divide by it.
        total: Option<u32>,
    },
    /// Sparse counts of 16 bits, as a device may hold them. The same bits come out.
    Counts16 {
        /// Panel indices.
        genes: &'a [u32],
        /// As many counts.
        counts: &'a [u16],
        /// Sum over all measured genes, for profiles that divide by it.
        total: Option<u32>,
    },
    /// Dense counts of 16 bits.
    DenseCounts16 {
        /// `[n_genes]`
        counts: &'a [u16],
        /// Sum over all measured genes, for profiles that divide by it.
        total: Option<u32>,
    },
    /// Sparse values of any kind but counts.
    Values {
        /// Panel indices.
        genes: &'a [u32],
        /// As many values.
        values: &'a [f32],
        /// Sum over all measured genes, for profiles that divide by it.
        total: Option<f32>,
    },
    /// Dense values of any kind but counts.
    DenseValues {
        /// `[n_genes]`
        values: &'a [f32],
        /// Sum over all measured genes, for profiles that divide by it.
        total: Option<f32>,
    },
}

impl<'a> Sample<'a> {
    /// The genes that are listed; none where all are given.
    pub(crate) fn genes(&self) -> &'a [u32] {
        match *self {
            Self::Counts { genes, .. }
            | Self::Counts16 { genes, .. }
            | Self::Values { genes, .. } => genes,
            Self::DenseCounts { .. } | Self::DenseCounts16 { .. } | Self::DenseValues { .. } => &[],
        }
    }

    /// Values of some genes where those of all are given.
    pub(crate) fn dense_values(&self, genes: &Range<usize>) -> &'a [f32] {
        let Self::DenseValues { values, .. } = *self else { return &[] };
        values.get(genes.clone()).unwrap_or(&[])
    }

    /// Entries that are given, zeros among them.
    pub(crate) fn n_listed(&self) -> usize {
        match self {
            Self::Counts { counts, .. } | Self::DenseCounts { counts, .. } => counts.len(),
            Self::Counts16 { counts, .. } | Self::DenseCounts16 { counts, .. } => counts.len(),
            Self::Values { values, .. } | Self::DenseValues { values, .. } => values.len(),
        }
    }

    /// Whether what is given are counts.
    pub(crate) fn is_counts(&self) -> bool {
        !matches!(self, Self::Values { .. } | Self::DenseValues { .. })
    }

    /// Checks everything but the values themselves. Their levels may be looked up before
    /// [`Sample::depth_of`] has told whether they are any.
    pub(crate) fn check_form(
        &self,
        profile: &Profile<'_>,
        presence: Option<&Presence<'_>>,
        kernels: &Kernels,
    ) -> Result<(), RunError> {
        let n_genes = profile.fill_values().len();
        let len = self.n_listed();
        let genes = match *self {
            Self::Counts { genes, .. }
            | Self::Counts16 { genes, .. }
            | Self::Values { genes, .. } => Some(genes),
            Self::DenseCounts { .. } | Self::DenseCounts16 { .. } | Self::DenseValues { .. } => {
                None
            }
        };
        let n_present = presence.map_or(n_genes, |presence| presence.n_present());
        match genes {
            Some(genes) => check_genes(genes, len, n_genes, presence, kernels)?,
            None if len != n_genes => {
                return Err(RunError::LengthMismatch { needed: n_genes, found: len });
            }
            // Whatever stands for a missing gene would count beside its fill value.
            None => {
                if let Some(position) = presence.and_then(|presence| presence.first_missing()) {
                    return Err(RunError::GeneNotPresent { position });
                }
            }
        }
        if !profile.is_sparse() && len != n_present {
            return Err(RunError::GeneNotListed);
        }
        if self.is_counts() != (profile.kind() == ValueKind::Counts) {
            return Err(RunError::WrongValueKind);
        }
        Ok(())
    }

    /// The depth of a sample whose values have this extent.
    pub(crate) fn depth_of(
        &self,
        profile: &Profile<'_>,
        extent: Extent,
    ) -> Result<Depth, RunError> {
        if HAS_FLOATS
            && let Self::Values { values, .. } | Self::DenseValues { values, .. } = self
            && extent.largest_bits >= f32::INFINITY.to_bits()
        {
            // Something is negative or not finite; negative values are allowed in some kinds.
            check_values(values, profile.is_sparse())?;
        }
        Ok(Depth { n_counts: 0, n_genes: extent.n_set })
    }
}

/// A sample that fits its model: lengths, order, ranges and kind were checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheckedSample<'a> {
    sample: Sample<'a>,
    profile: &'a Profile<'a>,
    share_q30: u32,
    depth: Depth,
}

impl<'a> CheckedSample<'a> {
    pub(crate) fn new_checked(
        sample: &Sample<'a>,
        profile: &'a Profile<'a>,
        presence: Option<&Presence<'_>>,
        kernels: &Kernels,
    ) -> Result<Self, RunError> {
        sample.check_form(profile, presence, kernels)?;
        let depth = match *sample {
            Sample::Counts { counts, .. } | Sample::DenseCounts { counts, .. } => {
                kernels.measure_counts(counts)
            }
            Sample::Counts16 { counts, .. } | Sample::DenseCounts16 { counts, .. } => {
                measure_counts16(counts)
            }
            Sample::Values { values, .. } | Sample::DenseValues { values, .. } if HAS_FLOATS => {
                sample.depth_of(profile, kernels.measure_values(values))?
            }
            Sample::Values { .. } | Sample::DenseValues { .. } => return Err(RunError::NoFloats),
        };
        let share_q30 = presence.map_or(ONE_Q30, |presence| presence.share_q30());
        Ok(Self { sample: *sample, profile, share_q30, depth })
    }

    pub(crate) fn sample(&self) -> Sample<'a> {
        self.sample
    }

    pub(crate) fn depth(&self) -> Depth {
        self.depth
    }

    /// Library size of a sample of counts; `None` where it is zero or does not fit 32 bits.
    pub(crate) fn count_library(&self) -> Result<Option<u32>, RunError> {
        let (Sample::Counts { total, .. }
        | Sample::DenseCounts { total, .. }
        | Sample::Counts16 { total, .. }
        | Sample::DenseCounts16 { total, .. }) = self.sample
        else {
            return Err(RunError::WrongValueKind);
        };
        Ok(match self.profile.library() {
            Library::AllMeasured => {
                Some(total.ok_or(RunError::MissingTotal)?).filter(|&size| size > 0)
            }
            Library::Panel | Library::None => library_size(self.depth.n_counts, self.share_q30),
        })
    }

    /// `target_sum / library` of a sample; 1 where the profile has no library. `None` where the
    /// library is zero or too large.
    pub(crate) fn factor(&self) -> Result<Option<f32>, RunError> {
        if !HAS_FLOATS {
            return Err(RunError::NoFloats);
        }
        let (total, panel_sum): (Option<f64>, &dyn Fn() -> f64) = match &self.sample {
            Sample::Counts { total, .. }
            | Sample::DenseCounts { total, .. }
            | Sample::Counts16 { total, .. }
            | Sample::DenseCounts16 { total, .. } => {
                (total.map(f64::from), &|| self.depth.n_counts as f64)
            }
            Sample::Values { values, total, .. } | Sample::DenseValues { values, total } => {
                (total.map(f64::from), &|| values.iter().map(|&value| f64::from(value)).sum())
            }
        };
        let (panel_sum, total) = match self.profile.library() {
            Library::None => return Ok(Some(1.0)),
            Library::AllMeasured => (0.0, total.ok_or(RunError::MissingTotal)?),
            Library::Panel => (panel_sum(), 0.0),
        };
        Ok(self.profile.factor(panel_sum, total, self.share_q30))
    }

    /// Gene and count of every count above zero, in order.
    #[cfg(feature = "floats")]
    pub(crate) fn for_each_count(&self, mut visit: impl FnMut(u32, u32)) {
        match self.sample {
            Sample::Counts { genes, counts, .. } => {
                for (&gene, &count) in genes.iter().zip(counts).filter(|&(_, &count)| count > 0) {
                    visit(gene, count);
                }
            }
            Sample::DenseCounts { counts, .. } => {
                for (gene, &count) in (0..).zip(counts).filter(|&(_, &count)| count > 0) {
                    visit(gene, count);
                }
            }
            Sample::Counts16 { genes, counts, .. } => {
                for (&gene, &count) in genes.iter().zip(counts).filter(|&(_, &count)| count > 0) {
                    visit(gene, u32::from(count));
                }
            }
            Sample::DenseCounts16 { counts, .. } => {
                for (gene, &count) in (0..).zip(counts).filter(|&(_, &count)| count > 0) {
                    visit(gene, u32::from(count));
                }
            }
            Sample::Values { .. } | Sample::DenseValues { .. } => {}
        }
    }

    /// Gene and value of every entry, in order.
    #[cfg(feature = "floats")]
    pub(crate) fn for_each_value(&self, mut visit: impl FnMut(u32, f32)) {
        match self.sample {
            Sample::Values { genes, values, .. } => {
                for (&gene, &value) in genes.iter().zip(values) {
                    visit(gene, value);
                }
            }
            Sample::DenseValues { values, .. } => {
                for (gene, &value) in (0..).zip(values) {
                    visit(gene, value);
                }
            }
            // Exact up to 2²⁴, then rounded: a float network could not tell the difference.
            _ => {
                self.for_each_count(|gene, count| visit(gene, count as f32));
            }
        }
    }
}

fn check_genes(
    genes: &[u32],
    n_values: usize,
    n_genes: usize,
    presence: Option<&Presence<'_>>,
    kernels: &Kernels,
) -> Result<(), RunError> {
    if genes.len() != n_values {
        return Err(RunError::LengthMismatch { needed: genes.len(), found: n_values });
    }
    // What is wrong is found only where something is.
    let is_in_range = genes.last().is_none_or(|&last| (last as usize) < n_genes);
    if presence.is_none() && is_in_range && kernels.are_increasing(genes) {
        return Ok(());
    }
    let mut next = 0;
    for (position, &gene) in genes.iter().enumerate() {
        let gene = gene as usize;
        if gene >= n_genes {
            return Err(RunError::GeneOutOfRange { position });
        }
        if gene < next {
            return Err(RunError::GenesNotIncreasing { position });
        }
        if presence.is_some_and(|presence| !presence.has(gene)) {
            return Err(RunError::GeneNotPresent { position });
        }
        next = gene + 1;
    }
    Ok(())
}

fn measure_counts16(counts: &[u16]) -> Depth {
    counts.iter().fold(Depth::default(), |depth, &count| Depth {
        n_counts: depth.n_counts + u64::from(count),
        n_genes: depth.n_genes + u32::from(count > 0),
    })
}

fn check_values(values: &[f32], must_not_be_negative: bool) -> Result<(), RunError> {
    let is_valid = |value: f32| value.is_finite() && !(must_not_be_negative && value < 0.0);
    match values.iter().position(|&value| !is_valid(value)) {
        Some(position) => Err(RunError::InvalidValue { position }),
        None => Ok(()),
    }
}
