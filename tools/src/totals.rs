//! Sums over all measured genes, for files that hold only some of them.

use cic_data::{AlignedMatrix, ExpressionMatrix, Names, ObsTable};
use cic_model::Model;
use cic_model::profile::Library;
use cic_model::spec::ModelSpec;
use clap::Args;

use crate::console::tell;
use crate::dataset::obs_column;
use crate::failure::Failure;

/// Where the library sizes are.
#[derive(Args, Clone, Debug, Default)]
pub struct TotalArgs {
    /// Column of obs with each cell's counts over all
    /// genes, for files that hold only some of them
    #[arg(long, value_name = "KEY", verbatim_doc_comment)]
    pub(crate) total_counts: Option<String>,
}

/// The sums of the cells of a file.
pub(crate) struct Totals<'a> {
    column: &'a str,
    values: Vec<f64>,
    /// Whether the model divides by them.
    matter: bool,
}

impl TotalArgs {
    /// The sums from the column, if one was named.
    pub(crate) fn read(
        &self,
        model: &Model<'_>,
        names: Names<'_>,
        obs: &ObsTable,
    ) -> Result<Option<Totals<'_>>, Failure> {
        let Some(key) = &self.total_counts else {
            check_measured(names, model)?;
            return Ok(None);
        };
        let column = obs_column(names.path, obs, key)?;
        let total = |(row, name): (usize, &String)| {
            let number = column.number(row).filter(|total| total.is_finite() && *total >= 0.0);
            number.ok_or_else(|| {
                Failure::input(format!(
                    "{}: column {key:?} has no usable number for cell {name:?}; total counts are \
                     numbers that are not negative",
                    names.path.display(),
                ))
            })
        };
        let values = names.obs.iter().enumerate().map(total).collect::<Result<_, _>>()?;
        let mut profiles = model.profiles().iter();
        let matter = profiles.any(|profile| profile.library() == Library::AllMeasured);
        Ok(Some(Totals { column: key, values, matter }))
    }

    /// Puts the sums from the column, if one was named, in the place of those over the genes of the
    /// file. Says so where the model has no use for them.
    pub(crate) fn apply(
        &self,
        model: &Model<'_>,
        matrix: &ExpressionMatrix,
        cells: &mut AlignedMatrix,
    ) -> Result<(), Failure> {
        let names = matrix.names();
        let Some(totals) = self.read(model, names, &matrix.obs)? else { return Ok(()) };
        if let Some(note) = totals.note() {
            tell(format_args!("note: {note}"));
        }
        totals.replace(names, 0, &mut cells.totals)
    }
}

impl Totals<'_> {
    /// Said where the model has no use for them.
    pub(crate) fn note(&self) -> Option<&'static str> {
        (!self.matter).then_some(
            "--total-counts changes nothing: the model divides by sums over its own genes (cic train \
             --library)",
        )
    }

    /// Puts the sums of cells, from the file's `first_row` on, in the place of those over the genes
    /// of the file. Refuses what is less than these: it is something else.
    pub(crate) fn replace(
        &self,
        names: Names<'_>,
        first_row: usize,
        sums: &mut [f64],
    ) -> Result<(), Failure> {
        let totals = &self.values[first_row..first_row + sums.len()];
        let is_below = |(total, sum): (&f64, &f64)| *total < sum * (1.0 - ROUNDING);
        match totals.iter().zip(&*sums).position(is_below).filter(|_| self.matter) {
            None => {
                sums.copy_from_slice(totals);
                Ok(())
            }
            Some(row) => Err(Failure::input(format!(
                "{}: column {:?} says {} of cell {:?}, whose values in the file sum to {}; total \
                 counts are sums over all genes that were measured, in the unit of the values",
                names.path.display(),
                self.column,
                totals[row],
                names.obs[first_row + row],
                sums[row],
            ))),
        }
    }
}

/// Refuses a file that has no other genes than a model which divides by the sum over all that were measured, where these
/// were many more: the sums over the file's genes are no such sums.
pub(crate) fn check_measured(names: Names<'_>, model: &Model<'_>) -> Result<(), Failure> {
    let measured = model.provenance().value(GENES_MEASURED);
    let Some(measured) = measured.and_then(|text| text.parse::<usize>().ok()) else {
        return Ok(());
    };
    let (n, n_panel) = (names.genes.len(), model.n_genes());
    // A control feature or two are no measurement of all genes.
    if 20 * n > 21 * n_panel || 5 * n_panel > 4 * measured {
        return Ok(());
    }
    Err(Failure::input(format!(
        "{}: has {n} genes, hardly others than the model reads, which divides by the counts over all measured genes ({measured} \
         in the cells that it was made with); give the file with all of them, or a column of obs with the total of each cell: \
         --total-counts KEY",
        names.path.display()
    )))
}

/// What the model of cells with so many genes says of itself, where it divides by the sum over all of them.
pub(crate) fn note_measured(spec: &mut ModelSpec, n_genes: usize) {
    if spec.profiles.iter().any(|profile| profile.library == Library::AllMeasured) {
        spec.provenance.insert(GENES_MEASURED.into(), n_genes.to_string());
    }
}

const GENES_MEASURED: &str = "data.genes_measured";

/// Totals that were stored in single precision are no smaller than this share allows.
const ROUNDING: f64 = 1e-6;
