//! What a user should know of how the genes of a file were found in a model, though the file is
//! taken.

use cic_data::{GeneNaming, Names, PanelAlignment, SpeciesGuess};
use cic_model::Model;
use cic_model::genes::DuplicatePolicy;

use crate::coverage::{LostCase, panel_genes};

/// What to tell about the genes of a file that a model takes.
pub(crate) fn gene_notes(
    names: Names<'_>,
    alignment: &PanelAlignment,
    model: &Model<'_>,
) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(matching_notes(names, alignment, model));
    notes.extend(aliases(alignment.overlap.n_by_alias as usize));
    notes.extend(mangled(&GeneNaming::of(names.genes)));
    notes
}

/// Of these, what is to be doubted about how genes were found.
pub(crate) fn matching_notes(
    names: Names<'_>,
    alignment: &PanelAlignment,
    model: &Model<'_>,
) -> Vec<String> {
    let lost = LostCase::of(names, &alignment.present, model);
    let lost = lost.matters(model).then(|| lost.advice());
    let repeated = duplicates(alignment.overlap.n_duplicates as usize, model);
    [repeated, other_species(names, model), lost].into_iter().flatten().collect()
}

/// Genes whose names fit though they are of another species: symbols put in capitals.
fn other_species(names: Names<'_>, model: &Model<'_>) -> Option<String> {
    let (theirs, ours) = (SpeciesGuess::of(names.genes), SpeciesGuess::of(&panel_genes(model)));
    theirs.differs(&ours).then(|| {
        format!(
            "the genes look like {} ({}), those of the model like {} ({}), though their names fit; calls across \
             species are not to be trusted",
            theirs.name(),
            theirs.evidence,
            ours.name(),
            ours.evidence
        )
    })
}

/// Genes of a file that are genes of the model over again.
fn duplicates(n: usize, model: &Model<'_>) -> Option<String> {
    let what = match model.genes().duplicates() {
        _ if n == 0 => return None,
        DuplicatePolicy::Refuse => "and the model refuses that",
        DuplicatePolicy::Sum => "their values are added up",
        DuplicatePolicy::KeepFirst => "the first of each is used",
    };
    let genes = match n {
        1 => "gene of the file is a gene of the model",
        _ => "genes of the file are genes of the model",
    };
    Some(format!("{n} {genes} over again: {what}"))
}

/// Genes that are in the file under other names.
fn aliases(n: usize) -> Option<String> {
    let genes = if n == 1 { "gene was" } else { "genes were" };
    (n > 0).then(|| format!("{n} {genes} found by other names that the model knows"))
}

/// Symbols that a spreadsheet spoilt.
pub(crate) fn mangled(naming: &GeneNaming) -> Option<String> {
    let found = &naming.mangled;
    let meaning = match &naming.mangled_example {
        Some((name, symbols)) => format!("; {name} was {symbols}"),
        None => String::new(),
    };
    (found.n > 0).then(|| {
        format!(
            "{} {} what a spreadsheet made of symbols ({}{}{meaning}): such genes are not found; \
             export the table again with its names as text",
            found.n,
            if found.n == 1 { "name is" } else { "names are" },
            found.examples.join(", "),
            if found.n > found.examples.len() { ", ..." } else { "" },
        )
    })
}
