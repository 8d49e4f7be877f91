//! What a user should know of a file that is typed all the same.

use cic_data::{ExpressionHead, PanelAlignment, ScaleVerdict, Source, csv_text};
use cic_model::genes::{DuplicatePolicy, Overlap};
use cic_model::{Model, ValueKind};

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

/// Said of counts of many cells none of which is large: among the genes of so many cells some are counted often.
pub(crate) fn of_small_counts(verdict: &ScaleVerdict) -> Option<String> {
    let scale = &verdict.scale;
    let is_small = scale.cells >= FEW_CELLS && scale.max <= SMALL_COUNT;
    (is_small && verdict.kind == ValueKind::Counts).then(|| {
        format!(
            "no value of {} cells is above {}: are these counts, or logarithms that were rounded, or yes and no?",
            scale.cells, scale.max
        )
    })
}

/// Cells among which counts are larger, and how large logarithms of counts are at most.
const FEW_CELLS: usize = 50;
const SMALL_COUNT: f32 = 9.0;

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
