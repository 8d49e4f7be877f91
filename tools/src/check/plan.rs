//! What a user should know of a file, and what `cic type` would do with it, in words.

use cic_data::GeneNaming;
use cic_model::ValueKind;
use cic_model::profile::Library;

use super::Checked;
use super::fit::Fit;
use crate::console::count;
use crate::coverage::unknown_impostors;
use crate::gene_notes;
use crate::notes::{of_nothing, of_small_counts};

/// What a user should know of the file.
pub(super) fn notes(checked: &Checked<'_>) -> Vec<String> {
    let naming = &checked.naming;
    let mut notes = checked.head.source.notes.clone();
    let unreadable = checked.head.obs.unreadable().iter();
    notes.extend(
        unreadable.map(|(name, reason)| format!("obs column {name:?} was not read: {reason}")),
    );
    if checked.survey.n_values == 0 {
        notes.push(of_nothing(&checked.head.source));
    }
    notes.extend(checked.verdict.iter().filter_map(of_small_counts));
    notes.extend(checked.fit.iter().flat_map(|fit| fit.gene_notes.iter().cloned()));
    notes.extend(gene_notes::mangled(naming));
    let unknown = checked.fit.iter().find_map(|fit| unknown_impostors(fit.model()));
    notes.extend(unknown.map(|unknown| unknown.note.to_owned()));
    if naming.species.is_mixed {
        notes.push(format!(
            "genes of {} in one file: write the genes and cells of one species to a file of their own",
            naming.species.name()
        ));
    }
    notes.extend(controls(naming));
    notes
}

/// What typing would do beside typing; nothing with a file that it refuses.
pub(super) fn steps(checked: &Checked<'_>, fit: &Fit<'_>) -> Vec<String> {
    let mut steps = Vec::new();
    let Some(alignment) = fit.alignment.as_ref().filter(|_| checked.refusal.is_none()) else {
        return steps;
    };
    let overlap = &alignment.overlap;
    let genes = &checked.head.genes;
    let is_versioned = |id: &Option<String>| id.as_ref().is_some_and(|id| id.contains('.'));
    let n_versioned = genes.iter().filter(|gene| is_versioned(&gene.ensembl)).count();
    if n_versioned > 0 {
        steps.push(format!("versions of {} Ensembl ids are dropped", count(n_versioned)));
    }
    let n_outside = genes.len() - (overlap.n_present + overlap.n_duplicates) as usize;
    let profile = fit.model.profiles().first();
    let is_over_all = profile.is_some_and(|profile| profile.library() == Library::AllMeasured);
    if n_outside > 0 {
        steps.push(format!(
            "{} features that are no genes of the model are left out{}",
            count(n_outside),
            if is_over_all { ", but count in the sums of the cells" } else { "" }
        ));
    }
    let n_missing = fit.model.n_genes() - overlap.n_present as usize;
    if n_missing > 0 {
        let genes = if n_missing == 1 {
            "gene that the file lacks has"
        } else {
            "genes that the file lacks have"
        };
        steps.push(format!("{} {genes} the value of an average training cell", count(n_missing)));
    }
    let scaled = |kind: &str, sum: u32, of: &str| {
        format!("{kind} become ln(1 + value × {} / sum of {of})", count(sum as usize))
    };
    let of = if is_over_all { "all genes" } else { "the model's genes" };
    steps.extend(profile.and_then(|profile| match fit.expected {
        ValueKind::Counts => Some(scaled("counts", profile.target_sum(), of)),
        ValueKind::LinearNormalised => Some(scaled("values", profile.target_sum(), of)),
        ValueKind::Ranks => Some("values become ranks among the model's genes of a cell".into()),
        _ => None,
    }));
    steps
}

/// Features that are no genes, and count as such only where somebody adds up all of a file.
fn controls(naming: &GeneNaming) -> Option<String> {
    let n: usize = naming.controls.values().map(|found| found.n).sum();
    let features = if n == 1 { "feature is no gene" } else { "features are no genes" };
    (n > 0).then(|| {
        format!(
            "{} {features}: leave them out where sums over all genes are taken (cic train --library \
             all_measured)",
            count(n)
        )
    })
}
