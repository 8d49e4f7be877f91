//! What networks that others trained have in common, whatever file they come from.

use std::collections::HashMap;

use cic_data::nearest_name;
use cic_model::AlignedBytes;
use cic_model::genes::strip_version;

use crate::console::tell;
use crate::dataset::Dataset;
use crate::failure::Failure;

/// A full-precision model around a network that was trained elsewhere.
pub(crate) struct Imported {
    pub(crate) bytes: AlignedBytes,
    /// What the user should know.
    pub(crate) notes: Vec<String>,
}

impl Imported {
    /// Tells what the user should know.
    pub(crate) fn tell_notes(&self) {
        self.notes.iter().for_each(|note| tell(format_args!("note: {note}")));
    }
}

/// How far what the model gives is from what it was made of.
pub(crate) struct Difference {
    pub(crate) worst: f64,
    /// Of what it should be, at least 1.
    pub(crate) largest: f64,
}

/// Of pairs of what was found and what `theirs` are. More than rounding is refused, and what is no finite number.
pub(crate) fn difference(
    what: &str,
    theirs: &str,
    pairs: impl Iterator<Item = (f64, f64)>,
    n_cells: usize,
) -> Result<Difference, String> {
    let mut most = Difference { worst: 0.0, largest: 1.0 };
    for (found, expected) in pairs {
        if !found.is_finite() || !expected.is_finite() {
            return Err(format!(
                "{what} of some cells are infinite, or no numbers; give cells and --preprocess as the network was trained \
                 with, or train it with smaller weights"
            ));
        }
        most.worst = most.worst.max((found - expected).abs());
        most.largest = most.largest.max(expected.abs());
    }
    if most.worst > TOLERANCE * most.largest {
        return Err(format!(
            "{what} differ from {theirs} by up to {:.1e} on {n_cells} cells; this is a fault of the import, please report \
             it with the file",
            most.worst
        ));
    }
    Ok(most)
}

/// Cells that are compared.
pub(crate) const MOST_COMPARED: usize = 256;
/// Of the largest number: both sum thousands of products, one of them in single precision.
const TOLERANCE: f64 = 1e-4;

/// Columns of the data by id, Ensembl id or symbol, `[genes.len()]`; the first of several.
pub(crate) fn gene_columns(genes: &[String], dataset: &Dataset) -> Vec<Option<u32>> {
    let mut places = HashMap::new();
    for (column, gene) in (0_u32..).zip(&dataset.matrix.genes) {
        let names = [Some(gene.id.as_str()), Some(gene.key()), gene.symbol.as_deref()];
        for name in names.into_iter().flatten() {
            places.entry(name).or_insert(column);
        }
    }
    let place = |gene: &String| {
        places.get(gene.as_str()).or_else(|| places.get(strip_version(gene))).copied()
    };
    genes.iter().map(place).collect()
}

/// Refuses labels of which none is a class, and says how many are none.
pub(crate) fn check_labels(
    labels: &[Option<String>],
    classes: &[String],
    dataset: &Dataset,
) -> Result<Option<String>, Failure> {
    let mut unknown = labels.iter().flatten().filter(|label| !classes.contains(label));
    let Some(first) = unknown.next() else { return Ok(None) };
    if classes.is_empty() {
        return Ok(None);
    }
    let (n_unknown, n) = (unknown.count() + 1, labels.iter().flatten().count());
    if n_unknown < n {
        return Ok(Some(format!(
            "{n_unknown} of {n} labels are none of the {} classes of the network, the first is {first:?}; their cells \
             count as cells without a label",
            classes.len()
        )));
    }
    let near = nearest_name(first, classes.iter().map(String::as_str));
    let near = near.map_or(String::new(), |near| format!(", did you mean {near:?}?"));
    Err(Failure::input(format!(
        "{}: no label is one of the {} classes of the network; the first is {first:?}{near}",
        dataset.matrix.source.path.display(),
        classes.len()
    )))
}
