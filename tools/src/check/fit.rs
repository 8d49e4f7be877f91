//! What a model would make of a file.

use std::collections::BTreeMap;
use std::path::Path;

use cic_data::{CsrMatrix, Names, PanelAlignment, ScaleVerdict};
use cic_model::rules::RejectReason;
use cic_model::{Model, ValueKind};

use crate::dataset::{admit, check_values, model_kind};
use crate::failure::Failure;
use crate::gene_notes::matching_notes;
use crate::same_scale::GeneSums;
use crate::totals::check_measured;

/// A file beside a model.
pub(super) struct Fit<'a> {
    pub(super) path: &'a Path,
    pub(super) model: &'a Model<'a>,
    /// What the model reads.
    pub(super) expected: ValueKind,
    /// `None` where a gene stands twice and the model refuses that.
    pub(super) alignment: Option<PanelAlignment>,
    /// Why cells would not be named whatever they are, and how many.
    pub(super) rejected: BTreeMap<&'static str, usize>,
    /// What to tell of the genes.
    pub(super) gene_notes: Vec<String>,
    gene_sums: GeneSums,
}

/// A gene of the model that the file lacks.
pub(super) struct MissingGene<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    /// Of the library in training, 0 to 1.
    pub(super) share: f64,
}

/// A model that a file is checked for.
#[derive(Clone, Copy)]
pub(super) struct Against<'a> {
    pub(super) path: &'a Path,
    pub(super) model: &'a Model<'a>,
    /// As `cic type --accept-unjudged`.
    pub(super) accepts_unjudged: bool,
}

impl<'a> Fit<'a> {
    /// What the names of the genes say, and why they make the model refuse the file.
    pub(super) fn new(
        against: Against<'a>,
        names: Names<'_>,
        declared: Option<ValueKind>,
    ) -> Result<(Self, Option<Failure>), Failure> {
        let Against { path, model, accepts_unjudged } = against;
        let admitted = admit(names, declared, model, accepts_unjudged);
        let admitted = admitted.and_then(|alignment| {
            check_measured(names, model)?;
            Ok(alignment)
        });
        let (alignment, refusal) = match admitted {
            Ok(alignment) => (Some(alignment), None),
            Err(refusal) => (PanelAlignment::new(names, model.genes()).ok(), Some(refusal)),
        };
        let notes = |alignment| matching_notes(names, alignment, model);
        let fit = Self {
            path,
            model,
            expected: model_kind(model)?,
            gene_notes: alignment.as_ref().map_or(Vec::new(), notes),
            alignment,
            rejected: BTreeMap::new(),
            gene_sums: GeneSums::default(),
        };
        Ok((fit, refusal))
    }

    pub(super) fn model(&self) -> &'a Model<'a> {
        self.model
    }

    /// Looks at the next cells.
    pub(super) fn add(&mut self, values: &CsrMatrix) {
        let Some(alignment) = &self.alignment else { return };
        let rows = alignment.align(values);
        self.gene_sums.merge(&GeneSums::of(self.expected, &rows.values));
        for (row, &total) in rows.totals.iter().enumerate() {
            let (_, data) = rows.values.row(row);
            if let Some(reason) = self.reject(data, total, alignment.overlap.share_q30) {
                *self.rejected.entry(reason.name()).or_default() += 1;
            }
        }
    }

    /// Why a cell would not be named, as far as its depth tells.
    fn reject(&self, data: &[f32], total: f64, share_q30: u32) -> Option<RejectReason> {
        let sum: f64 = data.iter().map(|&value| f64::from(value)).sum();
        // Counts are integers, and a cell has fewer than 2⁶⁴ of them.
        let n_counts = if self.expected == ValueKind::Counts { sum as u64 } else { 0 };
        // A panel has fewer than 2³² genes.
        let n_genes = data.iter().filter(|&&value| value != 0.0).count() as u32;
        let profile = self.model.profiles().first()?;
        let is_scaled = || profile.factor(sum, total, share_q30).is_some();
        (self.model.rules().check_depth(n_counts, n_genes))
            .or_else(|| (!is_scaled()).then_some(RejectReason::LibraryTooLarge))
    }

    /// Refuses values of another kind or scale, as typing does at the end of a file.
    pub(super) fn check_values(
        &self,
        names: Names<'_>,
        verdict: &ScaleVerdict,
    ) -> Result<(), Failure> {
        let present = self.alignment.as_ref().map_or(&[][..], |alignment| &alignment.present);
        check_values(names, verdict, &self.gene_sums, present, self.model)
    }

    /// Whether the model reads values of a kind.
    pub(super) fn accepts(&self, kind: ValueKind) -> bool {
        self.expected == kind || self.expected == ValueKind::Ranks
    }

    pub(super) fn n_rejected(&self) -> usize {
        self.rejected.values().sum()
    }

    /// Genes that the file lacks, those with the largest share of the library in training first.
    pub(super) fn missing(&self) -> Vec<MissingGene<'a>> {
        let Some(alignment) = &self.alignment else { return Vec::new() };
        let panel = self.model.genes();
        let shares = panel.library_share_q30();
        let mut missing: Vec<usize> =
            (0..self.model.n_genes()).filter(|&gene| !alignment.present[gene]).collect();
        missing.sort_by_key(|&gene| std::cmp::Reverse(shares[gene]));
        let gene = |gene| MissingGene {
            id: panel.id(gene),
            name: panel.display_name(gene),
            share: share(shares[gene]),
        };
        missing.into_iter().map(gene).collect()
    }
}

/// A share of 2³⁰ as a number from 0 to 1.
pub(super) fn share(share_q30: u32) -> f64 {
    f64::from(share_q30) / f64::from(1_u32 << 30)
}
