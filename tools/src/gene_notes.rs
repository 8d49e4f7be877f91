//! What a user should know of how the genes of a file were found in a model, though the file is
//! taken.

use cic_data::{GeneNaming, Names, PanelAlignment, SpeciesGuess};
use cic_model::Model;

use crate::coverage::{LostCase, panel_genes, unjudged};
use crate::notes;

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
    let repeated = notes::of_duplicates(model, &alignment.overlap);
    let overlap = &alignment.overlap;
    let unjudged = unjudged(model, overlap.share_q30);
    // A file that is refused for its genes is told so with its species.
    let is_taken = model.rules().is_covered(overlap.n_present as usize, alignment.present.len());
    let species = other_species(names, model).filter(|_| is_taken);
    [repeated, species, lost, unjudged.filter(|_| is_taken)].into_iter().flatten().collect()
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
