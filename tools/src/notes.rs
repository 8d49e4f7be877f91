//! What a user should know of a file that is typed all the same.

use cic_data::{ExpressionHead, PanelAlignment, Source, csv_text};
use cic_model::Model;
use cic_model::genes::{DuplicatePolicy, Overlap};

use crate::gene_notes::gene_notes;

/// What was left out of the file, or decided about it.
pub(crate) fn of_file(
    head: &ExpressionHead,
    model: &Model<'_>,
    alignment: &PanelAlignment,
) -> Vec<String> {
    let mut notes = head.source.notes.clone();
    notes.extend(gene_notes(head.names(), alignment, model));
    notes
}

/// What became of genes that are one gene of the panel.
pub(crate) fn of_duplicates(model: &Model<'_>, overlap: &Overlap) -> Option<String> {
    let what = match model.genes().duplicates() {
        DuplicatePolicy::Sum => "their values are added",
        DuplicatePolicy::KeepFirst => "the first of each counts, the others are left out",
        DuplicatePolicy::Refuse => return None,
    };
    let n = overlap.n_duplicates;
    (n > 0).then(|| format!("genes of the model that stand again in the file: {n}; {what}"))
}

/// Said of a file that has no value above zero.
pub(crate) fn of_nothing(source: &Source) -> String {
    let matrix = &source.matrix;
    format!("every value of {matrix:?} is zero: is it the matrix that was meant (--layer)?")
}

/// Said where names of cells cannot be written as they are.
pub(crate) fn of_names(names: &[String]) -> Option<String> {
    let mut changed = names.iter().filter(|name| csv_text(name) != name.as_str());
    let first = changed.next()?;
    Some(format!(
        "names of cells that are changed in the table, so that no spreadsheet runs them and no \
         terminal obeys them: {}, the first to {}; a .h5ad keeps them",
        1 + changed.count(),
        csv_text(first)
    ))
}
